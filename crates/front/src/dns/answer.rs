//! What a query is answered with, as a pure function of its bytes and the names.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use hickory_proto::op::{Edns, Header, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

/// Seconds that an answer may be kept: none. An address changes whenever an instance is replaced,
/// and the instance behind the old one is stopped at once; a query costs less than a connection
/// to nobody.
const TTL_SECONDS: u32 = 0;
/// Bytes of an answer over UDP when the query does not say that it takes more.
const UDP_BYTES: usize = 512;
/// Bytes of an answer over UDP that pass without fragments everywhere.
const UDP_BYTES_MAX: usize = 1232;
const HEADER_BYTES: usize = 12;

/// The names of a zone, with the way back.
#[derive(Debug, Default)]
pub(super) struct Table {
    names: BTreeMap<String, Vec<Ipv4Addr>>,
    reverse: BTreeMap<Ipv4Addr, String>,
}

impl Table {
    pub(super) fn new(names: &BTreeMap<String, Vec<Ipv4Addr>>) -> Self {
        // The name that stands for the fewest addresses says most about each of them.
        let mut by_precision: Vec<(&String, &Vec<Ipv4Addr>)> = names.iter().collect();
        by_precision.sort_by_key(|(_, addresses)| addresses.len());
        let mut reverse = BTreeMap::new();
        for (name, addresses) in by_precision {
            for address in addresses {
                reverse.entry(*address).or_insert_with(|| name.clone());
            }
        }
        let lower =
            |(name, addresses): (&String, &Vec<Ipv4Addr>)| (name.to_lowercase(), addresses.clone());
        Self { names: names.iter().map(lower).collect(), reverse }
    }
}

/// How the query came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// What becomes of a query.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// These bytes are sent back.
    Reply(Vec<u8>),
    /// The host's name servers are asked.
    Forward {
        /// The answer when none of them answers.
        unanswered: Vec<u8>,
        /// The answer when there are none.
        nobody: Vec<u8>,
    },
    /// It is not a query; nothing is said.
    Nothing,
}

/// Answers a query. `turn` rotates addresses, so that clients that take the first spread out.
pub(super) fn answer(packet: &[u8], table: &Table, turn: usize, transport: Transport) -> Answer {
    let Some(header) = header_of(packet) else {
        return Answer::Nothing;
    };
    let Ok(message) = Message::from_vec(packet) else {
        return reply(refusal(&header, None, ResponseCode::FormErr));
    };
    if message.op_code() != OpCode::Query {
        return reply(refusal(&header, Some(&message), ResponseCode::NotImp));
    }
    let [question] = message.queries() else {
        return reply(refusal(&header, Some(&message), ResponseCode::FormErr));
    };
    let name = text_of(question.name());
    match records(question, &name, table) {
        Some(records) => reply_with(&header, &message, records, turn, transport),
        None => {
            let nobody = match name.contains('.') {
                true => ResponseCode::ServFail,
                false => ResponseCode::NXDomain,
            };
            let bytes = |code| encode(&refusal(&header, Some(&message), code));
            match (bytes(ResponseCode::ServFail), bytes(nobody)) {
                (Some(unanswered), Some(nobody)) => Answer::Forward { unanswered, nobody },
                _ => Answer::Nothing,
            }
        }
    }
}

/// The header of a query; a response is nothing to answer, or two servers would talk for ever.
fn header_of(packet: &[u8]) -> Option<Header> {
    let bytes = packet.get(..HEADER_BYTES)?;
    let header = Header::read(&mut BinDecoder::new(bytes)).ok()?;
    (header.message_type() == MessageType::Query).then_some(header)
}

/// Lower case, without the trailing dot.
fn text_of(name: &Name) -> String {
    let labels: Vec<String> =
        name.iter().map(|label| String::from_utf8_lossy(label).to_lowercase()).collect();
    labels.join(".")
}

/// The records of a name that is ours; `None` for others.
fn records(question: &Query, name: &str, table: &Table) -> Option<Vec<Record>> {
    if !matches!(question.query_class(), DNSClass::IN | DNSClass::ANY) {
        return None;
    }
    let kind = question.query_type();
    let wants = |wanted: RecordType| kind == wanted || kind == RecordType::ANY;
    let record = |data| Record::from_rdata(question.name().clone(), TTL_SECONDS, data);
    if let Some(addresses) = table.names.get(name) {
        // A known name without records of the wanted type is an empty answer: for AAAA that lets
        // the client go on with A at once.
        let addresses = addresses.iter().filter(|_| wants(RecordType::A));
        return Some(addresses.map(|at| record(RData::A(A(*at)))).collect());
    }
    let target = table.reverse.get(&reverse_address(name)?)?;
    let target = Name::from_ascii(format!("{target}.")).ok()?;
    let pointer = wants(RecordType::PTR).then(|| record(RData::PTR(PTR(target))));
    Some(pointer.into_iter().collect())
}

/// The address that `4.3.2.1.in-addr.arpa` asks for.
fn reverse_address(name: &str) -> Option<Ipv4Addr> {
    let [a, b, c, d] = {
        let digits: Vec<&str> = name.strip_suffix(".in-addr.arpa")?.split('.').collect();
        <[&str; 4]>::try_from(digits).ok()?
    };
    format!("{d}.{c}.{b}.{a}").parse().ok()
}

fn reply(message: Message) -> Answer {
    encode(&message).map_or(Answer::Nothing, Answer::Reply)
}

fn encode(message: &Message) -> Option<Vec<u8>> {
    message.to_vec().ok()
}

fn refusal(header: &Header, query: Option<&Message>, code: ResponseCode) -> Message {
    let mut message = Message::new();
    message.set_header(Header::response_from_request(header));
    message.set_recursion_available(true);
    message.set_response_code(code);
    if let Some(query) = query {
        message.add_queries(query.queries().iter().cloned());
        if query.extensions().is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(u16::try_from(UDP_BYTES_MAX).unwrap_or(u16::MAX));
            message.set_edns(edns);
        }
    }
    message
}

/// An answer with as many records as fit; the client asks again over TCP for the others.
fn reply_with(
    header: &Header,
    query: &Message,
    mut records: Vec<Record>,
    turn: usize,
    transport: Transport,
) -> Answer {
    if !records.is_empty() {
        let first = turn % records.len();
        records.rotate_left(first);
    }
    let limit = match transport {
        Transport::Tcp => usize::from(u16::MAX),
        Transport::Udp => query.extensions().as_ref().map_or(UDP_BYTES, |edns| {
            usize::from(edns.max_payload()).clamp(UDP_BYTES, UDP_BYTES_MAX)
        }),
    };
    let mut fitting = records.len();
    loop {
        let mut message = refusal(header, Some(query), ResponseCode::NoError);
        message.set_authoritative(true);
        message.set_truncated(fitting < records.len());
        message.add_answers(records[..fitting].iter().cloned());
        match encode(&message) {
            None => return Answer::Nothing,
            Some(bytes) if bytes.len() <= limit || fitting == 0 => return Answer::Reply(bytes),
            // All records are about as long, so this ends after two or three rounds.
            Some(bytes) => fitting = (fitting * limit / bytes.len()).min(fitting - 1),
        }
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;

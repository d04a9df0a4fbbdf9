//! Answers to good, strange and hostile queries.

use proptest::prelude::*;

use super::*;

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 210, 0, last)
}

fn table() -> Table {
    Table::new(&BTreeMap::from([
        ("web".to_owned(), vec![address(2), address(3)]),
        ("web-1".to_owned(), vec![address(2)]),
        ("web-2".to_owned(), vec![address(3)]),
        ("many".to_owned(), (10..110).map(address).collect()),
    ]))
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new();
    message.set_id(7).set_recursion_desired(true);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn ask_turn(query: &Message, turn: usize, transport: Transport) -> Message {
    match answer(&query.to_vec().unwrap(), &table(), turn, transport) {
        Answer::Reply(bytes) => Message::from_vec(&bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn ask(name: &str, kind: RecordType) -> Message {
    ask_turn(&query(name, kind), 0, Transport::Udp)
}

fn addresses(message: &Message) -> Vec<Ipv4Addr> {
    let address = |record: &Record| record.data().as_a().map(|a| a.0);
    message.answers().iter().filter_map(address).collect()
}

#[test]
fn a_name_has_its_addresses_in_turn() {
    let asked = query("web.", RecordType::A);
    let first = ask_turn(&asked, 0, Transport::Udp);
    assert_eq!(addresses(&first), [address(2), address(3)]);
    assert_eq!(first.id(), 7);
    assert_eq!(first.queries(), asked.queries());
    assert_eq!(first.answers()[0].ttl(), 0);
    assert!(first.recursion_desired() && first.recursion_available());
    let second = ask_turn(&asked, 1, Transport::Udp);
    assert_eq!(addresses(&second), [address(3), address(2)]);
}

#[test]
fn case_does_not_matter_and_is_given_back() {
    let answer = ask("WeB-1.", RecordType::A);
    assert_eq!(addresses(&answer), [address(2)]);
    assert_eq!(answer.answers()[0].name().to_ascii(), "WeB-1.");
}

#[test]
fn other_types_of_a_known_name_are_empty() {
    for kind in [RecordType::AAAA, RecordType::MX, RecordType::HTTPS] {
        let answer = ask("web.", kind);
        assert_eq!(answer.response_code(), ResponseCode::NoError);
        assert_eq!(answer.answers(), []);
    }
    assert_eq!(addresses(&ask("web.", RecordType::ANY)).len(), 2);
}

#[test]
fn an_address_has_its_most_precise_name() {
    let answer = ask("3.0.210.10.in-addr.arpa.", RecordType::PTR);
    let name = answer.answers()[0].data().as_ptr().unwrap().0.to_ascii();
    assert_eq!(name, "web-2.");
}

#[test]
fn unknown_names_are_for_other_servers() {
    for (name, nobody_knows) in [
        ("cache.", ResponseCode::NXDomain),
        ("www.example.com.", ResponseCode::ServFail),
        ("web.example.com.", ResponseCode::ServFail),
        ("9.9.9.9.in-addr.arpa.", ResponseCode::ServFail),
    ] {
        let packet = query(name, RecordType::A).to_vec().unwrap();
        match answer(&packet, &table(), 0, Transport::Udp) {
            Answer::Forward { unanswered, nobody } => {
                let code = |bytes: &[u8]| Message::from_vec(bytes).unwrap().response_code();
                assert_eq!(code(&unanswered), ResponseCode::ServFail);
                assert_eq!(code(&nobody), nobody_knows, "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn what_does_not_fit_comes_over_tcp() {
    let mut asked = query("many.", RecordType::A);
    let short = ask_turn(&asked, 0, Transport::Udp);
    assert!(short.truncated());
    assert!((25..40).contains(&short.answers().len()), "{}", short.answers().len());
    let whole = ask_turn(&asked, 0, Transport::Tcp);
    assert!(!whole.truncated());
    assert_eq!(whole.answers().len(), 100);
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    asked.set_edns(edns);
    let longer = ask_turn(&asked, 0, Transport::Udp);
    assert!(longer.truncated() && longer.answers().len() > short.answers().len());
    assert!(longer.to_vec().unwrap().len() <= UDP_BYTES_MAX);
    assert!(longer.extensions().is_some());
}

#[test]
fn what_is_no_query_is_refused_or_dropped() {
    let code = |packet: &[u8]| match answer(packet, &table(), 0, Transport::Udp) {
        Answer::Reply(bytes) => Some(Message::from_vec(&bytes).unwrap().response_code()),
        Answer::Nothing => None,
        other => panic!("{other:?}"),
    };
    let good = query("web.", RecordType::A).to_vec().unwrap();
    assert_eq!(code(&[]), None);
    assert_eq!(code(&good[..11]), None);
    assert_eq!(code(&good[..good.len() - 1]), Some(ResponseCode::FormErr));
    let mut response = query("web.", RecordType::A);
    response.set_message_type(MessageType::Response);
    assert_eq!(code(&response.to_vec().unwrap()), None);
    let mut update = query("web.", RecordType::A);
    update.set_op_code(OpCode::Update);
    assert_eq!(code(&update.to_vec().unwrap()), Some(ResponseCode::NotImp));
    let nothing_asked = Message::new().to_vec().unwrap();
    assert_eq!(code(&nothing_asked), Some(ResponseCode::FormErr));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_packet_is_too_strange(packet in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = answer(&packet, &table(), 0, Transport::Udp);
    }

    /// Damaged queries come further into the decoder than noise does.
    #[test]
    fn no_damaged_query_is_too_strange(
        name in "[a-z0-9.-]{0,80}",
        kind in any::<u16>(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        turn in any::<usize>(),
    ) {
        let name = Name::from_ascii(name).unwrap_or_default();
        let mut asked = Message::new();
        asked.add_query(Query::query(name, RecordType::from(kind)));
        let mut packet = asked.to_vec().unwrap();
        for (at, byte) in damage {
            let at = at.index(packet.len());
            packet[at] = byte;
        }
        if let Answer::Reply(bytes) = answer(&packet, &table(), turn, Transport::Udp) {
            prop_assert!(bytes.len() <= UDP_BYTES_MAX);
            prop_assert_eq!(&bytes[..2], &packet[..2]);
        }
    }
}

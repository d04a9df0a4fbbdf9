//! Route netlink, synchronous and in batches: a worker has no async runtime, and one send for
//! several requests saves most of their cost.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
    RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// A socket in the network namespace in which it was opened.
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
}

/// One request with the words for its failure.
pub(crate) struct Request {
    message: RouteNetlinkMessage,
    create: bool,
    what: String,
}

impl Netlink {
    /// Opens a socket in the calling thread's network namespace.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Sends all requests at once and waits for all answers; the first refusal is the error.
    pub(crate) fn run(&mut self, requests: Vec<Request>) -> io::Result<()> {
        let mut bytes = Vec::new();
        let mut names = Vec::new();
        for request in requests {
            self.sequence += 1;
            let mut message = NetlinkMessage::from(request.message);
            message.header.flags = NLM_F_REQUEST | NLM_F_ACK;
            if request.create {
                message.header.flags |= NLM_F_CREATE | NLM_F_EXCL;
            }
            message.header.sequence_number = self.sequence;
            message.finalize();
            let start = bytes.len();
            bytes.resize(start + message.buffer_len(), 0);
            message.serialize(&mut bytes[start..]);
            names.push((self.sequence, request.what));
        }
        self.socket.send(&bytes, 0)?;
        let mut first = Ok(());
        while !names.is_empty() {
            let (answer, _) = self.socket.recv_from_full()?;
            let mut rest = &answer[..];
            while rest.len() >= 16 {
                let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                    .map_err(|err| io::Error::other(err.to_string()))?;
                let length = usize::try_from(message.header.length).unwrap_or(usize::MAX);
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
                let sequence = message.header.sequence_number;
                let Some(at) = names.iter().position(|(number, _)| *number == sequence) else {
                    continue;
                };
                let (_, what) = names.remove(at);
                if let NetlinkPayload::Error(err) = message.payload
                    && err.code.is_some()
                    && first.is_ok()
                {
                    let err = err.to_io();
                    first = Err(io::Error::new(err.kind(), format!("{what}: {err}")));
                }
            }
        }
        first
    }
}

/// The index of a link in the calling thread's network namespace.
pub(crate) fn link_index(name: &str) -> io::Result<u32> {
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        None,
    )?;
    rustix::net::netdevice::name_to_index(socket, name).map_err(|err| match err {
        rustix::io::Errno::NODEV => err.into(),
        err => io::Error::new(err.kind(), format!("link `{name}`: {err}")),
    })
}

fn link(attributes: Vec<LinkAttribute>, what: String) -> Request {
    let mut message = LinkMessage::default();
    message.attributes = attributes;
    Request { message: RouteNetlinkMessage::NewLink(message), create: true, what }
}

/// A bridge with a MAC address of its own: without one it would take the lowest of its ports' and
/// change it as ports come and go, while instances go on sending to the one that they know.
pub(crate) fn add_bridge(name: &str, mac: [u8; 6]) -> Request {
    let attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Address(mac.to_vec()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
    ];
    link(attributes, format!("add bridge `{name}`"))
}

/// A pair of links: one end here (on a bridge, if given), the other in `peer_namespace`.
pub(crate) fn add_veth(
    name: &str,
    bridge: Option<u32>,
    peer: &str,
    peer_mac: Option<[u8; 6]>,
    peer_namespace: BorrowedFd<'_>,
) -> Request {
    let mut other = LinkMessage::default();
    // The peer is set up later: it cannot come up before this end exists (ENOTCONN).
    other.attributes = vec![
        LinkAttribute::IfName(peer.to_owned()),
        LinkAttribute::NetNsFd(peer_namespace.as_raw_fd()),
    ];
    other.attributes.extend(peer_mac.map(|mac| LinkAttribute::Address(mac.to_vec())));
    let mut attributes = vec![LinkAttribute::IfName(name.to_owned())];
    attributes.extend(bridge.map(LinkAttribute::Controller));
    attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(other))),
    ]));
    let mut message = LinkMessage::default();
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message.attributes = attributes;
    Request {
        message: RouteNetlinkMessage::NewLink(message),
        create: true,
        what: format!("add link `{name}`"),
    }
}

/// Brings a link up.
pub(crate) fn set_up(index: u32) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    let message = RouteNetlinkMessage::SetLink(message);
    Request { message, create: false, what: format!("bring link {index} up") }
}

/// Takes a link down.
pub(crate) fn set_down(index: u32) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.change_mask = LinkFlags::Up;
    let message = RouteNetlinkMessage::SetLink(message);
    Request { message, create: false, what: format!("take link {index} down") }
}

/// Takes a link that is down off its bridge and gives it another name.
pub(crate) fn set_aside(index: u32, name: &str) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = vec![LinkAttribute::Controller(0), LinkAttribute::IfName(name.to_owned())];
    let message = RouteNetlinkMessage::SetLink(message);
    Request { message, create: false, what: format!("set link {index} aside") }
}

/// Removes a link with its peer.
pub(crate) fn delete_link(index: u32) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = index;
    let message = RouteNetlinkMessage::DelLink(message);
    Request { message, create: false, what: format!("delete link {index}") }
}

/// Refuses what would go to `network` and has no closer route.
pub(crate) fn add_prohibition((network, prefix_bits): (Ipv4Addr, u8)) -> Request {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.kind = RouteType::Prohibit;
    message.header.scope = RouteScope::Universe;
    message.header.destination_prefix_length = prefix_bits;
    message.attributes.push(RouteAttribute::Destination(RouteAddress::Inet(network)));
    let what = format!("keep {network}/{prefix_bits} away");
    Request { message: RouteNetlinkMessage::NewRoute(message), create: true, what }
}

/// Gives a link an address.
pub(crate) fn add_address(index: u32, address: Ipv4Addr, prefix_bits: u8) -> Request {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.index = index;
    message.header.prefix_len = prefix_bits;
    message.attributes =
        vec![AddressAttribute::Local(address.into()), AddressAttribute::Address(address.into())];
    let message = RouteNetlinkMessage::NewAddress(message);
    Request { message, create: true, what: format!("add address {address}") }
}

/// A route: destination (`None` is the default route), gateway and link.
pub(crate) fn add_route(
    to: Option<(Ipv4Addr, u8)>,
    gateway: Option<Ipv4Addr>,
    index: u32,
    source: Option<Ipv4Addr>,
) -> Request {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.kind = RouteType::Unicast;
    message.header.scope = if gateway.is_some() { RouteScope::Universe } else { RouteScope::Link };
    if let Some((network, prefix_bits)) = to {
        message.header.destination_prefix_length = prefix_bits;
        message.attributes.push(RouteAttribute::Destination(RouteAddress::Inet(network)));
    }
    if let Some(gateway) = gateway {
        message.header.flags = RouteFlags::Onlink;
        message.attributes.push(RouteAttribute::Gateway(RouteAddress::Inet(gateway)));
    }
    if let Some(source) = source {
        message.attributes.push(RouteAttribute::PrefSource(RouteAddress::Inet(source)));
    }
    message.attributes.push(RouteAttribute::Oif(index));
    Request {
        message: RouteNetlinkMessage::NewRoute(message),
        create: true,
        what: match to {
            Some((network, bits)) => format!("add route to {network}/{bits}"),
            None => "add default route".to_owned(),
        },
    }
}

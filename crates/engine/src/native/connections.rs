//! TCP connections that others have opened to an instance, as the kernel knows them in the
//! instance's own network namespace: who they come from does not matter.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::net::SocketAddr;

use brickyard_sys::namespace::enter_network;
use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{
    AF_INET, AF_INET6, IPPROTO_TCP, TCP_CLOSE_WAIT, TCP_ESTABLISHED, TCP_LISTEN,
};
use netlink_packet_sock_diag::inet::nlas::Nla;
use netlink_packet_sock_diag::inet::{
    ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags,
};
use netlink_sys::{Socket, SocketAddr as NetlinkAddress, protocols::NETLINK_SOCK_DIAG};

use super::network::on_own_thread;
use crate::Connection;

/// Lists the connections to ports that are listened on in a network namespace.
pub(crate) fn inbound(namespace: &File) -> io::Result<Vec<Connection>> {
    on_own_thread(|| {
        enter_network(namespace)?;
        let mut sockets = dump(AF_INET, SocketId::new_v4())?;
        sockets.extend(dump(AF_INET6, SocketId::new_v6())?);
        let listened: BTreeSet<u16> = sockets
            .iter()
            .filter(|socket| socket.header.state == TCP_LISTEN)
            .map(|socket| socket.header.socket_id.source_port)
            .collect();
        let is_inbound = |socket: &&InetResponse| {
            socket.header.state != TCP_LISTEN
                && listened.contains(&socket.header.socket_id.source_port)
        };
        Ok(sockets.iter().filter(is_inbound).map(connection).collect())
    })
}

fn connection(socket: &InetResponse) -> Connection {
    let (header, id) = (&socket.header, &socket.header.socket_id);
    let info = socket.nlas.iter().find_map(|nla| match nla {
        Nla::TcpInfo(info) => Some(info),
        _ => None,
    });
    Connection {
        peer: SocketAddr::new(id.destination_address.to_canonical(), id.destination_port),
        port: id.source_port,
        is_open: [TCP_ESTABLISHED, TCP_CLOSE_WAIT].contains(&header.state),
        queued_bytes: u64::from(header.recv_queue) + u64::from(header.send_queue),
        received_bytes: info.map_or(0, |info| info.bytes_received),
        sent_bytes: info.map_or(0, |info| info.bytes_sent),
        received_ago_ms: info.map_or(0, |info| u64::from(info.last_data_recv)),
        sent_ago_ms: info.map_or(0, |info| u64::from(info.last_data_sent)),
    }
}

fn dump(family: u8, socket_id: SocketId) -> io::Result<Vec<InetResponse>> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&NetlinkAddress::new(0, 0))?;
    let request = InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::INFO,
        states: StateFlags::LISTEN
            | StateFlags::ESTABLISHED
            | StateFlags::CLOSE_WAIT
            | StateFlags::FIN_WAIT1
            | StateFlags::CLOSING
            | StateFlags::LAST_ACK,
        socket_id,
    };
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let mut found = Vec::new();
    loop {
        let (answer, _) = socket.recv_from_full()?;
        let mut rest = &answer[..];
        while rest.len() >= 16 {
            let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest)
                .map_err(|err| io::Error::other(err.to_string()))?;
            let length = usize::try_from(message.header.length).unwrap_or(usize::MAX);
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(found),
                NetlinkPayload::Error(err) => return Err(err.to_io()),
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(socket)) => {
                    found.push(*socket);
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn connections_tell_whose_turn_it_is() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let here = File::open("/proc/thread-self/ns/net").unwrap();
        let list = || {
            let all = inbound(&here).unwrap();
            all.into_iter().filter(|one| one.port == at.port()).collect::<Vec<_>>()
        };
        assert_eq!(list(), []);
        let mut client = TcpStream::connect(at).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let one = list().pop().unwrap();
        assert_eq!((one.peer, one.is_open), (client.local_addr().unwrap(), true));
        assert_eq!((one.received_bytes, one.sent_bytes, one.queued_bytes), (0, 0, 0));
        client.write_all(b"question").unwrap();
        // Loopback delivers before the call returns.
        assert_eq!(list()[0].queued_bytes, 8);
        server.read_exact(&mut [0; 8]).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        server.write_all(b"answer").unwrap();
        client.read_exact(&mut [0; 6]).unwrap();
        let one = list().pop().unwrap();
        assert_eq!((one.received_bytes, one.sent_bytes, one.queued_bytes), (8, 6, 0));
        assert!(one.sent_ago_ms < one.received_ago_ms, "{one:?}");
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(list()[0].is_open, "who has asked may still be answered");
        drop((client, server));
        assert_eq!(list(), []);
    }
}

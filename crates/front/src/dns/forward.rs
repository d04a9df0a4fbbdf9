//! Asking the host's name servers, from the host's own namespace.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::answer::Transport;

/// The host's resolver configuration.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// How long all name servers together may take: less than the 5 s after which libc asks again.
const DEADLINE: Duration = Duration::from_secs(2);
/// As libc: further ones are not asked.
const SERVERS_MAX: usize = 3;
/// The longest answer over UDP.
const PACKET_BYTES: usize = 64 << 10;
const DNS_PORT: u16 = 53;

/// The name servers that the host uses at this moment. The file changes when a laptop moves, so
/// it is read each time; it is small.
pub(super) fn host_servers() -> Vec<SocketAddr> {
    std::fs::read_to_string(RESOLV_CONF).map_or_else(|_| Vec::new(), |text| servers(&text))
}

fn servers(text: &str) -> Vec<SocketAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        let address: IpAddr =
            (words.next()? == "nameserver").then(|| words.next())??.parse().ok()?;
        Some(SocketAddr::new(address, DNS_PORT))
    };
    text.lines().filter_map(server).take(SERVERS_MAX).collect()
}

/// The answer of the first server that answers.
pub(super) async fn ask(
    servers: &[SocketAddr],
    packet: &[u8],
    transport: Transport,
) -> Option<Vec<u8>> {
    let share = DEADLINE / u32::try_from(servers.len().max(1)).unwrap_or(u32::MAX);
    for server in servers {
        let asked = async {
            match transport {
                Transport::Udp => ask_udp(*server, packet).await,
                Transport::Tcp => ask_tcp(*server, packet).await,
            }
        };
        match timeout(share, asked).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(err)) => tracing::debug!("name server {server}: {err}"),
            Err(_) => tracing::debug!("name server {server}: it took too long"),
        }
    }
    None
}

async fn ask_udp(server: SocketAddr, packet: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // A port of its own for each query, and connected: only the server can answer it.
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(packet).await?;
    let mut answer = vec![0; PACKET_BYTES];
    loop {
        let length = socket.recv(&mut answer).await?;
        if answer[..length].get(..2) == packet.get(..2) {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

async fn ask_tcp(server: SocketAddr, packet: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    write_framed(&mut stream, packet).await?;
    read_framed(&mut stream).await
}

/// Writes a message as DNS over TCP does: after its length.
pub(super) async fn write_framed(stream: &mut TcpStream, packet: &[u8]) -> io::Result<()> {
    let length = u16::try_from(packet.len()).map_err(io::Error::other)?;
    let mut framed = Vec::with_capacity(packet.len() + 2);
    framed.extend(length.to_be_bytes());
    framed.extend(packet);
    stream.write_all(&framed).await
}

/// Reads a message as DNS over TCP does: after its length.
pub(super) async fn read_framed(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut packet = vec![0; usize::from(length)];
    stream.read_exact(&mut packet).await?;
    Ok(packet)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name server that answers each packet with itself, twice.
    async fn doubling() -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut packet = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut packet).await {
                // A stray answer with another id comes first.
                let _ = socket.send_to(b"xx", client).await;
                let _ = socket.send_to(&packet[..length].repeat(2), client).await;
            }
        });
        address
    }

    #[test]
    fn name_servers_are_read_as_libc_does() {
        let text = "# a comment\nsearch example.com\nnameserver 192.0.2.1\n nameserver ::1 # two\n\
                    nameserver\nnameserver what\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n";
        let expected = ["192.0.2.1:53", "[::1]:53", "192.0.2.3:53"];
        assert_eq!(servers(text), expected.map(|server| server.parse().unwrap()));
    }

    #[tokio::test]
    async fn the_next_server_is_asked_when_one_is_silent() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let servers = [silent.local_addr().unwrap(), doubling().await];
        let answer = ask(&servers, b"query", Transport::Udp).await;
        assert_eq!(answer.as_deref(), Some(&b"queryquery"[..]));
    }

    #[tokio::test]
    async fn nobody_answers_in_time() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let started = tokio::time::Instant::now();
        let answer = ask(&[silent.local_addr().unwrap()], b"query", Transport::Udp).await;
        assert_eq!(answer, None);
        assert!(started.elapsed() >= DEADLINE);
    }

    #[tokio::test]
    async fn a_query_that_came_over_tcp_goes_over_tcp() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let packet = read_framed(&mut stream).await.unwrap();
            write_framed(&mut stream, &packet.repeat(2)).await.unwrap();
        });
        let answer = ask(&[server], b"query", Transport::Tcp).await;
        assert_eq!(answer.as_deref(), Some(&b"queryquery"[..]));
    }
}

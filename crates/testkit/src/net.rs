//! Ports that no other test uses, and a small HTTP client.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use camino::Utf8Path;

/// Where claims on ports lie, for all tests of this machine.
const CLAIMS: &str = "/tmp/brickyard-testkit-ports";
/// Claimable ports: below the kernel's range for outgoing connections, which begins at 32768.
const PORTS: std::ops::Range<u16> = 21_000..29_000;
/// How long one exchange may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A port that is this test's alone while the claim lives.
#[derive(Debug)]
pub struct Claim {
    /// The port.
    pub port: u16,
    _lock: File,
}

/// Claims a free TCP port.
///
/// # Panics
/// When none is free.
#[must_use]
pub fn claim_port() -> Claim {
    std::fs::create_dir_all(CLAIMS).expect("/tmp is writable");
    let count = usize::from(PORTS.end - PORTS.start);
    // Tests that begin at once begin at different ports.
    let first = std::process::id() as usize * 101 % count;
    let claimed = PORTS
        .cycle_from(first)
        .find_map(|port| claim(port).map(|lock| Claim { port, _lock: lock }));
    claimed.expect("some port of thousands is free")
}

trait CycleFrom {
    fn cycle_from(self, first: usize) -> impl Iterator<Item = u16>;
}

impl CycleFrom for std::ops::Range<u16> {
    fn cycle_from(self, first: usize) -> impl Iterator<Item = u16> {
        let count = self.len();
        self.cycle().skip(first).take(count)
    }
}

fn claim(port: u16) -> Option<File> {
    let lock = File::create(Utf8Path::new(CLAIMS).join(port.to_string())).ok()?;
    lock.try_lock().ok()?;
    TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).ok()?;
    Some(lock)
}

/// `GET`s a page of 127.0.0.1; its status and body.
///
/// # Errors
/// When nobody listens, or the answer is none.
pub fn get(port: u16, path: &str) -> io::Result<(u16, String)> {
    ask(port, "GET", path)
}

/// Asks 127.0.0.1 with a method and without a body; status and body of the answer.
///
/// # Errors
/// When nobody listens, or the answer is none.
pub fn ask(port: u16, method: &str, path: &str) -> io::Result<(u16, String)> {
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = TcpStream::connect_timeout(&at, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    exchange(stream, method, path)
}

/// `POST`s JSON to 127.0.0.1; status and body of the answer.
///
/// # Errors
/// When nobody listens, or the answer is none.
pub fn post(port: u16, path: &str, body: &str) -> io::Result<(u16, String)> {
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = TcpStream::connect_timeout(&at, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let length = body.len();
    let head = format!("Content-Type: application/json\r\nContent-Length: {length}\r\n");
    exchange_with(stream, "POST", path, &head, body)
}

/// `GET`s a page of a server on a unix socket; its status and body.
///
/// # Errors
/// When nobody listens, or the answer is none.
pub fn get_unix(socket: &Utf8Path, path: &str) -> io::Result<(u16, String)> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    exchange(stream, "GET", path)
}

fn exchange(stream: impl Read + Write, method: &str, path: &str) -> io::Result<(u16, String)> {
    exchange_with(stream, method, path, "", "")
}

fn exchange_with(
    mut stream: impl Read + Write,
    method: &str,
    path: &str,
    head: &str,
    body: &str,
) -> io::Result<(u16, String)> {
    // HTTP/1.0: the server closes at the end, and never chunks.
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: test\r\n{head}\r\n{body}")?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) =
        text.split_once("\r\n\r\n").ok_or_else(|| io::Error::other("the answer has no header"))?;
    let status = head
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok())
        .ok_or_else(|| io::Error::other("the answer has no status"))?;
    Ok((status, body.to_owned()))
}

//! Connections to one of several servers, plain or with TLS.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::tls::plain;
use crate::{Error, Result};

/// What a connection is.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

impl Address {
    /// Reads `HOST`, `HOST:PORT`, `[HOST]:PORT` or the path of a socket; the error says what is wrong.
    pub(crate) fn parse(text: &str, default_port: u16) -> Result<Self, &'static str> {
        if text.starts_with('/') {
            return Ok(Self::Unix(text.into()));
        }
        let (host, port) = match text.rsplit_once(':') {
            // The last colon of an address in brackets may be one of its own.
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (text, None),
        };
        let port = port.map_or(Ok(default_port), str::parse);
        let port = port.map_err(|_| "the port is no number")?;
        match host.trim_matches(['[', ']']) {
            "" => Err("there is no host"),
            host => Ok(Self::Tcp { host: host.to_owned(), port }),
        }
    }
}

/// Dials servers that are alike, one after another until one answers.
#[derive(Debug)]
pub(crate) struct Dialer {
    addresses: Vec<Address>,
    tls: Option<Arc<ClientConfig>>,
    /// How long all of them together may take.
    limit: Duration,
    /// Which of them is dialed first.
    first: AtomicUsize,
}

impl Dialer {
    pub(crate) fn new(addresses: Vec<Address>, tls: Option<ClientConfig>, limit: Duration) -> Self {
        Self { addresses, tls: tls.map(Arc::new), limit, first: AtomicUsize::new(0) }
    }

    /// Has another server dialed first from now on, as this one is of no use.
    pub(crate) fn pass_on(&self) {
        self.first.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection to the first server that answers. The next ones begin with it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with what each of them said.
    pub(crate) async fn dial(&self) -> Result<Box<dyn Stream>> {
        let count = self.addresses.len();
        let (mut nodes, mut reasons) = (Vec::new(), Vec::new());
        let limit = self.limit / u32::try_from(count.max(1)).unwrap_or(u32::MAX);
        for _ in 0..count {
            let Some(address) = self.addresses.get(self.first.load(Ordering::Relaxed) % count)
            else {
                break;
            };
            let reason = match timeout(limit, self.reach(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(err)) => plain(&err),
                Err(_) => format!("no connection within {limit:?}"),
            };
            self.pass_on();
            nodes.push(match address {
                Address::Tcp { host, port } => format!("{host}:{port}"),
                Address::Unix(path) => path.display().to_string(),
            });
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
        Err(Error::Unavailable { node: nodes.join(", "), reason: reasons.join("; ") })
    }

    async fn reach(&self, address: &Address) -> std::io::Result<Box<dyn Stream>> {
        let (host, port) = match address {
            Address::Unix(path) => return Ok(Box::new(UnixStream::connect(path).await?)),
            Address::Tcp { host, port } => (host, *port),
        };
        let stream = TcpStream::connect((host.as_str(), port)).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(host.clone()).map_err(std::io::Error::other)?;
        let secured = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?;
        Ok(Box::new(secured))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        let tcp = |host: &str, port| Ok(Address::Tcp { host: host.to_owned(), port });
        assert_eq!(Address::parse("db", 6379), tcp("db", 6379));
        assert_eq!(Address::parse("db:1", 6379), tcp("db", 1));
        assert_eq!(Address::parse("[::1]:1", 6379), tcp("::1", 1));
        assert_eq!(Address::parse("[::1]", 6379), tcp("::1", 6379));
        assert_eq!(Address::parse("/run/r", 6379), Ok(Address::Unix("/run/r".into())));
        assert_eq!(Address::parse("db:x", 6379), Err("the port is no number"));
        assert_eq!(Address::parse(":1", 6379), Err("there is no host"));
    }
}

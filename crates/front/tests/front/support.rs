//! A front run in this process, and backends that say who they are.

use std::net::SocketAddr;
use std::time::Duration;

use brickyard_front::process::{Ended, ServeError, serve};
use brickyard_front::{Ack, Client, Listener, Snapshot};
use camino::Utf8Path;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A yard's root with its front.
pub(crate) struct Yard {
    directory: TempDir,
    stop: CancellationToken,
    front: Option<JoinHandle<Result<Ended, ServeError>>>,
}

impl Yard {
    pub(crate) async fn new() -> Self {
        let mut yard = Self {
            directory: tempfile::tempdir().unwrap(),
            stop: CancellationToken::new(),
            front: None,
        };
        yard.start().await;
        yard
    }

    pub(crate) fn root(&self) -> &Utf8Path {
        Utf8Path::from_path(self.directory.path()).unwrap()
    }

    pub(crate) async fn start(&mut self) {
        let root = self.root().to_owned();
        self.stop = CancellationToken::new();
        let stop = self.stop.clone();
        self.front = Some(tokio::spawn(async move { serve(&root, stop).await }));
        let socket = self.root().join("front.sock");
        until("the front listens", || {
            let socket = socket.clone();
            async move { tokio::net::UnixStream::connect(socket).await.is_ok() }
        })
        .await;
    }

    /// How the front ended by itself.
    pub(crate) async fn ended(&mut self) -> Ended {
        let front = self.front.take().unwrap();
        tokio::time::timeout(DEADLINE, front).await.unwrap().unwrap().unwrap()
    }

    pub(crate) async fn stop(&mut self) -> Ended {
        self.stop.cancel();
        self.ended().await
    }

    pub(crate) async fn tell(&self, snapshot: &Snapshot) -> Ack {
        Client::new(self.root()).publish(snapshot).await.unwrap()
    }

    /// Tells a snapshot with these ports alone, and expects no problem.
    pub(crate) async fn publish(&self, version: u64, listeners: &[Listener]) {
        let ack = self.tell(&snapshot(version, listeners)).await;
        assert_eq!(ack, Ack { version, problems: Vec::new() });
    }
}

pub(crate) fn snapshot(version: u64, listeners: &[Listener]) -> Snapshot {
    Snapshot { version, listeners: listeners.to_vec(), zones: Vec::new() }
}

pub(crate) fn listener(listen: SocketAddr, backends: &[SocketAddr]) -> Listener {
    Listener { listen, owner: "/father/dev/web".to_owned(), backends: backends.to_vec() }
}

/// Waits for a state.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "waited too long: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// An address that nothing listens on.
pub(crate) fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A backend that greets with its name, one byte, and then sends back what it gets until the
/// other end is done, after which it says `.`.
pub(crate) async fn backend(name: u8) -> SocketAddr {
    backend_at("127.0.0.1:0".parse().unwrap(), name).await
}

pub(crate) async fn backend_at(listen: SocketAddr, name: u8) -> SocketAddr {
    let listener = TcpListener::bind(listen).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                stream.write_all(&[name]).await?;
                let (mut reader, mut writer) = stream.split();
                tokio::io::copy(&mut reader, &mut writer).await?;
                stream.write_all(b".").await
            });
        }
    });
    address
}

/// A connection through the front, and the name of the backend behind it.
pub(crate) async fn greeted(listen: SocketAddr) -> (TcpStream, u8) {
    let mut stream = TcpStream::connect(listen).await.unwrap();
    let name = tokio::time::timeout(DEADLINE, stream.read_u8()).await.unwrap().unwrap();
    (stream, name)
}

/// Whether the connection still carries bytes there and back.
pub(crate) async fn assert_alive(stream: &mut TcpStream) {
    stream.write_all(b"ping").await.unwrap();
    let mut answer = [0; 4];
    tokio::time::timeout(DEADLINE, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"ping");
}

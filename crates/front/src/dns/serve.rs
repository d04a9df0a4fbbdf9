//! The sockets of a zone, opened inside its network namespace.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::answer::{Answer, Table, Transport, answer};
use super::forward;
use crate::Zone;

const DNS_PORT: u16 = 53;
/// The longest query that is read; real ones have less than 300 bytes.
const QUERY_BYTES_MAX: usize = 4096;
/// Queries of a zone that wait for other servers; further ones are dropped and asked again.
const FORWARDED_MAX: usize = 256;
/// Connections of a zone; further ones wait.
const CONNECTIONS_MAX: usize = 64;
/// How long a connection may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Pause after an error of a socket, so that one that stays does not spin.
const ERROR_PAUSE: Duration = Duration::from_millis(20);

/// A zone that is being served.
pub(crate) struct ServedZone {
    path: Utf8PathBuf,
    identity: Identity,
    table: watch::Sender<Arc<Table>>,
    names: std::sync::Mutex<BTreeMap<String, Vec<Ipv4Addr>>>,
    tasks: JoinSet<()>,
}

/// Device and inode of a namespace.
type Identity = (u64, u64);

impl ServedZone {
    /// Opens a zone's sockets in its namespace and serves them.
    ///
    /// # Errors
    /// When the namespace cannot be entered or the address cannot be listened on.
    pub(crate) async fn open(zone: &Zone) -> io::Result<Self> {
        let namespace = File::open(&zone.namespace)?;
        let metadata = namespace.metadata()?;
        let sockets = open_inside(namespace, zone.listen).await?;
        let shared = Arc::new(Shared {
            table: watch::channel(Arc::new(Table::new(&zone.names))).0,
            turn: AtomicUsize::new(0),
            forwarded: Arc::new(Semaphore::new(FORWARDED_MAX)),
        });
        let table = shared.table.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_udp(Arc::new(UdpSocket::from_std(sockets.udp)?), Arc::clone(&shared)));
        tasks.spawn(serve_tcp(TcpListener::from_std(sockets.tcp)?, shared));
        Ok(Self {
            path: zone.namespace.clone(),
            identity: (metadata.dev(), metadata.ino()),
            table,
            names: std::sync::Mutex::new(zone.names.clone()),
            tasks,
        })
    }

    /// Whether the namespace at the path is still the one that was entered.
    pub(crate) fn is_current(&self) -> bool {
        identity(&self.path).is_ok_and(|identity| identity == self.identity)
    }

    /// Changes the names.
    pub(crate) fn set_names(&self, names: &BTreeMap<String, Vec<Ipv4Addr>>) {
        let mut current = self.names.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if *current != *names {
            names.clone_into(&mut current);
            self.table.send_replace(Arc::new(Table::new(names)));
        }
    }

    /// Closes the sockets, which lets go of the namespace.
    pub(crate) async fn close(mut self) {
        self.tasks.shutdown().await;
    }
}

fn identity(path: &Utf8Path) -> io::Result<Identity> {
    let metadata = std::fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

struct Sockets {
    udp: std::net::UdpSocket,
    tcp: std::net::TcpListener,
}

/// Sockets stay in the namespace in which they were made, so a thread that ends at once will do.
/// It must not be one of the runtime's: it could never come back.
async fn open_inside(namespace: File, listen: Ipv4Addr) -> io::Result<Sockets> {
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new().name("namespace".to_owned()).spawn(move || {
        let opened = brickyard_sys::namespace::enter_network(&namespace).and_then(|()| {
            let at = SocketAddr::from((listen, DNS_PORT));
            let udp = std::net::UdpSocket::bind(at)?;
            let tcp = std::net::TcpListener::bind(at)?;
            udp.set_nonblocking(true)?;
            tcp.set_nonblocking(true)?;
            Ok(Sockets { udp, tcp })
        });
        // Nobody waits any more when the front is on its way out.
        let _ = sender.send(opened);
    })?;
    receiver.await.map_err(io::Error::other)?
}

/// What the tasks of a zone share.
struct Shared {
    table: watch::Sender<Arc<Table>>,
    turn: AtomicUsize,
    forwarded: Arc<Semaphore>,
}

impl Shared {
    fn answer(&self, packet: &[u8], transport: Transport) -> Answer {
        let table = Arc::clone(&self.table.borrow());
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        answer(packet, &table, turn, transport)
    }
}

async fn serve_udp(socket: Arc<UdpSocket>, shared: Arc<Shared>) {
    // Dropped with this task, and so are the queries that wait.
    let mut waiting = JoinSet::new();
    let mut buffer = vec![0; QUERY_BYTES_MAX];
    loop {
        while waiting.try_join_next().is_some() {}
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(err) => {
                tracing::debug!("failed to receive a query: {err}");
                sleep(ERROR_PAUSE).await;
                continue;
            }
        };
        let packet = &buffer[..length];
        match shared.answer(packet, Transport::Udp) {
            Answer::Nothing => {}
            Answer::Reply(bytes) => send(&socket, &bytes, client).await,
            Answer::Forward { unanswered, nobody } => {
                if let Ok(slot) = Arc::clone(&shared.forwarded).try_acquire_owned() {
                    let query = Query { packet: packet.to_vec(), unanswered, nobody };
                    let socket = Arc::clone(&socket);
                    waiting.spawn(async move {
                        let bytes = query.ask(Transport::Udp, slot).await;
                        send(&socket, &bytes, client).await;
                    });
                }
            }
        }
    }
}

async fn send(socket: &UdpSocket, bytes: &[u8], client: SocketAddr) {
    if let Err(err) = socket.send_to(bytes, client).await {
        tracing::debug!("failed to answer {client}: {err}");
    }
}

/// A query for other servers.
struct Query {
    packet: Vec<u8>,
    unanswered: Vec<u8>,
    nobody: Vec<u8>,
}

impl Query {
    async fn ask(self, transport: Transport, _slot: OwnedSemaphorePermit) -> Vec<u8> {
        let servers = forward::host_servers();
        if servers.is_empty() {
            return self.nobody;
        }
        forward::ask(&servers, &self.packet, transport).await.unwrap_or(self.unanswered)
    }
}

async fn serve_tcp(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= CONNECTIONS_MAX {
            connections.join_next().await;
        }
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(converse(stream, Arc::clone(&shared)));
            }
            Err(err) => {
                tracing::debug!("failed to accept: {err}");
                sleep(ERROR_PAUSE).await;
            }
        }
    }
}

async fn converse(mut stream: TcpStream, shared: Arc<Shared>) {
    while let Ok(Ok(packet)) = timeout(SILENCE_MAX, forward::read_framed(&mut stream)).await {
        let bytes = match shared.answer(&packet, Transport::Tcp) {
            Answer::Nothing => return,
            Answer::Reply(bytes) => bytes,
            Answer::Forward { unanswered, nobody } => {
                let Ok(slot) = Arc::clone(&shared.forwarded).try_acquire_owned() else {
                    return;
                };
                let query = Query { packet, unanswered, nobody };
                query.ask(Transport::Tcp, slot).await
            }
        };
        let sent = timeout(SILENCE_MAX, forward::write_framed(&mut stream, &bytes)).await;
        if !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}

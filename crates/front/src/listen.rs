//! A published port: accepts, connects to a backend and passes bytes both ways.
//!
//! Closing a port stops accepting; its connections run on until one of their ends closes them.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::balance::Balance;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;
/// Simultaneous connections of one port; more wait in the backlog.
const CONNECTIONS_MAX: usize = 16 << 10;
/// How long one attempt to connect may take. Backends are on this machine and answer within a
/// millisecond; a first packet that is lost, as to one that is just being started again, would be
/// sent anew by the kernel only after a second.
const CONNECT_DEADLINE: Duration = Duration::from_millis(250);
/// How long a connection waits for a backend, as while an instance is stopped and started again.
const BACKEND_PATIENCE: Duration = Duration::from_secs(5);
/// Pause before backends that all failed are tried again.
const CONNECT_PAUSE: Duration = Duration::from_millis(50);
/// Pause when the process has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// Bytes in flight in each direction of a connection.
const BUFFER_BYTES: usize = 16 << 10;
/// Silence after which the kernel asks whether the other end is still there. An instance whose
/// network went away with it says no goodbye.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_PERIOD: Duration = Duration::from_secs(10);
const KEEPALIVE_COUNT: u32 = 3;

/// An open port.
pub(crate) struct Published {
    balance: Arc<Balance>,
    stop: CancellationToken,
    accepting: JoinHandle<()>,
}

impl Published {
    /// Opens a port.
    ///
    /// # Errors
    /// As `bind(2)` and `listen(2)`.
    pub(crate) fn open(listen: SocketAddr, backends: &[SocketAddr]) -> io::Result<Self> {
        let listener = bind(listen)?;
        let balance = Arc::new(Balance::new(backends));
        let stop = CancellationToken::new();
        let accepting = tokio::spawn(accept(listener, Arc::clone(&balance), stop.clone()));
        Ok(Self { balance, stop, accepting })
    }

    /// Changes where connections to come go.
    pub(crate) fn set_backends(&self, backends: &[SocketAddr]) {
        self.balance.set(backends);
    }

    /// Stops accepting; the address is free when this returns.
    pub(crate) async fn close(self) {
        self.stop.cancel();
        if let Err(err) = self.accepting.await {
            tracing::error!("accepting ended badly: {err}");
        }
    }
}

fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    let socket = match listen {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => {
            let socket = TcpSocket::new_v6()?;
            // `[::]` and `0.0.0.0` are published side by side.
            sockopt::set_ipv6_v6only(socket.as_fd(), true)?;
            socket
        }
    };
    socket.set_reuseaddr(true)?;
    socket.bind(listen)?;
    socket.listen(BACKLOG)
}

async fn accept(listener: TcpListener, balance: Arc<Balance>, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let next = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, listener.accept().await)
        };
        // Both arms are cancel safe: a slot that is dropped is free again.
        let (slot, accepted) = tokio::select! {
            () = stop.cancelled() => return,
            next = next => next,
        };
        match accepted {
            Ok((client, _)) => {
                let balance = Arc::clone(&balance);
                tokio::spawn(async move {
                    relay(client, &balance).await;
                    drop(slot);
                });
            }
            // The connection is gone already (ECONNABORTED) or there are no descriptors (EMFILE);
            // in both cases the next one comes.
            Err(err) => {
                tracing::warn!("failed to accept: {err}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn relay(mut client: TcpStream, balance: &Balance) {
    let Some(mut backend) = connect(balance).await else {
        return;
    };
    for stream in [&client, &backend] {
        if let Err(err) = prepare(stream) {
            tracing::debug!("failed to set options of a connection: {err}");
        }
    }
    // A connection that breaks is the business of its two ends.
    let _ = tokio::io::copy_bidirectional_with_sizes(
        &mut client,
        &mut backend,
        BUFFER_BYTES,
        BUFFER_BYTES,
    )
    .await;
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_PERIOD)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_COUNT)?;
    Ok(())
}

/// A connection to the first backend that answers; `None` when none does in time.
async fn connect(balance: &Balance) -> Option<TcpStream> {
    let deadline = Instant::now() + BACKEND_PATIENCE;
    let mut changes = balance.subscribe();
    loop {
        changes.mark_unchanged();
        let candidates = balance.candidates();
        for backend in &candidates {
            match timeout(CONNECT_DEADLINE, TcpStream::connect(backend)).await {
                Ok(Ok(stream)) => return Some(stream),
                Ok(Err(err)) => tracing::debug!("backend {backend}: {err}"),
                Err(_) => tracing::debug!("backend {backend}: it took too long"),
            }
            balance.failed(*backend);
        }
        let changed = changes.changed();
        if candidates.is_empty() {
            timeout_at(deadline, changed).await.ok()?.ok()?;
        } else {
            // One that restarts in place keeps its address, so no change would tell.
            let _ = timeout(CONNECT_PAUSE, changed).await;
            if Instant::now() > deadline {
                return None;
            }
        }
    }
}

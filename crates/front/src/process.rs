//! The front's process: the only one of its yard, told by snapshots over a socket.
//!
//! *Expected flow*: lock, serve the persisted snapshot, listen on the socket; for each snapshot
//! persist it, bring it into force, acknowledge it. *Guarantees*: what was acknowledged is served
//! again after a crash. *Assumptions*: the root is a directory that only its owner can write to.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::FlockOperation;
use rustix::process::Resource;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::state::State;
use crate::{Ack, LOCK, SNAPSHOT, SOCKET, Snapshot};

/// Relaying is mostly waiting; two threads keep a slow lookup from delaying connections.
const WORKER_THREADS: usize = 2;
/// How long a starting front waits for one that is on its way out.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// How often what could not be opened is tried again.
const RETRY_PERIOD: Duration = Duration::from_secs(1);
/// A snapshot of ten thousand instances has about 2 MiB.
const SNAPSHOT_BYTES_MAX: u64 = 64 << 20;
/// Agents and tools that talk to the front at a time; there is one agent.
const CONTROL_CONNECTIONS_MAX: usize = 16;

/// Why the front ended early.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The root cannot be used.
    #[error("failed to use `{path}`")]
    Root {
        /// The file that could not be used.
        path: Utf8PathBuf,
        /// The system's answer.
        #[source]
        err: io::Error,
    },
}

/// Why the front ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Another front serves this yard.
    NotNeeded,
    /// An empty snapshot said that nothing is left to serve; its files are gone.
    Empty,
    /// It was told to stop; the persisted snapshot stays for the next one.
    Stopped,
}

/// Entry of the hidden `__front` command.
#[must_use]
pub fn main(root: &Utf8Path) -> i32 {
    // All that the front makes is for its owner alone, from the first moment on.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .thread_name("front")
        .enable_all()
        .build();
    let Ok(runtime) = runtime else { return 1 };
    let ended = runtime.block_on(async {
        let stop = CancellationToken::new();
        tokio::spawn(stop_on_signal(stop.clone()));
        serve(root, stop).await
    });
    // A connection that is being relayed does not keep the process.
    runtime.shutdown_background();
    match ended {
        Ok(_) => 0,
        Err(err) => {
            tracing::error!("{err}");
            1
        }
    }
}

/// Every relayed connection has two descriptors, and the usual soft limit is 1024.
fn raise_descriptor_limit() {
    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(err) = rustix::process::setrlimit(Resource::Nofile, limit) {
        tracing::warn!("failed to raise the limit of open files: {err}");
    }
}

async fn stop_on_signal(stop: CancellationToken) {
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::hangup()),
    );
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) = signals else {
        return;
    };
    loop {
        // Cancel safe: a signal that is not taken stays pending.
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {}
        }
    }
    stop.cancel();
}

/// Serves the yard at `root` until `stop` is cancelled or an empty snapshot comes.
///
/// # Errors
/// When the files under the root cannot be made.
pub async fn serve(root: &Utf8Path, stop: CancellationToken) -> Result<Ended, ServeError> {
    let failed = |name: &str| {
        let path = root.join(name);
        |err| ServeError::Root { path, err }
    };
    let Some(_lock) = lock(root).await.map_err(failed(LOCK))? else {
        return Ok(Ended::NotNeeded);
    };
    let front = Arc::new(Front {
        root: root.to_owned(),
        state: Mutex::new(State::default()),
        ending: AtomicBool::new(false),
        empty: CancellationToken::new(),
    });
    if let Some(snapshot) = crate::snapshot::persisted(root) {
        front.state.lock().await.apply(snapshot).await;
    }
    let socket = listen(root).map_err(failed(SOCKET))?;
    let ended = front.run(&socket, &stop).await;
    // From here on a caller is refused, and starts the next front.
    drop(socket);
    front.state.lock().await.close().await;
    let _ = fs::remove_file(root.join(SOCKET));
    if ended == Ended::Empty {
        let _ = fs::remove_file(root.join(SNAPSHOT));
        let _ = fs::remove_file(root.join(format!("{SNAPSHOT}.new")));
        let _ = fs::remove_file(root.join(LOCK));
    }
    Ok(ended)
}

/// The lock, or `None` when another front answers.
async fn lock(root: &Utf8Path) -> io::Result<Option<File>> {
    let path = root.join(LOCK);
    let patience = tokio::time::Instant::now() + LOCK_PATIENCE;
    loop {
        let file =
            File::options().create(true).truncate(false).write(true).mode(0o600).open(&path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            // A front that ends removes the file: its lock would be one that nobody else sees.
            Ok(()) if is_still_at(&file, &path) => return Ok(Some(file)),
            Ok(()) => continue,
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            Err(err) => return Err(err.into()),
        }
        let answers = UnixStream::connect(root.join(SOCKET)).await.is_ok();
        if answers || tokio::time::Instant::now() > patience {
            return Ok(None);
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// Whether a front runs: it holds the lock as long as it lives.
#[must_use]
pub fn is_running(root: &Utf8Path) -> bool {
    File::open(root.join(LOCK)).is_ok_and(|file| {
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared)
            == Err(rustix::io::Errno::WOULDBLOCK)
    })
}

/// Takes away what a front left that died before it was told that nothing is left to serve. One
/// that runs is left alone.
pub fn clear(root: &Utf8Path) {
    let Ok(lock) = File::options().write(true).open(root.join(LOCK)) else {
        return;
    };
    if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
        let half_written = format!("{SNAPSHOT}.new");
        for name in [SOCKET, SNAPSHOT, &half_written, LOCK] {
            let _ = fs::remove_file(root.join(name));
        }
    }
}

fn is_still_at(file: &File, path: &Utf8Path) -> bool {
    let (Ok(open), Ok(named)) = (file.metadata(), fs::metadata(path)) else {
        return false;
    };
    (open.dev(), open.ino()) == (named.dev(), named.ino())
}

/// The holder of the lock is the only one, so a socket that is there is stale.
fn listen(root: &Utf8Path) -> io::Result<UnixListener> {
    let path = root.join(SOCKET);
    match fs::remove_file(&path) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

fn persist(root: &Utf8Path, snapshot: &Snapshot) -> io::Result<()> {
    let path = root.join(SNAPSHOT);
    let temporary = root.join(format!("{SNAPSHOT}.new"));
    let mut file =
        File::options().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
    file.write_all(&serde_json::to_vec(snapshot)?)?;
    file.sync_all()?;
    fs::rename(&temporary, &path)
}

struct Front {
    root: Utf8PathBuf,
    state: Mutex<State>,
    /// Set, under the lock of the state, by an empty snapshot: what comes later is for the next
    /// front, because this one takes its files away.
    ending: AtomicBool,
    /// Cancelled once the empty snapshot is acknowledged.
    empty: CancellationToken,
}

impl Front {
    async fn run(self: &Arc<Self>, socket: &UnixListener, stop: &CancellationToken) -> Ended {
        let slots = Arc::new(Semaphore::new(CONTROL_CONNECTIONS_MAX));
        let mut retry = tokio::time::interval(RETRY_PERIOD);
        retry.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // All arms are cancel safe: accepting and ticking lose nothing when dropped.
            tokio::select! {
                () = stop.cancelled() => return Ended::Stopped,
                () = self.empty.cancelled() => return Ended::Empty,
                _ = retry.tick() => self.state.lock().await.reconcile().await,
                accepted = socket.accept() => match accepted {
                    Ok((stream, _)) => {
                        // Over the limit, the caller is hung up on and comes again.
                        if let Ok(slot) = Arc::clone(&slots).try_acquire_owned() {
                            let front = Arc::clone(self);
                            tokio::spawn(async move {
                                if let Err(err) = front.converse(stream).await {
                                    tracing::debug!("the agent hung up: {err}");
                                }
                                drop(slot);
                            });
                        }
                    }
                    Err(_) => sleep(Duration::from_millis(50)).await,
                },
            }
        }
    }

    /// One line there, one back, until the other end hangs up.
    async fn converse(&self, stream: UnixStream) -> io::Result<()> {
        let (reader, mut writer) = stream.into_split();
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut bounded = (&mut reader).take(SNAPSHOT_BYTES_MAX);
            if bounded.read_until(b'\n', &mut line).await? == 0 {
                return Ok(());
            }
            if line.last() != Some(&b'\n') {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let snapshot: Snapshot = serde_json::from_slice(&line)?;
            let is_empty = snapshot.is_empty();
            let ack = self.accept(snapshot).await?;
            let mut answer = serde_json::to_vec(&ack)?;
            answer.push(b'\n');
            let written = writer.write_all(&answer).await;
            if is_empty {
                self.empty.cancel();
                return written;
            }
            written?;
        }
    }

    /// Persists a snapshot and brings it into force. A lower version than the one in force is as
    /// good as any: an agent that starts anew counts from 1.
    async fn accept(&self, snapshot: Snapshot) -> io::Result<Ack> {
        let version = snapshot.version;
        let mut state = self.state.lock().await;
        if self.ending.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if snapshot.is_empty() {
            self.ending.store(true, Ordering::Relaxed);
        } else if *state.snapshot() != snapshot {
            let root = self.root.clone();
            let copy = snapshot.clone();
            tokio::task::spawn_blocking(move || persist(&root, &copy))
                .await
                .map_err(io::Error::other)??;
        }
        state.apply(snapshot).await;
        Ok(Ack { version, problems: state.problems().to_vec() })
    }
}

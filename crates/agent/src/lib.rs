//! The agent: the daemon that makes what runs equal to what is wanted.
//!
//! [`run`] opens the yard, adopts what runs, serves the API on a unix socket and hands every
//! environment to a task of its own (see [`environment`]). It decides nothing itself: that is
//! `brickyard-plan`. Ending it stops no container and no published port.

#![forbid(unsafe_code)]

mod boot;
mod drain;
mod environment;
mod front_link;
pub mod images;
mod journal;
mod keys;
mod pauses;
mod ports;
mod probe;
mod server;
mod tasks;
mod yard;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use brickyard_core::clock::SystemClock;
use brickyard_core::{Address, EventKind};
use brickyard_engine::{Engine, EnvironmentKey, KnownState};
use brickyard_store::{Redb, Store};
use camino::Utf8PathBuf;

use boot::Boot;
use front_link::FrontLink;
use journal::{Draft, Journal};
use server::Server;
use tasks::{OnCancel, Tasks};
use yard::Yard;

/// File name of the embedded store under the yard's root.
pub const STORE: &str = "yard.redb";

/// How long answers that are under way may take to reach their callers when the agent ends.
const ANSWERS_GRACE: Duration = Duration::from_millis(20);

/// How often memory is given back.
const MEMORY_PAUSE: Duration = Duration::from_secs(10);
/// Of so many times without an event it is done once.
const MEMORY_QUIET: u32 = 12;

/// How an agent is run.
pub struct Config {
    /// The yard's root.
    pub root: Utf8PathBuf,
    /// Our own executable.
    pub binary: Utf8PathBuf,
    /// Whether it ends by itself when nothing is left in the yard.
    pub until_empty: bool,
    /// What runs instances.
    pub engine: Arc<dyn Engine>,
}

/// Why an agent cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] brickyard_store::Error),
    /// The content store cannot be opened.
    #[error(transparent)]
    Images(#[from] brickyard_image::Error),
    /// The engine fails.
    #[error("{}", .0.whole())]
    Engine(brickyard_engine::Error),
    /// The socket cannot be served.
    #[error("failed to listen on `{socket}`")]
    Socket {
        /// The socket.
        socket: Utf8PathBuf,
        /// The system's answer.
        #[source]
        err: std::io::Error,
    },
}

impl Error {
    /// What the user may do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store(brickyard_store::Error::Corrupted { .. }) => Some(format!(
                "put a copy of `{STORE}` back in its place; what runs goes on meanwhile"
            )),
            Self::Images(err) => err.hint(),
            Self::Store(_) | Self::Engine(_) | Self::Socket { .. } => None,
        }
    }
}

/// Serves until `stop` resolves, or until the yard is empty.
///
/// # Errors
/// See [`Error`]; nothing was started then.
pub async fn run(config: Config, stop: impl Future<Output = ()>) -> Result<(), Error> {
    let clock = Arc::new(SystemClock::default());
    let store_config = brickyard_store::Config::new(clock.clone());
    // The store's lock is what keeps a second agent out of this yard.
    let store: Arc<dyn Store> = Arc::new(Redb::open(&config.root.join(STORE), store_config)?);
    let images = brickyard_image::Store::open(&config.root.join("images"))?;
    let journal = Journal::open(Arc::clone(&store), clock.clone()).await?;
    let boot = Boot::of(&config.root);
    let yard = Arc::new(Yard {
        rebooted: boot.is_another(),
        front: FrontLink::new(config.root.clone(), config.binary.clone()),
        store,
        engine: config.engine,
        images,
        clock,
        journal,
        tasks: Tasks::default(),
    });
    let started = Draft::yard(EventKind::AgentStarted).with("pid", std::process::id());
    yard.journal.note(started).await?;
    let server = Server::new(Arc::clone(&yard), config.until_empty);
    take_up(&yard, &server).await?;
    boot.remember();
    let front = Arc::clone(&yard);
    yard.tasks.spawn("front", OnCancel::Drop, async move { front.front.run().await });
    let tidied = Arc::clone(&yard);
    yard.tasks.spawn("memory", OnCancel::Drop, async move { tidy_memory(&tidied).await });
    let socket = config.root.join(brickyard_api::SOCKET);
    let serving =
        server.serve(&socket).await.map_err(|err| Error::Socket { socket: socket.clone(), err })?;
    tokio::select! {
        () = stop => {}
        () = serving => {}
        () = server.emptied() => {}
        error = yard.journal.broken() => {
            // The next agent opens the store anew; what runs goes on until then.
            tracing::error!("{error}");
            tokio::time::sleep(ANSWERS_GRACE).await;
            let _ = std::fs::remove_file(&socket);
            return Err(error.into());
        }
    }
    let _ = std::fs::remove_file(&socket);
    // Answers that are under way reach their callers first.
    tokio::time::sleep(ANSWERS_GRACE).await;
    for name in yard.tasks.shut_down().await {
        tracing::warn!("`{name}` did not end in time and was aborted");
    }
    let stopped = Draft::yard(EventKind::AgentStopped).with("pid", std::process::id());
    let _ = yard.journal.note(stopped).await;
    Ok(())
}

/// Gives back, a while later, what a deploy or a question took in passing. Where nothing happens that
/// is done less often: what is used all the same has to come back each time.
async fn tidy_memory(yard: &Yard) {
    let (mut seen, mut quiet) = (0, 0_u32);
    loop {
        tokio::time::sleep(MEMORY_PAUSE).await;
        let cursor = yard.journal.cursor().await;
        quiet = if cursor == seen { quiet + 1 } else { 0 };
        seen = cursor;
        if quiet < 2 || quiet.is_multiple_of(MEMORY_QUIET) {
            brickyard_sys::memory::give_back();
        }
    }
}

/// Takes up every environment of the store, and sweeps away what no environment knows.
async fn take_up(yard: &Arc<Yard>, server: &Server) -> Result<(), Error> {
    let snapshot = yard.store.range(keys::ENVIRONMENTS).await?;
    let stored: BTreeSet<EnvironmentKey> = snapshot
        .entries
        .iter()
        .filter(|entry| entry.key.ends_with("/wanted") || entry.key.contains("/instance/"))
        .filter_map(|entry| keys::environment_of(&entry.key))
        .collect();
    for key in yard.engine.environments().await.map_err(Error::Engine)? {
        let list = yard.engine.list().await.map_err(Error::Engine)?;
        // Somebody runs something of their own there, and takes it away afterwards.
        let is_in_use = list.iter().any(|known| {
            known.id.environment == key
                && known.id.slot == brickyard_engine::SLOT_ONE_OFF
                && matches!(known.state, KnownState::Running { .. } | KnownState::Paused { .. })
        });
        if stored.contains(&key) || is_in_use {
            continue;
        }
        for known in list {
            if known.id.environment == key {
                yard.engine.remove(&known.id).await.map_err(Error::Engine)?;
            }
        }
        yard.engine.close_environment(&key).await.map_err(Error::Engine)?;
    }
    for key in stored {
        if let Err(text) = server.open(&key).await {
            // It runs on as it is, and its ports are served; the others are not its victims.
            tracing::error!("environment {key} cannot be taken up: {text}");
            let address = Address::environment(&key.system, &key.environment);
            yard.front.keep(&key, &address);
            let event = Draft::new(EventKind::EnvironmentFailed, address).with("reason", text);
            yard.journal.note(event).await?;
        }
    }
    Ok(())
}

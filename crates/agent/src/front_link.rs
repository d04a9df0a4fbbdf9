//! What the front is told, put together from the parts of all environments.
//!
//! [`FrontLink::set`] notes a part and returns at once; [`FrontLink::flushed`] waits until all that
//! was noted before is in force. A backend is stopped only after that: so no connection is sent to
//! one that is on its way out.

use std::collections::BTreeMap;
use std::fs::File;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use brickyard_core::Address;
use brickyard_engine::EnvironmentKey;
use brickyard_front::{Client, ClientError, Listener, Problem, Snapshot, Zone};
use camino::Utf8PathBuf;
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use crate::ports;

/// How long a stop waits for the front; then the front is considered dead and serves nobody.
const FLUSH_DEADLINE: Duration = Duration::from_secs(15);

/// How often a front that has nothing new to be told is looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// At which of these looks it is told all the same again.
const TELL_AGAIN: u32 = 30;

/// An environment's part of the snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) listeners: Vec<Listener>,
    pub(crate) zone: Option<Zone>,
}

/// Tells the front.
pub(crate) struct FrontLink {
    root: Utf8PathBuf,
    binary: Utf8PathBuf,
    parts: Mutex<(u64, BTreeMap<EnvironmentKey, Part>)>,
    changed: Notify,
    acknowledged: watch::Sender<u64>,
    problems: watch::Sender<Vec<Problem>>,
}

impl FrontLink {
    /// The link of a yard; `binary` is started as `__front ROOT`.
    pub(crate) fn new(root: Utf8PathBuf, binary: Utf8PathBuf) -> Self {
        Self {
            root,
            binary,
            parts: Mutex::new((1, BTreeMap::new())),
            changed: Notify::new(),
            acknowledged: watch::channel(0).0,
            problems: watch::channel(Vec::new()).0,
        }
    }

    /// Keeps what the front serves for an environment of which nothing else is known.
    pub(crate) fn keep(&self, key: &EnvironmentKey, address: &Address) {
        let served = brickyard_front::snapshot::persisted(&self.root).unwrap_or_default();
        let owner = address.to_string();
        let is_its = |other: &str| other == owner || other.starts_with(&format!("{owner}/"));
        let listeners = served.listeners.into_iter().filter(|one| is_its(&one.owner)).collect();
        let zone = served.zones.into_iter().find(|zone| is_its(&zone.owner));
        self.set(key, Some(Part { listeners, zone }));
    }

    fn parts(&self) -> std::sync::MutexGuard<'_, (u64, BTreeMap<EnvironmentKey, Part>)> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an environment's part; `None` takes it away.
    pub(crate) fn set(&self, key: &EnvironmentKey, part: Option<Part>) {
        let mut parts = self.parts();
        let before = parts.1.get(key).cloned();
        if before == part {
            return;
        }
        match part {
            Some(part) => parts.1.insert(key.clone(), part),
            None => parts.1.remove(key),
        };
        parts.0 += 1;
        drop(parts);
        self.changed.notify_one();
    }

    /// Waits until what was noted is in force.
    pub(crate) async fn flushed(&self) {
        let wanted = self.parts().0;
        let mut acknowledged = self.acknowledged.subscribe();
        let wait = acknowledged.wait_for(|version| *version >= wanted);
        if tokio::time::timeout(FLUSH_DEADLINE, wait).await.is_err() {
            tracing::warn!("the front does not answer");
        }
    }

    /// Listeners of an environment other than `key`.
    pub(crate) fn listeners_of_others(&self, key: &EnvironmentKey) -> Vec<Listener> {
        let parts = self.parts();
        let others = parts.1.iter().filter(|(other, _)| *other != key);
        others.flat_map(|(_, part)| part.listeners.clone()).collect()
    }

    /// Listeners of an environment that are in force.
    pub(crate) fn listeners_of(&self, key: &EnvironmentKey) -> Vec<Listener> {
        self.parts().1.get(key).map(|part| part.listeners.clone()).unwrap_or_default()
    }

    /// What the front could not do for an owner below `address`.
    pub(crate) fn problems_of(&self, address: &str) -> Vec<Problem> {
        let problems = self.problems.borrow();
        problems.iter().filter(|problem| problem.owner.starts_with(address)).cloned().collect()
    }

    /// Tells when the front could do something more, or less.
    pub(crate) fn watch_problems(&self) -> watch::Receiver<Vec<Problem>> {
        self.problems.subscribe()
    }

    fn snapshot(&self) -> Snapshot {
        let parts = self.parts();
        Snapshot {
            version: parts.0,
            listeners: parts.1.values().flat_map(|part| part.listeners.clone()).collect(),
            zones: parts.1.values().filter_map(|part| part.zone.clone()).collect(),
        }
    }

    /// Publishes until the agent ends.
    pub(crate) async fn run(&self) {
        let client = Client::new(&self.root);
        let mut looks = 0;
        loop {
            let snapshot = self.snapshot();
            if *self.acknowledged.borrow() < snapshot.version {
                match self.publish(&client, &snapshot).await {
                    Ok(problems) => {
                        self.note(problems);
                        self.acknowledged.send_replace(snapshot.version);
                    }
                    Err(err) => {
                        tracing::warn!("{err}");
                        sleep(Duration::from_millis(100)).await;
                    }
                }
                continue;
            }
            tokio::select! {
                // Cancel safe: a notice that was not taken is kept.
                () = self.changed.notified() => {}
                () = sleep(LOOK_AGAIN), if !snapshot.is_empty() => {
                    looks += 1;
                    self.look_again(&client, looks % TELL_AGAIN == 0).await;
                }
            }
        }
    }

    /// Tells the front the same once more where there is a reason: one that died is started again,
    /// and problems that it has healed by itself are forgotten.
    async fn look_again(&self, client: &Client, anyway: bool) {
        let has_problems = || !self.problems.borrow().is_empty();
        if !anyway && brickyard_front::process::is_running(&self.root) && !has_problems() {
            return;
        }
        match self.publish(client, &self.snapshot()).await {
            Ok(problems) => self.note(problems),
            Err(err) => tracing::warn!("{err}"),
        }
    }

    /// Keeps what the front could not do; who has a port is looked up here, once.
    fn note(&self, mut problems: Vec<Problem>) {
        let known = self.problems.borrow().clone();
        for problem in &mut problems {
            let same =
                |other: &&Problem| (&other.owner, other.taken) == (&problem.owner, problem.taken);
            if let Some(listen) = problem.taken {
                let former = known.iter().find(same).map(|other| other.text.clone());
                problem.text = former.unwrap_or_else(|| ports::in_use(listen));
            }
        }
        self.problems.send_if_modified(|known| {
            let changed = *known != problems;
            *known = problems;
            changed
        });
    }

    async fn publish(
        &self,
        client: &Client,
        snapshot: &Snapshot,
    ) -> Result<Vec<Problem>, ClientError> {
        match client.publish(snapshot).await {
            Ok(ack) => return Ok(ack.problems),
            Err(ClientError::NoFront(_)) if snapshot.is_empty() => {
                // The next one must not serve for a moment what a dead one was told.
                brickyard_front::process::clear(&self.root);
                return Ok(Vec::new());
            }
            Err(ClientError::NoFront(_)) => self.start(),
            Err(err) => return Err(err),
        }
        for _ in 0..200 {
            match client.publish(snapshot).await {
                Err(ClientError::NoFront(_)) => sleep(Duration::from_millis(5)).await,
                other => return other.map(|ack| ack.problems),
            }
        }
        client.publish(snapshot).await.map(|ack| ack.problems)
    }

    /// Where the front says what went wrong.
    fn log(&self) -> Stdio {
        let file = File::options().create(true).append(true).open(self.root.join("front.log"));
        file.map_or_else(|_| Stdio::null(), Stdio::from)
    }

    /// Starts the front's process, which outlives the agent.
    fn start(&self) {
        let mut command = std::process::Command::new(&self.binary);
        command.arg("__front").arg(&self.root);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(self.log());
        brickyard_sys::command::new_session(&mut command);
        // The runtime reaps it when it ends before the agent.
        if let Err(err) = tokio::process::Command::from(command).spawn() {
            tracing::error!("failed to start the front: {err}");
        }
    }
}

//! One environment's serialiser: everything that concerns it goes through one task.
//!
//! The task takes a message, changes its state without awaiting, asks [`brickyard_plan::decide`]
//! what may be done, writes the intents in one transaction, and only then starts the effects, each
//! of which answers with a message. Deploys, configuration and reactions are the same loop: they
//! change what is wanted or seen, and the loop follows.

mod commands;
mod effects;
mod load;
mod pausing;
mod staging;
mod status;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use brickyard_api::{
    Command, FailureKind, FileStateView, PlanView, Reason, RenderRequest, RenderView,
};
use brickyard_core::clock::Clock;
use brickyard_core::spec::Exit;
use brickyard_core::{Address, Digest, EventKind, Generation, ServiceName};
use brickyard_engine::{EnvironmentFacts, EnvironmentKey, InstanceId, Loss, Staged};
use brickyard_front::Problem;
use brickyard_model::release::Release;
use brickyard_plan::wanted::Adjustments;
use brickyard_plan::{
    Action, Decision, Health, Observed, Outcome, Place, Record, View, Wanted, begin, decide, finish,
};
use brickyard_store::Txn;
use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use crate::journal::Draft;
use crate::keys;
use crate::tasks::OnCancel;
use crate::yard::Yard;

pub(crate) use status::Status;

/// Messages that may wait; a sender waits when there are more.
const QUEUE_LENGTH: usize = 1024;
/// Operations of one transaction; the store's limit is 128, and each event may need two.
const TXN_OPERATIONS: usize = 40;
/// How soon something that the machine refused is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// A difference between wall time and monotonic time that is more than a clock's slow correction.
const CLOCK_JUMP_MS: i64 = 500;

fn clock_offset_ms(clock: &dyn Clock) -> i64 {
    let signed = |millis: u64| i64::try_from(millis).unwrap_or(i64::MAX);
    signed(clock.now_ms()) - signed(clock.monotonic_ms())
}

/// What the task is told.
pub(crate) enum Message {
    /// Somebody wants a change; the answer tells when it is written.
    Command { command: Command, answer: oneshot::Sender<Answer> },
    /// Somebody wants to know what a deploy would do.
    Plan { release: Box<Release>, answer: oneshot::Sender<Result<PlanView, Failure>> },
    /// Somebody wants to know what an instance of a service would get.
    Render { request: Box<RenderRequest>, answer: oneshot::Sender<Result<RenderView, Failure>> },
    /// Somebody wants to know what a service's files are made of.
    Files { service: ServiceName, answer: oneshot::Sender<Result<Vec<FileStateView>, Failure>> },
    /// An effect ended.
    Effect { id: InstanceId, outcome: Outcome, events: Vec<Draft> },
    /// A process ended by itself.
    Ended { id: InstanceId, exit: Exit },
    /// Checks say something else.
    Health { id: InstanceId, health: Health },
    /// Some of what it says was lost, or is kept again.
    Lost { id: InstanceId, loss: Loss },
    /// All templates were tried with a change that is not made yet.
    Staged(staging::Report),
}

/// The answer to a command.
pub(crate) type Answer = Result<Accepted, Failure>;

/// A change that is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Accepted {
    /// Config revision or deploy number.
    pub(crate) revision: u64,
    /// The status that first shows it.
    pub(crate) sequence: u64,
}

/// A change that was not made.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    pub(crate) reasons: Vec<Reason>,
}

impl Failure {
    /// All reasons as one line.
    pub(crate) fn text(&self) -> String {
        let texts: Vec<&str> = self.reasons.iter().map(|reason| &*reason.text).collect();
        texts.join("; ")
    }

    pub(crate) fn of(kind: FailureKind, address: impl ToString, text: impl ToString) -> Self {
        let reason =
            Reason { address: address.to_string(), text: text.to_string(), log: Vec::new() };
        Self { kind, reasons: vec![reason] }
    }
}

/// What an environment should be, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WantedRecord {
    pub(crate) release: Release,
    pub(crate) digest: Digest,
    pub(crate) deploy: u64,
    pub(crate) adjustments: Adjustments,
    /// The model's files.
    #[serde(default)]
    pub(crate) files: Vec<Utf8PathBuf>,
    /// Whether volumes and data go with the environment.
    pub(crate) remove_volumes: bool,
}

/// A handle to an environment's task.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) messages: mpsc::Sender<Message>,
    pub(crate) status: watch::Receiver<Status>,
}

/// Watchers of one running generation.
struct Watchers {
    wait: AbortHandle,
    probe: AbortHandle,
    again: Arc<Notify>,
    output: AbortHandle,
}

impl Drop for Watchers {
    fn drop(&mut self) {
        self.wait.abort();
        self.probe.abort();
        self.output.abort();
    }
}

/// A slot's generation.
type GenerationKey = (Place, Generation);

pub(crate) struct Environment {
    yard: Arc<Yard>,
    key: EnvironmentKey,
    address: Address,
    facts: Option<EnvironmentFacts>,
    /// Why its network could not be made.
    open_error: Option<String>,
    record: Option<WantedRecord>,
    /// Fencing token: the revision at which `record` was read or written.
    fence: u64,
    wanted: Wanted,
    layers: BTreeMap<Digest, Vec<Utf8PathBuf>>,
    observed: Observed,
    persisted: BTreeMap<GenerationKey, Record>,
    view: View,
    /// Revision of the newest configuration or registration.
    data_revision: u64,
    /// Revision of the newest record.
    records_revision: u64,
    issued: Generation,
    last_address: Option<Ipv4Addr>,
    watchers: BTreeMap<GenerationKey, Watchers>,
    /// Files that lie staged and checked beside their destination.
    staged: BTreeMap<(Place, Generation, Utf8PathBuf), (Digest, Staged)>,
    staging: staging::Queue,
    decision: Decision,
    logs: BTreeMap<Place, Vec<String>>,
    /// Wall time less monotonic time, when it was last looked at.
    clock_offset_ms: i64,
    /// What of the output of those that run was lost.
    losses: BTreeMap<GenerationKey, Loss>,
    /// What the front was last known not to be able to do.
    front_problems: Vec<Problem>,
    sequence: u64,
    gone: bool,
    status: watch::Sender<Status>,
    messages: mpsc::Sender<Message>,
}

/// Loads an environment and starts its task.
pub(crate) async fn spawn(yard: Arc<Yard>, key: EnvironmentKey) -> Result<Handle, String> {
    let (sender, receiver) = mpsc::channel(QUEUE_LENGTH);
    let (status, status_receiver) = watch::channel(Status::default());
    let mut environment = Environment::load(yard, key, sender.clone(), status).await?;
    let handle = Handle { messages: sender, status: status_receiver };
    // The front is told of it before anything is done: it must never be told that there is nothing.
    environment.publish();
    let tasks = environment.yard.tasks.clone();
    tasks.spawn(format!("environment {}", environment.key), OnCancel::Drop, async move {
        environment.run(receiver).await;
    });
    Ok(handle)
}

impl Environment {
    async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let mut front = self.yard.front.watch_problems();
        self.step(Vec::new()).await;
        while !self.gone {
            let wake = self.wake_after();
            let mut events = Vec::new();
            tokio::select! {
                // Cancel safe: a message that was not received stays in the queue.
                message = messages.recv() => match message {
                    Some(message) => self.apply(message, &mut events).await,
                    None => return,
                },
                // Cancel safe: a change that was not seen stays one.
                Ok(()) = front.changed() => self.front_changed(&mut events),
                () = tokio::time::sleep(wake) => {}
            }
            // What came in meanwhile is taken together: reactions are coalesced.
            while let Ok(message) = messages.try_recv() {
                self.apply(message, &mut events).await;
            }
            self.step(events).await;
        }
    }

    /// Notes which of its ports are taken, or served again.
    fn front_changed(&mut self, events: &mut Vec<Draft>) {
        let now = self.yard.front.problems_of(&format!("{}/", self.address));
        let former = std::mem::replace(&mut self.front_problems, now.clone());
        let only = |these: &[Problem], those: &[Problem]| -> Vec<Problem> {
            let is_new = |one: &&Problem| one.taken.is_some() && !those.contains(one);
            these.iter().filter(is_new).cloned().collect()
        };
        let mut note = |kind, problem: Problem| {
            let address = problem.owner.parse().unwrap_or_else(|_| self.address.clone());
            let listen = problem.taken.map(|listen| listen.to_string()).unwrap_or_default();
            let event = Draft::new(kind, address).with("port", listen);
            events.push(match kind {
                EventKind::PortRefused => event.with("reason", problem.text),
                _ => event,
            });
        };
        only(&former, &now).into_iter().for_each(|one| note(EventKind::PortOpened, one));
        only(&now, &former).into_iter().for_each(|one| note(EventKind::PortRefused, one));
    }

    fn wake_after(&self) -> Duration {
        if self.open_error.is_some() {
            return RETRY_PAUSE;
        }
        let now_ms = self.yard.clock.now_ms();
        match self.decision.wake_at_ms {
            Some(at_ms) => Duration::from_millis(at_ms.saturating_sub(now_ms).max(1)),
            None => Duration::from_secs(3600),
        }
    }

    /// Takes a message in. Only commands write here, because their answer says that they did.
    async fn apply(&mut self, message: Message, events: &mut Vec<Draft>) {
        match message {
            Message::Command { command, answer } => self.command(command, answer).await,
            Message::Plan { release, answer } => {
                let _ = answer.send(self.plan(&release));
            }
            Message::Render { request, answer } => {
                let _ = answer.send(self.render(*request));
            }
            Message::Files { service, answer } => {
                let _ = answer.send(self.files_of(&service));
            }
            Message::Effect { id, outcome, events: more } => {
                events.extend(more);
                self.finish(&id, outcome, events);
            }
            Message::Ended { id, exit } => self.finish(&id, Outcome::Ended(exit), events),
            Message::Health { id, health } => self.finish(&id, Outcome::Health(health), events),
            Message::Lost { id, loss } => self.output_lost(&id, loss, events),
            Message::Staged(report) => self.staged(report).await,
        }
    }

    fn finish(&mut self, id: &InstanceId, outcome: Outcome, events: &mut Vec<Draft>) {
        let place = Place { service: id.service.clone(), slot: id.slot };
        let address = self.address.with_service(&id.service).with_slot(id.slot);
        match &outcome {
            Outcome::Health(health) => {
                if *health == Health::Unhealthy {
                    self.keep_log(id);
                }
                events.push(
                    Draft::new(EventKind::InstanceHealth, address)
                        .with("generation", id.generation)
                        .with("health", health.word()),
                );
            }
            Outcome::Ended(exit) => {
                self.keep_log(id);
                events.push(
                    Draft::new(EventKind::InstanceExited, address)
                        .with("generation", id.generation)
                        .with("exit_code", exit.code)
                        .with("oom", exit.oom),
                );
            }
            Outcome::Started(Ok(_)) => {
                self.logs.remove(&place);
            }
            Outcome::Started(Err(_)) => self.keep_log(id),
            _ => {}
        }
        let now_ms = self.yard.clock.now_ms();
        // A pause ends the watch for its time; where it could not be done, the watch goes on.
        let started = matches!(outcome, Outcome::Started(Ok(_)));
        let rested = matches!(outcome, Outcome::Paused(_) | Outcome::Interrupted);
        let reloaded = matches!(outcome, Outcome::Reloaded { .. });
        let changed =
            finish(&self.wanted, &mut self.observed, &place, id.generation, outcome, now_ms);
        let key = (place, id.generation);
        let is_alive = self.observed.get(&key.0, key.1).is_some_and(Record::is_running);
        if started || (rested && is_alive && !self.watchers.contains_key(&key)) {
            self.watch(&key);
        }
        if reloaded && let Some(watchers) = self.watchers.get(&key) {
            watchers.again.notify_one();
        }
        let runs = self.observed.get(&key.0, key.1).is_some_and(|r| r.state.pid().is_some());
        if changed && !runs {
            self.watchers.remove(&key);
            self.losses.remove(&key);
            self.staged.retain(|(p, g, _), _| (p, g) != (&key.0, &key.1));
        }
    }

    /// Decides, writes what was decided, begins it; until nothing more may be done now.
    async fn step(&mut self, mut events: Vec<Draft>) {
        self.follow_the_clock();
        self.ensure_open().await;
        let mut begun = Vec::new();
        loop {
            let now_ms = self.yard.clock.now_ms();
            self.decision = decide(&self.wanted, &self.observed, &self.view, now_ms, self.issued);
            if self.facts.is_none() {
                self.decision.actions.clear();
            }
            if self.decision.actions.is_empty() {
                break;
            }
            for action in std::mem::take(&mut self.decision.actions) {
                if let Some(action) = self.prepare(action, &mut events) {
                    begin(&mut self.observed, &action, now_ms);
                    begun.push(action);
                }
            }
        }
        if let Err(text) = self.persist(events).await {
            // Without a written intent nothing may begin; all of it is decided anew.
            tracing::error!(environment = %self.key, "cannot write: {text}");
            for (place, generation, _) in begun.iter().filter_map(Action::busy) {
                self.observed.transient_mut(place, generation).busy = None;
            }
            self.open_error = Some(format!("the store cannot be written: {text}"));
            self.publish();
            return;
        }
        if self.facts.is_some() {
            self.open_error = None;
        }
        self.publish();
        for action in begun {
            self.perform(action);
        }
        if !self.decision.unsettled {
            self.discard_staged();
        }
        self.close_if_empty().await;
    }

    /// Notices that the machine's clock was set, and by how much.
    fn follow_the_clock(&mut self) {
        let offset_ms = clock_offset_ms(&*self.yard.clock);
        let jump_ms = offset_ms - self.clock_offset_ms;
        if jump_ms.abs() >= CLOCK_JUMP_MS {
            tracing::warn!(environment = %self.key, "the clock was set by {jump_ms} ms");
            self.observed.shift_times(jump_ms);
            self.clock_offset_ms = offset_ms;
        }
    }

    /// Fills in what deciding code leaves open, and notes events.
    fn prepare(&mut self, mut action: Action, events: &mut Vec<Draft>) -> Option<Action> {
        match &mut action {
            Action::Intend(record) => {
                if record.address.is_unspecified() {
                    record.address = self.next_address()?;
                }
                self.issued = self.issued.max(record.generation);
            }
            Action::Refuse { place, generation, dest, reason, .. } => {
                let address = self.address.with_service(&place.service).with_slot(place.slot);
                events.push(
                    Draft::new(EventKind::TemplateRefused, address)
                        .with("generation", *generation)
                        .with("file", dest)
                        .with("reason", reason),
                );
            }
            Action::GiveUp { place, generation, reason, .. } => {
                let (place, generation) = (place.clone(), *generation);
                self.keep_log(&self.id(&place, generation));
                let address = self.address.with_service(&place.service).with_slot(place.slot);
                events.push(
                    Draft::new(EventKind::DeployFailed, address)
                        .with("generation", generation)
                        .with("reason", reason),
                );
            }
            _ => {}
        }
        Some(action)
    }

    /// The next address after the last one given out that nobody has: one that was just freed is
    /// not used again soon.
    fn next_address(&mut self) -> Option<Ipv4Addr> {
        let facts = self.facts.as_ref()?;
        let used: Vec<Ipv4Addr> = self.observed.all().map(|record| record.address).collect();
        let free = |address: &Ipv4Addr| !used.contains(address);
        let after = |address: &Ipv4Addr| self.last_address.is_none_or(|last| *address > last);
        let next =
            facts.addresses().filter(free).find(after).or_else(|| facts.addresses().find(free))?;
        self.last_address = Some(next);
        Some(next)
    }

    fn id(&self, place: &Place, generation: Generation) -> InstanceId {
        InstanceId {
            environment: self.key.clone(),
            service: place.service.clone(),
            slot: place.slot,
            generation,
        }
    }

    /// Writes every record that is not as it was last written, with the events.
    async fn persist(&mut self, events: Vec<Draft>) -> Result<(), String> {
        let mut txns = Vec::new();
        let mut txn = Txn::new();
        let mut now = BTreeMap::new();
        for record in self.observed.all() {
            let key = (record.place.clone(), record.generation);
            let mut written = record.clone();
            // Health is found out anew; it alone is not worth a write.
            written.health = Health::Starting;
            if self.persisted.get(&key) != Some(&written) {
                let value = serde_json::to_vec(record).map_err(|err| err.to_string())?;
                txn = txn.put(keys::record(&self.key, &key.0, key.1), value);
            }
            now.insert(key, written);
            if txn.operations.len() >= TXN_OPERATIONS {
                txns.push(std::mem::take(&mut txn));
            }
        }
        for key in self.persisted.keys().filter(|key| !now.contains_key(key)) {
            txn = txn.delete(keys::record(&self.key, &key.0, key.1));
            if txn.operations.len() >= TXN_OPERATIONS {
                txns.push(std::mem::take(&mut txn));
            }
        }
        if self.issued > Generation(0) && !(txn.operations.is_empty() && txns.is_empty()) {
            txn = txn.put(keys::issued(&self.key), self.issued.0.to_string());
        }
        txns.push(txn);
        let mut events = events;
        for txn in txns {
            let some: Vec<Draft> = events.drain(..events.len().min(TXN_OPERATIONS)).collect();
            let changes_records = !txn.operations.is_empty();
            let revision = self.write(txn, some).await?;
            if changes_records {
                self.records_revision = revision;
            }
        }
        while !events.is_empty() {
            let some: Vec<Draft> = events.drain(..events.len().min(TXN_OPERATIONS)).collect();
            self.write(Txn::new(), some).await?;
        }
        self.persisted = now;
        Ok(())
    }

    async fn write(&self, txn: Txn, events: Vec<Draft>) -> Result<u64, String> {
        if txn.operations.is_empty() && events.is_empty() {
            return Ok(0);
        }
        match self.yard.journal.commit(txn, events).await {
            Ok(brickyard_store::Outcome::Committed { revision }) => Ok(revision),
            Ok(brickyard_store::Outcome::Conflict { .. }) => {
                Err("somebody else changed it at the same time".to_owned())
            }
            Err(err) => Err(err.to_string()),
        }
    }

    /// Makes the environment's network when something is wanted in it.
    async fn ensure_open(&mut self) {
        if self.facts.is_some() || self.record.is_none() {
            return;
        }
        match self.yard.engine.open_environment(&self.key).await {
            Ok(facts) => {
                self.facts = Some(facts);
                self.open_error = None;
                self.move_addresses();
            }
            Err(err) => self.open_error = Some(err.whole()),
        }
    }

    /// After a reboot its network may be another one, because somebody else was quicker to take the
    /// former one: who has an address of that gets another.
    fn move_addresses(&mut self) {
        let Some(facts) = self.facts.clone() else { return };
        let is_elsewhere = |record: &&Record| !facts.addresses().any(|one| one == record.address);
        let elsewhere: Vec<GenerationKey> = self
            .observed
            .all()
            .filter(is_elsewhere)
            .map(|record| (record.place.clone(), record.generation))
            .collect();
        for (place, generation) in elsewhere {
            let address = self.next_address();
            if let (Some(address), Some(record)) =
                (address, self.observed.get_mut(&place, generation))
            {
                record.address = address;
            }
        }
    }

    /// Takes an environment away in which nothing is left.
    async fn close_if_empty(&mut self) {
        if !self.is_going_down() || self.observed.all().next().is_some() {
            return;
        }
        self.yard.front.set(&self.key, None);
        self.yard.front.flushed().await;
        if let Err(err) = self.close().await {
            tracing::error!(environment = %self.key, "{err}");
            self.open_error = Some(err);
            self.publish();
            return;
        }
        self.gone = true;
        self.publish();
    }

    fn is_going_down(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.adjustments.down)
    }

    async fn close(&mut self) -> Result<(), String> {
        let record = self.record.clone().ok_or("nothing is wanted")?;
        self.yard.engine.close_environment(&self.key).await.map_err(|err| err.whole())?;
        let mut txn = Txn::new().delete(keys::wanted(&self.key));
        if record.remove_volumes {
            for volume in &self.wanted.volumes {
                let removed = self.yard.engine.remove_volume(&self.key, volume).await;
                removed.map_err(|err| err.whole())?;
            }
            txn = txn
                .delete(keys::data(&self.key))
                .delete_prefix(keys::config(&self.key))
                .delete_prefix(keys::registered(&self.key));
        }
        let done = Draft::new(EventKind::DeployFinished, self.address.clone()).with("down", true);
        self.write(txn, vec![done]).await?;
        self.record = None;
        self.facts = None;
        Ok(())
    }
}

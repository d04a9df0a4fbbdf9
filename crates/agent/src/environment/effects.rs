//! Effects: what actions do to the world. Each runs as a task and answers with one message.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use brickyard_core::clock::Millis;
use brickyard_core::spec::Stop;
use brickyard_core::{EventKind, Generation};
use brickyard_engine::{Error, InstanceId, Loss, Staged, StartRequest};
use brickyard_model::types::Reload;
use brickyard_plan::difference::RenderedFile;
use brickyard_plan::observed::Busy;
use brickyard_plan::reads::{Marks, changed};
use brickyard_plan::{Action, Drain, Health, Outcome, Place, StartJob};
use brickyard_render as render;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::{Environment, GenerationKey, Message, Watchers};
use crate::journal::Draft;
use crate::pauses::shared_end;
use crate::tasks::OnCancel;
use crate::yard::Yard;
use crate::{drain, probe};

/// How long an instance without checks has to run until it counts as healthy: one that ends at
/// once has ended by then.
const SETTLING: Duration = Duration::from_millis(150);

/// How often it is looked whether output can be kept.
const OUTPUT_PAUSE: Duration = Duration::from_secs(5);

/// How long the end of a killed first process is waited for before its whole container is killed.
const KILL_GRACE_MS: u64 = 2000;

impl Environment {
    /// Begins an action's effect.
    pub(super) fn perform(&mut self, action: Action) {
        let Some((place, generation, _)) = action.busy() else {
            return;
        };
        let (place, generation) = (place.clone(), generation);
        let id = self.id(&place, generation);
        let record = self.observed.get(&place, generation);
        let context = Context {
            yard: Arc::clone(&self.yard),
            address: self.address.with_service(&place.service).with_slot(place.slot),
            id: id.clone(),
            front: self.facts.as_ref().map(|facts| facts.host),
            grace_ms: record.and_then(|record| record.grace_ms),
            before: match &action {
                Action::Render { file, .. } => {
                    record.and_then(|record| record.reads.get(&file.template.dest)).cloned()
                }
                _ => None,
            },
        };
        let prestaged = match &action {
            Action::Render { file, .. } => {
                let key = (place.clone(), generation, file.template.dest.clone());
                self.take_staged(&key, file.digest)
            }
            _ => None,
        };
        let request = match &action {
            Action::Start { job, .. } | Action::Restart { job, .. } => {
                self.start_request(&place, generation, job)
            }
            _ => None,
        };
        if action.busy().is_some_and(|(_, _, busy)| busy == Busy::Lifecycle) {
            self.watchers.remove(&(place.clone(), generation));
        }
        let messages = self.messages.clone();
        // A start half done is finished: the next agent would only have to sweep it up.
        let tasks = self.yard.tasks.clone();
        tasks.spawn(format!("{} {id}", verb(&action)), OnCancel::Finish, async move {
            let mut events = Vec::new();
            let outcome = context.carry_out(action, request, prestaged, &mut events).await;
            let _ = messages.send(Message::Effect { id: context.id, outcome, events }).await;
        });
    }

    fn start_request(
        &self,
        place: &Place,
        generation: Generation,
        job: &StartJob,
    ) -> Option<StartRequest> {
        let record = self.observed.get(place, generation)?;
        Some(StartRequest {
            id: self.id(place, generation),
            spec: job.spec.clone(),
            layers: self.layers.get(&job.spec.image)?.clone(),
            address: Some(record.address),
            files: job.files.iter().map(render::file_write).collect(),
            hostname: format!("{}-{}", place.service, place.slot),
        })
    }

    /// Watches a running generation: its end, and its checks.
    pub(super) fn watch(&mut self, key: &GenerationKey) {
        let Some(record) = self.observed.get(&key.0, key.1) else {
            return;
        };
        let id = self.id(&key.0, key.1);
        let engine = Arc::clone(&self.yard.engine);
        let messages = self.messages.clone();
        let waited = id.clone();
        let tasks = &self.yard.tasks;
        let wait = tasks.spawn(format!("wait for {id}"), OnCancel::Drop, async move {
            match engine.wait(&waited).await {
                Ok(exit) => drop(messages.send(Message::Ended { id: waited, exit }).await),
                Err(err) => tracing::warn!("{}", err.whole()),
            }
        });
        let probes = self
            .wanted
            .services
            .get(&key.0.service)
            .map(brickyard_plan::WantedService::probes)
            .unwrap_or_default();
        let again = Arc::new(Notify::new());
        let messages = self.messages.clone();
        let name = format!("probe {id}");
        let probe = if record.is_paused() {
            // A frozen process answers nothing, and that says nothing about its health.
            tasks.spawn(name, OnCancel::Drop, std::future::ready(()))
        } else if probes.is_empty() {
            tasks.spawn(name, OnCancel::Drop, async move {
                tokio::time::sleep(SETTLING).await;
                let health = Health::Healthy;
                let _ = messages.send(Message::Health { id, health }).await;
            })
        } else {
            let subject = probe::Subject { id, address: record.address, probes };
            let engine = Arc::clone(&self.yard.engine);
            let watch = probe::watch(engine, subject, Arc::clone(&again), messages);
            tasks.spawn(name, OnCancel::Drop, watch)
        };
        let output = self.watch_output(key);
        let watchers = Watchers { wait, probe, again, output };
        self.watchers.insert(key.clone(), watchers);
    }

    /// Looks now and then whether a running generation's output can be kept.
    fn watch_output(&self, key: &GenerationKey) -> AbortHandle {
        let id = self.id(&key.0, key.1);
        let engine = Arc::clone(&self.yard.engine);
        let messages = self.messages.clone();
        let mut noted = engine.loss_noted(&id);
        // What is over was told of by a former agent.
        let first = engine.loss(&id);
        let mut known = if first.goes_on { Loss::default() } else { first };
        self.yard.tasks.spawn(format!("output of {id}"), OnCancel::Drop, async move {
            loop {
                tokio::time::sleep_until(shared_end(Duration::ZERO, OUTPUT_PAUSE)).await;
                let at = engine.loss_noted(&id);
                if at == noted {
                    continue;
                }
                noted = at;
                let loss = engine.loss(&id);
                if (loss.goes_on, loss.lines) == (known.goes_on, known.lines) {
                    continue;
                }
                known = loss.clone();
                if messages.send(Message::Lost { id: id.clone(), loss }).await.is_err() {
                    return;
                }
            }
        })
    }

    /// Takes in what was lost of an instance's output: events tell of beginning and end.
    pub(super) fn output_lost(&mut self, id: &InstanceId, loss: Loss, events: &mut Vec<Draft>) {
        let place = Place { service: id.service.clone(), slot: id.slot };
        let address = self.address.with_service(&id.service).with_slot(id.slot);
        let key = (place, id.generation);
        if !self.observed.get(&key.0, key.1).is_some_and(brickyard_plan::Record::is_running) {
            return;
        }
        let former = self.losses.insert(key, loss.clone()).unwrap_or_default();
        let event = |kind| Draft::new(kind, address.clone()).with("generation", id.generation);
        if !former.goes_on {
            events.push(event(EventKind::OutputLost).with("reason", &loss.reason));
        }
        if !loss.goes_on {
            events.push(event(EventKind::OutputKept).with("lines_lost", loss.lines));
        }
    }
}

fn verb(action: &Action) -> &'static str {
    match action {
        Action::Start { .. } => "start",
        Action::Restart { .. } => "restart",
        Action::Stop { .. } => "stop",
        Action::Pause { .. } => "pause",
        Action::Unpause { .. } => "unpause",
        Action::Kill { .. } => "kill",
        Action::Remove { .. } => "remove",
        Action::Render { .. } => "render",
        Action::Reload { .. } => "reload",
        Action::Intend(_)
        | Action::Withhold { .. }
        | Action::Admit { .. }
        | Action::Refuse { .. }
        | Action::GiveUp { .. } => "note",
    }
}

/// What an effect works with.
struct Context {
    yard: Arc<Yard>,
    address: brickyard_core::Address,
    id: InstanceId,
    /// From where published ports connect.
    front: Option<Ipv4Addr>,
    /// How long it has to end by itself, where somebody said so for this time.
    grace_ms: Option<Millis>,
    /// What the file that is rendered was made of before.
    before: Option<Marks>,
}

impl Context {
    fn event(&self, kind: EventKind) -> Draft {
        Draft::new(kind, self.address.clone()).with("generation", self.id.generation)
    }

    async fn carry_out(
        &self,
        action: Action,
        request: Option<StartRequest>,
        prestaged: Option<Staged>,
        events: &mut Vec<Draft>,
    ) -> Outcome {
        match action {
            Action::Start { job, reason, .. } => self.start(request, &job, &reason, events).await,
            Action::Restart { job, drain, reason, .. } => {
                self.drained(drain).await;
                if let Err(err) = self.yard.engine.stop(&self.id, &self.stop_spec()).await {
                    tracing::warn!("{}", err.whole());
                }
                self.start(request, &job, &reason, events).await
            }
            Action::Stop { remove, drain, reason, .. } => {
                self.drained(drain).await;
                self.stop(remove, &reason, events).await
            }
            Action::Pause { .. } => self.pause(true, events).await,
            Action::Unpause { .. } => self.pause(false, events).await,
            Action::Kill { .. } => {
                let kill = Stop { signal: "KILL".to_owned(), grace_ms: KILL_GRACE_MS };
                self.stop_by(&kill, false, "it was killed", events).await
            }
            Action::Remove { .. } => match self.yard.engine.remove(&self.id).await {
                Ok(()) => {
                    events.push(self.event(EventKind::InstanceRemoved));
                    Outcome::Removed
                }
                Err(err) => interrupted(&err),
            },
            Action::Render { file, .. } => self.render(&file, prestaged, events).await,
            Action::Reload { methods, loaded, lines, .. } => {
                let result = render::reload(&*self.yard.engine, &self.id, &methods).await;
                events.push(match &result {
                    Ok(()) => self.event(EventKind::TemplateLoaded),
                    Err(reason) => {
                        self.event(EventKind::TemplateReloadFailed).with("reason", reason)
                    }
                });
                Outcome::Reloaded { loaded, lines, result }
            }
            Action::Intend(_)
            | Action::Withhold { .. }
            | Action::Admit { .. }
            | Action::Refuse { .. }
            | Action::GiveUp { .. } => Outcome::Interrupted,
        }
    }

    async fn start(
        &self,
        request: Option<StartRequest>,
        job: &StartJob,
        reason: &str,
        events: &mut Vec<Draft>,
    ) -> Outcome {
        let started = match request {
            None => Err("its image is not in the content store".to_owned()),
            Some(request) => {
                match render::first_checks(&*self.yard.engine, &request, &job.files).await {
                    Err(text) => Err(text),
                    Ok(()) => match self.yard.engine.start(&request).await {
                        Ok(started) => Ok(started.pid),
                        Err(Error::Refused { reason, .. }) => Err(reason),
                        Err(err) => Err(err.whole()),
                    },
                }
            }
        };
        events.push(match &started {
            Ok(pid) => {
                self.event(EventKind::InstanceStarted).with("pid", pid).with("reason", reason)
            }
            Err(text) => self.event(EventKind::InstanceRefused).with("reason", text),
        });
        Outcome::Started(started)
    }

    /// Waits until nothing new comes to the instance and what is under way is done, at most for
    /// the time that it has to end by itself.
    async fn drained(&self, drain: Drain) {
        self.yard.front.flushed().await;
        let only_from = match drain {
            Drain::Everybody => None,
            Drain::Published => self.front,
        };
        let limit = Duration::from_millis(self.stop_spec().grace_ms);
        let busy = drain::drain(&*self.yard.engine, &self.id, only_from, limit).await;
        if busy > 0 {
            tracing::warn!("{}: {busy} connections are cut off", self.id);
        }
    }

    async fn stop(&self, remove: bool, reason: &str, events: &mut Vec<Draft>) -> Outcome {
        let stop = self.stop_spec();
        self.stop_by(&stop, remove, reason, events).await
    }

    /// Freezes the instance, or lets it go on.
    async fn pause(&self, paused: bool, events: &mut Vec<Draft>) -> Outcome {
        let (done, kind) = match paused {
            true => (self.yard.engine.pause(&self.id).await, EventKind::InstancePaused),
            false => (self.yard.engine.unpause(&self.id).await, EventKind::InstanceUnpaused),
        };
        match done {
            Ok(()) => {
                events.push(self.event(kind));
                Outcome::Paused(paused)
            }
            Err(err) => interrupted(&err),
        }
    }

    async fn stop_by(
        &self,
        stop: &Stop,
        remove: bool,
        reason: &str,
        events: &mut Vec<Draft>,
    ) -> Outcome {
        let exit = match self.yard.engine.stop(&self.id, stop).await {
            Ok(exit) => exit,
            Err(Error::Unknown { .. } | Error::NotRunning { .. }) => brickyard_core::spec::Exit {
                code: 0,
                oom: false,
                lost: None,
                time_ms: self.yard.clock.now_ms(),
            },
            Err(err) => return interrupted(&err),
        };
        events.push(
            self.event(EventKind::InstanceStopped)
                .with("exit_code", exit.code)
                .with("reason", reason),
        );
        if remove {
            if let Err(err) = self.yard.engine.remove(&self.id).await {
                return interrupted(&err);
            }
            events.push(self.event(EventKind::InstanceRemoved));
        }
        Outcome::Stopped { exit, removed: remove }
    }

    async fn render(
        &self,
        file: &RenderedFile,
        prestaged: Option<Staged>,
        events: &mut Vec<Draft>,
    ) -> Outcome {
        let result = render::place(&*self.yard.engine, &self.id, file, prestaged).await;
        let dest = file.template.dest.clone();
        let reads = file.marks();
        events.push(match &result {
            Ok(()) => {
                let rendered = self.event(EventKind::TemplateRendered).with("file", &dest);
                rendered.with("because", because(self.before.as_ref(), &reads))
            }
            Err(reason) => {
                self.event(EventKind::TemplateRefused).with("file", &dest).with("reason", reason)
            }
        });
        let silent = file.template.reload == Reload::None;
        Outcome::Rendered { dest, digest: file.digest, reads, silent, result }
    }

    /// How the instance is stopped: as the request says with which it was started, in the time that
    /// somebody gave it.
    fn stop_spec(&self) -> Stop {
        let stop = self.yard.engine.stop_of(&self.id);
        Stop { grace_ms: self.grace_ms.unwrap_or(stop.grace_ms), ..stop }
    }
}

/// What of what a file was made of has changed.
fn because(before: Option<&Marks>, now: &Marks) -> String {
    let Some(before) = before else { return "it is new".to_owned() };
    match changed(before, now) {
        names if names.is_empty() => "its template has changed".to_owned(),
        names => format!("{} changed", names.join(", ")),
    }
}

fn interrupted(err: &Error) -> Outcome {
    tracing::warn!("{}", err.whole());
    Outcome::Interrupted
}

//! Changes of configuration and registry, in two phases: every instance renders and checks what
//! it would get, beside the file that it has; only when all accept is the change written. A value
//! that one check refuses changes nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use brickyard_api::{Command, FailureKind, Reason};
use brickyard_core::{Digest, EventKind, Generation};
use brickyard_engine::{Engine, Error, InstanceId, Staged};
use brickyard_plan::difference::{RenderedFile, desired};
use brickyard_plan::{Place, View};
use brickyard_render::Objection;
use brickyard_store::Txn;
use camino::Utf8PathBuf;
use tokio::sync::oneshot;

use super::load::parse_registration;
use super::{Accepted, Answer, Environment, Failure, Message};
use crate::journal::Draft;
use crate::keys;
use crate::tasks::OnCancel;

/// How often a file is tried that cannot be written: its instance may just be started again.
const TRIES: u32 = 2;

/// One file in one instance.
type FileKey = (InstanceId, Utf8PathBuf);

/// A change that is being tried, and those that wait for it.
#[derive(Default)]
pub(super) struct Queue {
    current: Option<Pending>,
    waiting: VecDeque<(Command, oneshot::Sender<Answer>)>,
}

struct Pending {
    changes: Changes,
    answer: oneshot::Sender<Answer>,
}

/// What the trial brought.
pub(crate) struct Report {
    staged: Vec<(FileKey, Digest, Staged)>,
    refusals: Vec<Reason>,
}

/// Keys of the store with their values, and the view that they make.
struct Changes {
    keys: Vec<(String, Option<String>)>,
    view: View,
    event: Draft,
}

impl Environment {
    /// Begins to try a change, or queues it.
    pub(super) fn stage(&mut self, command: Command, answer: oneshot::Sender<Answer>) {
        if self.staging.current.is_some() {
            self.staging.waiting.push_back((command, answer));
            return;
        }
        let changes = match self.changes_of(&command) {
            Ok(changes) => changes,
            Err(failure) => {
                let _ = answer.send(Err(failure));
                return;
            }
        };
        let (files, mut refusals) = self.renderings(&changes.view);
        self.staging.current = Some(Pending { changes, answer });
        let engine = Arc::clone(&self.yard.engine);
        let messages = self.messages.clone();
        let name = format!("try a change in {}", self.key);
        self.yard.tasks.spawn(name, OnCancel::Drop, async move {
            let mut staged = Vec::new();
            let mut trials = tokio::task::JoinSet::new();
            if refusals.is_empty() {
                // A file without a check has nothing that could refuse it.
                let checked = files.into_iter().filter(|(_, file)| file.template.check.is_some());
                for (id, file) in checked {
                    trials.spawn(try_file(Arc::clone(&engine), id, file));
                }
            }
            while let Some(trial) = trials.join_next().await {
                match trial {
                    Ok(Ok(one)) => staged.extend(one),
                    Ok(Err(reason)) => refusals.push(reason),
                    Err(err) => refusals.push(Reason {
                        address: String::new(),
                        text: err.to_string(),
                        log: Vec::new(),
                    }),
                }
            }
            if !refusals.is_empty() {
                for ((id, _), _, staged) in staged.drain(..) {
                    let _ = engine.discard_file(&id, &staged).await;
                }
            }
            refusals.sort_by(|a, b| a.address.cmp(&b.address));
            let _ = messages.send(Message::Staged(Report { staged, refusals })).await;
        });
    }

    /// Takes the trial's result: writes the change or says why not.
    pub(super) async fn staged(&mut self, report: Report) {
        let Some(pending) = self.staging.current.take() else {
            return;
        };
        let done = match report.refusals.is_empty() {
            true => self.write_data(pending.changes, report.staged).await,
            false => Err(Failure { kind: FailureKind::Refused, reasons: report.refusals }),
        };
        let _ = pending.answer.send(done);
        if let Some((command, answer)) = self.staging.waiting.pop_front() {
            self.stage(command, answer);
        }
    }

    async fn write_data(
        &mut self,
        changes: Changes,
        staged: Vec<(FileKey, Digest, Staged)>,
    ) -> Answer {
        let mut txn = Txn::new().put(keys::data(&self.key), "");
        for (key, value) in &changes.keys {
            txn = match value {
                Some(value) => txn.put(key.clone(), value.clone()),
                None => txn.delete(key.clone()),
            };
        }
        let written = self.write(txn, vec![changes.event]).await;
        let revision =
            written.map_err(|text| Failure::of(FailureKind::Internal, &self.address, text))?;
        self.view = changes.view;
        self.data_revision = revision;
        self.sequence += 1;
        for ((id, dest), digest, staged) in staged {
            let place = Place { service: id.service, slot: id.slot };
            let key = (place, id.generation, dest);
            if let Some((_, former)) = self.staged.insert(key.clone(), (digest, staged)) {
                self.discard(&key.0, key.1, former);
            }
        }
        Ok(Accepted { revision, sequence: self.sequence })
    }

    /// The staged file of a destination, if it is the one that is wanted there now.
    pub(super) fn take_staged(
        &mut self,
        key: &(Place, Generation, Utf8PathBuf),
        wanted: Digest,
    ) -> Option<Staged> {
        let (digest, staged) = self.staged.remove(key)?;
        if digest == wanted {
            return Some(staged);
        }
        self.discard(&key.0, key.1, staged);
        None
    }

    /// Removes files that were staged and turned out not to be needed.
    pub(super) fn discard_staged(&mut self) {
        for ((place, generation, _), (_, staged)) in std::mem::take(&mut self.staged) {
            self.discard(&place, generation, staged);
        }
    }

    fn discard(&self, place: &Place, generation: Generation, staged: Staged) {
        let engine = Arc::clone(&self.yard.engine);
        let id = self.id(place, generation);
        let name = format!("discard {} of {id}", staged.path);
        self.yard.tasks.spawn(name, OnCancel::Finish, async move {
            // One that has ended keeps nothing staged: its next run sweeps it away.
            let _ = engine.discard_file(&id, &staged).await;
        });
    }

    fn changes_of(&self, command: &Command) -> Result<Changes, Failure> {
        let refused = |text: String| Failure::of(FailureKind::Refused, &self.address, text);
        let mut view = self.view.clone();
        let mut stored = Vec::new();
        let mut event;
        match command {
            Command::Config { changes } => {
                event = Draft::new(EventKind::ConfigChanged, self.address.clone());
                for (key, value) in changes {
                    check_key(key).map_err(refused)?;
                    event = event.with(key, value.as_deref().unwrap_or("(removed)"));
                    match value {
                        Some(value) => view.config.insert(key.clone(), value.clone()),
                        None => view.config.remove(key),
                    };
                    stored.push((format!("{}{key}", keys::config(&self.key)), value.clone()));
                }
            }
            Command::Register { changes } => {
                event = Draft::new(EventKind::RegistryChanged, self.address.clone());
                for (name, at) in changes {
                    let text = at.as_deref().unwrap_or("none:1");
                    let (service, slot, endpoint, parsed) =
                        parse_registration(name, text).map_err(refused)?;
                    self.check_target(&service, &endpoint)?;
                    event = event.with(name, at.as_deref().unwrap_or("(removed)"));
                    let list = view.registered.entry(service.clone()).or_default();
                    match at {
                        Some(_) => list.insert((slot, endpoint), parsed),
                        None => list.remove(&(slot, endpoint)),
                    };
                    view.registered.retain(|_, list| !list.is_empty());
                    stored.push((format!("{}{name}", keys::registered(&self.key)), at.clone()));
                }
            }
            _ => return Err(refused("this is no change of data".to_owned())),
        }
        if self.record.is_none() {
            let text = "nothing runs in this environment";
            return Err(Failure::of(FailureKind::NotFound, &self.address, text));
        }
        Ok(Changes { keys: stored, view, event })
    }

    /// A registration must be for a box and an endpoint that the model knows.
    fn check_target(
        &self,
        service: &brickyard_core::ServiceName,
        endpoint: &brickyard_core::EndpointName,
    ) -> Result<(), Failure> {
        let wanted = &self.wanted;
        let known: Vec<String> = match (wanted.services.get(service), wanted.external.get(service))
        {
            (Some(found), _) => found.model.provides.keys().map(ToString::to_string).collect(),
            (_, Some(found)) => found.keys().map(ToString::to_string).collect(),
            (None, None) => {
                let text = format!("the model has no box `{service}`");
                return Err(Failure::of(FailureKind::NotFound, &self.address, text));
            }
        };
        if known.iter().any(|name| name == endpoint.as_str()) {
            return Ok(());
        }
        let known = known.join("`, `");
        let text = format!("`{service}` has no endpoint `{endpoint}`; it provides `{known}`");
        Err(Failure::of(FailureKind::NotFound, &self.address, text))
    }

    /// Files that a view would change in running instances, and templates that it would break.
    fn renderings(&self, view: &View) -> (Vec<(InstanceId, RenderedFile)>, Vec<Reason>) {
        let mut files = Vec::new();
        let mut broken = Vec::new();
        for record in self.observed.all().filter(|r| r.is_running() && !r.is_paused()) {
            let Some(service) = self.wanted.services.get(&record.place.service) else {
                continue;
            };
            let render =
                |view: &View| desired(&self.wanted, &self.observed, view, service, Some(record));
            let address = self
                .address
                .with_service(&record.place.service)
                .with_slot(record.place.slot)
                .to_string();
            let reason = |text| Reason { address: address.clone(), text, log: Vec::new() };
            let before = render(&self.view);
            match (render(view), &before) {
                (Err(text), Ok(_)) => broken.push(reason(text)),
                (Err(_), Err(_)) => {}
                (Ok(after), _) => {
                    for (at, (dest, file)) in after.files.into_iter().enumerate() {
                        let was_well =
                            before.as_ref().is_ok_and(|before| before.files[at].1.is_ok());
                        match file {
                            Err(text) if was_well => broken.push(reason(text)),
                            Err(_) => {}
                            Ok(file) if record.rendered.get(&dest) == Some(&file.digest) => {}
                            Ok(file) => {
                                files.push((self.id(&record.place, record.generation), file));
                            }
                        }
                    }
                }
            }
        }
        (files, broken)
    }
}

/// Tries one file. An instance that ends meanwhile has no say: its next start checks the file.
async fn try_file(
    engine: Arc<dyn Engine>,
    id: InstanceId,
    file: RenderedFile,
) -> Result<Option<(FileKey, Digest, Staged)>, Reason> {
    let mut tries = 1;
    let text = loop {
        match brickyard_render::stage_and_check(&*engine, &id, &file).await {
            Ok(staged) => {
                let dest = file.template.dest.clone();
                return Ok(Some(((id, dest), file.digest, staged)));
            }
            Err(objection) => {
                let runs = engine.usage(&id).await;
                if let Err(Error::NotRunning { .. } | Error::Unknown { .. }) = runs {
                    return Ok(None);
                }
                match objection {
                    Objection::Failed(_) if tries < TRIES => tries += 1,
                    objection => break objection.into_text(),
                }
            }
        }
    };
    let address = format!(
        "/{}/{}/{}/{}",
        id.environment.system, id.environment.environment, id.service, id.slot
    );
    Err(Reason { address, text, log: Vec::new() })
}

fn check_key(key: &str) -> Result<(), String> {
    let part_is_good = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    let well_formed = key.strip_prefix('/').is_some_and(|rest| rest.split('/').all(part_is_good));
    if !well_formed {
        return Err(format!("`{key}` is not a key: write names of a-z A-Z 0-9 . _ - between /"));
    }
    if key.starts_with("/brickyard/") || key == "/brickyard" {
        return Err(format!("`{key}` is reserved for the registry"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_paths() {
        assert_eq!(check_key("/a/b.c"), Ok(()));
        for bad in ["a", "/", "/a//b", "/a b", "/brickyard/x"] {
            assert!(check_key(bad).is_err(), "{bad}");
        }
    }
}

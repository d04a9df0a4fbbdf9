//! An engine in memory, for tests of what stands above engines.
//!
//! Instances "run" until told otherwise; tests let them end, refuse starts and see which files
//! were put into place.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use brickyard_core::VolumeName;
use brickyard_core::spec::{Exit, Stop};
use camino::Utf8PathBuf;
use tokio::sync::watch;

use crate::{
    Connection, Engine, EnvironmentFacts, EnvironmentKey, Error, ExecOutput, ExecRequest,
    FileWrite, InstanceId, Known, KnownState, Process, Staged, StartRequest, Started, Usage,
    signal_number,
};

#[derive(Debug)]
struct Instance {
    pid: i32,
    files: BTreeMap<Utf8PathBuf, FileWrite>,
    staged: BTreeMap<Utf8PathBuf, FileWrite>,
    exit: watch::Sender<Option<Exit>>,
    paused: bool,
}

#[derive(Debug, Default)]
struct State {
    environments: BTreeMap<EnvironmentKey, EnvironmentFacts>,
    instances: BTreeMap<InstanceId, Instance>,
    next_pid: i32,
    refusals: BTreeMap<String, String>,
    exec_codes: BTreeMap<String, i32>,
    connections: BTreeMap<InstanceId, Vec<Connection>>,
    signals: Vec<(InstanceId, String)>,
}

/// The engine; clones share their state.
#[derive(Debug, Clone, Default)]
pub struct Fake {
    state: Arc<Mutex<State>>,
}

impl Fake {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Lets starts of a service be refused with this reason, or no longer.
    pub fn refuse(&self, service: &str, reason: Option<&str>) {
        match reason {
            Some(reason) => {
                self.state().refusals.insert(service.to_owned(), reason.to_owned());
            }
            None => {
                self.state().refusals.remove(service);
            }
        }
    }

    /// Sets the exit code of commands whose program is `program`; others exit with 0.
    pub fn exec_code(&self, program: &str, code: i32) {
        self.state().exec_codes.insert(program.to_owned(), code);
    }

    /// Sets the connections that others have to an instance.
    pub fn connect(&self, id: &InstanceId, connections: Vec<Connection>) {
        self.state().connections.insert(id.clone(), connections);
    }

    /// Lets an instance end by itself.
    pub fn end(&self, id: &InstanceId, code: i32) {
        if let Some(instance) = self.state().instances.get(id) {
            instance.exit.send_replace(Some(Exit { code, oom: false, lost: None, time_ms: 0 }));
        }
    }

    /// Contents of a file of an instance.
    #[must_use]
    pub fn file(&self, id: &InstanceId, path: &str) -> Option<Vec<u8>> {
        let state = self.state();
        let file = state.instances.get(id)?.files.get(camino::Utf8Path::new(path))?;
        Some(file.contents.clone())
    }

    /// Signals sent so far.
    #[must_use]
    pub fn signals(&self) -> Vec<(InstanceId, String)> {
        self.state().signals.clone()
    }
}

impl State {
    fn running(&mut self, id: &InstanceId) -> Result<&mut Instance, Error> {
        let instance =
            self.instances.get_mut(id).ok_or_else(|| Error::Unknown { id: id.clone() })?;
        let ended = instance.exit.borrow().is_some();
        if ended { Err(Error::NotRunning { id: id.clone() }) } else { Ok(instance) }
    }
}

#[async_trait]
impl Engine for Fake {
    async fn open_environment(&self, key: &EnvironmentKey) -> Result<EnvironmentFacts, Error> {
        let mut state = self.state();
        let number = u8::try_from(state.environments.len()).unwrap_or(u8::MAX);
        let facts = state.environments.entry(key.clone()).or_insert(EnvironmentFacts {
            subnet: Ipv4Addr::new(10, 0, number, 0),
            prefix_bits: 24,
            gateway: Ipv4Addr::new(10, 0, number, 1),
            host: Ipv4Addr::new(10, 1, number, 1),
            uid_base: 1_000_000,
            network_namespace: None,
        });
        Ok(facts.clone())
    }

    async fn close_environment(&self, key: &EnvironmentKey) -> Result<(), Error> {
        let mut state = self.state();
        state.instances.retain(|id, _| id.environment != *key);
        state.environments.remove(key);
        Ok(())
    }

    async fn environments(&self) -> Result<Vec<EnvironmentKey>, Error> {
        Ok(self.state().environments.keys().cloned().collect())
    }

    async fn start(&self, request: &StartRequest) -> Result<Started, Error> {
        let mut state = self.state();
        let refused =
            |reason: &str| Error::Refused { id: request.id.clone(), reason: reason.to_owned() };
        if let Some(reason) = state.refusals.get(request.id.service.as_str()) {
            return Err(refused(reason));
        }
        if !state.environments.contains_key(&request.id.environment) {
            return Err(refused("its environment is not open"));
        }
        if let Ok(instance) = state.running(&request.id) {
            instance.paused = false;
            return Ok(Started { pid: instance.pid });
        }
        state.next_pid += 1;
        let pid = state.next_pid;
        let mut files =
            state.instances.remove(&request.id).map(|former| former.files).unwrap_or_default();
        files.extend(request.files.iter().map(|file| (file.dest.clone(), file.clone())));
        let exit = watch::channel(None).0;
        let instance = Instance { pid, files, staged: BTreeMap::new(), exit, paused: false };
        state.instances.insert(request.id.clone(), instance);
        Ok(Started { pid })
    }

    async fn wait(&self, id: &InstanceId) -> Result<Exit, Error> {
        let mut exit = {
            let state = self.state();
            let instance =
                state.instances.get(id).ok_or_else(|| Error::Unknown { id: id.clone() })?;
            instance.exit.subscribe()
        };
        match exit.wait_for(Option::is_some).await {
            Ok(exit) => exit.ok_or_else(|| Error::Unknown { id: id.clone() }),
            Err(_) => Err(Error::Unknown { id: id.clone() }),
        }
    }

    async fn stop(&self, id: &InstanceId, stop: &Stop) -> Result<Exit, Error> {
        signal_number(&stop.signal).ok_or_else(|| Error::Signal { name: stop.signal.clone() })?;
        let state = self.state();
        let instance = state.instances.get(id).ok_or_else(|| Error::Unknown { id: id.clone() })?;
        let exit = Exit { code: 143, oom: false, lost: None, time_ms: 0 };
        instance
            .exit
            .send_if_modified(|current| current.is_none().then(|| *current = Some(exit)).is_some());
        let ended = *instance.exit.borrow();
        Ok(ended.unwrap_or(exit))
    }

    fn stop_of(&self, _: &InstanceId) -> Stop {
        Stop::default()
    }

    async fn signal(&self, id: &InstanceId, signal: &str) -> Result<(), Error> {
        signal_number(signal).ok_or_else(|| Error::Signal { name: signal.to_owned() })?;
        let mut state = self.state();
        state.running(id)?;
        state.signals.push((id.clone(), signal.to_owned()));
        Ok(())
    }

    async fn pause(&self, id: &InstanceId) -> Result<(), Error> {
        self.state().running(id)?.paused = true;
        Ok(())
    }

    async fn unpause(&self, id: &InstanceId) -> Result<(), Error> {
        self.state().running(id)?.paused = false;
        Ok(())
    }

    async fn usage(&self, id: &InstanceId) -> Result<Usage, Error> {
        self.state().running(id)?;
        Ok(Usage { pids: 1, ..Usage::default() })
    }

    async fn processes(&self, id: &InstanceId) -> Result<Vec<Process>, Error> {
        let pid = self.state().running(id)?.pid;
        Ok(vec![Process {
            pid,
            parent: 0,
            pid_inside: 1,
            uid: 0,
            user: None,
            cpu_ms: 0,
            started_ms: 0,
            command: "fake".to_owned(),
        }])
    }

    async fn remove(&self, id: &InstanceId) -> Result<(), Error> {
        self.state().instances.remove(id);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Known>, Error> {
        let state = self.state();
        let known = state.instances.iter().map(|(id, instance)| {
            let ended = *instance.exit.borrow();
            let pid = instance.pid;
            let alive = match instance.paused {
                true => KnownState::Paused { pid },
                false => KnownState::Running { pid },
            };
            Known { id: id.clone(), state: ended.map_or(alive, KnownState::Exited) }
        });
        Ok(known.collect())
    }

    async fn exec(&self, id: &InstanceId, request: &ExecRequest) -> Result<ExecOutput, Error> {
        let mut state = self.state();
        state.running(id)?;
        let program = request.argv.first().map_or("", String::as_str);
        let code = state.exec_codes.get(program).copied().unwrap_or(0);
        Ok(ExecOutput { code, output: Vec::new() })
    }

    async fn stage_file(&self, id: &InstanceId, file: &FileWrite) -> Result<Staged, Error> {
        let mut state = self.state();
        let instance = state.running(id)?;
        instance.staged.insert(file.dest.clone(), file.clone());
        Ok(Staged { path: format!("{}.staged", file.dest).into(), dest: file.dest.clone() })
    }

    async fn commit_file(&self, id: &InstanceId, staged: &Staged) -> Result<(), Error> {
        let mut state = self.state();
        let instance = state.running(id)?;
        let reason = format!("`{}` was not staged", staged.dest);
        let file = instance
            .staged
            .remove(&staged.dest)
            .ok_or_else(|| Error::Inside { id: id.clone(), reason })?;
        instance.files.insert(staged.dest.clone(), file);
        Ok(())
    }

    async fn discard_file(&self, id: &InstanceId, staged: &Staged) -> Result<(), Error> {
        self.state().running(id)?.staged.remove(&staged.dest);
        Ok(())
    }

    async fn sweep_files(&self, id: &InstanceId, _: &[Utf8PathBuf]) -> Result<(), Error> {
        self.state().running(id).map(drop)
    }

    async fn connections(&self, id: &InstanceId) -> Result<Vec<Connection>, Error> {
        let mut state = self.state();
        state.running(id)?;
        Ok(state.connections.get(id).cloned().unwrap_or_default())
    }

    fn log_files(&self, _: &InstanceId) -> Vec<PathBuf> {
        Vec::new()
    }

    fn loss(&self, _: &InstanceId) -> crate::Loss {
        crate::Loss::default()
    }

    fn loss_noted(&self, _: &InstanceId) -> Option<std::time::SystemTime> {
        None
    }

    async fn remove_volume(&self, _: &EnvironmentKey, _: &VolumeName) -> Result<(), Error> {
        Ok(())
    }
}

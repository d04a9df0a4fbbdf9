//! The native engine: containers with nothing but the kernel.
//!
//! [`Native`] runs in the agent and never touches a namespace itself: each start, command and file
//! is done by a fresh process of our own binary (see [`worker`], [`inside`]), and each generation
//! has a [`monitor`] that outlives the agent. State is on disk under the yard's root and in
//! cgroups whose names derive from it; after a crash the two lists are compared and what has no
//! `started.json` is swept away.

mod archive;
mod attached;
mod bundle;
mod capability;
mod cgroup;
mod command;
mod connections;
mod copy;
pub mod doctor;
mod ids;
mod inside;
mod launch;
pub mod log;
mod monitor;
mod netlink;
mod network;
mod paths;
mod plot;
mod rootfs;
mod seccomp;
pub mod terminal;
mod usage;
mod user;
mod worker;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use brickyard_core::VolumeName;
use brickyard_core::spec::{Exit, Lost, Stop};
use camino::{Utf8Path, Utf8PathBuf};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::{
    Connection, Engine, EnvironmentFacts, EnvironmentKey, Error, ExecOutput, ExecRequest,
    FileWrite, InstanceId, Known, KnownState, Loss, Process, Staged, StartRequest, Started, Usage,
    signal_number,
};
use attached::Attached;
use cgroup::Layout;
use inside::{ExecJob, FileJob, FileStep, Target};
use paths::{InstancePaths, Paths};
use plot::{PREFIX_BITS, Plot};
use worker::{Answer, Job, Record};

pub use archive::{PathKind, copy_main, pack};
pub use attached::{Attach, Streams, TERM};
pub use inside::{exec_main, file_main};
pub use monitor::main as monitor_main;
pub use worker::main as worker_main;

/// How long a worker may take to start a container.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// How long the answer of a worker that has ended may still be on its way.
const ANSWER_DEADLINE: Duration = Duration::from_millis(200);
/// How often something is tried whose process was killed.
const TRIES: u32 = 3;
/// How long a file change inside may take.
const FILE_DEADLINE: Duration = Duration::from_secs(10);
/// How long a killed container's monitor may take to write its record.
const RECORD_DEADLINE: Duration = Duration::from_secs(10);
/// Exit code of a generation whose end nobody saw, because its monitor was killed.
pub const CODE_UNKNOWN: i32 = -1;

/// The engine of one yard.
#[derive(Debug, Clone)]
pub struct Native {
    paths: Paths,
    layout: Layout,
    binary: Utf8PathBuf,
}

impl Native {
    /// Makes the yard's directories and cgroups ready.
    ///
    /// `binary` is started again as worker; it is our own executable and understands the hidden
    /// commands `__worker`, `__monitor`, `__exec`, `__file` and `__copy`.
    ///
    /// # Errors
    /// When this machine lacks what the engine needs, with what to do about it.
    pub fn open(root: &Utf8Path, binary: &Utf8Path) -> Result<Self, Error> {
        let paths = Paths::new(root);
        let layout = Layout::detect_or_mount().map_err(Error::io("find the cgroup hierarchies"))?;
        for dir in [root.to_owned(), paths.environments()] {
            ensure_passable(&dir).map_err(Error::io(format!("make `{dir}`")))?;
        }
        // What an instance's root writes to a volume belongs to the machine's root on disk, set-uid
        // programs too: nobody may come near it but through an instance.
        let volumes = root.join("volumes");
        ensure_mode(&volumes, 0o700).map_err(Error::io(format!("make `{volumes}`")))?;
        Ok(Self { paths, layout, binary: binary.to_owned() })
    }

    /// Takes away what belongs to the yard itself; no environment is left.
    ///
    /// # Errors
    /// When a cgroup does not let go.
    pub fn close(&self) -> Result<(), Error> {
        self.layout.remove(&self.paths.yard_cgroup()).map_err(Error::io("remove the yard's cgroup"))
    }

    /// A command that runs `request` inside with the caller's own streams, for interactive use.
    ///
    /// # Errors
    /// When the generation does not run.
    pub fn exec_command(&self, id: &InstanceId, request: &ExecRequest) -> Result<Command, Error> {
        self.helper("__exec", &self.exec_job(id, request)?, &[], Vec::new())
    }

    fn exec_job(&self, id: &InstanceId, request: &ExecRequest) -> Result<ExecJob, Error> {
        let spec = self.request(id)?.spec;
        let user = request.user.clone().unwrap_or_else(|| spec.user.clone());
        let home = user::User { uid: 0, gid: 0, groups: Vec::new(), home: "/".to_owned() };
        let mut environment = bundle::environment(&spec, &home);
        environment.retain(|(name, _)| !request.environment.contains_key(name));
        environment.extend(request.environment.clone());
        Ok(ExecJob {
            target: self.target(id)?,
            argv: request.argv.clone(),
            environment,
            working_dir: request.working_dir.clone().unwrap_or(spec.working_dir),
            user,
            cap_add: spec.cap_add,
            cap_drop: spec.cap_drop,
            group: None,
            terminal: None,
        })
    }

    /// The process and cgroup of a running generation.
    fn target(&self, id: &InstanceId) -> Result<Target, Error> {
        let record = self.record(id)?;
        Ok(Target { pid: record.pid, cgroup: self.paths.instance_cgroup(id) })
    }

    fn request(&self, id: &InstanceId) -> Result<StartRequest, Error> {
        let path = self.paths.instance(id).request();
        read_json(&path).ok_or_else(|| Error::Unknown { id: id.clone() })
    }

    fn record(&self, id: &InstanceId) -> Result<Record, Error> {
        let path = self.paths.instance(id).started();
        read_json(&path).ok_or_else(|| Error::NotRunning { id: id.clone() })
    }

    fn facts(&self, key: &EnvironmentKey) -> Option<EnvironmentFacts> {
        read_json(&self.paths.facts(key))
    }

    /// Our own binary with a job on descriptor 3, and more descriptors from 4 on.
    fn helper(
        &self,
        word: &str,
        job: &impl Serialize,
        data: &[u8],
        more: Vec<OwnedFd>,
    ) -> Result<Command, Error> {
        let fd = job_file(job, data).map_err(Error::io("hand a job to a worker"))?;
        let mut command = Command::new(&self.binary);
        command.arg(word).env_clear();
        let fds = std::iter::once(fd).chain(more).collect();
        brickyard_sys::command::inherit(&mut command, fds);
        Ok(command)
    }

    /// Changes files inside. Where its process was killed, a step is repeated, but for one: whether a
    /// staged file came into its place or is lost cannot be told afterwards.
    async fn change_file(
        &self,
        id: &InstanceId,
        staged: &Staged,
        step: FileStep,
        contents: &[u8],
    ) -> Result<(), Error> {
        let (dest, staged) = (staged.dest.clone(), staged.path.clone());
        let job = FileJob { target: self.target(id)?, dest, staged, step };
        for _ in 1..TRIES {
            match self.change_file_once(id, &job, contents).await {
                Err(Error::Interrupted { .. }) if !matches!(job.step, FileStep::Commit) => {}
                other => return other,
            }
        }
        self.change_file_once(id, &job, contents).await
    }

    async fn change_file_once(
        &self,
        id: &InstanceId,
        job: &FileJob,
        contents: &[u8],
    ) -> Result<(), Error> {
        let dest = &job.dest;
        let mut command = self.helper("__file", job, contents, Vec::new())?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        brickyard_sys::command::die_with_parent(&mut command);
        let work = tokio::process::Command::from(command).kill_on_drop(true).output();
        let inside = |reason: String| Error::Inside { id: id.clone(), reason };
        let output = tokio::time::timeout(FILE_DEADLINE, work)
            .await
            .map_err(|_| inside(format!("`{dest}` could not be written in time")))?
            .map_err(Error::io("start a worker"))?;
        match (output.status.success(), output.status.code()) {
            (true, _) => Ok(()),
            (false, Some(_)) => Err(inside(String::from_utf8_lossy(&output.stdout).into_owned())),
            (false, None) => Err(Error::Interrupted { id: id.clone() }),
        }
    }

    /// Stages a file; what was written of it before a failure is removed.
    async fn stage(
        &self,
        id: &InstanceId,
        file: &FileWrite,
        step: FileStep,
    ) -> Result<Staged, Error> {
        let staged = Staged { path: inside::staged_path(&file.dest), dest: file.dest.clone() };
        match self.change_file(id, &staged, step, &file.contents).await {
            Ok(()) => Ok(staged),
            Err(err) => {
                // It may be that nothing can be done there: the first failure tells.
                let _ = self.change_file(id, &staged, FileStep::Discard, &[]).await;
                Err(err)
            }
        }
    }

    /// Sweeps away what a start left that never got its record.
    fn sweep(&self, id: &InstanceId) -> io::Result<()> {
        let cgroup = self.paths.instance_cgroup(id);
        self.layout.kill(&cgroup)?;
        self.layout.remove(&cgroup)
    }

    /// Waits for the end of a generation's monitor.
    async fn monitor_ended(&self, id: &InstanceId) -> Result<(), Error> {
        let record = self.record(id)?;
        let Some(pid) = Pid::from_raw(record.monitor) else {
            return Ok(());
        };
        let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else {
            return Ok(());
        };
        // The number may have been given to another process: only the one in the cgroup counts.
        let suffix = format!("{}/m", self.paths.instance_cgroup(id));
        let cgroups = fs::read_to_string(format!("/proc/{}/cgroup", record.monitor));
        if !cgroups.is_ok_and(|text| text.lines().any(|line| line.ends_with(&suffix))) {
            return Ok(());
        }
        brickyard_sys::process::ended(pidfd).await.map_err(Error::io("watch a monitor"))
    }

    /// The record of the end; where the monitor was killed, one is made up after the container
    /// was killed too: its output has no reader any more.
    fn exit_record(&self, id: &InstanceId) -> Result<Exit, Error> {
        use brickyard_core::clock::{Clock, SystemClock};
        let path = self.paths.instance(id).exit();
        if let Some(exit) = read_json(&path) {
            return Ok(exit);
        }
        self.layout
            .kill(&self.paths.instance_cgroup(id))
            .map_err(Error::io("kill a container without a monitor"))?;
        let time_ms = SystemClock::default().now_ms();
        let exit = Exit { code: CODE_UNKNOWN, oom: false, lost: Some(Lost::Monitor), time_ms };
        write_record(&path, &exit).map_err(Error::io(format!("write `{path}`")))?;
        Ok(exit)
    }

    fn job(&self, request: &StartRequest, attached: Attached) -> Result<Job, Error> {
        let facts = self.facts(&request.id.environment).ok_or_else(|| Error::Refused {
            id: request.id.clone(),
            reason: "its environment is not open".to_owned(),
        })?;
        let root = self.paths.root().to_owned();
        Ok(Job { root, id: request.id.clone(), facts, run: 1, attached })
    }

    /// Starts a generation of which nothing is to stay as it is.
    async fn start_anew(&self, request: &StartRequest) -> Result<Started, Error> {
        let mut job = self.job(request, Attached::Nothing)?;
        let instance = self.paths.instance(&request.id);
        let former: Option<Record> = read_json(&instance.started());
        let id = request.id.clone();
        let engine = self.clone();
        // Before its records go: a worker of an agent that has died may be writing one just now.
        blocking(move || engine.sweep(&id).map_err(Error::io("sweep up a former run"))).await?;
        let prepared = prepare_instance(&instance, request);
        prepared.map_err(Error::io(format!("make `{}`", instance.dir)))?;
        job.run = former.map_or(1, |record| record.run + 1);
        self.launch(request, &job, Vec::new()).await
    }

    async fn launch(
        &self,
        request: &StartRequest,
        job: &Job,
        fds: Vec<OwnedFd>,
    ) -> Result<Started, Error> {
        let mut command = self.helper("__worker", job, &[], fds)?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        brickyard_sys::command::new_session(&mut command);
        // Until its container is on record a worker does not outlive who asked for it: the next
        // agent sweeps up and starts anew.
        brickyard_sys::command::die_with_parent(&mut command);
        let mut child =
            tokio::process::Command::from(command).spawn().map_err(Error::io("start a worker"))?;
        let refused = |reason: String| Error::Refused { id: request.id.clone(), reason };
        let stdout = child.stdout.take().ok_or_else(|| refused("no answer".to_owned()))?;
        let mut line = String::new();
        let mut reader = BufReader::new(stdout);
        // Children of a worker that was killed keep its standard output open and wait for it for
        // ever: its own end counts.
        let read = tokio::select! {
            read = tokio::time::timeout(START_DEADLINE, reader.read_line(&mut line)) => read,
            _ = child.wait() => {
                tokio::time::timeout(ANSWER_DEADLINE, reader.read_line(&mut line)).await
            }
        };
        let answer = match read {
            Err(_) => Err(refused("the worker did not answer".to_owned())),
            Ok(Err(err)) => Err(refused(format!("the worker did not answer: {err}"))),
            Ok(Ok(_)) => match serde_json::from_str(&line) {
                Ok(Answer::Started { pid }) => return Ok(Started { pid }),
                Ok(Answer::Refused { reason }) => Err(refused(reason)),
                Err(_) => Err(Error::Interrupted { id: request.id.clone() }),
            },
        };
        let _ = child.start_kill();
        let _ = child.wait().await;
        let id = request.id.clone();
        let engine = self.clone();
        blocking(move || engine.sweep(&id).map_err(Error::io("sweep up a refused start"))).await?;
        answer
    }
}

/// Runs blocking work away from the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|err| Error::Io { action: "finish background work".into(), err: err.into() })?
}

#[async_trait]
impl Engine for Native {
    async fn open_environment(&self, key: &EnvironmentKey) -> Result<EnvironmentFacts, Error> {
        let (engine, key) = (self.clone(), key.clone());
        blocking(move || engine.open_environment_now(&key)).await
    }

    async fn close_environment(&self, key: &EnvironmentKey) -> Result<(), Error> {
        let (engine, key) = (self.clone(), key.clone());
        blocking(move || {
            let link = engine.paths.host_link(&key);
            engine.close_environment_now(&key, |pin| network::destroy(pin, &link))
        })
        .await
    }

    async fn environments(&self) -> Result<Vec<EnvironmentKey>, Error> {
        let mut keys: BTreeSet<EnvironmentKey> =
            names_in(&self.paths.environments()).iter().filter_map(|n| n.parse().ok()).collect();
        let cgroups = self.layout.children(&self.paths.yard_cgroup());
        keys.extend(cgroups.iter().filter_map(|name| name.parse().ok()));
        Ok(keys.into_iter().collect())
    }

    async fn start(&self, request: &StartRequest) -> Result<Started, Error> {
        let instance = self.paths.instance(&request.id);
        if let Ok(record) = self.record(&request.id)
            && !instance.exit().exists()
            && self.layout.is_populated(&format!("{}/c", self.paths.instance_cgroup(&request.id)))
            // One that was started otherwise, by an agent that has died meanwhile, begins anew.
            && self.request(&request.id).is_ok_and(|running| running == *request)
        {
            self.unpause(&request.id).await?;
            return Ok(Started { pid: record.pid });
        }
        for _ in 1..TRIES {
            match self.start_anew(request).await {
                Err(Error::Interrupted { .. }) => {}
                other => return other,
            }
        }
        self.start_anew(request).await
    }

    async fn wait(&self, id: &InstanceId) -> Result<Exit, Error> {
        self.monitor_ended(id).await?;
        let (engine, id) = (self.clone(), id.clone());
        blocking(move || engine.exit_record(&id)).await
    }

    async fn stop(&self, id: &InstanceId, stop: &Stop) -> Result<Exit, Error> {
        if let Some(exit) = read_json(&self.paths.instance(id).exit()) {
            return Ok(exit);
        }
        // A frozen process would not get the signal; one that is gone has nothing to thaw.
        let _ = self.unpause(id).await;
        let signalled = self.signal(id, &stop.signal).await;
        if signalled.is_ok() {
            let grace = Duration::from_millis(stop.grace_ms);
            if let Ok(exit) = tokio::time::timeout(grace, self.wait(id)).await {
                return exit;
            }
        }
        let cgroup = format!("{}/c", self.paths.instance_cgroup(id));
        let layout = self.layout.clone();
        blocking(move || layout.kill(&cgroup).map_err(Error::io("kill a container"))).await?;
        match tokio::time::timeout(RECORD_DEADLINE, self.wait(id)).await {
            Ok(exit) => exit,
            Err(_) => Err(Error::Inside {
                id: id.clone(),
                reason: "its monitor did not record the end in time".to_owned(),
            }),
        }
    }

    fn stop_of(&self, id: &InstanceId) -> Stop {
        self.request(id).map(|request| request.spec.stop).unwrap_or_default()
    }

    async fn signal(&self, id: &InstanceId, signal: &str) -> Result<(), Error> {
        let number =
            signal_number(signal).ok_or_else(|| Error::Signal { name: signal.to_owned() })?;
        let target = self.target(id)?;
        let not_running = || Error::NotRunning { id: id.clone() };
        if self.paths.instance(id).exit().exists() {
            return Err(not_running());
        }
        brickyard_sys::process::kill(target.pid, number).map_err(|_| not_running())
    }

    async fn pause(&self, id: &InstanceId) -> Result<(), Error> {
        let cgroup = self.running_cgroup(id)?;
        let layout = self.layout.clone();
        blocking(move || layout.freeze(&cgroup).map_err(Error::io("pause a container"))).await
    }

    async fn unpause(&self, id: &InstanceId) -> Result<(), Error> {
        let cgroup = self.running_cgroup(id)?;
        match self.layout.is_frozen(&cgroup) {
            true => self.layout.thaw(&cgroup).map_err(Error::io("let a container go on")),
            false => Ok(()),
        }
    }

    async fn usage(&self, id: &InstanceId) -> Result<Usage, Error> {
        let cgroup = self.running_cgroup(id)?;
        let pid = self.record(id)?.pid;
        Ok(usage::of(&self.layout, &cgroup, pid))
    }

    async fn processes(&self, id: &InstanceId) -> Result<Vec<Process>, Error> {
        let cgroup = self.running_cgroup(id)?;
        let uid_base = self.facts(&id.environment).map_or(0, |facts| facts.uid_base);
        Ok(usage::processes(&self.layout, &cgroup, self.record(id)?.pid, uid_base))
    }

    async fn remove(&self, id: &InstanceId) -> Result<(), Error> {
        let (engine, id) = (self.clone(), id.clone());
        blocking(move || {
            engine.sweep(&id).map_err(Error::io("remove a container's cgroup"))?;
            let dir = engine.paths.instance(&id).dir;
            match fs::remove_dir_all(&dir) {
                Err(err) if err.kind() != ErrorKind::NotFound => {
                    Err(Error::Io { action: format!("remove `{dir}`"), err })
                }
                _ => Ok(()),
            }
        })
        .await
    }

    async fn list(&self) -> Result<Vec<Known>, Error> {
        let mut known = Vec::new();
        for key in self.environments().await? {
            let mut names: BTreeSet<String> =
                names_in(&self.paths.instances(&key)).into_iter().collect();
            names.extend(self.layout.children(&self.paths.environment_cgroup(&key)));
            let ids = names.iter().filter_map(|name| InstanceId::from_key(&key, name));
            known.extend(ids.map(|id| Known { state: self.state_of(&id), id }));
        }
        Ok(known)
    }

    async fn exec(&self, id: &InstanceId, request: &ExecRequest) -> Result<ExecOutput, Error> {
        self.run_command(id, request).await
    }

    async fn stage_file(&self, id: &InstanceId, file: &FileWrite) -> Result<Staged, Error> {
        let step = FileStep::Stage { mode: file.mode, uid: file.uid, gid: file.gid };
        self.stage(id, file, step).await
    }

    async fn place_file(&self, id: &InstanceId, file: &FileWrite) -> Result<(), Error> {
        let step = FileStep::Place { mode: file.mode, uid: file.uid, gid: file.gid };
        self.stage(id, file, step).await.map(drop)
    }

    async fn commit_file(&self, id: &InstanceId, staged: &Staged) -> Result<(), Error> {
        self.change_file(id, staged, FileStep::Commit, &[]).await
    }

    async fn discard_file(&self, id: &InstanceId, staged: &Staged) -> Result<(), Error> {
        self.change_file(id, staged, FileStep::Discard, &[]).await
    }

    async fn sweep_files(&self, id: &InstanceId, dests: &[Utf8PathBuf]) -> Result<(), Error> {
        let kept = inside::staged_mark();
        let step = FileStep::Sweep { dests: dests.to_vec(), kept };
        let nothing = Staged { path: Utf8PathBuf::new(), dest: Utf8PathBuf::new() };
        self.change_file(id, &nothing, step, &[]).await
    }

    async fn connections(&self, id: &InstanceId) -> Result<Vec<Connection>, Error> {
        let path = format!("/proc/{}/ns/net", self.target(id)?.pid);
        let not_running = Error::NotRunning { id: id.clone() };
        blocking(move || {
            let namespace = fs::File::open(path).map_err(|_| not_running)?;
            connections::inbound(&namespace).map_err(Error::io("list an instance's connections"))
        })
        .await
    }

    fn log_files(&self, id: &InstanceId) -> Vec<PathBuf> {
        log::files(&self.paths.instance(id).log())
    }

    fn loss(&self, id: &InstanceId) -> Loss {
        log::loss(&self.paths.instance(id).log())
    }

    fn loss_noted(&self, id: &InstanceId) -> Option<SystemTime> {
        log::loss_noted(&self.paths.instance(id).log())
    }

    async fn remove_volume(&self, key: &EnvironmentKey, volume: &VolumeName) -> Result<(), Error> {
        let path = self.paths.volume(key, volume);
        blocking(move || match fs::remove_dir_all(&path) {
            Err(err) if err.kind() != ErrorKind::NotFound => {
                Err(Error::Io { action: format!("remove `{path}`"), err })
            }
            _ => {
                // The directory of the environment's volumes goes with its last one.
                let _ = path.parent().map(fs::remove_dir);
                Ok(())
            }
        })
        .await
    }
}

impl Native {
    fn open_environment_now(&self, key: &EnvironmentKey) -> Result<EnvironmentFacts, Error> {
        let failed = |action: &str| {
            let (key, action) = (key.clone(), action.to_owned());
            move |err| Error::Environment { key, action, err }
        };
        let dir = self.paths.environment(key);
        let pin = self.paths.network_namespace(key);
        let link = self.paths.host_link(key);
        let former = self.facts(key);
        self.layout
            .prepare_yard(&self.paths.yard_cgroup())
            .map_err(failed("make the yard's cgroup"))?;
        ensure_mode(&dir, 0o710).map_err(failed("make its directory"))?;
        ensure_passable(&self.paths.instances(key)).map_err(failed("make its directory"))?;
        let is_alive = network::is_alive(&pin, &link);
        if !is_alive {
            // Its routes would make the plot that it had look like somebody else's.
            network::destroy(&pin, &link).map_err(failed("remove what is left of its network"))?;
        }
        let plot = plot::claim(&dir, former.as_ref().map(|facts| facts.uid_base))
            .map_err(failed("claim an id range and a subnet"))?;
        // Its instances pass to their own files by their group; no other user of the machine does.
        std::os::unix::fs::chown(&dir, None, Some(plot.uid_base()))
            .map_err(failed("give its directory to its group"))?;
        let facts = facts_of(plot, &pin);
        if former.as_ref() == Some(&facts) && is_alive {
            return Ok(facts);
        }
        network::destroy(&pin, &link).map_err(failed("remove what is left of its network"))?;
        network::create(plot, &pin, &link).map_err(failed("make its network"))?;
        let bytes = serde_json::to_vec(&facts).unwrap_or_default();
        write_atomically(&self.paths.facts(key), &bytes).map_err(failed("record its network"))?;
        Ok(facts)
    }

    /// Takes an environment away whose name nobody uses again: as [`Engine::close_environment`],
    /// but for its link to the host, for which nobody waits; the kernel takes it away soon.
    ///
    /// # Errors
    /// When something of it does not let go.
    pub async fn leave_environment(&self, key: &EnvironmentKey) -> Result<(), Error> {
        let (engine, key) = (self.clone(), key.clone());
        blocking(move || engine.close_environment_now(&key, network::let_go)).await
    }

    /// `end_network` is given the path that pins it.
    fn close_environment_now(
        &self,
        key: &EnvironmentKey,
        end_network: impl FnOnce(&Utf8Path) -> io::Result<()>,
    ) -> Result<(), Error> {
        let failed = |action: &str| {
            let (key, action) = (key.clone(), action.to_owned());
            move |err| Error::Environment { key, action, err }
        };
        let dir = self.paths.environment(key);
        let cgroup = self.paths.environment_cgroup(key);
        self.layout.kill(&cgroup).map_err(failed("kill what is left in it"))?;
        self.layout.remove(&cgroup).map_err(failed("remove its cgroup"))?;
        end_network(&self.paths.network_namespace(key)).map_err(failed("remove its network"))?;
        plot::release(&dir).map_err(failed("give its id range back"))?;
        match fs::remove_dir_all(&dir) {
            Err(err) if err.kind() != ErrorKind::NotFound => {
                Err(failed("remove its directory")(err))
            }
            _ => Ok(()),
        }
    }

    fn state_of(&self, id: &InstanceId) -> KnownState {
        let instance = self.paths.instance(id);
        if let Some(exit) = read_json(&instance.exit()) {
            return KnownState::Exited(exit);
        }
        match read_json::<Record>(&instance.started()) {
            Some(record) => match self.running_cgroup(id) {
                Ok(cgroup) if self.layout.is_frozen(&cgroup) => {
                    KnownState::Paused { pid: record.pid }
                }
                Ok(_) => KnownState::Running { pid: record.pid },
                Err(_) => KnownState::Broken,
            },
            None => KnownState::Broken,
        }
    }

    /// The cgroup of a container in which something runs.
    fn running_cgroup(&self, id: &InstanceId) -> Result<String, Error> {
        let cgroup = format!("{}/c", self.paths.instance_cgroup(id));
        match self.layout.is_populated(&cgroup) {
            true => Ok(cgroup),
            false => Err(Error::NotRunning { id: id.clone() }),
        }
    }
}

fn facts_of(plot: Plot, pin: &Utf8Path) -> EnvironmentFacts {
    EnvironmentFacts {
        subnet: plot.subnet(),
        prefix_bits: PREFIX_BITS,
        gateway: plot.gateway(),
        host: plot.host(),
        uid_base: plot.uid_base(),
        network_namespace: Some(pin.to_owned()),
    }
}

/// Directories above an instance's files may be passed, not read: ids of its range must reach
/// upper and work directories.
fn ensure_passable(dir: &Utf8Path) -> io::Result<()> {
    ensure_mode(dir, 0o711)
}

fn ensure_mode(dir: &Utf8Path, mode: u32) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(mode))
}

fn prepare_instance(instance: &InstancePaths, request: &StartRequest) -> io::Result<()> {
    ensure_passable(&instance.dir)?;
    for stale in [instance.exit(), instance.started()] {
        match fs::remove_file(stale) {
            Err(err) if err.kind() != ErrorKind::NotFound => return Err(err),
            _ => {}
        }
    }
    write_record(&instance.request(), request)
}

fn names_in(dir: &Utf8Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

fn read_json<T: DeserializeOwned>(path: &Utf8Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Writes a file so that it is there whole or not at all, after a power failure too.
fn write_atomically(path: &Utf8Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, fs::File::sync_all)
}

/// Writes a file so that whoever looks sees it whole or not at all. Not synced, which takes longer
/// than anything else in a start: what a power failure leaves of it tells of an instance that does
/// not run any more, and one whose records cannot be read counts as [`KnownState::Broken`].
fn write_record(path: &Utf8Path, record: &impl Serialize) -> io::Result<()> {
    replace(path, &serde_json::to_vec(record)?, |_| Ok(()))
}

fn replace(
    path: &Utf8Path,
    bytes: &[u8],
    finish: impl FnOnce(&fs::File) -> io::Result<()>,
) -> io::Result<()> {
    let temporary = Utf8PathBuf::from(format!("{path}.new"));
    let mut file = fs::File::create(&temporary)?;
    file.write_all(bytes)?;
    finish(&file)?;
    fs::rename(temporary, path)
}

/// A job and its data in a file in memory, ready to be read from its start.
fn job_file(job: &impl Serialize, data: &[u8]) -> io::Result<OwnedFd> {
    let fd = rustix::fs::memfd_create("job", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = fs::File::from(fd);
    let header = serde_json::to_vec(job)?;
    file.write_all(&(header.len() as u64).to_ne_bytes())?;
    file.write_all(&header)?;
    file.write_all(data)?;
    file.rewind()?;
    Ok(file.into())
}

/// Reads what [`job_file`] wrote.
fn read_job<T: DeserializeOwned>(number: i32) -> io::Result<(T, Vec<u8>)> {
    let mut file = fs::File::from(brickyard_sys::command::inherited(number)?);
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let length = usize::try_from(u64::from_ne_bytes(length)).unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let header = bytes.get(..length).ok_or_else(|| io::Error::other("the job is cut short"))?;
    Ok((serde_json::from_slice(header)?, bytes[length..].to_vec()))
}

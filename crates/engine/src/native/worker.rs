//! The worker: a freshly exec'd, single-threaded process that starts one generation and then
//! becomes its monitor.
//!
//! libcontainer clones without exec and would deadlock in a process with threads, so it is called
//! nowhere else. The order of the steps is what makes a crash harmless: the cgroup comes first, so
//! everything can be found and killed; mounts live in a mount namespace of the worker's own; the
//! record `started.json` comes last, and what has none is swept away.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Mutex;

use brickyard_sys::namespace::{private_mounts, user_and_network};
use camino::{Utf8Path, Utf8PathBuf};
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use rustix::io::{FdFlags, fcntl_setfd};
use serde::{Deserialize, Serialize};

use super::attached::Attached;
use super::cgroup::Layout;
use super::launch::{Expected, Launch};
use super::monitor;
use super::paths::{InstancePaths, Paths};
use super::plot::UID_COUNT;
use super::rootfs::{self, Rootfs, context};
use super::{bundle, capability, network, seccomp, terminal, user};
use crate::{EnvironmentFacts, FileWrite, InstanceId, StartRequest};

/// What the worker is asked to do, read from descriptor 3.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) root: Utf8PathBuf,
    pub(crate) id: InstanceId,
    pub(crate) facts: EnvironmentFacts,
    /// Counts the starts of this generation.
    pub(crate) run: u64,
    /// Descriptors of the caller's.
    pub(super) attached: Attached,
}

/// What the worker answers on its standard output before it becomes the monitor.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// The program runs.
    Started { pid: i32 },
    /// Nothing of the image's code has run.
    Refused { reason: String },
}

/// The record of a start, kept as `started.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The container's first process.
    pub(crate) pid: i32,
    /// The monitor.
    pub(crate) monitor: i32,
    /// Counts the starts of this generation.
    pub(crate) run: u64,
}

/// Entry of the hidden `__worker` command. It does not return: it becomes the monitor or exits.
pub fn main() -> ! {
    let job: Job = match super::read_job(3) {
        Ok((job, _)) => job,
        Err(err) => {
            answer(&Answer::Refused { reason: err.to_string() });
            std::process::exit(1);
        }
    };
    match start(&job) {
        Ok(running) => running.become_monitor(&job),
        Err(err) => {
            let paths = Paths::new(&job.root);
            let cgroup = format!("{}/c", paths.instance_cgroup(&job.id));
            let killed = Layout::detect().and_then(|layout| layout.kill(&cgroup));
            let mut reason = err.to_string();
            if let Err(err) = killed {
                reason.push_str(&format!("; clean-up failed too: {err}"));
            }
            answer(&Answer::Refused { reason });
            std::process::exit(1);
        }
    }
}

fn answer(answer: &Answer) {
    let mut line = serde_json::to_vec(answer).unwrap_or_default();
    line.push(b'\n');
    // Nobody is left to tell when the agent is gone; the record on disk says the same.
    let _ = io::stdout().write_all(&line);
    let _ = io::stdout().flush();
}

/// A started container whose output nobody reads yet.
struct Running {
    pid: i32,
    stdout: OwnedFd,
    /// A container with a terminal has one stream for both.
    stderr: Option<OwnedFd>,
    /// Where output and errors are copied to.
    copies: [Option<OwnedFd>; 2],
}

fn start(job: &Job) -> io::Result<Running> {
    job.attached.hide()?;
    let paths = Paths::new(&job.root);
    let instance = paths.instance(&job.id);
    let cgroup = paths.instance_cgroup(&job.id);
    let layout = Layout::detect()?;
    layout.enter_monitor(&cgroup).map_err(context("enter the cgroup"))?;
    let request: StartRequest = serde_json::from_slice(&fs::read(instance.request())?)?;
    private_mounts().map_err(context("make a mount namespace"))?;
    let namespaces = user_and_network(job.facts.uid_base, UID_COUNT)
        .map_err(context("make the user and network namespaces"))?;
    let rootfs =
        rootfs::mount(&paths, &instance, &request, namespaces.user.as_fd(), job.facts.uid_base)?;
    match request.address {
        Some(address) => network::connect(&job.facts, address, namespaces.network.as_fd()),
        None => network::loopback_only(namespaces.network.as_fd()),
    }
    .map_err(context("connect the network"))?;
    write_files(&rootfs, &request, &job.facts, namespaces.user.as_fd())?;
    let hostname = request.effective_hostname();
    let user = user::resolve(&rootfs.root, &request.spec.user).map_err(io::Error::other)?;
    let capabilities = capability::resolve(&request.spec.cap_add, &request.spec.cap_drop)
        .map_err(io::Error::other)?;
    let config = bundle::config(
        &request.spec,
        &bundle::Context {
            rootfs: instance.rootfs().as_str(),
            hostname,
            cgroup: format!("/{cgroup}/c"),
            capabilities: &capabilities,
            user: &user,
            user_namespace: namespaces.user.as_raw_fd(),
            network_namespace: namespaces.network.as_raw_fd(),
        },
    );
    fs::create_dir(instance.bundle())?;
    fs::write(instance.bundle().join("config.json"), serde_json::to_vec(&config)?)?;
    let active = if user.uid == 0 { capability::bits(&capabilities) } else { 0 };
    let launch = Launch {
        argv: Rc::new(request.spec.argv.clone()),
        environment: Rc::new(bundle::environment(&request.spec, &user)),
        filters: Rc::new(seccomp::programs(&capabilities)?),
        expected: Expected::here(active, job.facts.uid_base)?,
        terminal: match job.attached {
            Attached::Terminal(size) => {
                let (ours, theirs) = terminal::hand_over_pair()?;
                Some(Rc::new((size, ours, theirs)))
            }
            Attached::Nothing | Attached::Pipes { .. } => None,
        },
        report: Rc::new(io::pipe()?),
    };
    inherit_by_number(&[namespaces.user.as_fd(), namespaces.network.as_fd()])?;
    run(job, &layout, &cgroup, &instance, &request, launch)
}

/// The namespaces are handed over as `/proc/self/fd/N`, opened by the runtime's children.
fn inherit_by_number(fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    fds.iter().try_for_each(|fd| Ok(fcntl_setfd(fd, FdFlags::empty())?))
}

fn run(
    job: &Job,
    layout: &Layout,
    cgroup: &str,
    instance: &InstancePaths,
    request: &StartRequest,
    launch: Launch,
) -> io::Result<Running> {
    let (stdout_reader, stdout_writer) = io::pipe()?;
    let (stderr_reader, stderr_writer) = io::pipe()?;
    let messages = instance.shelf().join("runtime.log");
    record_runtime_messages(&messages)?;
    fs::create_dir(instance.state())?;
    let whole = |err: &dyn std::error::Error| {
        let detail = first_message(&messages);
        io::Error::other(detail.unwrap_or_else(|| err.to_string()))
    };
    let builder = ContainerBuilder::new(job.id.key(), SyscallType::default())
        .with_root_path(instance.state().as_std_path())
        .map_err(|err| whole(&err))?
        .with_executor(launch.clone())
        .with_stdin(input(job.attached)?)
        .with_stdout(OwnedFd::from(stdout_writer))
        .with_stderr(OwnedFd::from(stderr_writer));
    let mut container = builder
        .as_init(instance.bundle().as_std_path())
        .with_systemd(false)
        .with_detach(true)
        .build()
        .map_err(|err| whole(&err))?;
    let pid = container
        .pid()
        .map(i32::from)
        .ok_or_else(|| io::Error::other("the runtime made no process"))?;
    layout.adopt_container(cgroup, pid).map_err(context("enter the container's cgroup"))?;
    layout.verify(cgroup, &request.spec.limits, pid).map_err(io::Error::other)?;
    container.start().map_err(|err| whole(&err))?;
    let terminal = launch.terminal.clone();
    launch.wait_for_exec()?;
    // It would take memory for as long as the container runs.
    for done in [instance.bundle(), instance.state()] {
        fs::remove_dir_all(done)?;
    }
    let record =
        Record { pid, monitor: i32::try_from(std::process::id()).unwrap_or(0), run: job.run };
    brickyard_sys::process::outlive_parent()?;
    super::write_record(&instance.started(), &record)?;
    let inherited = brickyard_sys::command::inherited;
    let (stdout, stderr, copies) = match (job.attached, terminal) {
        (Attached::Terminal(_), Some(handed)) => {
            let master = terminal::receive(&handed.1).map_err(context("take the terminal over"))?;
            terminal::send(inherited(5)?, master.as_fd())?;
            (master, None, [Some(inherited(4)?), None])
        }
        (Attached::Pipes { .. }, _) => {
            let copies = [Some(inherited(4)?), Some(inherited(5)?)];
            (stdout_reader.into(), Some(stderr_reader.into()), copies)
        }
        _ => (stdout_reader.into(), Some(stderr_reader.into()), [None, None]),
    };
    Ok(Running { pid, stdout, stderr, copies })
}

/// What the container reads from.
fn input(attached: Attached) -> io::Result<OwnedFd> {
    match attached {
        Attached::Pipes { input: true } => brickyard_sys::command::inherited(6),
        _ => Ok(fs::File::open("/dev/null")?.into()),
    }
}

impl Running {
    /// Execs the monitor in this very process, so that the container stays its child.
    fn become_monitor(self, job: &Job) -> ! {
        let [output, errors] = &self.copies;
        let streams = [Some(&self.stdout), self.stderr.as_ref(), output.as_ref(), errors.as_ref()];
        let fds: Vec<BorrowedFd<'_>> = streams.iter().copied().flatten().map(AsFd::as_fd).collect();
        let kept = inherit_by_number(&fds);
        answer(&Answer::Started { pid: self.pid });
        if kept.is_ok() {
            let mut argv: Vec<String> = [
                "brickyard".to_owned(),
                "__monitor".to_owned(),
                job.root.to_string(),
                job.id.environment.to_string(),
                job.id.key(),
                self.pid.to_string(),
            ]
            .to_vec();
            let word = |fd: &OwnedFd| fd.as_raw_fd().to_string();
            argv.extend(streams.map(|fd| fd.map_or_else(|| monitor::NONE.to_owned(), word)));
            let _ = monitor::exec_self(&argv);
        }
        // The container runs on; the agent finds a monitor that ended without an exit record.
        std::process::exit(1);
    }
}

/// Files that make names resolve, then those that were asked for.
fn write_files(
    rootfs: &Rootfs,
    request: &StartRequest,
    facts: &EnvironmentFacts,
    user_namespace: BorrowedFd<'_>,
) -> io::Result<()> {
    let names = name_files(request, facts);
    let mut on_mounts = Vec::new();
    for file in names.iter().chain(&request.files) {
        if !rootfs.write_plain(file).map_err(context(format!("write `{}`", file.dest)))? {
            on_mounts.push(file);
        }
    }
    if !on_mounts.is_empty() {
        rootfs.write_inside(&on_mounts, user_namespace)?;
    }
    let dir = &request.spec.working_dir;
    let opened = rootfs.ensure_dir_anywhere(dir, user_namespace);
    opened.map(drop).map_err(context(format!("open `{dir}`")))
}

fn name_files(request: &StartRequest, facts: &EnvironmentFacts) -> Vec<FileWrite> {
    let hostname = request.effective_hostname();
    let file = |dest: &str, contents: String| FileWrite {
        dest: dest.into(),
        contents: contents.into_bytes(),
        mode: 0o644,
        uid: 0,
        gid: 0,
    };
    let mut hosts = String::from("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n");
    let mut files = vec![file("/etc/hostname", format!("{hostname}\n"))];
    if let Some(address) = request.address {
        hosts.push_str(&format!("{address}\t{hostname}\n"));
        let resolver = format!("nameserver {}\noptions ndots:0\n", facts.gateway);
        files.push(file("/etc/resolv.conf", resolver));
    }
    files.push(file("/etc/hosts", hosts));
    files
}

/// Sends the runtime's own messages to a file: its errors are flat, the cause is only told there,
/// and its children, which share the descriptor, tell theirs there too.
fn record_runtime_messages(path: &Utf8Path) -> io::Result<()> {
    let file = fs::File::create(path)?;
    tracing_subscriber::fmt()
        .with_writer(Mutex::new(file))
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .with_level(false)
        .with_max_level(tracing::Level::ERROR)
        .try_init()
        .map_err(io::Error::other)
}

/// The first thing that the runtime complained about: later ones are its consequences.
fn first_message(path: &Utf8Path) -> Option<String> {
    let mut text = String::new();
    fs::File::open(path).ok()?.take(1 << 16).read_to_string(&mut text).ok()?;
    text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}

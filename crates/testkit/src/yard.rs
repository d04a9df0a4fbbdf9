//! A yard that lives as long as a test.

use std::cell::RefCell;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use brickyard_core::Digest;
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;
use tempfile::TempDir;

use crate::command::{Output, run};
use crate::net::{Claim, claim_port, get_unix};
use crate::project::Project;
use crate::sweep::{kill_and_wait, processes, sweep};

/// Name of the image that [`Yard::import_box`] makes.
pub const BOX: &str = "box";
/// The static busybox of which test images are made.
pub(crate) const BUSYBOX: &str = "/bin/busybox";
/// Programs of the image [`BOX`], besides busybox itself.
const APPLETS: &str = "sh cat echo sleep nc httpd id grep true false ls env pwd tail dd stat";

/// A yard with a root of its own; dropping it takes everything away.
pub struct Yard {
    binary: String,
    /// What commands are started through, as `nsenter` with its options.
    prefix: Vec<String>,
    root: Utf8PathBuf,
    home: Utf8PathBuf,
    ports: RefCell<Vec<Claim>>,
    _directory: TempDir,
}

impl Yard {
    /// An empty yard for this `brickyard` binary.
    ///
    /// # Panics
    /// When `/tmp` is not writable.
    #[must_use]
    pub fn new(binary: &str) -> Self {
        Self::within(binary, &[])
    }

    /// An empty yard whose commands are started through `prefix`, as `nsenter` with its options.
    ///
    /// # Panics
    /// When `/tmp` is not writable.
    #[must_use]
    pub fn within(binary: &str, prefix: &[String]) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("brickyard-test-")
            .tempdir_in("/tmp")
            .expect("/tmp is writable");
        let home = Utf8PathBuf::from_path_buf(directory.path().to_owned()).expect("it is UTF-8");
        let root = home.join("yard");
        std::fs::create_dir(&root).expect("a new directory is writable");
        for path in [&home, &root] {
            // Instances' users pass through to their files.
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o711))
                .expect("our own directory's mode can be set");
        }
        // A build that replaces the binary meanwhile does not change what this test runs, and
        // every process of the yard, helpers too, is known by its path.
        let own = home.join("brickyard");
        if std::fs::hard_link(binary, &own).is_err() {
            std::fs::copy(binary, &own).expect("the binary under test is there");
        }
        Self {
            binary: own.into_string(),
            prefix: prefix.to_vec(),
            root,
            home,
            ports: RefCell::default(),
            _directory: directory,
        }
    }

    /// The yard's root.
    #[must_use]
    pub fn root(&self) -> &Utf8Path {
        &self.root
    }

    /// A place for files of the test, gone with the yard.
    #[must_use]
    pub fn home(&self) -> &Utf8Path {
        &self.home
    }

    /// Name of the yard's top control group.
    #[must_use]
    pub fn cgroup(&self) -> String {
        format!("brickyard-{}", &Digest::of(self.root.as_str()).hex()[..8])
    }

    /// A port that is this test's alone.
    #[must_use]
    pub fn port(&self) -> u16 {
        let claim = claim_port();
        let port = claim.port;
        self.ports.borrow_mut().push(claim);
        port
    }

    /// A project `name` with these files, the first of which should be `compose.yaml`.
    #[must_use]
    pub fn project(&self, name: &str, files: &[(&str, &str)]) -> Project<'_> {
        Project::new(self, self.home.join(name), files)
    }

    /// The command `brickyard --root ROOT ARGUMENTS`, for tests that run it aside.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut words = self.prefix.iter().chain([&self.binary]);
        let mut command = Command::new(words.next().expect("the binary is always there"));
        command
            .args(words)
            .args(["--root", self.root.as_str()])
            .args(arguments)
            .env_remove("BRICKYARD_ROOT")
            .current_dir(&self.home);
        command
    }

    /// Runs `brickyard --root ROOT ARGUMENTS` to its end.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Output {
        run(self.command(arguments))
    }

    /// All events, as `events --json` shows them.
    ///
    /// # Panics
    /// When the command fails or a line is no JSON object.
    #[must_use]
    #[track_caller]
    pub fn events(&self) -> Vec<Value> {
        let out = self.run(&["--json", "events"]).ok();
        let parse = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|err| panic!("no JSON: {err}: {line}"))
        };
        out.stdout.lines().map(parse).collect()
    }

    /// What the agent says about itself; `None` when none answers.
    #[must_use]
    pub fn agent(&self) -> Option<Value> {
        let (_, body) = get_unix(&self.root.join("agent.sock"), "/v1/agent").ok()?;
        serde_json::from_str(&body).ok()
    }

    /// The agent's pid.
    ///
    /// # Panics
    /// When none answers.
    #[must_use]
    #[track_caller]
    pub fn agent_pid(&self) -> i32 {
        let agent = self.agent().expect("an agent answers");
        let pid = agent["pid"].as_i64().expect("it says its pid");
        i32::try_from(pid).expect("a pid fits")
    }

    /// Kills the agent with SIGKILL and waits until it has ended.
    ///
    /// # Panics
    /// When none answers.
    #[track_caller]
    pub fn kill_agent(&self) {
        kill_and_wait(self.agent_pid());
    }

    /// Leaves what a machine has after a loss of power and a new start: files, nothing else.
    ///
    /// # Panics
    /// When the yard has not run yet.
    #[track_caller]
    pub fn lose_power(&self) {
        sweep(&self.home, &self.cgroup());
        let boot = self.root.join("boot");
        assert!(boot.exists(), "no agent has run here");
        std::fs::write(boot, "another one\n").expect("the yard is writable");
    }

    /// Pids of the product's own processes for this yard: agent, front, monitors, workers.
    #[must_use]
    pub fn processes(&self) -> Vec<i32> {
        processes(&self.home)
    }

    /// Control groups of this yard, in every hierarchy.
    #[must_use]
    pub fn cgroups(&self) -> Vec<Utf8PathBuf> {
        crate::sweep::cgroups(&self.cgroup())
    }

    /// Imports the image [`BOX`]: busybox with a shell and two users, and nothing to run.
    ///
    /// # Panics
    /// When it cannot be imported.
    #[track_caller]
    pub fn import_box(&self) {
        let file = self.home.join("box.tar");
        write_box(&file).expect("the archive can be written");
        let _ = self.run(&["image", "import", BOX, file.as_str()]).ok();
    }

    /// Systems and environments that have a directory.
    fn environments(&self) -> Vec<(String, String)> {
        let all = self.root.join("environments").read_dir_utf8();
        all.into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let (system, environment) = entry.file_name().split_once('.')?;
                Some((system.to_owned(), environment.to_owned()))
            })
            .collect()
    }

    /// What helps to understand a failure. It must not panic: the test does already.
    #[expect(clippy::print_stderr, reason = "the test runner shows it with the failure")]
    fn tell(&self) {
        let log = std::fs::read_to_string(self.root.join("agent.log")).unwrap_or_default();
        eprintln!("--- the agent's log\n{log}");
        let socket = self.root.join("agent.sock");
        if let Ok((_, events)) = get_unix(&socket, "/v1/events?after=0&follow=false") {
            let lines: Vec<&str> = events.lines().collect();
            let last = lines.len().saturating_sub(40);
            eprintln!("--- last events\n{}", lines[last..].join("\n"));
        }
    }
}

impl Drop for Yard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell();
        } else {
            // The product's own way first; what it leaves is swept away below.
            for (system, environment) in self.environments() {
                let down = ["-p", &system, "-E", &environment, "down", "-v"];
                let _ = self.run(&down);
            }
            if self.agent().is_some() {
                let _ = self.run(&["agent", "stop"]);
            }
        }
        sweep(&self.home, &self.cgroup());
    }
}

/// The archive of a small root file system.
fn write_box(file: &Utf8Path) -> std::io::Result<()> {
    let mut archive = tar::Builder::new(std::fs::File::create(file)?);
    for directory in ["bin", "etc", "tmp", "data", "www"] {
        let mut header = header(0o755, 0);
        header.set_entry_type(tar::EntryType::Directory);
        archive.append_data(&mut header, directory, std::io::empty())?;
    }
    let busybox = std::fs::read(BUSYBOX)?;
    let mut program = header(0o755, busybox.len());
    archive.append_data(&mut program, "bin/busybox", busybox.as_slice())?;
    for applet in APPLETS.split_whitespace() {
        let mut link = header(0o777, 0);
        link.set_entry_type(tar::EntryType::Symlink);
        archive.append_link(&mut link, format!("bin/{applet}"), "busybox")?;
    }
    let users = "root:x:0:0::/:/bin/sh\nbrick:x:1000:1001::/:/bin/sh\n";
    let mut passwd = header(0o644, users.len());
    archive.append_data(&mut passwd, "etc/passwd", users.as_bytes())?;
    archive.into_inner()?.sync_all()
}

fn header(mode: u32, length: usize) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_size(length as u64);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

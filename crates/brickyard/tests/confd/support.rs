//! A directory of confd's, and the command run on it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::process::{Child, Command, Output, Stdio};

use brickyard_testkit::{DEADLINE, wait_until};
use camino::{Utf8Path, Utf8PathBuf};

/// A throw-away directory with `conf.d`, `templates` and `out`.
pub(crate) struct Confdir {
    directory: tempfile::TempDir,
    /// Variables that the command gets.
    pub(crate) environment: BTreeMap<String, String>,
}

impl Confdir {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("there is room");
        for name in ["conf.d", "templates", "out"] {
            std::fs::create_dir(directory.path().join(name)).expect("it is new");
        }
        Self { directory, environment: BTreeMap::new() }
    }

    pub(crate) fn path(&self, below: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.directory.path()).expect("it is UTF-8").join(below)
    }

    pub(crate) fn write(&self, below: &str, text: &str) {
        let path = self.path(below);
        std::fs::create_dir_all(path.parent().expect("it is below")).expect("it is writable");
        std::fs::write(path, text).expect("it is writable");
    }

    pub(crate) fn read(&self, below: &str) -> String {
        std::fs::read_to_string(self.path(below)).unwrap_or_default()
    }

    /// A resource and its template; `more` are further keys, in which OUT is the directory of files.
    pub(crate) fn resource(&self, name: &str, template: &str, more: &str) {
        let out = self.path("out");
        let more = more.replace("OUT", out.as_str());
        let keys = if more.contains("keys =") { "" } else { "keys = [\"/\"]\n" };
        self.write(
            &format!("conf.d/{name}.toml"),
            &format!("[template]\nsrc = \"{name}.tmpl\"\ndest = \"{out}/{name}\"\n{keys}{more}\n"),
        );
        self.write(&format!("templates/{name}.tmpl"), template);
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned(), value.to_owned());
    }

    fn command(&self, flags: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_brickyard"));
        command.arg("confd").args(["-confdir", self.path("").as_str()]);
        command.args(["-config-file", self.path("confd.toml").as_str()]).args(flags);
        command.env_clear().env("PATH", "/usr/bin:/bin").envs(&self.environment);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, flags: &[&str]) -> Run {
        Run::of(self.command(flags).output().expect("it can be run"))
    }

    /// `-onetime` with the env backend.
    pub(crate) fn once(&self, flags: &[&str]) -> Run {
        self.run(&[&["-onetime", "-backend", "env"], flags].concat())
    }

    /// Starts it; what it says goes to the file `log`.
    pub(crate) fn start(&self, flags: &[&str]) -> Running<'_> {
        let log = std::fs::File::options().create(true).append(true).open(self.path("log"));
        let log = log.expect("it is writable");
        let mut command = self.command(flags);
        command.stdout(log.try_clone().expect("it can be shared")).stderr(log);
        Running { child: command.spawn().expect("it can be run"), confdir: self }
    }

    /// Waits until a file has these contents.
    #[track_caller]
    pub(crate) fn wait_for(&self, below: &str, text: &str) {
        let path = self.path(below);
        wait_until(&format!("{path} is {text:?}, not {:?}", self.read(below)), DEADLINE, || {
            self.read(below) == text
        });
    }

    /// Files that begin with a dot in the directory of files: what is staged or noted.
    pub(crate) fn hidden(&self) -> Vec<String> {
        let entries = self.path("out").read_dir_utf8().expect("it is there");
        let names = entries.map(|entry| entry.expect("it is there").file_name().to_owned());
        names.filter(|name| name.starts_with('.')).collect()
    }
}

/// How a run ended.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// Lines without time, machine and process: `LEVEL message`.
    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |line: &str| line.split_once("]: ").map(|(_, rest)| rest.to_owned());
        self.stderr.lines().filter_map(line).collect()
    }

    #[track_caller]
    pub(crate) fn says(&self, wanted: &str) {
        assert!(self.lines().iter().any(|line| line == wanted), "no {wanted:?} in {}", self.stderr);
    }
}

/// A run that goes on; killed with its value.
pub(crate) struct Running<'a> {
    pub(crate) child: Child,
    confdir: &'a Confdir,
}

impl Running<'_> {
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("it is a process")
    }

    pub(crate) fn signal(&self, name: &str) {
        let done =
            Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(done.expect("kill is installed").success());
    }

    /// Waits for its end; the exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let mut status = None;
        wait_until("it ends", DEADLINE, || {
            status = self.child.try_wait().expect("it is ours");
            status.is_some()
        });
        status.and_then(|status| status.code())
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) fn log(&self) -> String {
        let mut text = String::new();
        let mut file = std::fs::File::open(self.confdir.path("log")).expect("it is there");
        let _ = file.read_to_string(&mut text);
        text
    }

    #[track_caller]
    pub(crate) fn wait_to_say(&self, wanted: &str) {
        wait_until(&format!("it says {wanted:?}: {}", self.log()), DEADLINE, || {
            self.log().contains(wanted)
        });
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "--- what it said\n{}", self.log());
        }
    }
}

//! Running a command with a deadline.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long a command may take before it is killed.
const COMMAND_DEADLINE: Duration = Duration::from_secs(60);
/// How long its output may stay open after its end.
const OUTPUT_DEADLINE: Duration = Duration::from_secs(5);
/// How often its end is looked for.
const PAUSE: Duration = Duration::from_millis(2);

/// How a command ended.
#[derive(Debug, Clone)]
#[must_use]
pub struct Output {
    /// Exit code; -1 when a signal killed it.
    pub code: i32,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
    line: String,
}

impl Output {
    /// The output of a command that must have succeeded.
    ///
    /// # Panics
    /// When it failed.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.fails_with(0)
    }

    /// The output of a command that must have ended with this code.
    ///
    /// # Panics
    /// When it ended with another one.
    #[track_caller]
    pub fn fails_with(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "`{}` ended with {}\nstdout: {}\nstderr: {}",
            self.line, self.code, self.stdout, self.stderr
        );
        self
    }

    /// Requires a part of standard error.
    ///
    /// # Panics
    /// When it is not there.
    #[track_caller]
    pub fn says(self, part: &str) -> Self {
        assert!(
            self.stderr.contains(part),
            "`{}` does not say `{part}`, but: {}",
            self.line,
            self.stderr
        );
        self
    }
}

/// Runs a command to its end.
///
/// # Panics
/// When it cannot be started, takes longer than a minute, or leaves a process behind that keeps
/// its output open: a shell that reads the output would hang on it.
#[track_caller]
pub fn run(mut command: Command) -> Output {
    let line = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|err| panic!("cannot start `{line}`: {err}"));
    let stdout = read_aside(child.stdout.take().expect("standard output is piped"));
    let stderr = read_aside(child.stderr.take().expect("standard error is piped"));
    let ended = wait(&mut child);
    let (stdout, stderr) = (collect(&stdout, &line), collect(&stderr, &line));
    let Some(code) = ended else {
        panic!("`{line}` was killed after a minute\nstdout: {stdout}\nstderr: {stderr}");
    };
    Output { code, stdout, stderr, line }
}

fn wait(child: &mut Child) -> Option<i32> {
    let start = Instant::now();
    while start.elapsed() < COMMAND_DEADLINE {
        if let Some(status) = child.try_wait().expect("our own child can be waited for") {
            return Some(status.code().unwrap_or(-1));
        }
        std::thread::sleep(PAUSE);
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

fn read_aside(mut from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    receiver
}

#[track_caller]
fn collect(from: &Receiver<Vec<u8>>, line: &str) -> String {
    let bytes = from.recv_timeout(OUTPUT_DEADLINE).unwrap_or_else(|_| {
        panic!("something that `{line}` started keeps its output open after its end")
    });
    String::from_utf8_lossy(&bytes).into_owned()
}

//! `exec` and `run` at a terminal: a real pseudo terminal, typed into and read by the test.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use brickyard_testkit::{DEADLINE, Project, Yard, wait_for, wait_until};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::support::yard_with_box;

/// A command at a terminal of the test's own.
struct Screen {
    master: File,
    terminal: OwnedFd,
    seen: Arc<Mutex<String>>,
    child: Child,
}

impl Screen {
    fn of(mut command: Command) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("the machine has pseudo terminals");
        grantpt(&master).expect("it is ours");
        unlockpt(&master).expect("it is ours");
        let terminal = ioctl_tiocgptpeer(&master, flags).expect("it is unlocked");
        let copy = || Stdio::from(terminal.try_clone().expect("it is open"));
        command.stdin(copy()).stdout(copy()).stderr(copy());
        let size = Winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).expect("it is a terminal");
        let child = brickyard_sys::command::own_terminal(&mut command).spawn();
        let seen = Arc::new(Mutex::new(String::new()));
        let master = File::from(master);
        let mut reader = master.try_clone().expect("it is open");
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
                shared.lock().expect("nobody panics with it").push_str(&text);
            }
        });
        Self { master, terminal, seen, child: child.expect("it can be started") }
    }

    fn types(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("it is open");
    }

    fn text(&self) -> String {
        self.seen.lock().expect("nobody panics with it").clone()
    }

    /// Waits until the screen shows a text.
    #[track_caller]
    fn shows(&self, what: &str) {
        let start = std::time::Instant::now();
        while !self.text().contains(what) {
            assert!(start.elapsed() < DEADLINE, "no `{what}` in:\n{}", self.text());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Waits until the shell inside waits for a command; it asks for the cursor's place, too.
    #[track_caller]
    fn is_asked_again(&self) {
        wait_until("the prompt is back", DEADLINE, || {
            let text = self.text();
            text.trim_end_matches("\u{1b}[6n").ends_with("inside> ")
        });
    }

    fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).expect("it is a terminal");
    }

    /// Whether keys are edited and echoed by the terminal, as a shell leaves it.
    fn is_as_usual(&self) -> bool {
        let modes = tcgetattr(&self.terminal).expect("it is a terminal").local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    /// Waits for the command's end; the terminal must be as it was.
    #[track_caller]
    fn ends_with(mut self, code: i32) {
        let ended = wait_for("the command's end", DEADLINE, || {
            self.child.try_wait().expect("it is our child")
        });
        assert_eq!(ended.code(), Some(code), "{}", self.text());
        assert!(self.is_as_usual(), "the terminal was left raw");
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn sleeper(yard: &Yard) -> Project<'_> {
    let model = "name: terminal\nservices:\n  app: {image: box, command: [sleep, '1000'], \
                 stop_signal: KILL, environment: {PS1: 'inside> '}}\n";
    let project = yard.project("terminal", &[("compose.yaml", model)]);
    project.up();
    project
}

fn screen(yard: &Yard, arguments: &[&str]) -> Screen {
    let mut all = vec!["-p", "terminal"];
    all.extend(arguments);
    Screen::of(yard.command(&all))
}

/// What holds the caller's terminal could read what is typed there after the command has ended.
#[test]
fn without_a_terminal_inside_the_callers_own_stays_outside() {
    let yard = yard_with_box();
    let _project = sleeper(&yard);
    let script = "for n in 0 1 2; do [ -t $n ] && echo has $n; done; echo none more; \
                  read line; echo got $line >&2; (sleep 1000 &); exit 3";
    let mut screen = screen(&yard, &["exec", "-T", "app", "sh", "-c", script]);
    screen.shows("none more\r\n");
    screen.types("typed\n");
    screen.shows("got typed\r\n");
    assert!(!screen.text().contains("has "), "{}", screen.text());
    screen.ends_with(3);
}

#[test]
fn exec_gets_a_terminal_of_the_instance() {
    let yard = yard_with_box();
    let project = sleeper(&yard);
    let mut screen = screen(&yard, &["exec", "app", "sh"]);
    screen.shows("inside> ");
    screen.types("busybox tty; busybox stty size\n");
    screen.shows("/dev/pts/0\r\n30 100\r\n");
    assert!(!screen.is_as_usual(), "keys must reach the inner terminal as they are typed");
    screen.types("/bin/ls /proc/self/fd | cat; echo $TERM; echo to stderr >&2\n");
    screen.shows("0\r\n1\r\n2\r\n3\r\nxterm\r\n");
    screen.shows("xterm\r\n");
    screen.shows("to stderr\r\n");
    screen.resize(41, 123);
    wait_until("the size reaches it", DEADLINE, || {
        screen.types("busybox stty size\n");
        std::thread::sleep(std::time::Duration::from_millis(20));
        screen.text().contains("41 123\r\n")
    });
    // Ctrl-C ends what runs in the foreground inside, and nothing else.
    screen.types("sleep 4242\n");
    wait_until("it is in the foreground", DEADLINE, || {
        project.run(&["top", "app"]).ok().stdout.contains("sleep 4242")
    });
    screen.types("\u{3}");
    // What is typed before the shell has the terminal back is thrown away, as everywhere.
    screen.is_asked_again();
    screen.types("echo code $?\n");
    screen.shows("code 130\r\n");
    screen.types("exit 7\n");
    screen.ends_with(7);
}

#[test]
fn the_terminal_is_set_back_whatever_ends_it() {
    let yard = yard_with_box();
    let project = sleeper(&yard);
    // A signal to the command itself.
    let mut first = screen(&yard, &["exec", "app", "sh"]);
    first.shows("inside> ");
    let pid = rustix::process::Pid::from_child(&first.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    first.types("");
    first.ends_with(128 + 15);
    // The end of the whole instance.
    let second = screen(&yard, &["exec", "app", "sh"]);
    second.shows("inside> ");
    let _ = project.run(&["kill", "app"]).ok();
    second.ends_with(128 + 9);
    let _ = project.run(&["start", "app"]).ok();
    // Codes of what never ran, told at the terminal.
    let third = screen(&yard, &["exec", "app", "no-such-program"]);
    third.shows("no-such-program");
    third.ends_with(127);
    // Without a terminal where one is there.
    let fourth = screen(&yard, &["exec", "-T", "app", "busybox", "tty"]);
    fourth.ends_with(1);
}

#[test]
fn run_gets_a_terminal_and_can_be_left_running() {
    let yard = yard_with_box();
    let project = sleeper(&yard);
    let mut shell = screen(&yard, &["-f", "terminal/compose.yaml", "run", "--rm", "app", "sh"]);
    shell.shows("inside> ");
    shell.types("/bin/ls /proc/self/fd | cat\n");
    shell.shows("0\r\n1\r\n2\r\n3\r\n");
    shell.types("busybox tty; busybox stty size; echo $TERM\n");
    shell.shows("/dev/pts/0\r\n30 100\r\nxterm\r\n");
    shell.resize(20, 60);
    wait_until("the size reaches it", DEADLINE, || {
        shell.types("busybox stty size\n");
        std::thread::sleep(std::time::Duration::from_millis(20));
        shell.text().contains("20 60\r\n")
    });
    shell.types("exit 3\n");
    shell.ends_with(3);
    let words = ["-f", "terminal/compose.yaml", "run", "--name", "left", "app", "sh"];
    let mut left = screen(&yard, &words);
    left.shows("inside> ");
    left.types("\u{10}\u{11}");
    left.shows("left left running");
    left.ends_with(0);
    assert_eq!(project.ps().len(), 1, "`ps` shows what is wanted alone");
    let all = project.run(&["ps", "-a"]).ok().stdout;
    assert!(all.lines().any(|line| line.starts_with("left ")), "{all}");
    assert_eq!(project.exec("left", "echo still there"), "still there\n");
    let _ = project.run(&["rm", "-fs", "left"]).ok();
    assert!(!project.run(&["ps", "-a"]).ok().stdout.contains("left"));
}

/// Runs a command with this input and returns its output.
fn with_input(yard: &Yard, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut all = vec!["-f", "terminal/compose.yaml"];
    all.extend(arguments);
    let mut command = yard.command(&all);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("it can be started");
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_vec();
    std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("it ends at the end of its input");
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

#[test]
fn input_is_passed_on_to_its_end_byte_by_byte() {
    let yard = yard_with_box();
    let _project = sleeper(&yard);
    // More than any pipe holds, with every byte there is and no end of line at its end.
    let input: Vec<u8> = (0..300_000_u32).map(|at| (at % 256) as u8).collect();
    for verb in ["exec", "run"] {
        let output = with_input(&yard, &[verb, "-T", "app", "cat"], &input);
        assert!(output == input, "{verb}: {} of {} bytes", output.len(), input.len());
    }
    let output = with_input(&yard, &["run", "--interactive=false", "app", "cat"], b"x");
    assert_eq!(output, b"");
}

#[test]
fn run_takes_what_the_command_line_says() {
    let yard = yard_with_box();
    let project = sleeper(&yard);
    let out = |arguments: &[&str]| project.run(arguments).ok().stdout;
    let script = "echo $0 $1 $A; id -u; pwd; cat /mnt/file; ls -d /more";
    std::fs::write(yard.home().join("file"), "from the host\n").expect("it is writable");
    let bind = format!("{}:/mnt/file:ro", yard.home().join("file"));
    let words = ["run", "-e", "A=b", "-u", "1000", "-w", "/tmp", "-v", &bind, "-v", "more:/more"];
    let words = [&words[..], &["--entrypoint", "sh -c", "app", script, "zero", "one"]].concat();
    assert_eq!(out(&words), "zero one b\n1000\n/tmp\nfrom the host\n/more\n");
    // Nothing of ours is open in what it runs; the fourth is the directory that is listed.
    assert_eq!(out(&["run", "app", "ls", "/proc/self/fd"]), "0\n1\n2\n3\n");
    assert_eq!(out(&["exec", "app", "ls", "/proc/self/fd"]), "0\n1\n2\n3\n");
    // Detached: named, listed, logged, and taken away when it has ended if that was asked for.
    let name = out(&["run", "-d", "--rm", "app", "sh", "-c", "echo said; exec cat /dev/zero"]);
    assert!(name.starts_with("app-run-"), "{name}");
    let name = name.trim();
    wait_until("it says something", DEADLINE, || out(&["logs", name]).contains("said"));
    assert!(out(&["ps", "-a"]).contains(name));
    let _ = project.run(&["kill", name]).ok();
    wait_until("it is taken away", DEADLINE, || !out(&["ps", "-a"]).contains(name));
    // What cannot be meant is an error.
    let _ = project.run(&["run", "-p", "80", "app", "true"]).fails_with(2);
    let _ = project.run(&["run", "-v", "a:b", "app", "true"]).fails_with(2);
    let _ = project.run(&["run", "-t", "app", "true"]).fails_with(2);
    let _ = project.run(&["run", "--use-aliases", "app", "true"]).fails_with(2);
    assert_eq!(project.ps().len(), 1);
}

/// Starts `run` with a script, waits until it says `ready`, and interrupts the command.
fn interrupted(yard: &Yard, script: &str) -> Option<i32> {
    let script = format!("{script}; echo ready; while true; do sleep 0.02; done");
    let words = ["-f", "terminal/compose.yaml", "run", "-T", "app", "sh", "-c", &script];
    let mut child = yard.command(&words).stdout(Stdio::piped()).spawn().expect("it can start");
    let mut first = [0; 5];
    child.stdout.take().expect("it is piped").read_exact(&mut first).expect("it says so");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    child.wait().expect("it is our child").code()
}

#[test]
fn an_interrupted_run_ends_as_its_program_does() {
    let yard = yard_with_box();
    let project = sleeper(&yard);
    assert_eq!(interrupted(&yard, "trap 'exit 9' INT"), Some(9));
    // One that does not expect it is not waited for.
    assert_eq!(interrupted(&yard, "true"), Some(130));
    assert!(!project.run(&["ps", "-a"]).ok().stdout.contains("app-run"), "nothing is left");
    let _ = yard.run(&["run", "-d", "box", "true"]).fails_with(2);
}

#[test]
fn ports_of_a_run_are_there_as_long_as_it_runs() {
    let yard = yard_with_box();
    let project = sleeper(&yard);
    let port = yard.port();
    let publish = format!("127.0.0.1:{port}:80");
    let server = "echo served >/www/index.html; exec httpd -f -p 80 -h /www";
    let words =
        ["run", "-d", "--rm", "-p", &publish, "--name", "served", "app", "sh", "-c", server];
    let _ = project.run(&words).ok();
    wait_until("it is served", DEADLINE, || {
        brickyard_testkit::get(port, "/").is_ok_and(|(_, body)| body == "served\n")
    });
    let _ = project.run(&["kill", "served"]).ok();
    wait_until("the port is closed", DEADLINE, || brickyard_testkit::get(port, "/").is_err());
    let gone = || !project.run(&["ps", "-a"]).ok().stdout.contains("served");
    wait_until("it is taken away", DEADLINE, gone);
}

#[test]
fn run_starts_what_the_service_depends_on() {
    let yard = yard_with_box();
    let model = r#"
name: needs
services:
  app: {image: box, command: [sleep, "1000"], stop_signal: KILL, depends_on: [db]}
  db: {image: box, command: [sleep, "1000"], stop_signal: KILL}
  other: {image: absent}
"#;
    let project = yard.project("needs", &[("compose.yaml", model)]);
    let running = || project.field("state").into_keys().collect::<Vec<_>>();
    assert_eq!(project.run(&["run", "--no-deps", "app", "echo", "a"]).ok().stdout, "a\n");
    assert_eq!(running(), Vec::<String>::new());
    assert_eq!(project.run(&["run", "app", "echo", "b"]).ok().stdout, "b\n");
    assert_eq!(running(), ["db/1"]);
}

#[test]
fn one_offs_outlive_an_agent_and_go_with_their_environment() {
    let yard = yard_with_box();
    let project = sleeper(&yard);
    let _ = project.run(&["run", "-d", "--name", "aside", "app", "sleep", "1000"]).ok();
    yard.kill_agent();
    let mut agent = yard.command(&["agent", "run"]).spawn().expect("it can be started");
    wait_until("an agent answers", DEADLINE, || yard.agent().is_some());
    let all = project.run(&["ps", "-a"]).ok().stdout;
    let line = all.lines().find(|line| line.starts_with("aside "));
    assert!(line.is_some_and(|line| line.contains("running")), "{all}");
    let _ = project.run(&["exec", "-d", "aside", "sh", "-c", "echo done >/tmp/mark"]).ok();
    wait_until("a detached command is done", DEADLINE, || {
        project.run(&["exec", "aside", "cat", "/tmp/mark"]).stdout == "done\n"
    });
    let _ = project.run(&["down"]).ok();
    let _ = project.run(&["agent", "stop"]).ok();
    let _ = agent.wait();
    assert_eq!(yard.processes(), Vec::<i32>::new());
}

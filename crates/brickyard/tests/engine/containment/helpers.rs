//! Our own processes that join a container: what they hand in, and what can be had of them.

use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use brickyard_core::Digest;
use brickyard_engine::native::log::parse_line;
use brickyard_engine::native::terminal::{Size, receive};
use brickyard_engine::{Engine, ExecRequest, FileWrite};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};

use super::{Cell, outside, probe};
use crate::support::binary;

/// The numbers of the descriptors that the probe lists.
fn numbers(listed: &str) -> Vec<&str> {
    let listed = listed.strip_prefix("ok ").unwrap_or_else(|| panic!("{listed}"));
    listed.split(' ').filter_map(|one| one.split('=').next()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_inherited_but_the_streams() {
    // One that whoever starts things happens to have open, and that is inherited.
    let spare = std::fs::File::open("/etc/hostname").unwrap();
    let kept = rustix::io::fcntl_setfd(&spare, rustix::io::FdFlags::empty());
    kept.unwrap();
    let control = outside(&["descriptors"]);
    assert!(numbers(&control[0]).len() > 3, "{control:?}");
    let cell = Cell::with(|_, request| {
        request.spec.argv = vec!["/probe".to_owned(), "descriptors".to_owned()];
    })
    .await;
    cell.bench.engine.wait(&cell.id).await.unwrap();
    let log = std::fs::read(&cell.bench.engine.log_files(&cell.id)[0]).unwrap();
    let line = parse_line(log.split(|byte| *byte == b'\n').next().unwrap()).unwrap();
    let first = String::from_utf8_lossy(line.text).into_owned();
    assert_eq!(numbers(&first), ["0", "1", "2"], "of the first process: {first}");
    let mut request = cell.bench.request("cell", &["sleep", "1000"]);
    request.id.generation = brickyard_core::Generation(2);
    cell.bench.engine.start(&request).await.unwrap();
    // Commands, health checks and checks of templates are one way in.
    let argv = ["/probe", "descriptors"].map(str::to_owned);
    let ran = cell.bench.engine.exec(&request.id, &ExecRequest::of(&argv)).await.unwrap();
    let listed = String::from_utf8_lossy(&ran.output).trim().to_owned();
    assert_eq!(numbers(&listed), ["0", "1", "2"], "of a command: {listed}");
    drop(spare);
    cell.end().await;
}

/// A container that may trace its processes, so that nothing is left but what our helpers do
/// themselves, looks at every process that joins it. Nothing of one can be had while it is ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn helpers_that_join_a_container_are_closed_to_it() {
    let cell = Cell::with(|_, request| {
        request.spec.cap_add = vec!["SYS_PTRACE".to_owned()];
    })
    .await;
    // It is shown that it could: another process of the container's is had.
    let own = cell.sh("sleep 10 & sleep 0.1; /probe attach:$!").await;
    assert_eq!(own, "ok", "the right to trace is there");
    let watch = cell.run(&["/probe", "watch:20"], "");
    let joins = async {
        let file = FileWrite {
            dest: "/tmp/file".into(),
            contents: vec![b'x'; 1 << 16],
            mode: 0o600,
            uid: 0,
            gid: 0,
        };
        loop {
            cell.run(&["true"], "").await;
            cell.bench.engine.place_file(&cell.id, &file).await.unwrap();
        }
    };
    let seen = tokio::select! {
        (_, seen) = watch => seen,
        () = joins => String::new(),
    };
    assert_eq!(seen, "ok met nothing");
    cell.end().await;
}

/// The image's program leads back to ours (CVE-2019-5736): it runs with the container's rights, and
/// the file on the machine belongs to nobody inside.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_own_binary_is_not_rewritten() {
    let digest = || Digest::of(std::fs::read(binary()).unwrap());
    let before = digest();
    let cell = Cell::with(|bench, _| {
        let script = bench.root.join("layer/back");
        std::fs::write(&script, "#!/proc/self/exe --help\n").unwrap();
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&script, mode).unwrap();
    })
    .await;
    let (_, said) = cell.run(&["/back"], "").await;
    assert!(said.contains("rickyard"), "our binary runs inside: {said}");
    // Its owner is not mapped, so no right inside reaches it, whoever holds it open.
    let (_, said) = cell.run(&["/proc/self/exe", "--version"], "").await;
    assert!(said.contains("brickyard"), "{said}");
    assert_eq!(cell.inside(&["rewrite-self"]).await, ["ETXTBSY"], "the probe's own file");
    // The monitor is not even seen: the first process has no parent inside.
    let parent = cell.sh("grep PPid /proc/1/status 2>/dev/null || cat /proc/1/status").await;
    assert!(parent.lines().any(|line| line == "PPid:\t0"), "{parent}");
    assert_eq!(digest(), before);
    cell.end().await;
}

/// A terminal of the test's own: its master and its other end.
fn terminal() -> (OwnedFd, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let other = ioctl_tiocgptpeer(&master, flags).unwrap();
    (master, other)
}

/// Even one that was handed the caller's terminal types nothing into it, nor takes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_typed_into_the_callers_terminal() {
    let cell = Cell::new().await;
    let attempt = |mut command: Command| {
        let (_master, other) = terminal();
        command.stdin(Stdio::from(other)).stdout(Stdio::piped()).stderr(Stdio::null());
        let child = brickyard_sys::command::own_terminal(&mut command).spawn().unwrap();
        let output = child.wait_with_output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let argv = ["/probe", "type", "take-terminal", "type"].map(str::to_owned);
    let inside = cell.bench.engine.exec_command(&cell.id, &ExecRequest::of(&argv)).unwrap();
    assert_eq!(attempt(inside), "EPERM\nEPERM\nEPERM");
    let mut control = Command::new(probe());
    control.arg("type");
    assert_eq!(attempt(control), "ok");
    cell.end().await;
}

/// With a terminal inside it is one of the container's own devices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_inside_is_the_containers_own() {
    let cell = Cell::new().await;
    let argv = ["/probe", "descriptors", "is-terminal:0"].map(str::to_owned);
    let size = Size { rows: 24, columns: 80 };
    let (mut command, socket) =
        cell.bench.engine.exec_in_terminal(&cell.id, &ExecRequest::of(&argv), size).unwrap();
    let mut child = command.spawn().unwrap();
    drop(command);
    let master = receive(&socket).unwrap();
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    // The terminal's end is an error once nobody has it open.
    while let Ok(count @ 1..) = rustix::io::read(&master, &mut buffer) {
        text.extend_from_slice(&buffer[..count]);
    }
    child.wait().unwrap();
    let text = String::from_utf8_lossy(&text);
    let answers: Vec<&str> = text.lines().collect();
    assert_eq!(answers, ["ok 0=/dev/pts/0 1=/dev/pts/0 2=/dev/pts/0", "ok"]);
    cell.end().await;
}

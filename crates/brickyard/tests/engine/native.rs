//! What real containers show from outside.

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use brickyard_core::VolumeName;
use brickyard_core::spec::{Mount, MountKind};
use brickyard_engine::native::CODE_UNKNOWN;
use brickyard_engine::native::log::parse_line;
use brickyard_engine::{Engine, ExecRequest, FileWrite, InstanceId, StartRequest};

use crate::support::Bench;

fn status(pid: i32, name: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    line.unwrap_or_default().trim().to_owned()
}

async fn run(bench: &Bench, id: &InstanceId, script: &str) -> (i32, String) {
    let argv = ["sh", "-c", script].map(str::to_owned);
    let ran = bench.engine.exec(id, &ExecRequest::of(&argv)).await.unwrap();
    (ran.code, String::from_utf8_lossy(&ran.output).trim().to_owned())
}

/// Output of an instance that has ended.
fn output(bench: &Bench, id: &InstanceId) -> String {
    let mut text = String::new();
    for file in bench.engine.log_files(id) {
        let bytes = std::fs::read(file).unwrap();
        for line in bytes.split(|byte| *byte == b'\n').filter_map(parse_line) {
            text.push_str(&String::from_utf8_lossy(line.text));
            text.push('\n');
        }
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_container_is_protected_as_its_status_says() {
    let bench = Bench::new().await;
    let mut request = bench.request("protected", &["sleep", "1000"]);
    request.spec.limits.memory_bytes = Some(64 << 20);
    request.spec.limits.cpu_millis = Some(500);
    let pid = bench.engine.start(&request).await.unwrap().pid;
    assert_eq!(status(pid, "Seccomp"), "2");
    assert_eq!(status(pid, "NoNewPrivs"), "1");
    // The eleven capabilities that a root inside keeps, and none that reaches the host.
    assert_eq!(status(pid, "CapEff"), "00000000800405fb");
    assert_eq!(status(pid, "CapBnd"), "00000000800405fb");
    let map = std::fs::read_to_string(format!("/proc/{pid}/uid_map")).unwrap();
    let map: Vec<&str> = map.split_whitespace().collect();
    assert_eq!(map, ["0", &bench.facts.uid_base.to_string(), "65536"]);
    let uid = std::fs::metadata(format!("/proc/{pid}")).unwrap().uid();
    assert!(uid == bench.facts.uid_base || uid == 0, "{uid}");
    // A command inside has no more than the container.
    let (_, text) = run(&bench, &request.id, "cat /proc/self/status").await;
    for line in ["Seccomp:\t2", "NoNewPrivs:\t1", "CapEff:\t00000000800405fb"] {
        assert!(text.contains(line), "{line} is missing from {text}");
    }
    let refused =
        run(&bench, &request.id, "mount -t tmpfs none /mnt; echo x > /proc/sys/kernel/hostname")
            .await;
    assert_ne!(refused.0, 0, "{}", refused.1);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_belong_to_root_inside_and_to_the_range_outside() {
    let bench = Bench::new().await;
    let mut request = bench.request("owners", &["sleep", "1000"]);
    request.files = vec![FileWrite {
        dest: "/conf/first".into(),
        contents: b"first\n".to_vec(),
        mode: 0o600,
        uid: 33,
        gid: 33,
    }];
    bench.engine.start(&request).await.unwrap();
    let (_, text) = run(&bench, &request.id, "ls -ln /bin/busybox /conf/first; touch /new").await;
    let owners: Vec<Vec<&str>> =
        text.lines().map(|line| line.split_whitespace().skip(2).take(2).collect()).collect();
    assert_eq!(owners, [["0", "0"], ["33", "33"]], "{text}");
    let upper = bench.root.join("environments/bench.dev/instances/owners.1.1/upper");
    let meta = std::fs::metadata(upper.join("new")).unwrap();
    assert_eq!(meta.uid(), bench.facts.uid_base);
    let layer = std::fs::metadata(bench.root.join("layer/bin/busybox")).unwrap();
    assert_eq!(layer.uid(), 0, "layers stay as they are");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_signal_is_ignored_or_blocked_from_the_start() {
    let bench = Bench::new().await;
    let request = bench.request("signals", &["sleep", "1000"]);
    bench.engine.start(&request).await.unwrap();
    // Not by a shell, which ignores some itself.
    for process in ["/proc/1/status", "/proc/self/status"] {
        let command = ["cat", process].map(str::to_owned);
        let request_inside = ExecRequest::of(&command);
        let output = bench.engine.exec(&request.id, &request_inside).await.unwrap();
        let status = String::from_utf8_lossy(&output.output);
        for field in ["SigIgn:\t0000000000000000", "SigBlk:\t0000000000000000"] {
            assert!(status.contains(field), "{status}");
        }
    }
    bench.end().await;
}

/// A cgroup of the unified layout does not keep instances from devices, as one of v1 does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_an_image_brings_cannot_be_opened() {
    let bench = Bench::new().await;
    let node = bench.root.join("layer/null");
    let (kind, device) = (rustix::fs::FileType::CharacterDevice, rustix::fs::makedev(1, 3));
    let mode = rustix::fs::Mode::from_raw_mode(0o666);
    rustix::fs::mknodat(rustix::fs::CWD, node.as_std_path(), kind, mode, device).unwrap();
    rustix::fs::chmod(node.as_std_path(), mode).unwrap();
    let request = bench.request("devices", &["sleep", "1000"]);
    bench.engine.start(&request).await.unwrap();
    let (code, text) = run(&bench, &request.id, "cat /dev/null && cat /null").await;
    assert_ne!(code, 0, "an image's device can be read");
    assert!(text.contains("'/null': Permission denied"), "{text}");
    bench.end().await;
}

/// A read-only root with memory, a volume and a read-only volume in it.
fn with_all_targets(bench: &Bench) -> (StartRequest, VolumeName) {
    let mut request = bench.request("targets", &["sleep", "1000"]);
    let volume: VolumeName = "data".parse().unwrap();
    request.spec.read_only = true;
    request.spec.mounts = vec![
        Mount {
            target: "/run".into(),
            kind: MountKind::Tmpfs { size_bytes: Some(1 << 20), mode: Some(0o755) },
            read_only: false,
        },
        Mount {
            target: "/data".into(),
            kind: MountKind::Volume { name: volume.clone() },
            read_only: false,
        },
        Mount {
            target: "/fixed".into(),
            kind: MountKind::Volume { name: "fixed".parse().unwrap() },
            read_only: true,
        },
    ];
    (request, volume)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_reach_read_only_roots_memory_and_volumes() {
    let bench = Bench::new().await;
    let (request, volume) = with_all_targets(&bench);
    bench.engine.start(&request).await.unwrap();
    assert_ne!(run(&bench, &request.id, "touch /x").await.0, 0, "the root is read-only");
    for dest in ["/etc/made", "/www/deep/made", "/run/made", "/data/made"] {
        let file = FileWrite {
            dest: dest.into(),
            contents: dest.as_bytes().to_vec(),
            mode: 0o644,
            uid: 0,
            gid: 0,
        };
        let staged = bench.engine.stage_file(&request.id, &file).await.unwrap();
        bench.engine.commit_file(&request.id, &staged).await.unwrap();
        assert_eq!(run(&bench, &request.id, &format!("cat {dest}")).await.1, dest);
    }
    let file =
        FileWrite { dest: "/fixed/made".into(), contents: Vec::new(), mode: 0o644, uid: 0, gid: 0 };
    let err = bench.engine.stage_file(&request.id, &file).await.unwrap_err();
    assert!(err.to_string().contains("read-only volume"), "{err}");
    assert_ne!(run(&bench, &request.id, "touch /x").await.0, 0, "and is so still");
    bench.engine.remove_volume(&bench.key, &volume).await.unwrap();
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exit_code_output_and_want_of_memory_are_recorded() {
    let bench = Bench::new().await;
    let request = bench.request("exits", &["sh", "-c", "echo out; echo err >&2; exit 7"]);
    bench.engine.start(&request).await.unwrap();
    let exit = bench.engine.wait(&request.id).await.unwrap();
    assert_eq!((exit.code, exit.oom), (7, false));
    let text = output(&bench, &request.id);
    assert!(text.contains("out\n") && text.contains("err\n"), "{text}");
    let mut hungry = bench.request("hungry", &["tail", "/dev/zero"]);
    hungry.spec.limits.memory_bytes = Some(16 << 20);
    bench.engine.start(&hungry).await.unwrap();
    let exit = bench.engine.wait(&hungry.id).await.unwrap();
    assert_eq!((exit.code, exit.oom), (137, true));
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_cannot_be_is_refused_with_its_reason() {
    let bench = Bench::new().await;
    let mut cases = Vec::new();
    cases.push((bench.request("program", &["/no/such"]), "`/no/such` was not found"));
    let mut request = bench.request("user", &["true"]);
    request.spec.user = "nobody-here".to_owned();
    cases.push((request, "user `nobody-here`"));
    let mut request = bench.request("capability", &["true"]);
    request.spec.cap_add = vec!["FLY".to_owned()];
    cases.push((request, "`FLY` is not a capability"));
    let mut request = bench.request("bind", &["true"]);
    request.spec.mounts = vec![Mount {
        target: "/x".into(),
        kind: MountKind::Bind { source: "/no/such/dir".into(), create: false },
        read_only: false,
    }];
    cases.push((request, "/no/such/dir"));
    for (request, words) in cases {
        let err = bench.engine.start(&request).await.unwrap_err().whole();
        assert!(err.contains(words), "{words} is missing from: {err}");
        assert!(!bench.cgroup(&request.id).exists(), "{} is left", request.id);
    }
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_whose_monitor_is_killed_ends_and_is_known() {
    let bench = Bench::new().await;
    let request = bench.request("orphan", &["sleep", "1000"]);
    let pid = bench.engine.start(&request).await.unwrap().pid;
    let monitors =
        std::fs::read_to_string(bench.cgroup(&request.id).join("m/cgroup.procs")).unwrap();
    let monitor: i32 = monitors.trim().parse().unwrap();
    brickyard_sys::process::kill(monitor, 9).unwrap();
    let exit = bench.engine.wait(&request.id).await.unwrap();
    assert_eq!(exit.code, CODE_UNKNOWN);
    let gone = || !std::path::Path::new(&format!("/proc/{pid}/exe")).exists();
    assert!(gone(), "nothing reads its output any more");
    bench.end().await;
}

/// kill -9 of everything that a start consists of, at moments that sweep over its whole length:
/// what is left is known by name and goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_killed_at_any_moment_leaves_nothing() {
    let bench = Bench::new().await;
    for round in 0..12_u64 {
        let mut request = bench.request("cut", &["sleep", "1000"]);
        request.id.generation = brickyard_core::Generation(round + 1);
        let engine = bench.engine.clone();
        let started = tokio::spawn({
            let request = request.clone();
            async move { engine.start(&request).await }
        });
        tokio::time::sleep(Duration::from_millis(2 + round * 3)).await;
        let procs = bench.cgroup(&request.id).join("m/cgroup.procs");
        for pid in std::fs::read_to_string(procs).unwrap_or_default().lines() {
            let _ = brickyard_sys::process::kill(pid.parse().unwrap(), 9);
        }
        let _ = started.await.unwrap();
        bench.engine.remove(&request.id).await.unwrap();
        let known = bench.engine.list().await.unwrap();
        assert!(!known.iter().any(|known| known.id == request.id), "{known:?}");
        assert!(!bench.cgroup(&request.id).exists());
    }
    bench.end().await;
}

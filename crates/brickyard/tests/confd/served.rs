//! Runs that are somebody's service: systemd's word, a command beside, backends of one's own.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use brickyard_testkit::{DEADLINE, Etcd, wait_until};

use crate::support::Confdir;
use crate::watching::{watch, words};

#[test]
fn systemd_is_told_when_all_is_in_place_and_that_it_lives() {
    let etcd = Etcd::start();
    let mut confdir = Confdir::new();
    confdir.resource("a", "{{getv \"/k\"}}", "keys = [\"/k\"]");
    let socket = UnixDatagram::bind(confdir.path("notify")).expect("the directory is new");
    socket.set_nonblocking(true).expect("it can be");
    let notify = confdir.path("notify");
    confdir.set("NOTIFY_SOCKET", notify.as_str());
    confdir.set("WATCHDOG_USEC", "200000");
    let heard = std::cell::RefCell::new(Vec::new());
    let listen = || {
        let mut bytes = [0; 256];
        while let Ok(count) = socket.recv(&mut bytes) {
            heard.borrow_mut().push(String::from_utf8_lossy(&bytes[..count]).into_owned());
        }
    };
    let count = |word: &str| heard.borrow().iter().filter(|text| text.contains(word)).count();
    let flags = watch(&etcd);
    let mut running = confdir.start(&words(&flags));
    // Without its key, the file cannot be there.
    running.wait_to_say("key does not exist");
    listen();
    assert_eq!(count("READY=1"), 0, "{heard:?}");
    etcd.put("/k", "1");
    wait_until("it is ready", DEADLINE, || {
        listen();
        count("READY=1") == 1
    });
    assert_eq!(confdir.read("out/a"), "1");
    wait_until("it lives", DEADLINE, || {
        listen();
        count("WATCHDOG=1") >= 3
    });
    running.signal("TERM");
    assert_eq!(running.wait(), Some(0));
    listen();
    assert_eq!((count("READY=1"), count("STOPPING=1")), (1, 1), "{heard:?}");
}

#[test]
fn a_resource_reads_from_a_backend_of_its_own() {
    let mut etcd = Etcd::start();
    etcd.put("/k", "of etcd");
    let mut confdir = Confdir::new();
    confdir.set("K", "of env");
    confdir.write("keys.yaml", "k: of a file\n");
    confdir.resource("a", "{{getv \"/k\"}}", "keys = [\"/k\"]");
    let file = confdir.path("keys.yaml");
    let own = |table: &str| format!("keys = [\"/k\"]\n[backend]\n{table}");
    confdir.resource("b", "{{getv \"/k\"}}", &own("backend = \"env\""));
    let table = format!("backend = \"file\"\nfile = [\"{file}\"]");
    confdir.resource("c", "{{getv \"/k\"}}", &own(&table));
    let flags = watch(&etcd);
    let running = confdir.start(&words(&flags));
    confdir.wait_for("out/a", "of etcd");
    confdir.wait_for("out/b", "of env");
    confdir.wait_for("out/c", "of a file");
    // One that is away holds up none of the others.
    etcd.kill();
    running.wait_to_say("ERROR 127.0.0.1");
    confdir.write(".new", "k: another\n");
    std::fs::rename(confdir.path(".new"), &file).expect("it is there");
    confdir.wait_for("out/c", "another");
    drop(running);
    confdir.resource("d", "x", "[backend]\nbackend = \"magic\"\n");
    let last = confdir.once(&[]).ends(1).lines().pop().expect("it says something");
    assert!(last.contains("d.toml") && last.contains("Invalid backend"), "{last}");
}

#[test]
fn updates_come_no_closer_than_asked_for_and_the_last_one_counts() {
    let etcd = Etcd::start();
    etcd.put("/k", "0");
    let confdir = Confdir::new();
    let more = "keys = [\"/k\"]\nreload_cmd = \"date +%s%N >>OUT/reloads\"\n\
                min_reload_interval = \"400ms\"";
    confdir.resource("a", "{{getv \"/k\"}}", more);
    let flags = watch(&etcd);
    let _running = confdir.start(&[&words(&flags)[..], &["-fsync"]].concat());
    confdir.wait_for("out/a", "0");
    let begun = Instant::now();
    let mut number = 0;
    while begun.elapsed() < Duration::from_secs(1) {
        number += 1;
        etcd.put("/k", number.to_string());
        std::thread::sleep(Duration::from_millis(20));
    }
    confdir.wait_for("out/a", &number.to_string());
    wait_until("it is loaded", DEADLINE, || confdir.hidden().is_empty());
    let reloads = confdir.read("out/reloads");
    let times: Vec<u64> =
        reloads.lines().map(|line| line.parse().expect("it is a number")).collect();
    assert!(times.len() >= 3, "{times:?}");
    for pair in times.windows(2) {
        // The command itself takes its time to start, once more and once less.
        assert!(pair[1] - pair[0] > 250_000_000, "{times:?}");
    }
}

#[test]
fn a_command_that_does_not_end_is_killed_and_one_that_is_told_late_is_told_once() {
    let etcd = Etcd::start();
    etcd.put("/k", "1");
    let confdir = Confdir::new();
    confdir.resource("a", "{{getv \"/k\"}}", "keys = [\"/k\"]");
    let out = confdir.path("out");
    let script = format!(
        "trap '' INT\ntrap 'echo hup:$(cat {out}/a) >>{out}/child' HUP\n\
         echo start >>{out}/child\nwhile true; do sleep 0.02; done\n"
    );
    confdir.write("child.sh", &script);
    let command = format!("sh {}", confdir.path("child.sh"));
    let flags = watch(&etcd);
    let exec = ["-exec", &command, "-exec-reload-signal", "HUP", "-exec-kill-timeout", "200ms"];
    let more = ["-exec-splay", "600ms", "-exec-kill-signal", "SIGINT"];
    let mut running = confdir.start(&[&words(&flags)[..], &exec, &more].concat());
    confdir.wait_for("out/child", "start\n");
    etcd.put("/k", "2");
    confdir.wait_for("out/child", "start\nhup:2\n");
    running.signal("TERM");
    // 128 and the number of SIGKILL, as shells say it.
    assert_eq!(running.wait(), Some(137));
}

//! Where this differs from confd 0.16 on purpose. What has a trap of its own is there.

use std::time::{Duration, Instant};

use brickyard_testkit::{DEADLINE, Etcd, wait_until};

use crate::support::Confdir;
use crate::watching::watch;

#[test]
fn a_failed_reload_is_tried_again_until_it_succeeds() {
    let etcd = Etcd::start();
    etcd.put("/k", "1");
    let confdir = Confdir::new();
    let reload = "reload_cmd = \"echo x >>OUT/reloads; test -e OUT/ready\"";
    confdir.resource("a", "{{getv \"/k\"}}", &format!("keys = [\"/k\"]\n{reload}"));
    let flags = watch(&etcd);
    let running = confdir.start(&flags.iter().map(String::as_str).collect::<Vec<_>>());
    wait_until("it is tried again", DEADLINE, || confdir.read("out/reloads").lines().count() >= 3);
    confdir.write("out/ready", "");
    wait_until("it is loaded", DEADLINE, || !confdir.hidden().contains(&".a.unloaded".to_owned()));
    running.wait_to_say("has been updated");
    let count = confdir.read("out/reloads").lines().count();
    etcd.put("/other", "x");
    etcd.put("/k", "2");
    confdir.wait_for("out/a", "2");
    wait_until("it is told", DEADLINE, || confdir.read("out/reloads").lines().count() == count + 1);
}

#[test]
fn commands_that_hang_are_killed_with_all_that_they_started() {
    let mut confdir = Confdir::new();
    confdir.set("K", "1");
    let more =
        "check_cmd = \"sleep 3333 & echo $! >OUT/pid; sleep 3333\"\ncheck_cmd_timeout = \"300ms\"";
    confdir.resource("a", "{{getv \"/k\"}}", more);
    let begun = Instant::now();
    confdir
        .once(&[])
        .ends(1)
        .says("FATAL Config check failed: it took longer than 300ms and was killed");
    assert!(begun.elapsed() < Duration::from_secs(60));
    let pid = confdir.read("out/pid");
    wait_until("what it had started is gone", DEADLINE, || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        stat.is_err() || stat.is_ok_and(|stat| stat.contains(") Z "))
    });
    let more = "reload_cmd = \"sleep 3333\"";
    confdir.resource("a", "{{getv \"/k\"}}", more);
    confdir
        .once(&["-reload-timeout", "200ms"])
        .ends(1)
        .says("FATAL it took longer than 200ms and was killed");
}

#[test]
fn a_hung_reload_holds_up_nobody_else() {
    let etcd = Etcd::start();
    etcd.put("/k", "1");
    let confdir = Confdir::new();
    confdir.resource("a", "{{getv \"/k\"}}", "keys = [\"/k\"]\nreload_cmd = \"sleep 3333\"");
    confdir.resource("b", "{{getv \"/k\"}}", "keys = [\"/k\"]\nreload_cmd = \"true\"");
    let flags = watch(&etcd);
    let _running = confdir.start(&flags.iter().map(String::as_str).collect::<Vec<_>>());
    confdir.wait_for("out/b", "1");
    for number in 2..5 {
        etcd.put("/k", number.to_string());
        confdir.wait_for("out/b", &number.to_string());
    }
}

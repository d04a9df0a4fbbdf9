//! Backends that go away, and ourselves killed: in the end every file and every loaded state is what
//! the last value says.

use std::time::{Duration, Instant};

use brickyard_testkit::{DEADLINE, Etcd, Random, wait_until};
use rustix::mount::{MountFlags, mount};

use crate::support::Confdir;
use crate::watching::{watch, words};

/// Nanoseconds on a processor that a process has used.
fn cpu(pid: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).expect("it runs");
    stat.split(' ').next().and_then(|word| word.parse().ok()).expect("it is a number")
}

#[test]
fn nothing_is_stale_after_the_backend_was_away() {
    let mut etcd = Etcd::start();
    etcd.put("/k", "1");
    etcd.put("/gone", "1");
    let confdir = Confdir::new();
    confdir.resource(
        "a",
        "{{getv \"/k\"}} {{getv \"/gone\" \"none\"}}",
        "keys = [\"/k\", \"/gone\"]",
    );
    let flags = watch(&etcd);
    let running = confdir.start(&words(&flags));
    confdir.wait_for("out/a", "1 1");
    etcd.kill();
    running.wait_to_say("ERROR 127.0.0.1");
    // It waits between its tries: what it takes is far from a busy loop.
    let (begun, before) = (Instant::now(), cpu(running.pid()));
    std::thread::sleep(Duration::from_secs(2));
    let share = (cpu(running.pid()) - before) as f64 / begun.elapsed().as_nanos() as f64;
    assert!(share < 0.05, "it uses {share} of a processor");
    assert_eq!(confdir.read("out/a"), "1 1");
    etcd.start_again();
    etcd.delete("/gone");
    etcd.put("/k", "2");
    confdir.wait_for("out/a", "2 none");
    running.wait_to_say("answers again");
}

#[test]
fn it_waits_for_a_backend_that_is_not_there_yet() {
    let mut etcd = Etcd::start();
    etcd.put("/k", "1");
    etcd.kill();
    let confdir = Confdir::new();
    confdir.resource("a", "{{getv \"/k\"}}", "keys = [\"/k\"]");
    let flags = watch(&etcd);
    let running = confdir.start(&words(&flags));
    running.wait_to_say("ERROR 127.0.0.1");
    etcd.start_again();
    confdir.wait_for("out/a", "1");
}

#[test]
fn history_that_is_compacted_away_while_we_stand_still_loses_nothing() {
    let etcd = Etcd::start();
    etcd.put("/k", "1");
    etcd.put("/gone", "1");
    let confdir = Confdir::new();
    confdir.resource(
        "a",
        "{{getv \"/k\"}} {{getv \"/gone\" \"none\"}}",
        "keys = [\"/k\", \"/gone\"]",
    );
    let flags = watch(&etcd);
    let running = confdir.start(&words(&flags));
    confdir.wait_for("out/a", "1 1");
    running.signal("STOP");
    etcd.delete("/gone");
    for number in 0..50 {
        etcd.put("/k", number.to_string());
    }
    etcd.compact();
    running.signal("CONT");
    confdir.wait_for("out/a", "49 none");
}

#[test]
fn killed_at_random_moments_it_ends_with_file_and_loaded_state_right() {
    let etcd = Etcd::start();
    let confdir = Confdir::new();
    // What is loaded is what the reload last saw.
    let more =
        "keys = [\"/k\"]\ncheck_cmd = \"test -s {{.src}}\"\nreload_cmd = \"cp OUT/a OUT/loaded\"";
    confdir.resource("a", "{{getv \"/k\"}}\n", more);
    let flags = watch(&etcd);
    etcd.put("/k", "first");
    let seed = std::env::var("BRICKYARD_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(7);
    let rounds =
        std::env::var("BRICKYARD_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(25);
    let mut random = Random::new(seed);
    for round in 0..rounds {
        let mut running = confdir.start(&words(&flags));
        std::thread::sleep(Duration::from_millis(random.below(60)));
        for change in 0..random.below(4) {
            etcd.put("/k", format!("{round}.{change}"));
        }
        std::thread::sleep(Duration::from_millis(random.below(12)));
        running.kill();
    }
    etcd.put("/k", "last");
    let _running = confdir.start(&words(&flags));
    confdir.wait_for("out/a", "last\n");
    confdir.wait_for("out/loaded", "last\n");
    wait_until("nothing is left beside them", DEADLINE, || confdir.hidden().is_empty());
}

#[test]
fn a_template_that_is_edited_all_the_time_ends_as_the_last_edit() {
    let etcd = Etcd::start();
    etcd.put("/k", "0");
    let confdir = Confdir::new();
    confdir.resource("a", "{{getv \"/k\"}}", "keys = [\"/k\"]");
    let flags = watch(&etcd);
    let _running = confdir.start(&words(&flags));
    confdir.wait_for("out/a", "0");
    let seed = std::env::var("BRICKYARD_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let mut random = Random::new(seed);
    let text = |round: usize| format!("{round}:{}{{{{getv \"/k\"}}}}", "x".repeat(round * 997));
    for round in 1..=60 {
        let whole = text(round);
        if random.below(2) == 0 {
            // In place and in pieces: what is read between them may be no template at all.
            let (first, rest) = whole.split_at(whole.len() - random.below(12) as usize);
            confdir.write("templates/a.tmpl", first);
            etcd.put("/k", round.to_string());
            std::thread::sleep(Duration::from_millis(random.below(5)));
            let mut file = std::fs::File::options()
                .append(true)
                .open(confdir.path("templates/a.tmpl"))
                .expect("it is there");
            std::io::Write::write_all(&mut file, rest.as_bytes()).expect("there is room");
        } else {
            confdir.write("new.tmpl", &whole);
            std::fs::rename(confdir.path("new.tmpl"), confdir.path("templates/a.tmpl"))
                .expect("both are there");
            etcd.put("/k", round.to_string());
        }
    }
    let last = text(60).replace("{{getv \"/k\"}}", "60");
    wait_until("the file is the last edit's", DEADLINE, || confdir.read("out/a") == last);
}

#[test]
fn a_kill_between_place_and_reload_is_made_up_for() {
    let etcd = Etcd::start();
    etcd.put("/k", "1");
    let confdir = Confdir::new();
    let more =
        "keys = [\"/k\"]\nreload_cmd = \"test -e OUT/hold && sleep 3333; cp OUT/a OUT/loaded\"";
    confdir.resource("a", "{{getv \"/k\"}}", more);
    confdir.write("out/hold", "");
    let flags = watch(&etcd);
    let mut running = confdir.start(&words(&flags));
    confdir.wait_for("out/a", "1");
    running.kill();
    assert_eq!(confdir.read("out/loaded"), "");
    std::fs::remove_file(confdir.path("out/hold")).expect("it is there");
    let _running = confdir.start(&words(&flags));
    confdir.wait_for("out/loaded", "1");
}

#[test]
fn a_full_disk_is_said_and_made_up_for() {
    let etcd = Etcd::start();
    etcd.put("/k", "1");
    let confdir = Confdir::new();
    confdir.resource("a", "{{getv \"/k\"}}", "keys = [\"/k\"]");
    let out = confdir.path("out");
    mount("tmpfs", out.as_str(), "tmpfs", MountFlags::empty(), c"size=64k")
        .expect("a file system in memory can be mounted");
    let ended = std::panic::catch_unwind(|| {
        let flags = watch(&etcd);
        let running = confdir.start(&[&words(&flags)[..], &["-interval", "1"]].concat());
        confdir.wait_for("out/a", "1");
        let ballast = out.join("ballast");
        let filled = std::fs::write(&ballast, vec![0; 1 << 20]).map_err(|err| err.kind());
        assert_eq!(filled, Err(std::io::ErrorKind::StorageFull));
        etcd.put("/k", "2");
        running.wait_to_say("No space left on device");
        assert_eq!((confdir.read("out/a"), confdir.hidden()), ("1".to_owned(), Vec::new()));
        std::fs::remove_file(&ballast).expect("it is there");
        confdir.wait_for("out/a", "2");
    });
    let unmounted = rustix::mount::unmount(out.as_str(), rustix::mount::UnmountFlags::DETACH);
    assert!(unmounted.is_ok(), "{unmounted:?}");
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
}

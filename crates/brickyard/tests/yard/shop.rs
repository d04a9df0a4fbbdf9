//! Real software: HAProxy before a web tier that writes to Redis and PostgreSQL.
//!
//! The base images are made out of Debian packages when they are first needed, which takes some
//! minutes, and kept beside the build.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use brickyard_testkit::{DEADLINE, Project, Yard, ask, get, wait_until};
use serde_json::Value;

use crate::support::yard;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/shop");
/// New connections in a second while the tier is scaled.
const CONNECTIONS_PER_SECOND: u32 = 500;
/// Askers, so that a slow answer does not delay the next question.
const ASKERS: u32 = 16;

/// The shop on a port of its own, brought up.
fn shop(yard: &Yard) -> (Project<'_>, u16) {
    let binary = Path::new(env!("CARGO_BIN_EXE_brickyard"));
    let target = binary.ancestors().nth(3).expect("it lies in the target directory");
    let mut images = Command::new(format!("{EXAMPLE}/images"));
    images
        .args(["--root", yard.root().as_str()])
        .env("BRICKYARD", binary)
        .env("BRICKYARD_IMAGES", target.join("images"));
    // Without the deadline of a command under test: the first time takes minutes.
    let made = images.output().expect("the script can be run");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let project = yard.project("shop", &[]);
    let copied = Command::new("cp").args(["-r", EXAMPLE, project.directory().as_str()]).status();
    assert!(copied.is_ok_and(|status| status.success()), "the example can be copied");
    let port = yard.port();
    project.write(".env", &format!("SHOP_PORT={port}\n"));
    project.up();
    (project, port)
}

/// Asks with new connections at a fixed rate while `change` goes on: who answered, how many were
/// asked, and what went wrong.
fn while_asking(port: u16, change: impl FnOnce()) -> (BTreeSet<String>, u32, Vec<String>) {
    let (stop, asked) = (AtomicBool::new(false), AtomicU32::new(0));
    let (names, failures) = (Mutex::new(BTreeSet::new()), Mutex::new(Vec::new()));
    let start = Instant::now();
    let asker = || {
        while !stop.load(Ordering::Relaxed) {
            let number = asked.fetch_add(1, Ordering::Relaxed);
            let due = Duration::from_secs(1) * number / CONNECTIONS_PER_SECOND;
            std::thread::sleep(due.saturating_sub(start.elapsed()));
            match get(port, "/") {
                Ok((200, body)) => {
                    let answer: Value = serde_json::from_str(&body).expect("it is JSON");
                    let name = answer["web"].as_str().expect("it says its name").to_owned();
                    names.lock().expect("nobody panics").insert(name);
                }
                other => failures.lock().expect("nobody panics").push(format!("{other:?}")),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..ASKERS {
            scope.spawn(asker);
        }
        let changed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(change));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = changed {
            std::panic::resume_unwind(panic);
        }
    });
    let (names, failures) = (names.into_inner(), failures.into_inner());
    (names.expect("nobody panics"), asked.into_inner(), failures.expect("nobody panics"))
}

/// Servers in the balancer's configuration.
fn balanced(project: &Project<'_>) -> usize {
    let file = project.run(&["exec", "lb", "cat", "/etc/haproxy/haproxy.cfg"]).ok().stdout;
    file.lines().filter(|line| line.trim().starts_with("server ")).count()
}

fn names(count: usize) -> BTreeSet<String> {
    (1..=count).map(|number| format!("web-{number}")).collect()
}

fn scaling_fails_no_request(project: &Project<'_>, port: u16) {
    let (seen, asked, failures) = while_asking(port, || {
        let _ = project.run(&["scale", "web=5"]).ok();
        assert_eq!(balanced(project), 5);
        std::thread::sleep(Duration::from_secs(1));
        let _ = project.run(&["scale", "web=2"]).ok();
        assert_eq!(balanced(project), 2);
        std::thread::sleep(Duration::from_secs(1));
    });
    assert!(failures.is_empty(), "{} of {asked} failed: {failures:#?}", failures.len());
    assert!(asked > 2 * CONNECTIONS_PER_SECOND, "only {asked} were asked");
    assert_eq!(seen, names(5), "all five answered");
    let (seen, _, failures) = while_asking(port, || std::thread::sleep(Duration::from_millis(300)));
    assert_eq!((seen, failures), (names(2), Vec::new()));
}

/// Places orders all the time while `change` goes on; those that were acknowledged.
fn while_ordering(port: u16, change: impl FnOnce()) -> BTreeSet<String> {
    let (stop, acknowledged) = (AtomicBool::new(false), Mutex::new(BTreeSet::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    if let Ok((200, body)) = ask(port, "POST", "/orders") {
                        let answer: Value = serde_json::from_str(&body).expect("it is JSON");
                        let order = answer["order"].as_str().expect("it has a name").to_owned();
                        acknowledged.lock().expect("nobody panics").insert(order);
                    }
                }
            });
        }
        let count = || acknowledged.lock().expect("nobody panics").len();
        let changed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until("orders are taken", DEADLINE, || count() > 20);
            change();
            let before = count();
            wait_until("orders are taken again", DEADLINE, || count() > before + 20);
        }));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = changed {
            std::panic::resume_unwind(panic);
        }
    });
    acknowledged.into_inner().expect("nobody panics")
}

fn replacing_the_stores_loses_nothing(project: &Project<'_>, port: u16) {
    let registry = |name: &str| {
        let key = format!("/brickyard/services/{name}");
        project.run(&["get", &key]).ok().stdout.trim().to_owned()
    };
    let (old_redis, old_postgres) = (registry("cache/1/redis"), registry("db/1/postgres"));
    let acknowledged = while_ordering(port, || {
        let volume = "    volumes: [\"cache:";
        let changed = format!("    environment: {{EDITION: \"2\"}}\n{volume}");
        project.edit("compose.yaml", volume, &changed);
        project.edit("compose.yaml", "PGUSER: shop", "PGUSER: shop, EDITION: \"2\"");
        project.up();
    });
    let (redis, postgres) = (registry("cache/1/redis"), registry("db/1/postgres"));
    assert!(redis != old_redis && postgres != old_postgres, "both have moved");
    let (_, kept) = get(port, "/orders").expect("orders can be read");
    let kept: Value = serde_json::from_str(&kept).expect("it is JSON");
    for store in ["redis", "postgres"] {
        let list = kept[store].as_array().expect("it is a list");
        let kept: BTreeSet<String> =
            list.iter().filter_map(|order| Some(order.as_str()?.to_owned())).collect();
        let lost: Vec<_> = acknowledged.difference(&kept).collect();
        assert!(lost.is_empty(), "{store} lost {} acknowledged orders", lost.len());
    }
    // Their sockets lead to the new ones, in every instance.
    let mut seen = BTreeSet::new();
    wait_until("both instances answer", DEADLINE, || {
        let (_, at) = get(port, "/where").expect("it is served");
        let at: Value = serde_json::from_str(&at).expect("it is JSON");
        assert_eq!(
            (&at["redis"], &at["postgres"]),
            (&redis.as_str().into(), &postgres.as_str().into())
        );
        seen.insert(at["web"].as_str().expect("it says its name").to_owned());
        seen == names(2)
    });
}

#[test]
fn a_shop_of_real_software_changes_without_anybody_noticing() {
    let yard = yard();
    let (project, port) = shop(&yard);
    scaling_fails_no_request(&project, port);
    replacing_the_stores_loses_nothing(&project, port);
    let before = project.field("pid");
    let (_, asked, failures) = while_asking(port, || {
        let _ = project.run(&["restart", "web"]).ok();
    });
    assert!(failures.is_empty(), "{} of {asked} failed: {failures:#?}", failures.len());
    let after = project.field("pid");
    assert!(before["web/1"] != after["web/1"] && before["web/2"] != after["web/2"]);
    assert_eq!(before["lb/1"], after["lb/1"]);
}

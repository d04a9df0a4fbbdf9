//! What confd does in passing, and users' files rely on: rows of its description that have no better
//! place.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use brickyard_testkit::{DEADLINE, Etcd, wait_until};

use crate::support::Confdir;
use crate::watching::{watch, words};

#[test]
fn row_a_prefix_is_cut_off_as_text() {
    let mut confdir = Confdir::new();
    confdir.set("APP_K", "app");
    confdir.set("APPLE_K", "apple");
    let template = "{{range gets \"/*\"}}{{.Key}};{{end}}{{range gets \"/*/*\"}}{{.Key}};{{end}}";
    confdir.resource("a", template, "keys = [\"/\"]\nprefix = \"/app\"");
    confdir.once(&[]).ends(0);
    // `/apple/k` begins with `/app`, too.
    assert_eq!(confdir.read("out/a"), "/k;/le/k;");
}

#[test]
fn row_modes_have_gos_bases_and_owners_are_numbers() {
    let mut confdir = Confdir::new();
    confdir.set("K", "1");
    let mode = |name: &str| {
        let meta = std::fs::metadata(confdir.path(name)).expect("it is there");
        (meta.permissions().mode() & 0o7777, meta.uid(), meta.gid())
    };
    for (text, expected) in [("0640", 0o640), ("0o600", 0o600), ("420", 0o644), ("0x1ff", 0o777)] {
        let more = format!("mode = \"{text}\"\nuid = 12\ngid = 34");
        confdir.resource("a", "{{getv \"/k\"}}", &more);
        confdir.once(&[]).ends(0);
        assert_eq!(mode("out/a"), (expected, 12, 34), "{text}");
    }
    // Without a mode, the file keeps the one that it has.
    confdir.resource("a", "new", "uid = -1\ngid = -1");
    confdir.once(&[]).ends(0);
    assert_eq!(mode("out/a").0, 0o777);
    // As by confd, numbers count more than names.
    confdir.resource("a", "newer", "uid = 12\nowner = \"nobody\"");
    confdir.once(&[]).ends(0);
    assert_eq!(mode("out/a").1, 12);
}

#[test]
fn row_signals_end_it_but_those_that_do_not() {
    let etcd = Etcd::start();
    etcd.put("/k", "1");
    let confdir = Confdir::new();
    confdir.resource("a", "{{getv \"/k\"}}", "keys = [\"/k\"]");
    let flags = watch(&etcd);
    let mut running = confdir.start(&words(&flags));
    confdir.wait_for("out/a", "1");
    running.signal("USR1");
    etcd.put("/k", "2");
    confdir.wait_for("out/a", "2");
    running.signal("INT");
    assert_eq!(running.wait(), Some(0));
    assert!(running.log().contains("INFO Captured interrupt. Exiting..."), "{}", running.log());
}

#[test]
fn row_templates_are_processed_in_the_order_of_their_paths() {
    let mut confdir = Confdir::new();
    confdir.set("K", "1");
    for name in ["c", "a", "b"] {
        confdir.resource(
            name,
            "{{getv \"/k\"}}",
            "reload_cmd = \"echo $(basename {{.dest}}) >>OUT/log\"",
        );
    }
    confdir.once(&[]).ends(0);
    assert_eq!(confdir.read("out/log"), "a\nb\nc\n");
}

#[test]
fn row_several_keys_and_nodes_are_read_and_a_directory_of_files_by_its_filter() {
    let confdir = Confdir::new();
    confdir.write("keys/a.yaml", "a: 1\nboth: first\n");
    confdir.write("keys/deep/b.yaml", "b: 2\nboth: second\n");
    confdir.write("keys/c.txt", "c: 3\n");
    confdir.resource(
        "a",
        "{{getv \"/a\"}} {{getv \"/b\"}} {{getv \"/both\"}} {{getv \"/c\" \"-\"}}",
        "keys = [\"/a\", \"/b\", \"/both\", \"/c\"]",
    );
    let keys = confdir.path("keys");
    let flags = ["-onetime", "-backend", "file", "-file", keys.as_str(), "-filter", "*.yaml"];
    confdir.run(&flags).ends(0);
    assert_eq!(confdir.read("out/a"), "1 2 second -");
}

#[test]
fn row_a_resource_that_changes_while_its_command_runs_does_not_run_twice_at_once() {
    let etcd = Etcd::start();
    etcd.put("/k", "1");
    let confdir = Confdir::new();
    let more = |name: &str| {
        format!(
            "keys = [\"/k\"]\nreload_cmd = \"mkdir OUT/lock || echo twice >>OUT/log; \
             echo {name} >>OUT/log; sleep 0.4; rmdir OUT/lock\""
        )
    };
    confdir.resource("a", "{{getv \"/k\"}}", &more("old"));
    let flags = watch(&etcd);
    let _running = confdir.start(&words(&flags));
    wait_until("it runs", DEADLINE, || confdir.read("out/log") == "old\n");
    confdir.resource("a", "new {{getv \"/k\"}}", &more("new"));
    confdir.wait_for("out/a", "new 1");
    wait_until("both have run", DEADLINE, || confdir.read("out/log").lines().count() >= 2);
    assert_eq!(confdir.read("out/log"), "old\nnew\n");
}

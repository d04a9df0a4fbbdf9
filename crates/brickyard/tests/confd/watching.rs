//! Runs that go on: against a real etcd, files and variables.

use brickyard_testkit::{DEADLINE, Etcd, claim_port, get, wait_until};

use crate::support::Confdir;

/// Flags that watch an etcd.
pub(crate) fn watch(etcd: &Etcd) -> Vec<String> {
    ["-watch", "-backend", "etcdv3", "-node", &etcd.address()].map(str::to_owned).to_vec()
}

pub(crate) fn words(flags: &[String]) -> Vec<&str> {
    flags.iter().map(String::as_str).collect()
}

#[test]
fn changes_in_etcd_reach_only_the_files_that_they_concern() {
    let etcd = Etcd::start();
    etcd.put("/app/a/x", "1");
    etcd.put("/app/b", "1");
    let confdir = Confdir::new();
    let reload = "reload_cmd = \"echo x >>OUT/NAME.reloads\"";
    for (name, key, template) in [
        ("a", "/a", "{{range gets \"/a/*\"}}{{.Key}}={{.Value}};{{end}}"),
        ("b", "/b", "{{getv \"/b\" \"none\"}}"),
    ] {
        let more = format!("keys = [\"{key}\"]\n{}", reload.replace("NAME", name));
        confdir.resource(name, template, &more);
    }
    let flags = watch(&etcd);
    let running = confdir.start(&[&words(&flags)[..], &["-prefix", "/app"]].concat());
    confdir.wait_for("out/a", "/a/x=1;");
    confdir.wait_for("out/b", "1");
    etcd.put("/app/a/y", "2");
    etcd.put("/app/unread", "2");
    confdir.wait_for("out/a", "/a/x=1;/a/y=2;");
    etcd.delete("/app/a/x");
    confdir.wait_for("out/a", "/a/y=2;");
    etcd.delete("/app/b");
    confdir.wait_for("out/b", "none");
    confdir.wait_for("out/b.reloads", "x\nx\n");
    let mut running = running;
    running.signal("TERM");
    assert_eq!(running.wait(), Some(0));
    assert!(running.log().contains("INFO Captured terminated. Exiting..."));
}

#[test]
fn resources_and_templates_are_taken_up_while_it_runs() {
    let etcd = Etcd::start();
    etcd.put("/k", "1");
    etcd.put("/other", "o");
    let confdir = Confdir::new();
    confdir.resource("a", "{{getv \"/k\"}}", "keys = [\"/k\"]");
    let flags = watch(&etcd);
    let running = confdir.start(&words(&flags));
    confdir.wait_for("out/a", "1");
    confdir.write("templates/a.tmpl", "k={{getv \"/k\"}}");
    confdir.wait_for("out/a", "k=1");
    confdir.resource("b", "{{getv \"/other\"}}", "keys = [\"/other\"]");
    confdir.wait_for("out/b", "o");
    // One that is bad for the moment goes on as it was, and the others with it.
    confdir.write("conf.d/a.toml", "[template\n");
    running.wait_to_say("Cannot process template resource");
    etcd.put("/k", "2");
    etcd.put("/other", "p");
    confdir.wait_for("out/a", "k=2");
    confdir.wait_for("out/b", "p");
    std::fs::remove_file(confdir.path("conf.d/b.toml")).expect("it is there");
    running.signal("HUP");
    etcd.put("/k", "3");
    confdir.wait_for("out/a", "k=3");
    etcd.put("/other", "q");
    etcd.put("/k", "4");
    confdir.wait_for("out/a", "k=4");
    assert_eq!(confdir.read("out/b"), "p", "nobody asks for it any more");
}

#[test]
fn what_cannot_be_watched_is_rendered_all_the_same() {
    let mut confdir = Confdir::new();
    confdir.set("K", "1");
    confdir.resource("a", "{{getv \"/k\"}}", "");
    let running = confdir.start(&["-watch", "-backend", "env", "-interval", "1"]);
    confdir.wait_for("out/a", "1");
    running.wait_to_say(
        "Backend env cannot be watched: variables of a process do not change; it is read every 1s",
    );
    // The file is put right by the next look.
    confdir.write("out/a", "somebody else's");
    confdir.wait_for("out/a", "1");
}

#[test]
fn files_are_watched_and_intervals_read_everything_anew() {
    let confdir = Confdir::new();
    confdir.write("keys.yaml", "a: {b: 1}\n");
    confdir.resource("a", "{{getv \"/a/b\"}}", "keys = [\"/a\"]");
    let file = confdir.path("keys.yaml");
    let running = confdir.start(&["-watch", "-backend", "file", "-file", file.as_str()]);
    confdir.wait_for("out/a", "1");
    confdir.write(".new", "a: {b: 2}\n");
    std::fs::rename(confdir.path(".new"), &file).expect("it is there");
    confdir.wait_for("out/a", "2");
    drop(running);
    let _running = confdir.start(&["-interval", "1", "-backend", "file", "-file", file.as_str()]);
    confdir.write("keys.yaml", "a: {b: 3}\nc: x\n");
    confdir.wait_for("out/a", "3");
    confdir.resource("c", "{{getv \"/c\"}}", "keys = [\"/c\"]");
    confdir.wait_for("out/c", "x");
}

#[test]
fn a_command_beside_is_told_of_changes_and_its_code_is_passed_on() {
    let etcd = Etcd::start();
    etcd.put("/k", "1");
    let confdir = Confdir::new();
    confdir.resource("a", "{{getv \"/k\"}}", "keys = [\"/k\"]");
    let out = confdir.path("out");
    let script = format!(
        "trap 'echo hup:$(cat {out}/a) >>{out}/child' HUP; trap 'exit 7' INT\n\
         echo start:$(cat {out}/a) >>{out}/child\nwhile true; do sleep 0.02; done\n"
    );
    confdir.write("child.sh", &script);
    let command = format!("sh {}", confdir.path("child.sh"));
    let flags = watch(&etcd);
    let exec = ["-exec", &command, "-exec-reload-signal", "SIGHUP"];
    let mut running = confdir.start(&[&words(&flags)[..], &exec].concat());
    confdir.wait_for("out/child", "start:1\n");
    etcd.put("/k", "2");
    confdir.wait_for("out/child", "start:1\nhup:2\n");
    running.signal("TERM");
    assert_eq!(running.wait(), Some(7));
    // Without a signal for it, it is started again.
    let mut running = confdir.start(&[&words(&flags)[..], &["-exec", &command]].concat());
    confdir.wait_for("out/child", "start:1\nhup:2\nstart:2\n");
    etcd.put("/k", "3");
    confdir.wait_for("out/child", "start:1\nhup:2\nstart:2\nstart:3\n");
    // Its own end is ours.
    confdir.write("child.sh", "exit 5\n");
    etcd.put("/k", "4");
    assert_eq!(running.wait(), Some(5));
}

#[test]
fn changes_are_waited_after_and_counted() {
    let etcd = Etcd::start();
    etcd.put("/k", "0");
    let confdir = Confdir::new();
    let more = "keys = [\"/k\"]\nreload_cmd = \"echo x >>OUT/reloads\"\nwait = \"300ms:10s\"";
    confdir.resource("a", "{{getv \"/k\"}}", more);
    let port = claim_port();
    let address = format!("127.0.0.1:{}", port.port);
    let flags = watch(&etcd);
    let _running = confdir.start(&[&words(&flags)[..], &["-metrics-addr", &address]].concat());
    confdir.wait_for("out/a", "0");
    for number in 1..=8 {
        etcd.put("/k", number.to_string());
    }
    confdir.wait_for("out/a", "8");
    wait_until("it is loaded", DEADLINE, || confdir.hidden().is_empty());
    assert_eq!(confdir.read("out/reloads"), "x\nx\n");
    let (status, body) = get(port.port, "/ready").expect("it answers");
    assert_eq!(status, 200, "{body}");
    let (_, metrics) = get(port.port, "/metrics").expect("it answers");
    for line in [
        "confd_updates_total 2",
        "confd_reloads_total 2",
        "confd_resources 1",
        "confd_backend_up 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "no {line} in {metrics}");
    }
    assert_eq!(get(port.port, "/health").expect("it answers").0, 200);
    assert_eq!(get(port.port, "/nope").expect("it answers").0, 404);
}

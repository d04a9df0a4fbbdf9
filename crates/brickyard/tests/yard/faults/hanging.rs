//! Checks and reloads that do not come back: they are ended in time, with all that they started.

use std::thread;

use brickyard_testkit::{DEADLINE, Project, Yard, get, run, wait_until};

use super::shows;
use crate::support::yard_with_box;

/// Hangs where its argument, a file, says so, and leaves somebody in a session of his own.
const HANG: &str = "grep -q hang $0 || exit 0; (busybox setsid sleep 40711 &); sleep 40712";

/// Two published pages that show the same key. The first has a check and a reload of its own.
fn pages<'a>(yard: &'a Yard, check: &str, reload: &str) -> (Project<'a>, [u16; 2]) {
    let ports = [yard.port(), yard.port()];
    let service = |port: u16, more: &str| {
        format!(
            r#"
    image: box
    command: [httpd, -f, -p, "80", -h, /www]
    stop_signal: KILL
    ports: ["127.0.0.1:{port}:80"]
    x-brickyard:
      provides: {{http: {{port: 80, protocol: http, health: {{path: /}}}}}}
      templates: [{{src: page.tmpl, dest: /www/index.html{more}}}]"#
        )
    };
    let [web, calm] = [
        service(ports[0], &format!(", {check}, {reload}")),
        service(ports[1], ", reload: {signal: CONT}"),
    ];
    let model = format!(
        "name: hanging\nservices:\n  web:{web}\n  calm:{calm}\nx-brickyard: {{config: {{text: one}}}}\n"
    );
    let files = [("compose.yaml", &*model), ("page.tmpl", "{{getv \"/text\"}}\n")];
    (yard.project("hanging", &files), ports)
}

/// How many processes in the yard's instances wait for ever.
fn hanging(yard: &Yard) -> usize {
    let groups = yard.cgroups();
    let pids = groups.iter().flat_map(|group| {
        let text = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    });
    let waits = |pid: &String| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with(b"sleep\x004071")
    };
    let all: std::collections::BTreeSet<String> = pids.collect();
    all.iter().filter(|pid| waits(pid)).count()
}

const CHECK: &str = "check: [sh, -c, *hang, \"{{.src}}\"], check_timeout: 2s";

fn with_text(yaml: &str) -> String {
    yaml.replace("*hang", &serde_json::json!(HANG).to_string())
}

#[test]
fn a_check_that_hangs_refuses_the_change_and_leaves_nothing() {
    let yard = yard_with_box();
    let (project, ports) = pages(&yard, &with_text(CHECK), "reload: none");
    project.up();
    let pids = project.field("pid");
    thread::scope(|scope| {
        let file = project.directory().join("compose.yaml");
        let set = yard.command(&["-f", file.as_str(), "set", "text=hang"]);
        let set = scope.spawn(|| run(set));
        wait_until("both hang", DEADLINE, || hanging(&yard) == 2);
        // Meanwhile everything else goes on.
        ports.iter().for_each(|port| shows(*port, "one"));
        assert_eq!(project.exec("web", "echo said"), "said\n");
        assert_eq!(project.field("pid"), pids);
        let refused = set.join().expect("it ends").fails_with(1);
        let refused = refused.says("/hanging/dev/web/1").says("the check of /www/index.html");
        let _ = refused.says("it took longer than 2s");
    });
    wait_until("what hung is gone", DEADLINE, || hanging(&yard) == 0);
    assert_eq!(project.run(&["get", "text"]).ok().stdout, "one\n");
    ports.iter().for_each(|port| shows(*port, "one"));
    let _ = project.run(&["set", "text=two"]).ok();
    ports.iter().for_each(|port| shows(*port, "two"));
    assert_eq!(project.field("pid"), pids);
    assert_eq!(project.run(&["--json", "top", "web"]).ok().stdout.matches("httpd").count(), 1);
}

#[test]
fn a_check_that_hangs_at_the_first_start_fails_its_service_alone() {
    let yard = yard_with_box();
    let (project, ports) = pages(&yard, &with_text(CHECK), "reload: none");
    project.edit("compose.yaml", "{text: one}", "{text: hang}");
    let refused = project.run(&["up", "-d"]).fails_with(1);
    let _ = refused.says("the check of /www/index.html").says("it took longer than 2s");
    wait_until("the other one is there", DEADLINE, || {
        get(ports[1], "/").is_ok_and(|answer| answer == (200, "hang\n".to_owned()))
    });
    let _ = project.run(&["set", "text=two"]);
    project.up();
    ports.iter().for_each(|port| shows(*port, "two"));
    assert_eq!(hanging(&yard), 0);
}

#[test]
fn a_reload_that_hangs_is_said_and_repeated_and_leaves_nothing() {
    let yard = yard_with_box();
    let reload = "reload: {exec: [sh, -c, *hang, /www/index.html]}, reload_timeout: 1s";
    let (project, ports) = pages(&yard, "check: ['true']", &with_text(reload));
    project.up();
    let pids = project.field("pid");
    let failed = project.run(&["set", "text=hang"]).fails_with(1);
    let _ = failed.says("/hanging/dev/web/1: it could not be told").says("longer than 1s");
    // The value is written: what did not take notice of it is told again, and what fails already
    // fails no change of something else.
    ports.iter().for_each(|port| shows(*port, "hang"));
    let _ = project.run(&["set", "other=value"]).ok();
    let failures = || {
        let events = yard.events();
        let failed = events.iter().filter(|event| event["kind"] == "template.reload_failed");
        let reasons = failed.map(|event| event["reason"].as_str().unwrap_or_default().to_owned());
        reasons.collect::<Vec<_>>()
    };
    wait_until("it goes on being tried", 2 * DEADLINE, || failures().len() > 2);
    assert!(failures().iter().all(|text| text.contains("it took longer than 1s")));
    let _ = project.run(&["set", "text=two"]).ok();
    ports.iter().for_each(|port| shows(*port, "two"));
    wait_until("what hung is gone", DEADLINE, || hanging(&yard) == 0);
    let row = project.instance("web/1");
    assert_eq!((&row["loaded"], &row["pid"]), (&row["rendered"], &pids["web/1"]));
}

#[test]
fn a_health_check_that_hangs_leaves_nothing() {
    let yard = yard_with_box();
    let model = r#"
name: sick
services:
  app:
    image: box
    command: [sleep, "1000"]
    stop_signal: KILL
    healthcheck: {test: [CMD, sh, -c, "(busybox setsid sleep 40711 &); sleep 40712"], interval: 1s, timeout: 200ms, retries: 3}
"#;
    let project = yard.project("sick", &[("compose.yaml", model)]);
    let _ = project.run(&["up", "-d"]).fails_with(1).says("unhealthy");
    // Three have failed by now. At most one is under way, and none is between two.
    wait_until("nothing is left between two checks", DEADLINE, || hanging(&yard) == 0);
}

//! What each verb does, as Compose's users know it.

use brickyard_testkit::{DEADLINE, Project, Yard, wait_until};
use serde_json::Value;

use crate::support::{kinds, yard_with_box};

/// One service `app` that sleeps, with more lines of its own.
fn sleeper<'a>(yard: &'a Yard, more: &str) -> Project<'a> {
    let model = format!(
        "name: verbs\nservices:\n  app:\n    image: box\n    command: [sleep, '1000']\n    \
         stop_signal: KILL\n{more}"
    );
    let project = yard.project("verbs", &[("compose.yaml", &model)]);
    project.up();
    project
}

fn states(project: &Project<'_>) -> Vec<String> {
    let fields = project.field("state");
    fields
        .iter()
        .map(|(slot, state)| format!("{slot} {}", state.as_str().unwrap_or_default()))
        .collect()
}

#[test]
fn logs_come_in_order_with_names_and_tails() {
    let yard = yard_with_box();
    let script = "for i in 1 2 3 4 5 6 7 8 9 10; do echo line $$i; done; echo to stderr >&2; exec sleep 1000";
    let model = format!(
        "name: logs\nservices:\n  a: {{image: box, stop_signal: KILL, command: [sh, -c, '{script}']}}\n  \
         b: {{image: box, stop_signal: KILL, command: [sh, -c, 'echo from b; exec sleep 1000']}}\n"
    );
    let project = yard.project("logs", &[("compose.yaml", &model)]);
    project.up();
    let logs = |arguments: &[&str]| project.run(arguments).ok().stdout;
    wait_until("everything is written", DEADLINE, || {
        let all = logs(&["logs"]);
        all.contains("to stderr") && all.contains("from b")
    });
    // Each stream is in order; the two are pipes of their own, which nobody can put in order.
    let all = logs(&["logs", "a"]);
    assert!(all.contains("a/1 | to stderr\n"), "{all}");
    let stdout: Vec<&str> = all.lines().filter(|l| l.contains("line")).collect();
    let expected: Vec<String> = (1..=10).map(|i| format!("a/1 | line {i}")).collect();
    assert_eq!(stdout, expected);
    let tail = logs(&["logs", "--tail", "3", "--no-log-prefix", "a/1"]);
    assert_eq!(tail.lines().count(), 3);
    assert!(tail.contains("line 10\n") && !tail.contains("a/1"), "{tail}");
    let json = logs(&["--json", "logs", "b"]);
    let line: Value = serde_json::from_str(json.trim()).expect("one object a line");
    assert_eq!(
        (&line["instance"], &line["text"], &line["stream"]),
        (&"b/1".into(), &"from b".into(), &"stdout".into())
    );
    assert!(logs(&["logs", "-t", "b"]).contains("T"), "no time");
}

#[test]
fn exec_passes_codes_streams_variables_users_and_directories() {
    let yard = yard_with_box();
    let project = sleeper(&yard, "    environment: {OWN: model}\n");
    let out = project.run(&["exec", "app", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    let out = out.fails_with(7);
    assert_eq!((&*out.stdout, &*out.stderr), ("out\n", "err\n"));
    let script = "id -u; id -g; pwd; echo $GIVEN $OWN";
    let words = ["exec", "-e", "GIVEN=x y", "-u", "brick", "-w", "/tmp", "app/1"];
    let words = [&words[..], &["sh", "-c", script]].concat();
    let out = project.run(&words).ok();
    assert_eq!(out.stdout, "1000\n1001\n/tmp\nx y model\n");
    // As shells have it.
    let missing = project.run(&["exec", "app", "no-such-program"]);
    let missing = missing.fails_with(127);
    assert!(missing.stderr.contains("no-such-program"), "{}", missing.stderr);
    let _ = project.run(&["exec", "app", "/etc/passwd"]).fails_with(126);
    let killed = project.run(&["exec", "app", "sh", "-c", "kill -9 $$"]);
    let _ = killed.fails_with(137);
}

#[test]
fn run_ends_with_the_code_of_what_it_ran_and_leaves_nothing() {
    let yard = yard_with_box();
    let script = "echo out; echo err >&2; exit 7";
    let out = yard.run(&["run", "--rm", "box", "sh", "-c", script]);
    let out = out.fails_with(7);
    assert_eq!((&*out.stdout, &*out.stderr), ("out\n", "err\n"));
    let words = ["run", "--rm", "-e", "A=b", "-u", "1000", "-w", "/tmp", "box"];
    let words = [&words[..], &["sh", "-c", "id -u; pwd; echo $A"]].concat();
    assert_eq!(yard.run(&words).ok().stdout, "1000\n/tmp\nb\n");
    let _ = yard.run(&["run", "--rm", "box", "no-such-program"]).fails_with(127);
    let _ = yard.run(&["run", "--rm", "absent", "true"]).fails_with(3);
    assert_eq!(yard.processes(), Vec::<i32>::new());
    assert_eq!(yard.cgroups(), Vec::<camino::Utf8PathBuf>::new());
    let environments = yard.root().join("environments").read_dir_utf8();
    assert_eq!(environments.into_iter().flatten().count(), 0);
}

#[test]
fn run_of_a_service_has_its_volumes_and_its_network() {
    let yard = yard_with_box();
    let more = "    volumes: ['data:/data']\n    environment: {OWN: model}\nvolumes: {data: {}}\n";
    let project = sleeper(&yard, more);
    let _ = project.exec("app", "echo kept >/data/file");
    let ip = project.instance("app/1")["ip"].clone();
    let ip = ip.as_str().expect("it has an address");
    let script = format!("cat /data/file; echo $OWN; nc -z -w 1 {ip} 9 || echo refused");
    let out = project.run(&["run", "--rm", "app", "sh", "-c", &script]).ok();
    assert_eq!(out.stdout, "kept\nmodel\nrefused\n");
    assert_eq!(project.ps().len(), 1);
}

#[test]
fn run_of_a_service_has_what_is_rendered_into_its_instances() {
    let yard = yard_with_box();
    let model = r#"
name: rendered
services:
  job:
    image: box
    command: [sh, -c, "cat /etc/job.conf; echo $$TARGET $$WORD"]
    x-brickyard:
      needs: {db: db/main}
      templates: [{src: job.tmpl, dest: /etc/job.conf, mode: "0600"}]
      environment: {TARGET: '{{(line "db").Address}}', WORD: '{{getv "/word"}}'}
  db:
    image: box
    command: [sleep, "1000"]
    stop_signal: KILL
    x-brickyard: {provides: {main: {port: 9, health: none}}}
x-brickyard: {config: {word: first}}
"#;
    let files = [("compose.yaml", model), ("job.tmpl", "word={{getv \"/word\"}}\n")];
    let project = yard.project("rendered", &files);
    let refused = project.run(&["run", "--no-deps", "job"]).fails_with(1);
    assert!(refused.stderr.contains("no instance of"), "{}", refused.stderr);
    let out = project.run(&["run", "--rm", "job"]).ok().stdout;
    assert_eq!(out, "word=first\n/rendered/dev/db/1/main first\n");
    let _ = project.run(&["set", "word=second"]).ok();
    let out = project.run(&["run", "-e", "TARGET=given", "job"]).ok().stdout;
    assert_eq!(out, "word=second\ngiven second\n");
    assert_eq!(states(&project), ["db/1 running"]);
}

#[test]
fn instances_that_start_together_share_a_new_volume() {
    let yard = yard_with_box();
    let more = "    deploy: {replicas: 6}\n    volumes: ['data:/data']\nvolumes: {data: {}}\n";
    let project = sleeper(&yard, more);
    let _ = project.exec("app/1", "echo shared >/data/file");
    assert_eq!(project.exec("app/6", "cat /data/file"), "shared\n");
}

#[test]
fn images_are_imported_listed_inspected_and_removed() {
    let yard = yard_with_box();
    let all = yard.run(&["--json", "image", "ls"]).ok().stdout;
    let all: Vec<Value> = serde_json::from_str(&all).expect("it is an array");
    assert_eq!(all.len(), 1);
    assert_eq!(all[0]["name"], "box:latest");
    let one = yard.run(&["image", "inspect", "box"]).ok().stdout;
    let one: Value = serde_json::from_str(&one).expect("it is an object");
    assert_eq!(one["digest"], all[0]["digest"]);
    // What runs keeps its image, whatever it is called.
    let project = sleeper(&yard, "");
    let _ = project.run(&["image", "rm", "box"]).ok();
    assert_eq!(yard.run(&["--json", "image", "ls"]).ok().stdout.trim(), "[]");
    let _ = project.run(&["restart", "app"]).ok();
    let _ = project.run(&["down"]).ok();
    let _ = yard.run(&["image", "inspect", "box"]).fails_with(3);
}

#[test]
fn restart_keeps_the_generation_and_changes_the_process() {
    let yard = yard_with_box();
    let project = sleeper(&yard, "    deploy: {replicas: 2}\n");
    let (pids, generations) = (project.field("pid"), project.field("generation"));
    let _ = project.exec("app/1", "echo kept >/tmp/file");
    let _ = project.run(&["restart", "app/1"]).ok();
    assert_ne!(project.field("pid")["app/1"], pids["app/1"]);
    assert_eq!(project.field("pid")["app/2"], pids["app/2"]);
    assert_eq!(project.field("generation"), generations);
    assert_eq!(project.exec("app/1", "cat /tmp/file"), "kept\n");
    let _ = project.run(&["restart", "app"]).ok();
    assert_ne!(project.field("pid")["app/2"], pids["app/2"]);
    assert_eq!(project.field("generation"), generations);
}

#[test]
fn stop_and_start_leave_the_others_alone() {
    let yard = yard_with_box();
    let project = sleeper(&yard, "    deploy: {replicas: 2}\n");
    let pids = project.field("pid");
    let _ = project.run(&["stop", "app/2"]).ok();
    assert_eq!(states(&project), ["app/1 running", "app/2 stopped"]);
    assert_eq!(project.field("pid")["app/1"], pids["app/1"]);
    assert_eq!(project.instance("app/2")["pid"], Value::Null);
    // It stays stopped, whatever changes elsewhere.
    let _ = project.run(&["restart", "app/1"]).ok();
    assert_eq!(states(&project), ["app/1 running", "app/2 stopped"]);
    let _ = project.run(&["start", "app"]).ok();
    assert_eq!(states(&project), ["app/1 running", "app/2 running"]);
    // `up` starts what was stopped, as Compose does.
    let _ = project.run(&["stop"]).ok();
    assert_eq!(states(&project), ["app/1 stopped", "app/2 stopped"]);
    project.up();
    assert_eq!(states(&project), ["app/1 running", "app/2 running"]);
}

#[test]
fn stop_sends_the_signal_and_kills_after_the_grace() {
    let yard = yard_with_box();
    let model = r#"
name: grace
services:
  polite:
    image: box
    command: [sh, -c, "trap 'exit 5' USR1; echo >/tmp/set; while true; do sleep 0.05; done"]
    stop_signal: SIGUSR1
  deaf:
    image: box
    command: [sh, -c, "trap '' TERM; echo >/tmp/set; while true; do sleep 0.05; done"]
    stop_grace_period: 200ms
"#;
    let project = yard.project("grace", &[("compose.yaml", model)]);
    project.up();
    // A trap is set a moment after the process began.
    wait_until("traps are set", DEADLINE, || {
        let is_set = |service| project.run(&["exec", service, "ls", "/tmp/set"]).code == 0;
        is_set("polite") && is_set("deaf")
    });
    let _ = project.run(&["stop"]).ok();
    let codes = project.field("exit_code");
    assert_eq!((&codes["polite/1"], &codes["deaf/1"]), (&5.into(), &137.into()));
}

#[test]
fn a_timeout_takes_the_place_of_the_grace_for_this_time() {
    let yard = yard_with_box();
    let model = r#"
name: hurry
services:
  deaf:
    image: box
    command: [sh, -c, "trap '' TERM; echo >/tmp/set; while true; do sleep 0.05; done"]
    stop_grace_period: 10m
"#;
    let project = yard.project("hurry", &[("compose.yaml", model)]);
    project.up();
    let deaf = || {
        wait_until("the trap is set", DEADLINE, || {
            project.run(&["exec", "deaf", "ls", "/tmp/set"]).code == 0
        });
    };
    // Each would take ten minutes.
    deaf();
    let _ = project.exec("deaf", "rm /tmp/set 2>/dev/null || busybox rm /tmp/set");
    let _ = project.run(&["restart", "-t", "0", "deaf"]).ok();
    deaf();
    let _ = project.run(&["stop", "--timeout", "1", "deaf"]).ok();
    assert_eq!(project.instance("deaf/1")["exit_code"], 137);
    let _ = project.run(&["start"]).ok();
    let _ = project.run(&["down", "-t", "0"]).ok();
}

#[test]
fn scale_adds_and_takes_away_the_highest() {
    let yard = yard_with_box();
    let project = sleeper(&yard, "");
    let first = project.field("pid");
    let _ = project.run(&["scale", "app=3"]).ok();
    let three = project.field("pid");
    assert_eq!(three.keys().collect::<Vec<_>>(), ["app/1", "app/2", "app/3"]);
    assert_eq!(three["app/1"], first["app/1"]);
    let _ = project.run(&["scale", "app=1"]).ok();
    assert_eq!(project.field("pid"), first);
    let _ = project.run(&["up", "-d", "--scale", "app=2"]).ok();
    assert_eq!(project.field("pid").len(), 2);
    let _ = project.run(&["scale", "app=0"]).ok();
    assert_eq!(project.ps().len(), 0);
}

#[test]
fn rm_removes_what_does_not_run_and_nothing_else() {
    let yard = yard_with_box();
    let project = sleeper(&yard, "    deploy: {replicas: 2}\n");
    let _ = project.run(&["stop", "app/2"]).ok();
    let _ = project.run(&["rm"]).ok();
    assert_eq!(states(&project), ["app/1 running"]);
    let _ = project.run(&["start", "app/2"]).ok();
    assert_eq!(states(&project), ["app/1 running", "app/2 running"]);
}

#[test]
fn up_of_one_service_brings_what_it_needs_and_no_more() {
    let yard = yard_with_box();
    let model = r#"
name: some
services:
  web: {image: box, command: [sleep, "1000"], stop_signal: KILL, depends_on: [db]}
  db: {image: box, command: [sleep, "1000"], stop_signal: KILL}
  other: {image: box, command: [sleep, "1000"], stop_signal: KILL}
"#;
    let project = yard.project("some", &[("compose.yaml", model)]);
    let _ = project.run(&["up", "-d", "web"]).ok();
    assert_eq!(states(&project), ["db/1 running", "web/1 running"]);
    let kinds = kinds(&yard.events());
    let at = |address: &str| {
        let wanted = format!("instance.started /some/dev/{address}");
        kinds.iter().position(|kind| *kind == wanted)
    };
    assert!(at("db/1") < at("web/1"), "{kinds:#?}");
    project.up();
    assert_eq!(states(&project).len(), 3);
    // The others stay as they are, whatever the model says of them meanwhile.
    let _ = project.run(&["scale", "other=2"]).ok();
    let before = project.field("pid");
    let _ = project.run(&["stop", "other/2"]).ok();
    project.write("compose.yaml", &model.replace("1000", "2000"));
    let _ = project.run(&["up", "-d", "db"]).ok();
    let after = project.field("pid");
    assert_ne!(after["db/1"], before["db/1"]);
    assert_eq!((&after["web/1"], &after["other/1"]), (&before["web/1"], &before["other/1"]));
    assert_eq!(
        states(&project),
        ["db/1 running", "other/1 running", "other/2 stopped", "web/1 running"]
    );
}

#[test]
fn keys_are_set_listed_and_unset() {
    let yard = yard_with_box();
    let project = sleeper(&yard, "x-brickyard: {config: {a: {b: one}, c: two}}\n");
    let value = |key: &str| project.run(&["get", key]).ok().stdout;
    assert_eq!(value("a/b"), "one\n");
    let _ = project.run(&["set", "a/b=x=y", "/new=with spaces"]).ok();
    assert_eq!((value("/a/b"), value("new")), ("x=y\n".into(), "with spaces\n".into()));
    let all = project.run(&["kv", "ls"]).ok().stdout;
    assert!(all.contains("/a/b") && all.contains("/new"), "{all}");
    let _ = project.run(&["unset", "a/b", "new"]).ok();
    assert_eq!(value("a/b"), "one\n");
    let _ = project.run(&["get", "new"]).fails_with(3);
}

#[test]
fn plan_and_config_change_nothing() {
    let yard = yard_with_box();
    let project = sleeper(&yard, "");
    let before = project.field("pid");
    project.edit("compose.yaml", "'1000'", "'2000'");
    let plan = project.run(&["plan"]).ok();
    assert!(plan.stdout.contains("app/1"), "{}", plan.stdout);
    let config = project.run(&["config"]).ok();
    assert!(config.stdout.contains("2000"), "{}", config.stdout);
    assert_eq!(project.field("pid"), before);
}

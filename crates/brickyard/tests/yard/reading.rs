//! Verbs that change nothing: what runs, what it uses, what it said and what happened.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use brickyard_testkit::{DEADLINE, Project, Yard, wait_for, wait_until};
use serde_json::Value;

use crate::support::yard_with_box;

fn up<'a>(yard: &'a Yard, model: &str) -> Project<'a> {
    let project = yard.project("reading", &[("compose.yaml", model)]);
    project.up();
    project
}

/// Three services, one of which has ended.
const THREE: &str = r#"
name: reading
services:
  a: {image: box, command: [sleep, "1000"], stop_signal: KILL, deploy: {replicas: 2}, mem_limit: 64m}
  b: {image: box, command: [sh, -c, "sleep 999 & exec sleep 1000"], stop_signal: KILL, user: brick}
  done: {image: box, command: [sh, -c, "exit 0"]}
"#;

fn json(project: &Project<'_>, arguments: &[&str]) -> Value {
    let out = project.run(arguments).ok().stdout;
    serde_json::from_str(&out).unwrap_or_else(|err| panic!("{err}: {out}"))
}

#[test]
fn ps_shows_what_was_asked_for() {
    let yard = yard_with_box();
    let project = up(&yard, THREE);
    let _ = project.run(&["pause", "a/2"]).ok();
    wait_until("the short one has ended", DEADLINE, || {
        project.field("state")["done/1"] == "exited"
    });
    let out = |arguments: &[&str]| project.run(arguments).ok().stdout;
    assert_eq!(out(&["ps", "--services"]), "a\nb\n");
    assert_eq!(out(&["ps", "--services", "-a"]), "a\nb\ndone\n");
    assert_eq!(out(&["ps", "-q", "--status", "paused"]), "/reading/dev/a/2\n");
    let words = ["ps", "-q", "--status", "paused", "--filter", "status=exited"];
    assert_eq!(out(&words), "/reading/dev/a/2\n/reading/dev/done/1\n");
    assert_eq!(out(&["ps", "-q", "b"]), "/reading/dev/b/1\n");
    assert_eq!(json(&project, &["ps", "--json", "--status", "exited"])[0]["exit_code"], 0);
    let _ = project.run(&["ps", "--status", "pausd"]).fails_with(2).says("`paused`");
    let _ = project.run(&["ps", "--filter", "colour=red"]).fails_with(2);
}

#[test]
fn ls_shows_every_environment_of_the_yard() {
    let yard = yard_with_box();
    let project = up(&yard, THREE);
    let _ = project.run(&["-E", "test", "up", "-d", "b"]).ok();
    let _ = project.run(&["-E", "test", "stop"]).ok();
    wait_until("the short one has ended", DEADLINE, || {
        project.field("state")["done/1"] == "exited"
    });
    let all = json(&project, &["ls", "-a", "--json"]);
    let file = project.directory().join("compose.yaml");
    assert_eq!(all[0]["status"], serde_json::json!({"running": 3, "exited": 1}));
    assert_eq!(all[0]["files"], serde_json::json!([file]));
    assert_eq!(all[1]["environment"], "test");
    assert_eq!(project.run(&["ls", "-q"]).ok().stdout, "/reading/dev\n");
    assert_eq!(project.run(&["ls", "-q", "--filter", "name=other"]).ok().stdout, "");
    // Without an agent the machine says it.
    yard.kill_agent();
    let all = json(&project, &["ls", "-a", "--json"]);
    assert_eq!(all[0]["status"]["running"], 3, "{all}");
}

#[test]
fn top_and_stats_tell_what_the_kernel_counts() {
    let yard = yard_with_box();
    let project = up(&yard, THREE);
    let processes = wait_for("the background process is there", DEADLINE, || {
        let top = json(&project, &["--json", "top", "b"]);
        top[0]["processes"].as_array().filter(|all| all.len() == 2).cloned()
    });
    let row = project.instance("b/1");
    assert_eq!((&processes[0]["pid"], &processes[0]["pid_inside"]), (&row["pid"], &1.into()));
    assert_eq!((&processes[0]["user"], &processes[0]["uid"]), (&"brick".into(), &1000.into()));
    assert_eq!(processes[0]["command"], "sleep 1000");
    assert_eq!(processes[1]["parent"], row["pid"]);
    let text = project.run(&["top"]).ok().stdout;
    assert_eq!(text.lines().filter(|line| line.contains("sleep")).count(), 4, "{text}");
    let stats = json(&project, &["--json", "stats", "--no-stream"]);
    let names: Vec<&str> = stats
        .as_array()
        .expect("it is an array")
        .iter()
        .filter_map(|row| row["instance"].as_str())
        .collect();
    assert_eq!(names, ["a/1", "a/2", "b/1"]);
    assert_eq!((&stats[0]["memory_max_bytes"], &stats[0]["pids"]), (&(64 << 20).into(), &1.into()));
    assert!(stats[0]["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{stats}");
    assert_eq!(stats[2]["pids"], 2);
    let text = project.run(&["stats", "--no-stream", "a"]).ok().stdout;
    assert!(text.lines().count() == 3 && text.contains("64.0 MiB"), "{text}");
    let _ = project.run(&["top", "done"]).fails_with(3);
    let _ = project.run(&["stats", "c"]).fails_with(3);
}

#[test]
fn stats_see_work() {
    let yard = yard_with_box();
    let model = "name: reading\nservices:\n  busy: {image: box, stop_signal: KILL, \
                 command: [sh, -c, 'while true; do true; done']}\n";
    let project = up(&yard, model);
    let stats = json(&project, &["--json", "stats", "--no-stream"]);
    assert!(stats[0]["cpu_percent"].as_f64().is_some_and(|percent| percent > 0.0), "{stats}");
    assert!(stats[0]["cpu_us"].as_u64().is_some_and(|used| used > 0), "{stats}");
}

#[test]
fn port_and_images_tell_what_is_used() {
    let yard = yard_with_box();
    let port = yard.port();
    let model = format!(
        "name: reading\nservices:\n  web: {{image: box, command: [httpd, -f, -p, '80'], \
         stop_signal: KILL, ports: ['127.0.0.1:{port}:80']}}\n"
    );
    let project = up(&yard, &model);
    let out = |arguments: &[&str]| project.run(arguments).ok().stdout;
    for words in [
        &["port", "web", "80"][..],
        &["port", "web/1", "80"],
        &["port", "--index", "1", "web", "80"],
    ] {
        assert_eq!(out(words), format!("127.0.0.1:{port}\n"));
    }
    let _ = project.run(&["port", "web", "81"]).fails_with(3).says("->80/tcp");
    let _ = project.run(&["port", "--protocol", "udp", "web", "80"]).fails_with(3);
    let images = json(&project, &["--json", "images"]);
    let known = json(&project, &["--json", "image", "ls"]);
    assert_eq!(
        (&images[0]["instance"], &images[0]["digest"]),
        (&"web/1".into(), &known[0]["digest"])
    );
    assert_eq!(out(&["images", "-q"]).trim(), known[0]["digest"].as_str().expect("a digest"));
}

#[test]
fn wait_ends_with_the_code_of_what_ends() {
    let yard = yard_with_box();
    let model = r#"
name: reading
services:
  job: {image: box, command: [sh, -c, "while ! ls /tmp/go >/tmp/x 2>&1; do sleep 0.02; done; exit 7"], stop_signal: KILL}
  other: {image: box, command: [sleep, "1000"], stop_signal: KILL}
"#;
    let project = up(&yard, model);
    let file = project.directory().join("compose.yaml");
    let mut wait = yard.command(&["-f", file.as_str(), "wait", "job"]);
    let wait = wait.stdout(Stdio::piped()).spawn().expect("it can be started");
    let _ = project.run(&["exec", "job", "sh", "-c", "echo >/tmp/go"]).ok();
    let out = wait.wait_with_output().expect("it ends");
    assert_eq!(out.status.code(), Some(7), "{out:?}");
    assert_eq!(String::from_utf8_lossy(&out.stdout), "job/1 exited with code 7\n");
    // One that has ended already needs no waiting.
    wait_until("its end is known", DEADLINE, || project.field("state")["job/1"] == "exited");
    let _ = project.run(&["wait", "job"]).fails_with(7);
    let _ = project.run(&["wait", "--down-project", "job"]).fails_with(7);
    let _ = project.run(&["wait", "job"]).fails_with(3);
}

#[test]
fn logs_and_events_know_times() {
    let yard = yard_with_box();
    let model = "name: reading\nservices:\n  a: {image: box, command: [sh, -c, 'echo early; exec sleep 1000'], \
                 stop_signal: KILL}\n  longer: {image: box, command: [sh, -c, 'echo first; exec sleep 1000'], stop_signal: KILL}\n";
    let project = up(&yard, model);
    let logs = |arguments: &[&str]| project.run(&[&["logs"], arguments].concat()).ok().stdout;
    wait_until("both have said it", DEADLINE, || logs(&[]).lines().count() == 2);
    let text = logs(&[]);
    assert!(text.contains("a/1      | early\n") && text.contains("longer/1 | first\n"), "{text}");
    let line: Value = serde_json::from_str(logs(&["--json", "a"]).trim()).expect("one object");
    let time = line["time"].as_str().expect("it has a time").to_owned();
    assert_eq!(logs(&["--no-log-prefix", "--since", &time, "a"]), "early\n");
    assert_eq!(logs(&["--no-log-prefix", "--until", &time, "a"]), "early\n");
    assert_eq!(logs(&["--no-log-prefix", "--since", "1h30m", "--tail", "all", "a"]), "early\n");
    assert_eq!(logs(&["--until", "1h"]), "");
    assert_eq!(logs(&["--since", "2100-01-01T00:00:00Z"]), "");
    assert_eq!(logs(&["--until", "1000000000"]), "");
    assert_eq!(logs(&["--no-log-prefix", "--index", "1", "a"]), "early\n");
    let _ = project.run(&["logs", "--since", "soon"]).fails_with(2);
    let _ = project.run(&["logs", "--tail", "some"]).fails_with(2);
    let _ = project.run(&["logs", "nobody"]).fails_with(3);
    let events = project.run(&["events", "--json", "--since", "1h"]).ok().stdout;
    assert!(events.lines().count() > 4, "{events}");
    assert_eq!(project.run(&["events", "--until", "1h"]).ok().stdout, "");
    let after = project.run(&["events", "--since", "2100-01-01"]).ok().stdout;
    assert_eq!(after, "");
}

#[test]
fn followed_logs_go_on_with_restarts_and_new_generations() {
    let yard = yard_with_box();
    let model = "name: reading\nservices:\n  a: {image: box, stop_signal: KILL, environment: {TEXT: one}, \
                 command: [sh, -c, 'echo said $$TEXT; exec sleep 1000']}\n";
    let project = up(&yard, model);
    let file = project.directory().join("compose.yaml");
    let mut logs = yard.command(&["-f", file.as_str(), "logs", "-f", "--no-log-prefix"]);
    let mut logs = logs.stdout(Stdio::piped()).spawn().expect("it can be started");
    let mut lines = BufReader::new(logs.stdout.take().expect("it is piped")).lines();
    let mut next = || lines.next().expect("it goes on").expect("it is text");
    assert_eq!(next(), "said one");
    let _ = project.run(&["restart"]).ok();
    assert_eq!(next(), "said one");
    project.edit("compose.yaml", "TEXT: one", "TEXT: two");
    project.up();
    assert_eq!(next(), "said two");
    let _ = project.run(&["down"]).ok();
    let ended = wait_for("it ends with its environment", DEADLINE, || {
        logs.try_wait().expect("it is our child")
    });
    assert!(ended.success(), "{ended}");
}

#[test]
fn several_files_are_one_model() {
    let yard = yard_with_box();
    let files = [
        ("compose.yaml", "services:\n  a: {image: one, environment: {A: '1'}}\n"),
        ("compose.override.yaml", "services:\n  a: {environment: [B=2]}\n"),
        ("other.yaml", "services:\n  a: {image: other}\n"),
    ];
    let project = yard.project("several", &files);
    let config = |arguments: &[&str], variable: Option<&str>| {
        let mut command = yard.command(&[arguments, &["--json", "config"]].concat());
        command.current_dir(project.directory()).envs(variable.map(|text| ("COMPOSE_FILE", text)));
        let output = command.output().expect("it runs");
        let model: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
        model["services"]["a"].clone()
    };
    // Without more being said, what is for this machine alone counts.
    let found = config(&[], None);
    assert_eq!(found["environment"], serde_json::json!({"A": "1", "B": "2"}));
    let found = config(&["-f", "compose.yaml", "-f", "other.yaml"], None);
    assert_eq!((&found["image"], &found["environment"]["A"]), (&"other".into(), &"1".into()));
    assert!(found["environment"].get("B").is_none(), "{found}");
    let found = config(&[], Some("other.yaml:compose.yaml"));
    assert_eq!(found["image"], "one");
    project.write(".env", "COMPOSE_FILE=compose.yaml,other.yaml\nCOMPOSE_PATH_SEPARATOR=,\n");
    assert_eq!(config(&[], None)["image"], "other");
    assert_eq!(config(&[], Some("compose.yaml"))["image"], "one");
}

#[test]
fn variables_come_from_the_files_that_are_meant() {
    let yard = yard_with_box();
    let files = [
        ("compose.yaml", "services:\n  a: {image: \"${WHICH:-none}\"}\n"),
        (".env", "WHICH=default\n"),
        ("one.env", "WHICH=one\n"),
        ("below/two.env", "WHICH=${WHICH}-two\n"),
    ];
    let project = yard.project("variables", &files);
    let image = |directory: &str, arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = yard.command(&[arguments, &["config", "--images"]].concat());
        let variables = variables.iter().copied();
        command.current_dir(project.directory().join(directory)).envs(variables);
        brickyard_testkit::run(command).ok().stdout.trim().to_owned()
    };
    assert_eq!(image("", &[], &[]), "default");
    assert_eq!(image("", &["--env-file", "one.env"], &[]), "one");
    let listed = "one.env,below/two.env";
    assert_eq!(image("", &[], &[("COMPOSE_ENV_FILES", listed)]), "one-two");
    assert_eq!(image("", &["--env-file", "one.env"], &[("COMPOSE_ENV_FILES", listed)]), "one");
    assert_eq!(image("", &[], &[("COMPOSE_DISABLE_ENV_FILE", "true")]), "none");
    // Relative to where the command is, wherever the model is.
    assert_eq!(image("below", &["--env-file", "../one.env"], &[]), "one");
}

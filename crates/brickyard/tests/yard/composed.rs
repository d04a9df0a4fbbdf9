//! Compose files as people have them: what `config` shows, what `check` says, and what runs.

use brickyard_testkit::{DEADLINE, wait_until};
use serde_json::Value;

use crate::support::yard_with_box;

/// A model of two files, with a profile, a secret, configs and mounts of another service.
const MODEL: &str = r#"
name: composed
include: [parts/store.yaml]
services:
  base:
    image: box
    command: [sleep, "1000"]
    stop_signal: KILL
    profiles: [never]
  app:
    extends: base
    profiles: !reset []
    shm_size: 8m
    secrets: [key]
    configs: [{source: greeting, target: /etc/greeting}]
    volumes_from: ["store:ro"]
    deploy: {restart_policy: {condition: none}}
    cpuset: "0"
  debug: {extends: base, profiles: !override [debug]}
secrets: {key: {file: ./key.txt}}
configs: {greeting: {content: "hello {{name}} $$HOME"}}
"#;

const STORE: &str = r#"
services:
  store:
    image: box
    command: [sh, -c, "echo shared > /shared/file; exec sleep 1000"]
    stop_signal: KILL
    volumes: ["shared:/shared", "./given:/given"]
volumes: {shared: {}}
"#;

const FILES: &[(&str, &str)] = &[
    ("compose.yaml", MODEL),
    ("parts/store.yaml", STORE),
    ("parts/given/file", "given\n"),
    ("key.txt", "secret\n"),
];

#[test]
fn files_and_mounts_are_seen_inside() {
    let yard = yard_with_box();
    let project = yard.project("composed", FILES);
    project.up();
    let read = |path: &str| project.run(&["exec", "app", "cat", path]).ok().stdout;
    assert_eq!(read("/run/secrets/key"), "secret\n");
    assert_eq!(read("/etc/greeting"), "hello {{name}} $HOME");
    assert_eq!(read("/given/file"), "given\n");
    wait_until("the other service has written", DEADLINE, || read("/shared/file") == "shared\n");
    let script = "touch /given/x || touch /shared/x || touch /run/secrets/key";
    let _ = project.run(&["exec", "app", "sh", "-c", script]).fails_with(1);
    let size = project.run(&["exec", "app", "sh", "-c", "df -k /dev/shm | tail -1"]).ok().stdout;
    assert_eq!(size.split_whitespace().nth(1), Some("8192"), "{size}");
}

#[test]
fn profiles_choose_services() {
    let yard = yard_with_box();
    let project = yard.project("composed", FILES);
    let names = |arguments: &[&str]| project.run(arguments).ok().stdout;
    assert_eq!(names(&["config", "--services"]), "app\nstore\n");
    assert_eq!(names(&["--profile", "debug", "config", "--services"]), "app\ndebug\nstore\n");
    assert_eq!(names(&["config", "--profiles"]), "debug\nnever\n");
    let _ = project.run(&["--profile", "debug", "up", "-d"]).ok();
    assert_eq!(names(&["ps", "--services"]), "app\ndebug\nstore\n");
}

/// What the engine cannot run is drawn, too: here, a port of UDP.
#[test]
fn graph_draws_any_valid_file() {
    let yard = yard_with_box();
    let model = "name: drawn
services:
  dns: {image: box, ports: ['53:53/udp'], depends_on: [store]}
  store: {image: box, expose: [6379], volumes: ['data:/data']}
volumes: {data: }
";
    let project = yard.project("drawn", &[("compose.yaml", model)]);
    let _ = project.run(&["check"]).fails_with(2);
    let text = project.run(&["graph"]).ok().stdout;
    assert!(text.contains("● dns") && text.contains("⇢ store/6379"), "{text}");
    let dot = project.run(&["graph", "--format", "dot"]).ok().stdout;
    assert!(dot.contains("\"dns\" -> \"store\":e0 [style=dashed]"), "{dot}");
    let file = project.directory().join("store.svg");
    let _ = project.run(&["graph", "store", "-o", file.as_str()]).ok();
    let svg = std::fs::read_to_string(file).unwrap();
    assert!(svg.contains(">store<") && svg.contains(">data<") && !svg.contains(">dns<"), "{svg}");
    let diagram: Value =
        serde_json::from_str(&project.run(&["graph", "--json"]).ok().stdout).unwrap();
    assert_eq!(diagram["nodes"].as_array().map(Vec::len), Some(3));
    let _ = project.run(&["graph", "stor"]).fails_with(3).says("did you mean `store`?");
    let _ = project.run(&["graph", "-o", "no/such.svg"]).fails_with(4).says("`no/such.svg`");
}

#[test]
fn config_shows_one_thing_or_all() {
    let yard = yard_with_box();
    let project = yard.project("composed", FILES);
    let out = |arguments: &[&str]| project.run(arguments).ok().stdout;
    assert_eq!(out(&["config", "--volumes"]), "shared\n");
    assert_eq!(out(&["config", "--networks"]), "default\n");
    assert_eq!(out(&["config", "--images"]), "box\nbox\n");
    assert!(out(&["config", "--environment"]).contains("COMPOSE_PROJECT_NAME=composed\n"));
    let hashes = out(&["config", "--hash", "*"]);
    assert_eq!(hashes.lines().count(), 2, "{hashes}");
    assert_eq!(out(&["config", "--hash", "app"]), format!("{}\n", hashes.lines().next().unwrap()));
    let model: Value = serde_json::from_str(&out(&["config", "--format", "json"])).unwrap();
    assert_eq!(model["services"]["app"]["secrets"][0]["target"], "/run/secrets/key");
    assert!(out(&["config", "store"]).lines().all(|line| line != "  app:"));
    let digests = out(&["config", "--resolve-image-digests"]);
    assert_eq!(digests.matches("image: box@sha256:").count(), 2, "{digests}");
    let schema: Value = serde_json::from_str(&out(&["config", "--schema"])).unwrap();
    assert!(schema["$defs"]["service"]["properties"]["x-brickyard"].is_object(), "{schema}");
    let _ = project.run(&["config", "nobody"]).fails_with(3).says("there is no service `nobody`");
    // What is shown is a model.
    project.write("compose.yaml", &out(&["config"]));
    assert_eq!(out(&["config", "--hash", "*"]), hashes);
}

#[test]
fn what_the_engine_does_not_do_is_said_with_its_reason() {
    let yard = yard_with_box();
    let project = yard.project("composed", FILES);
    let said = "`cpuset` has no effect: only memory, processors and processes are limited";
    assert!(project.run(&["check"]).ok().stderr.contains(said));
    project.up();
    let model = "name: composed\nservices: {a: {image: box, devices: [/dev/kvm]}}\n";
    project.write("compose.yaml", model);
    let refused = "the native engine cannot honour `devices`: instances get no devices of the host";
    let _ = project.run(&["check"]).fails_with(2).says(refused);
    let _ = project.run(&["up", "-d"]).fails_with(2).says(refused);
    let _ = project.run(&["plan"]).fails_with(2).says(refused);
    // A model that cannot be run can be looked at, and what runs can be ended.
    let _ = project.run(&["down"]).ok();
    assert!(project.run(&["config"]).ok().stdout.contains("/dev/kvm"));
}

//! Instances outlive the agent: what runs goes on, is taken up again, and is never run twice.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Child;
use std::time::Duration;

use brickyard_testkit::{DEADLINE, Project, Yard, get, run, wait_until};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{kinds, yard, yard_with_box};

/// An agent in the foreground of the test; ended with it.
struct Running(Child);

impl Running {
    fn start(yard: &Yard) -> Self {
        let child = yard.command(&["agent", "run"]).spawn();
        let running = Self(child.expect("the binary can be started"));
        let pid = running.0.id();
        wait_until("the agent answers", DEADLINE, || {
            yard.agent().is_some_and(|agent| agent["pid"] == pid)
        });
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An echo service and a page with a key, both published.
fn project(yard: &Yard) -> (Project<'_>, u16, u16) {
    let (echo, page) = (yard.port(), yard.port());
    let model = format!(
        r#"
name: outlive
services:
  echo:
    image: box
    command: [nc, -ll, -p, "7", -e, cat]
    stop_signal: KILL
    ports: ["127.0.0.1:{echo}:7"]
    x-brickyard: {{provides: {{echo: 7}}}}
  web:
    image: box
    command: [httpd, -f, -p, "80", -h, /www]
    stop_signal: KILL
    ports: ["127.0.0.1:{page}:80"]
    deploy: {{replicas: 2}}
    x-brickyard:
      provides: {{http: 80}}
      templates: [{{src: page.tmpl, dest: /www/index.html, reload: none}}]
x-brickyard: {{config: {{text: one}}}}
"#
    );
    let files = [("compose.yaml", &*model), ("page.tmpl", "{{getv \"/text\"}}\n")];
    let project = yard.project("outlive", &files);
    project.up();
    (project, echo, page)
}

/// Sends a line and reads it back.
#[track_caller]
fn echo(stream: &mut TcpStream, line: &str) {
    stream.write_all(line.as_bytes()).expect("the connection is open");
    let mut back = vec![0; line.len()];
    stream.read_exact(&mut back).expect("the connection is open");
    assert_eq!(back, line.as_bytes());
}

#[test]
fn a_killed_agent_harms_nothing_that_runs() {
    let yard = yard_with_box();
    let (project, port, page) = project(&yard);
    let pids = project.field("pid");
    let mut open = TcpStream::connect(("127.0.0.1", port)).unwrap();
    open.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    echo(&mut open, "before\n");

    yard.kill_agent();
    echo(&mut open, "without an agent\n");
    let mut another = TcpStream::connect(("127.0.0.1", port)).unwrap();
    another.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    echo(&mut another, "a connection that nobody watched being made\n");
    assert_eq!(get(page, "/").unwrap().1, "one\n");
    let _ = project.run(&["ps"]).ok().says("no agent runs");
    let _ = project.run(&["set", "text=two"]).fails_with(4).says("agent");

    let _running = Running::start(&yard);
    echo(&mut open, "after\n");
    assert_eq!(project.field("pid"), pids);
    let _ = project.run(&["set", "text=two"]).ok();
    for _ in 0..4 {
        assert_eq!(get(page, "/").unwrap().1, "two\n");
    }
    assert_eq!(project.field("pid"), pids);
    echo(&mut open, "and on\n");
    let kinds = kinds(&yard.events());
    let adopted = |kind: &&String| kind.starts_with("instance.adopted");
    assert_eq!(kinds.iter().filter(adopted).count(), 3, "{kinds:#?}");
    let started = |kind: &&String| kind.starts_with("instance.started");
    assert_eq!(kinds.iter().filter(started).count(), 3, "{kinds:#?}");
}

#[test]
fn ps_without_an_agent_is_still_json() {
    let yard = yard_with_box();
    let (project, ..) = project(&yard);
    let pids = project.field("pid");
    yard.kill_agent();
    let _ = project.run(&["--json", "ps"]).ok().says("no agent runs");
    assert_eq!(project.field("pid"), pids);
}

#[test]
fn the_next_up_takes_over_what_a_dead_agent_left() {
    let yard = yard_with_box();
    let (project, ..) = project(&yard);
    let (pids, generations) = (project.field("pid"), project.field("generation"));
    yard.kill_agent();
    project.up();
    assert_eq!(project.field("pid"), pids);
    assert_eq!(project.field("generation"), generations);
    // `down` also works after a kill, with a new agent that knows what is there.
    yard.kill_agent();
    let _ = project.run(&["down", "-v"]).ok();
    assert_eq!(yard.processes(), Vec::<i32>::new());
}

#[test]
fn an_instance_that_ends_while_no_agent_runs_is_noticed_by_the_next() {
    let yard = yard_with_box();
    let (project, ..) = project(&yard);
    let before = project.field("pid");
    yard.kill_agent();
    let pid = i32::try_from(before["web/1"].as_i64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    project.up();
    let after = project.field("pid");
    assert_ne!(after["web/1"], before["web/1"]);
    assert_eq!(after["web/2"], before["web/2"]);
    assert_eq!(after["echo/1"], before["echo/1"]);
    let exited = yard.events();
    let exited = exited.iter().find(|event| event["kind"] == "instance.exited");
    assert_eq!(exited.expect("its end is in the journal")["exit_code"], "137");
}

#[test]
fn an_environment_that_cannot_be_taken_up_harms_nobody_else() {
    let yard = yard_with_box();
    let (project, echo_port, page) = project(&yard);
    let port = yard.port();
    let model = format!(
        "name: broken\nservices:\n  web: {{build: ., stop_signal: KILL, ports: [\"127.0.0.1:{port}:80\"]}}\n"
    );
    let dockerfile =
        "FROM box\nCOPY page /www/index.html\nCMD [\"httpd\", \"-f\", \"-h\", \"/www\"]\n";
    let files = [("compose.yaml", &*model), ("Dockerfile", dockerfile), ("page", "page\n")];
    let broken = yard.project("broken", &files);
    broken.up();
    let pids = project.field("pid");
    yard.kill_agent();
    let images = yard.root().join("images");
    let manifest = manifest_of(&images, "broken");
    let kept = std::fs::read(&manifest).expect("it is there");
    std::fs::remove_file(&manifest).expect("it is there");
    let _running = Running::start(&yard);
    // The others go on under the new agent, and the broken one's port is served as it was.
    assert_eq!(project.field("pid"), pids);
    let _ = project.run(&["set", "text=two"]).ok();
    assert_eq!(get(page, "/").expect("it is served").1, "two\n");
    echo(&mut TcpStream::connect(("127.0.0.1", echo_port)).unwrap(), "well\n");
    assert_eq!(get(port, "/").expect("it is served").1, "page\n");
    let kinds = kinds(&yard.events());
    assert!(kinds.contains(&"environment.failed /broken/dev".to_owned()), "{kinds:#?}");
    let _ = broken.run(&["restart", "web"]).fails_with(4).says("is not in the content store");
    // Once it is mended, the next command takes it up.
    std::fs::write(&manifest, kept).expect("it can be written");
    let _ = broken.run(&["restart", "web"]).ok();
}

fn manifest_of(images: &camino::Utf8Path, name: &str) -> camino::Utf8PathBuf {
    let refs = images.join("refs").read_dir_utf8().expect("it is there");
    let texts = refs.map(|entry| {
        let path = entry.expect("it can be listed").into_path();
        std::fs::read_to_string(path).expect("it is text")
    });
    let all: Vec<serde_json::Value> =
        texts.map(|text| serde_json::from_str(&text).expect("it is JSON")).collect();
    let one =
        all.iter().find(|one| one["name"].as_str().is_some_and(|known| known.starts_with(name)));
    let digest = one.expect("the image has a name")["manifest"].as_str().expect("it is text");
    images.join("blobs").join(digest.replace(':', "/"))
}

#[test]
fn after_a_reboot_runs_what_should_run() {
    let yard = yard_with_box();
    let service = |name: &str, policy: &str| {
        format!(
            "  {name}: {{image: box, command: [sleep, \"1000\"], stop_signal: KILL, restart: {policy}}}\n"
        )
    };
    let services = [
        service("always", "always"),
        service("always-stopped", "always"),
        service("unless", "unless-stopped"),
        service("unless-stopped", "unless-stopped"),
        service("failure", "on-failure"),
        service("never", "\"no\""),
    ];
    let model = format!("name: boot\nservices:\n{}", services.concat());
    let project = yard.project("boot", &[("compose.yaml", &model)]);
    project.up();
    let _ = project.run(&["set", "kept=yes"]).ok();
    let _ = project.run(&["stop", "always-stopped", "unless-stopped"]).ok();
    yard.lose_power();
    let _running = Running::start(&yard);
    let expected = [
        ("always/1", "running"),
        ("always-stopped/1", "running"),
        ("failure/1", "exited"),
        ("never/1", "exited"),
        ("unless-stopped/1", "stopped"),
        ("unless/1", "running"),
    ];
    wait_until("it runs again", DEADLINE, || {
        let states = project.field("state");
        expected.iter().all(|(name, state)| states[*name] == *state)
    });
    assert_eq!(project.run(&["get", "kept"]).ok().stdout, "yes\n");
    // What stays down is no failure, and `up` starts it.
    project.up();
    assert!(project.field("state").values().all(|state| state == "running"));
}

#[test]
fn the_agent_is_installed_as_a_unit_of_its_own() {
    let yard = yard();
    let dir = yard.home().join("units");
    let _ = yard.run(&["agent", "install", "--unit-dir", dir.as_str()]).ok().says("wrote");
    let unit = dir.read_dir_utf8().expect("it was made").next().expect("it was written");
    let text = std::fs::read_to_string(unit.expect("it can be listed").path()).expect("it is text");
    assert!(text.contains(&format!("--root {} agent run\n", yard.root())), "{text}");
    assert!(text.contains("\nKillMode=process\n"), "{text}");
    let _ = yard.run(&["agent", "uninstall", "--unit-dir", dir.as_str()]).ok().says("removed");
    assert_eq!(dir.read_dir_utf8().expect("it is there").count(), 0);
    let _ = yard.run(&["agent", "uninstall", "--unit-dir", dir.as_str()]).fails_with(3);
}

#[test]
fn an_agent_that_up_started_ends_with_the_last_environment() {
    let yard = yard_with_box();
    let (project, ..) = project(&yard);
    assert_eq!(yard.agent().unwrap()["until_empty"], true);
    let _ = project.run(&["down"]).ok();
    assert!(yard.agent().is_none());
    assert_eq!(yard.processes(), Vec::<i32>::new());
}

#[test]
fn an_agent_that_a_person_started_stays_until_it_is_stopped() {
    let yard = yard_with_box();
    let _running = Running::start(&yard);
    let (project, ..) = project(&yard);
    let _ = project.run(&["down"]).ok();
    assert!(yard.agent().is_some());
    let _ = yard.run(&["agent", "stop"]).ok();
    assert!(yard.agent().is_none());
}

#[test]
fn stopping_the_agent_stops_nothing_else() {
    let yard = yard_with_box();
    let (project, port, page) = project(&yard);
    let pids = project.field("pid");
    let mut open = TcpStream::connect(("127.0.0.1", port)).unwrap();
    echo(&mut open, "before\n");
    let _ = yard.run(&["agent", "stop"]).ok();
    echo(&mut open, "after\n");
    assert_eq!(get(page, "/").unwrap().0, 200);
    let _running = Running::start(&yard);
    assert_eq!(project.field("pid"), pids);
}

#[test]
fn a_second_agent_on_the_same_root_is_refused() {
    let yard = yard_with_box();
    let (project, port, _) = project(&yard);
    let pids = project.field("pid");
    let mut open = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let second = run(yard.command(&["agent", "run"])).fails_with(4);
    assert!(
        second.stderr.contains("another") && second.stderr.contains("yard.redb"),
        "{}",
        second.stderr
    );
    echo(&mut open, "unharmed\n");
    assert_eq!(project.field("pid"), pids);
    let _ = project.run(&["set", "text=two"]).ok();
}

#[test]
fn without_anything_to_show_ps_says_nothing_runs() {
    let yard = yard();
    let project = yard.project("none", &[("compose.yaml", "services: {a: {image: box}}\n")]);
    assert_eq!(project.ps(), Vec::<serde_json::Value>::new());
    assert!(yard.agent().is_none(), "asking starts no agent");
    let _ = project.run(&["events"]).fails_with(4).says("no agent");
    let _ = project.run(&["down"]).ok().says("nothing runs");
}

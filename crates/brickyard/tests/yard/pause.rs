//! `pause`, `unpause` and `kill`: what stands still, what goes on around it, and what ends it.

use brickyard_testkit::{DEADLINE, Project, Yard, wait_until};

use crate::support::{kinds, yard_with_box};

/// Counts in its log as long as it is not frozen.
const MODEL: &str = r#"
name: pause
services:
  app:
    image: box
    command: [sh, -c, "i=0; while true; do i=$$((i+1)); echo $$i >/tmp/count; sleep 0.01; done"]
    stop_signal: KILL
    restart: always
    deploy: {replicas: 2}
    healthcheck: {test: [CMD, cat, /tmp/count], interval: 50ms, timeout: 200ms, retries: 2}
"#;

fn up(yard: &Yard) -> Project<'_> {
    let project = yard.project("pause", &[("compose.yaml", MODEL)]);
    project.up();
    project
}

fn states(project: &Project<'_>) -> Vec<String> {
    let rows = project.ps();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    rows.iter()
        .map(|row| format!("{} {} {}", row["instance"], text(&row["state"]), text(&row["health"])))
        .collect()
}

/// What the instance has counted up to, read without a process inside.
fn count(project: &Project<'_>, address: &str) -> String {
    let pid = project.instance(address)["pid"].as_i64().expect("it has a process");
    std::fs::read_to_string(format!("/proc/{pid}/root/tmp/count")).unwrap_or_default()
}

#[test]
fn a_paused_instance_stands_still_and_keeps_its_health() {
    let yard = yard_with_box();
    let project = up(&yard);
    let pids = project.field("pid");
    let _ = project.run(&["pause", "app/1"]).ok();
    assert_eq!(states(&project), ["1 paused healthy", "2 running healthy"]);
    let before = count(&project, "app/1");
    let other = count(&project, "app/2");
    // The other one's checks go on all the while: so many would have failed the frozen one.
    wait_until("the other one counts on", DEADLINE, || {
        let number = |text: &str| text.trim().parse::<u64>().unwrap_or(0);
        number(&count(&project, "app/2")) > number(&other) + 50
    });
    assert_eq!(count(&project, "app/1"), before);
    assert_eq!(states(&project), ["1 paused healthy", "2 running healthy"]);
    let out = project.run(&["exec", "app/1", "true"]).fails_with(3);
    let _ = out.says("does not run: it is paused");
    // Twice is once, and nothing of this makes a new process.
    let _ = project.run(&["pause", "app/1"]).ok();
    let _ = project.run(&["unpause"]).ok();
    wait_until("it goes on", DEADLINE, || count(&project, "app/1") != before);
    assert_eq!(project.field("pid"), pids);
    let kinds = kinds(&yard.events());
    for kind in ["instance.paused /pause/dev/app/1", "instance.unpaused /pause/dev/app/1"] {
        assert_eq!(kinds.iter().filter(|known| *known == kind).count(), 1, "{kinds:#?}");
    }
    assert!(!kinds.iter().any(|kind| kind.starts_with("instance.exited")), "{kinds:#?}");
}

#[test]
fn a_pause_outlives_the_agent() {
    let yard = yard_with_box();
    let project = up(&yard);
    let _ = project.run(&["pause", "app/2"]).ok();
    let pids = project.field("pid");
    yard.kill_agent();
    // Without an agent it is known from what the machine says.
    assert_eq!(project.field("state")["app/2"], "paused");
    let mut agent = yard.command(&["agent", "run"]).spawn().expect("it can be started");
    wait_until("an agent answers", DEADLINE, || yard.agent().is_some());
    assert_eq!(project.field("state")["app/2"], "paused");
    assert_eq!(project.field("pid"), pids);
    let _ = project.run(&["unpause", "app/2"]).ok();
    assert_eq!(project.field("state")["app/2"], "running");
    let _ = project.run(&["agent", "stop"]).ok();
    let _ = agent.wait();
}

#[test]
fn what_is_paused_can_be_stopped_killed_restarted_and_removed() {
    let yard = yard_with_box();
    let project = up(&yard);
    let state = |address: &str| project.field("state")[address].clone();
    let _ = project.run(&["pause"]).ok();
    let _ = project.run(&["stop", "app/1"]).ok();
    assert_eq!((state("app/1"), state("app/2")), ("stopped".into(), "paused".into()));
    let _ = project.run(&["start", "app/1"]).ok();
    let _ = project.run(&["restart", "app/2"]).ok();
    assert_eq!((state("app/1"), state("app/2")), ("running".into(), "running".into()));
    let _ = project.run(&["pause"]).ok();
    let _ = project.run(&["kill", "app/2"]).ok();
    assert_eq!((state("app/1"), state("app/2")), ("paused".into(), "stopped".into()));
    let _ = project.run(&["rm", "-fs", "app/1"]).ok();
    assert_eq!(project.field("state").keys().collect::<Vec<_>>(), ["app/2"]);
    project.up();
    assert_eq!((state("app/1"), state("app/2")), ("running".into(), "running".into()));
    let _ = project.run(&["pause"]).ok();
    let _ = project.run(&["down"]).ok();
}

#[test]
fn kill_holds_against_the_restart_policy_and_other_signals_do_not() {
    let yard = yard_with_box();
    let script = "trap 'echo hup >>/tmp/hups' HUP; echo >/tmp/set; while true; do sleep 0.02; done";
    let model = format!(
        "name: kill\nservices:\n  app: {{image: box, restart: always, stop_signal: KILL, \
         command: [sh, -c, \"{script}\"]}}\n"
    );
    let project = yard.project("kill", &[("compose.yaml", &model)]);
    project.up();
    wait_until("the trap is set", DEADLINE, || {
        project.run(&["exec", "app", "ls", "/tmp/set"]).code == 0
    });
    let pid = project.instance("app/1")["pid"].clone();
    let _ = project.run(&["kill", "-s", "SIGHUP", "app"]).ok();
    wait_until("the signal has come", DEADLINE, || {
        project.run(&["exec", "app", "cat", "/tmp/hups"]).stdout == "hup\n"
    });
    let _ = project.run(&["kill", "-s", "WINK", "app"]).fails_with(2);
    let _ = project.run(&["kill"]).ok();
    let row = project.instance("app/1");
    assert_eq!((&row["state"], &row["exit_code"]), (&"stopped".into(), &137.into()));
    assert_eq!(row["restarts"], 0);
    let _ = project.run(&["kill", "app/1"]).fails_with(1);
    let _ = project.run(&["kill", "-s", "HUP", "app/1"]).fails_with(3);
    let _ = project.run(&["start"]).ok();
    assert_ne!(project.instance("app/1")["pid"], pid);
}

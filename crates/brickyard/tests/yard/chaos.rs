//! Processes of the product die at bad moments, and commands meet: nothing is lost, nothing is
//! left, nothing runs twice.

use std::process::Stdio;
use std::time::Duration;

use brickyard_testkit::{DEADLINE, Project, Yard, get, kill_and_wait, run, wait_for, wait_until};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{kinds, yard_with_box};

/// Two published pages on a line to a database, and a volume.
fn project(yard: &Yard) -> (Project<'_>, u16) {
    let port = yard.port();
    let model = format!(
        r#"
name: chaos
services:
  web:
    image: box
    command: [httpd, -f, -p, "80", -h, /www]
    environment: {{ROUND: "0"}}
    stop_signal: KILL
    ports: ["127.0.0.1:{port}:80"]
    deploy: {{replicas: 2, update_config: {{order: start-first}}}}
    x-brickyard:
      provides: {{http: {{port: 80, protocol: http, health: {{path: /}}}}}}
      needs: {{db: db/echo}}
      templates: [{{src: page.tmpl, dest: /www/index.html, reload: none}}]
  db:
    image: box
    command: [nc, -ll, -p, "7", -e, cat]
    environment: {{ROUND: "0"}}
    stop_signal: KILL
    volumes: ["data:/data"]
    x-brickyard: {{provides: {{echo: {{port: 7, health: tcp}}}}}}
volumes: {{data: {{}}}}
x-brickyard: {{config: {{text: zero}}}}
"#
    );
    let page = "{{getv \"/text\"}} {{line \"db\"}} {{getenv \"ROUND\"}}\n";
    let files = [("compose.yaml", &*model), ("page.tmpl", page)];
    (yard.project("chaos", &files), port)
}

/// Pids of the yard's processes with this hidden verb.
fn helpers(yard: &Yard, verb: &str) -> Vec<i32> {
    let has_verb = |pid: &i32| {
        std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| line.split(|byte| *byte == 0).any(|word| word == verb.as_bytes()))
    };
    yard.processes().into_iter().filter(has_verb).collect()
}

/// What runs according to the kernel: first processes of instances, in the yard's control groups.
fn everything_is_well(project: &Project<'_>, port: u16, round: usize) {
    let rows = project.ps();
    assert_eq!(rows.len(), 3, "{rows:#?}");
    for row in &rows {
        assert_eq!((&row["state"], &row["health"]), (&"running".into(), &"healthy".into()));
    }
    let db = project.instance("db/1");
    let wanted = format!("{}:7 {round}", db["ip"].as_str().expect("it has an address"));
    for _ in 0..4 {
        let page = get(port, "/").expect("the page can be read").1;
        assert!(page.contains(&wanted), "no `{wanted}` in {page}");
    }
}

#[test]
fn an_agent_that_dies_at_any_moment_of_a_deploy_is_followed_by_one_that_finishes_it() {
    let yard = yard_with_box();
    let (project, port) = project(&yard);
    project.up();
    let _ = project.exec("db", "echo kept >/data/file");
    for round in 1..=8_usize {
        let (former, now) = (format!("ROUND: \"{}\"", round - 1), format!("ROUND: \"{round}\""));
        project.edit("compose.yaml", &former, &now);
        let file = project.directory().join("compose.yaml");
        let pid = yard.agent_pid();
        let mut up = yard.command(&["-f", file.as_str(), "up", "-d"]);
        let mut up = up.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        // Each round hits another step: a whole deploy takes some 300 ms.
        std::thread::sleep(Duration::from_millis(35 * round as u64));
        kill_and_wait(pid);
        let _ = up.wait();
        project.up();
        everything_is_well(&project, port, round);
    }
    assert_eq!(project.exec("db", "cat /data/file"), "kept\n");
    let _ = project.run(&["down", "-v"]).ok();
    assert_eq!(yard.processes(), Vec::<i32>::new());
    assert_eq!(yard.cgroups(), Vec::<camino::Utf8PathBuf>::new());
}

#[test]
fn an_agent_that_dies_while_it_takes_down_is_followed_by_one_that_finishes_it() {
    let yard = yard_with_box();
    let (project, _) = project(&yard);
    for delay_ms in [5, 20, 40, 80] {
        project.up();
        let file = project.directory().join("compose.yaml");
        let pid = yard.agent_pid();
        let mut down = yard.command(&["-f", file.as_str(), "down", "-v"]);
        let down = down.stdout(Stdio::null()).stderr(Stdio::null());
        let mut down = down.spawn().expect("it starts");
        std::thread::sleep(Duration::from_millis(delay_ms));
        kill_and_wait(pid);
        let _ = down.wait();
        let _ = project.run(&["down", "-v"]).ok();
        wait_until("nothing is left", DEADLINE, || {
            yard.processes().is_empty() && yard.cgroups().is_empty()
        });
    }
}

#[test]
fn a_front_that_dies_is_started_again() {
    let yard = yard_with_box();
    let (project, port) = project(&yard);
    project.up();
    let before = project.field("pid");
    let front = helpers(&yard, "__front");
    assert_eq!(front.len(), 1, "one front serves the yard");
    kill_and_wait(front[0]);
    wait_until("the page is back", DEADLINE, || {
        get(port, "/").is_ok_and(|(status, _)| status == 200)
    });
    everything_is_well(&project, port, 0);
    assert_eq!(project.field("pid"), before);
}

#[test]
fn agent_and_front_that_die_together_come_back_together() {
    let yard = yard_with_box();
    let (project, port) = project(&yard);
    project.up();
    let before = project.field("pid");
    let agent = yard.agent_pid();
    for front in helpers(&yard, "__front") {
        kill_and_wait(front);
    }
    kill_and_wait(agent);
    wait_until("both are dead", DEADLINE, || yard.agent().is_none());
    project.up();
    wait_until("the page is back", DEADLINE, || get(port, "/").is_ok());
    everything_is_well(&project, port, 0);
    assert_eq!(project.field("pid"), before);
}

#[test]
fn a_front_that_died_leaves_nothing_behind() {
    let yard = yard_with_box();
    let (project, _) = project(&yard);
    project.up();
    // Until it is started again, a second may pass: `down` comes first.
    helpers(&yard, "__front").into_iter().for_each(kill_and_wait);
    let _ = project.run(&["down", "-v"]).ok();
    let files = yard.root().read_dir_utf8().expect("the root stays").flatten();
    let left: Vec<String> = files
        .map(|entry| entry.file_name().to_owned())
        .filter(|name| name.starts_with("front.") && name != "front.log")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn an_instance_whose_monitor_dies_is_not_lost_from_sight() {
    let yard = yard_with_box();
    let (project, port) = project(&yard);
    project.up();
    let monitors = helpers(&yard, "__monitor");
    assert_eq!(monitors.len(), 3, "each instance has one");
    for monitor in monitors {
        kill_and_wait(monitor);
    }
    // Nobody could say how such an instance ends: it is ended, which the journal has.
    wait_until("all three ends are seen", DEADLINE, || {
        let kinds = kinds(&yard.events());
        kinds.iter().filter(|kind| kind.starts_with("instance.exited")).count() == 3
    });
    wait_until("everything is well again", DEADLINE, || {
        let _ = project.run(&["up", "-d"]);
        let rows = project.ps();
        rows.len() == 3 && rows.iter().all(|row| row["health"] == "healthy")
    });
    everything_is_well(&project, port, 0);
    let _ = project.run(&["down", "-v"]).ok();
    assert_eq!(yard.processes(), Vec::<i32>::new());
    assert_eq!(yard.cgroups(), Vec::<camino::Utf8PathBuf>::new());
}

/// Runs commands at once and returns their exit codes with what they said.
fn at_once(yard: &Yard, commands: &[Vec<&str>]) -> Vec<(i32, String)> {
    std::thread::scope(|scope| {
        let running: Vec<_> = commands
            .iter()
            .map(|words| {
                let command = yard.command(words);
                scope.spawn(move || run(command))
            })
            .collect();
        running
            .into_iter()
            .map(|thread| {
                let out = thread.join().expect("the command ends");
                (out.code, out.stderr)
            })
            .collect()
    })
}

#[test]
fn two_first_commands_share_one_agent() {
    let yard = yard_with_box();
    let model =
        "name: both\nservices:\n  app: {image: box, command: [sleep, '1000'], stop_signal: KILL}\n";
    let project = yard.project("both", &[("compose.yaml", model)]);
    let file = project.directory().join("compose.yaml");
    let file = file.as_str();
    let up = |environment| vec!["-f", file, "-E", environment, "up", "-d"];
    let ended = at_once(&yard, &[up("a"), up("b"), up("c"), up("a")]);
    assert!(ended.iter().all(|(code, _)| *code == 0), "{ended:#?}");
    let agents = kinds(&yard.events());
    let started = agents.iter().filter(|kind| kind.starts_with("agent.started"));
    assert_eq!(started.count(), 1, "{agents:#?}");
    let instances = agents.iter().filter(|kind| kind.starts_with("instance.started"));
    assert_eq!(instances.count(), 3, "{agents:#?}");
}

#[test]
fn changes_at_once_are_all_made() {
    let yard = yard_with_box();
    let (project, port) = project(&yard);
    project.up();
    let before = project.field("generation");
    let file = project.directory().join("compose.yaml");
    let file = file.as_str();
    let pairs: Vec<String> = (0..12).map(|i| format!("key{i}=value{i}")).collect();
    let mut commands: Vec<Vec<&str>> = pairs.iter().map(|p| vec!["-f", file, "set", p]).collect();
    commands.push(vec!["-f", file, "set", "text=one"]);
    commands.push(vec!["-f", file, "restart", "db"]);
    commands.push(vec!["-f", file, "up", "-d"]);
    let ended = at_once(&yard, &commands);
    assert!(ended.iter().all(|(code, _)| *code == 0), "{ended:#?}");
    for i in 0..12 {
        let value = project.run(&["get", &format!("key{i}")]).ok().stdout;
        assert_eq!(value, format!("value{i}\n"));
    }
    everything_is_well(&project, port, 0);
    assert!(get(port, "/").is_ok_and(|(_, page)| page.starts_with("one ")));
    assert_eq!(project.field("generation"), before);
}

#[test]
fn what_an_instance_left_in_the_background_ends_with_it() {
    let yard = yard_with_box();
    let model = r#"
name: bare
services:
  app:
    image: box
    command: [sh, -c, "(busybox setsid sleep 4711 &) ; (busybox nohup sleep 4711 &); exec sleep 1000"]
    stop_signal: KILL
"#;
    let project = yard.project("bare", &[("compose.yaml", model)]);
    project.up();
    let processes = || {
        let groups = yard.cgroups();
        let all = groups
            .iter()
            .map(|group| std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default());
        all.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect::<std::collections::BTreeSet<_>>()
    };
    let inside =
        wait_for("all three run", DEADLINE, || Some(processes()).filter(|pids| pids.len() >= 3));
    let _ = project.run(&["stop"]).ok();
    let _ = project.run(&["down"]).ok();
    for pid in inside {
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "{pid} lives");
    }
}

#[test]
fn up_in_the_foreground_stops_everything_when_it_is_interrupted() {
    let yard = yard_with_box();
    let (project, port) = project(&yard);
    let file = project.directory().join("compose.yaml");
    let mut up = yard.command(&["-f", file.as_str(), "up"]);
    let up = up.stdout(Stdio::null()).stderr(Stdio::null());
    let mut up = up.spawn().expect("it starts");
    wait_until("the page can be read", DEADLINE, || {
        get(port, "/").is_ok_and(|(status, _)| status == 200)
    });
    wait_until("all is healthy", DEADLINE, || {
        let rows = project.ps();
        rows.len() == 3 && rows.iter().all(|row| row["health"] == "healthy")
    });
    // Following the logs begins a moment after that; an earlier signal ends the command alone.
    let pid = Pid::from_raw(i32::try_from(up.id()).expect("a pid fits")).expect("it is no zero");
    wait_until("it has stopped everything", DEADLINE, || {
        let _ = kill_process(pid, Signal::INT);
        matches!(up.try_wait(), Ok(Some(_)))
    });
    let states = project.field("state");
    assert!(states.values().all(|state| state == "stopped"), "{states:#?}");
}

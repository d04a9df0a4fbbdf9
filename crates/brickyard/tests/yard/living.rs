//! What goes on by itself while an environment runs: health, restarts, dependents, names, limits.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use brickyard_testkit::{DEADLINE, Project, Yard, wait_for, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::yard_with_box;

fn up<'a>(yard: &'a Yard, files: &[(&str, &str)]) -> Project<'a> {
    let project = yard.project("living", files);
    project.up();
    project
}

fn pid_of(project: &Project<'_>, address: &str) -> i64 {
    project.instance(address)["pid"].as_i64().expect("it runs")
}

fn kill(pid: i64) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("a pid fits"), Signal::KILL).expect("it runs");
}

#[test]
fn a_killed_process_is_started_again_when_the_policy_says_so() {
    let yard = yard_with_box();
    let model = r#"
name: living
services:
  always: {image: box, command: [sleep, "1000"], stop_signal: KILL, restart: always}
  never: {image: box, command: [sleep, "1000"], stop_signal: KILL}
"#;
    let project = up(&yard, &[("compose.yaml", model)]);
    let before = project.field("pid");
    let generations = project.field("generation");
    kill(pid_of(&project, "always/1"));
    kill(pid_of(&project, "never/1"));
    wait_until("it runs again", DEADLINE, || {
        let row = project.instance("always/1");
        row["state"] == "running" && row["pid"] != before["always/1"]
    });
    assert_eq!(project.instance("always/1")["restarts"], 1);
    assert_eq!(project.field("generation"), generations);
    let never = wait_for("the other's end is seen", DEADLINE, || {
        Some(project.instance("never/1")).filter(|row| row["state"] == "exited")
    });
    assert_eq!((&never["exit_code"], &never["restarts"]), (&137.into(), &0.into()));
}

#[test]
fn health_follows_exec_http_and_tcp_checks() {
    let yard = yard_with_box();
    let model = r#"
name: living
services:
  command:
    image: box
    command: [sh, -c, "sleep 0.2; echo >/tmp/well; exec sleep 1000"]
    stop_signal: KILL
    healthcheck: {test: [CMD-SHELL, "ls /tmp/well"], interval: 100ms, retries: 2, start_period: 10s, start_interval: 50ms}
  page:
    image: box
    command: [sh, -c, "echo >/www/index.html; exec httpd -f -p 80 -h /www"]
    stop_signal: KILL
    x-brickyard: {provides: {http: {port: 80, protocol: http, health: {path: /, interval: 100ms, retries: 2}}}}
  socket:
    image: box
    command: [sh, -c, "nc -ll -p 7 -e cat & echo $$! >/tmp/pid; exec sleep 1000"]
    stop_signal: KILL
    x-brickyard: {provides: {echo: {port: 7, health: {interval: 100ms, retries: 2}}}}
"#;
    let project = up(&yard, &[("compose.yaml", model)]);
    let all_are = |health: &str| {
        let fields = project.field("health");
        fields.len() == 3 && fields.values().all(|value| value == health)
    };
    assert!(all_are("healthy"), "`up` returned before: {:?}", project.field("health"));
    let before = project.field("pid");
    let _ = project.exec("command", "rm /tmp/well");
    let _ = project.exec("page", "rm /www/index.html");
    let _ = project.exec("socket", "kill $(cat /tmp/pid)");
    wait_until("all are unhealthy", DEADLINE, || all_are("unhealthy"));
    let _ = project.exec("command", "echo >/tmp/well");
    let _ = project.exec("page", "echo >/www/index.html");
    let _ = project.exec("socket", "nc -ll -p 7 -e cat >/dev/null 2>&1 &");
    wait_until("all are healthy again", DEADLINE, || all_are("healthy"));
    // Ill health alone restarts nothing.
    assert_eq!(project.field("pid"), before);
}

#[test]
fn what_depends_on_a_job_starts_after_its_success_and_never_after_its_failure() {
    let yard = yard_with_box();
    let model = r#"
name: living
services:
  web:
    image: box
    command: [sh, -c, "cat /data/made && exec sleep 1000"]
    stop_signal: KILL
    volumes: ["data:/data"]
    depends_on: {job: {condition: service_completed_successfully}}
  job:
    image: box
    command: [sh, -c, "sleep 0.2; echo made >/data/made; exit 0"]
    volumes: ["data:/data"]
volumes: {data: {}}
"#;
    let project = up(&yard, &[("compose.yaml", model)]);
    assert_eq!(project.instance("web/1")["state"], "running");
    let job = project.instance("job/1");
    assert_eq!((&job["state"], &job["exit_code"]), (&"exited".into(), &0.into()));
    // Again: the job is done and is not run once more.
    let before = project.field("pid");
    project.up();
    assert_eq!(project.field("pid"), before);
    assert_eq!(project.instance("job/1")["generation"], job["generation"]);

    let _ = project.run(&["down", "-v"]).ok();
    project.write("compose.yaml", &model.replace("exit 0", "exit 9"));
    let failed = project.run(&["up", "-d"]).fails_with(1);
    let _ = failed.says("/living/dev/job/1").says("exit code 9");
    assert!(project.ps().iter().all(|row| row["service"] != "web" || row["pid"].is_null()));
}

#[test]
fn a_line_that_says_restart_restarts_its_dependents() {
    let yard = yard_with_box();
    let model = r#"
name: living
services:
  db:
    image: box
    command: [nc, -ll, -p, "7", -e, cat]
    environment: {A: "1"}
    stop_signal: KILL
    x-brickyard: {provides: {echo: {port: 7, health: tcp}}}
  strict:
    image: box
    command: [sleep, "1000"]
    stop_signal: KILL
    x-brickyard: {needs: {db: {to: db/echo, on_change: restart}}}
  calm:
    image: box
    command: [sleep, "1000"]
    stop_signal: KILL
    x-brickyard: {needs: {db: {to: db/echo, on_change: ignore}}}
"#;
    let project = up(&yard, &[("compose.yaml", model)]);
    let before = project.field("pid");
    let generations = project.field("generation");
    project.write("compose.yaml", &model.replace("A: \"1\"", "A: \"2\""));
    project.up();
    let after = project.field("pid");
    assert_ne!(after["db/1"], before["db/1"]);
    assert_ne!(after["strict/1"], before["strict/1"]);
    assert_eq!(after["calm/1"], before["calm/1"]);
    let now = project.field("generation");
    assert_eq!(now["strict/1"], generations["strict/1"], "a restart makes no generation");
    assert_ne!(now["db/1"], generations["db/1"]);
}

#[test]
fn a_reload_reaches_the_process() {
    let yard = yard_with_box();
    let model = r#"
name: living
services:
  app:
    image: box
    command: [sh, -c, "trap 'cat /tmp/conf' HUP; cat /tmp/conf; while true; do sleep 0.05; done"]
    stop_signal: KILL
    x-brickyard:
      templates: [{src: conf.tmpl, dest: /tmp/conf, reload: {signal: HUP}}]
x-brickyard: {config: {text: one}}
"#;
    let project = up(&yard, &[("compose.yaml", model), ("conf.tmpl", "text={{getv \"/text\"}}\n")]);
    let lines = || project.run(&["logs", "--no-log-prefix"]).ok().stdout;
    wait_until("the trap is set", DEADLINE, || lines() == "text=one\n");
    let pid = pid_of(&project, "app/1");
    let _ = project.run(&["set", "text=two"]).ok();
    wait_until("the process has read it again", DEADLINE, || lines() == "text=one\ntext=two\n");
    assert_eq!(pid_of(&project, "app/1"), pid);
    let row = project.instance("app/1");
    assert_eq!(row["rendered"], row["loaded"]);
}

#[test]
fn read_only_roots_and_tmpfs_get_files_too() {
    let yard = yard_with_box();
    let model = r#"
name: living
services:
  app:
    image: box
    command: [sh, -c, "cat /tmp/scratch/conf /conf; exec sleep 1000"]
    stop_signal: KILL
    read_only: true
    tmpfs: [/tmp]
    x-brickyard:
      templates:
        - {src: conf.tmpl, dest: /tmp/scratch/conf, mode: "0640", reload: none}
        - {src: conf.tmpl, dest: /conf, reload: none}
x-brickyard: {config: {text: one}}
"#;
    let project = up(&yard, &[("compose.yaml", model), ("conf.tmpl", "{{getv \"/text\"}}\n")]);
    let logs = || project.run(&["logs", "--no-log-prefix"]).ok().stdout;
    wait_until("files are there at the start", DEADLINE, || logs() == "one\none\n");
    let _ = project.run(&["exec", "app", "sh", "-c", "echo >/x"]).fails_with(1).says("Read-only");
    let pid = pid_of(&project, "app/1");
    let _ = project.run(&["set", "text=two"]).ok();
    assert_eq!(project.exec("app", "cat /tmp/scratch/conf /conf"), "two\ntwo\n");
    assert_eq!(project.exec("app", "stat -c %a /tmp/scratch/conf"), "640\n");
    assert_eq!(pid_of(&project, "app/1"), pid);
}

#[test]
fn volumes_pass_on_to_the_next_generation() {
    let yard = yard_with_box();
    let model = r#"
name: living
services:
  db:
    image: box
    command: [sleep, "1000"]
    environment: {A: "1"}
    stop_signal: KILL
    user: brick
    volumes: ["data:/data", "./given:/given:ro"]
volumes: {data: {}}
"#;
    let project = up(&yard, &[("compose.yaml", model), ("given/file", "from the host\n")]);
    assert_eq!(project.exec("db", "cat /given/file"), "from the host\n");
    let _ = project.run(&["exec", "db", "sh", "-c", "echo >/given/x"]).fails_with(1);
    let _ = project.run(&["exec", "-u", "root", "db", "sh", "-c", "echo kept >/data/file"]).ok();
    let generation = project.instance("db/1")["generation"].clone();
    project.write("compose.yaml", &model.replace("A: \"1\"", "A: \"2\""));
    project.up();
    assert_ne!(project.instance("db/1")["generation"], generation);
    assert_eq!(project.exec("db", "cat /data/file"), "kept\n");
}

#[test]
fn a_new_volume_has_what_the_image_has_at_its_place() {
    let yard = yard_with_box();
    let model = r#"
name: living
services:
  app: {image: box, command: [sleep, "1000"], stop_signal: KILL, environment: {A: "1"}, volumes: ["etc:/etc"]}
volumes: {etc: {}}
"#;
    let project = up(&yard, &[("compose.yaml", model)]);
    let users = "root:x:0:0::/:/bin/sh\nbrick:x:1000:1001::/:/bin/sh\n";
    assert_eq!(
        project.exec("app", "cat /etc/passwd; stat -c %u:%g:%a /etc/passwd"),
        format!("{users}0:0:644\n")
    );
    let _ = project.exec("app", "busybox rm /etc/passwd");
    project.edit("compose.yaml", "A: \"1\"", "A: \"2\"");
    project.up();
    // The volume is the volume's: what was removed does not come back.
    let _ = project.run(&["exec", "app", "cat", "/etc/passwd"]).fails_with(1);
}

#[test]
fn two_environments_live_side_by_side() {
    let yard = yard_with_box();
    let model = r#"
name: living
services:
  app:
    image: box
    command: [sleep, "1000"]
    stop_signal: KILL
    volumes: ["data:/data"]
    x-brickyard: {templates: [{src: conf.tmpl, dest: /tmp/conf, reload: none}]}
volumes: {data: {}}
x-brickyard: {config: {text: one}}
"#;
    let files = [("compose.yaml", model), ("conf.tmpl", "{{getv \"/text\"}}\n")];
    let project = yard.project("living", &files);
    let run = |environment: &str, arguments: &[&str]| {
        let all = [&["-E", environment][..], arguments].concat();
        project.run(&all).ok().stdout
    };
    let _ = (run("a", &["up", "-d"]), run("b", &["up", "-d"]));
    let _ = run("a", &["set", "text=of a"]);
    let _ = run("a", &["exec", "app", "sh", "-c", "echo a >/data/file"]);
    assert_eq!(run("a", &["exec", "app", "cat", "/tmp/conf"]), "of a\n");
    assert_eq!(run("b", &["exec", "app", "cat", "/tmp/conf"]), "one\n");
    assert_eq!(run("b", &["exec", "app", "ls", "/data"]), "");
    // Neither reaches the other's network.
    let rows: Vec<Value> = serde_json::from_str(&run("b", &["--json", "ps"])).unwrap();
    let _ = run("a", &["down", "-v"]);
    let after: Vec<Value> = serde_json::from_str(&run("b", &["--json", "ps"])).unwrap();
    assert_eq!(rows, after);
    assert_eq!(run("b", &["exec", "app", "cat", "/tmp/conf"]), "one\n");
    let _ = run("b", &["down", "-v"]);
    assert_eq!(yard.processes(), Vec::<i32>::new());
}

/// A question for addresses of a name, as RFC 1035 has it.
fn question(name: &str) -> Vec<u8> {
    // Id 7, recursion desired, one question.
    let mut bytes = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).expect("labels are short"));
        bytes.extend(label.as_bytes());
    }
    // The root, type A, class IN.
    bytes.extend([0, 0, 1, 0, 1]);
    bytes
}

/// Addresses that a name has, asked of the environment's server; its response code if not 0.
fn resolve(server: Ipv4Addr, name: &str) -> Result<Vec<Ipv4Addr>, u8> {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("some port is free");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("the deadline can be set");
    let asked = question(name);
    socket.send_to(&asked, (server, 53)).expect("the server can be reached");
    let mut bytes = [0; 512];
    let (length, _) = socket.recv_from(&mut bytes).expect("the server answers");
    let answer = &bytes[..length];
    if answer[3] & 0x0f != 0 {
        return Err(answer[3] & 0x0f);
    }
    let count = usize::from(u16::from_be_bytes([answer[6], answer[7]]));
    // Each record: a pointer to the name, type, class, time, length 4, address.
    let records = answer[asked.len()..].chunks(16).take(count);
    Ok(records.map(|r| Ipv4Addr::new(r[12], r[13], r[14], r[15])).collect())
}

#[test]
fn services_aliases_and_slots_have_names() {
    let yard = yard_with_box();
    let model = r#"
name: living
services:
  web:
    image: box
    command: [sleep, "1000"]
    stop_signal: KILL
    x-brickyard: {needs: {store: db/echo}}
  db:
    image: box
    command: [nc, -ll, -p, "7", -e, cat]
    stop_signal: KILL
    deploy: {replicas: 2}
    x-brickyard: {provides: {echo: {port: 7, health: tcp}}}
"#;
    let project = up(&yard, &[("compose.yaml", model)]);
    let resolver = project.exec("web", "cat /etc/resolv.conf");
    let server = resolver.lines().find_map(|line| line.strip_prefix("nameserver "));
    let server: Ipv4Addr = server.expect("a server is named").parse().expect("by its address");
    let ip = |address: &str| -> Ipv4Addr {
        let row = project.instance(address);
        row["ip"].as_str().expect("it has an address").parse().expect("a valid one")
    };
    let both = || {
        let mut both = vec![ip("db/1"), ip("db/2")];
        both.sort();
        both
    };
    let sorted = |name: &str| {
        resolve(server, name).map(|mut all| {
            all.sort();
            all
        })
    };
    assert_eq!(sorted("db"), Ok(both()));
    assert_eq!(sorted("store"), Ok(both()));
    assert_eq!(sorted("DB"), Ok(both()));
    assert_eq!(sorted("db-2"), Ok(vec![ip("db/2")]));
    assert_eq!(sorted("web"), Ok(vec![ip("web/1")]));
    assert!(resolve(server, "no-such-name").is_err());
    // A name follows its service.
    let _ = project.run(&["scale", "db=1"]).ok();
    wait_until("the name leads to one", DEADLINE, || sorted("db") == Ok(vec![ip("db/1")]));
}

#[test]
fn too_much_memory_ends_the_instance_and_is_told() {
    let yard = yard_with_box();
    let model = r#"
name: living
services:
  greedy:
    image: box
    command: [sh, -c, "while ! ls /tmp/go 2>/dev/null; do sleep 0.02; done; exec tail /dev/zero"]
    stop_signal: KILL
    mem_limit: 16m
"#;
    let project = up(&yard, &[("compose.yaml", model)]);
    let _ = project.exec("greedy", "echo >/tmp/go");
    let row = wait_for("it is killed", DEADLINE, || {
        Some(project.instance("greedy/1")).filter(|row| row["state"] == "exited")
    });
    assert_eq!(row["exit_code"], 137);
    let events = yard.events();
    let exited = events.iter().find(|event| event["kind"] == "instance.exited");
    let exited = exited.expect("its end is in the journal");
    assert_eq!((&exited["exit_code"], &exited["oom"]), (&"137".into(), &"true".into()));
}

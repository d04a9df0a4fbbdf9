//! A published port goes on serving while what is behind it changes.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use brickyard_testkit::{DEADLINE, Project, Yard, get, wait_until};

use crate::support::yard_with_box;

/// Threads that ask at once.
const ASKERS: usize = 2;
/// Requests that are served at least, so that what comes after a change is seen, too.
const SERVED_MIN: usize = 50;

/// Two instances of a page that shows `TEXT`, replaced start first.
fn project(yard: &Yard) -> (Project<'_>, u16) {
    let port = yard.port();
    let model = format!(
        r#"
name: serving
services:
  web:
    image: box
    command: [sh, -c, "echo page TEXT >/www/index.html; exec httpd -f -p 80 -h /www"]
    stop_signal: KILL
    ports: ["127.0.0.1:{port}:80"]
    deploy: {{replicas: 2, update_config: {{order: start-first}}}}
    x-brickyard: {{provides: {{http: {{port: 80, protocol: http, health: {{path: /}}}}}}}}
"#
    );
    let project = yard.project("serving", &[("compose.yaml", &model.replace("TEXT", "one"))]);
    project.up();
    (project, port)
}

/// Asks for the page all the time while `change` goes on; how often it was served, and what else
/// came back.
fn while_asking(port: u16, change: impl FnOnce()) -> (usize, Vec<String>) {
    let stop = AtomicBool::new(false);
    let served = AtomicUsize::new(0);
    let failures = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..ASKERS)
            .map(|_| {
                scope.spawn(|| {
                    let mut failures = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        match get(port, "/") {
                            Ok((200, _)) => {
                                served.fetch_add(1, Ordering::Relaxed);
                            }
                            other => failures.push(format!("{other:?}")),
                        }
                    }
                    failures
                })
            })
            .collect();
        // Whatever becomes of the change, the askers end.
        let changed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(change));
        let enough = || served.load(Ordering::Relaxed) >= SERVED_MIN || changed.is_err();
        wait_until("requests are served", DEADLINE, enough);
        stop.store(true, Ordering::Relaxed);
        let ended = asking.into_iter().flat_map(|asker| asker.join().expect("it only asks"));
        let failures: Vec<String> = ended.collect();
        if let Err(panic) = changed {
            std::panic::resume_unwind(panic);
        }
        failures
    });
    (served.into_inner(), failures)
}

/// Every request was served.
#[track_caller]
fn nothing_failed((served, failures): (usize, Vec<String>)) {
    assert!(failures.is_empty(), "{} of {served} failed: {failures:#?}", failures.len());
}

#[test]
fn a_start_first_deploy_keeps_the_port_served() {
    let yard = yard_with_box();
    let (project, port) = project(&yard);
    nothing_failed(while_asking(port, || {
        project.edit("compose.yaml", "page one", "page two");
        project.up();
        project.edit("compose.yaml", "page two", "page three");
        project.up();
    }));
    for _ in 0..4 {
        assert_eq!(get(port, "/").expect("it is served").1, "page three\n");
    }
}

#[test]
fn a_restart_of_a_whole_service_is_done_one_by_one() {
    let yard = yard_with_box();
    let (project, port) = project(&yard);
    nothing_failed(while_asking(port, || {
        let _ = project.run(&["restart", "web"]).ok();
    }));
}

#[test]
fn an_only_instance_is_waited_for_while_it_is_started_again() {
    let yard = yard_with_box();
    let (project, port) = project(&yard);
    let _ = project.run(&["scale", "web=1"]).ok();
    nothing_failed(while_asking(port, || {
        let _ = project.run(&["restart", "web"]).ok();
    }));
}

#[test]
fn a_request_under_way_is_answered_before_its_instance_is_stopped() {
    let yard = yard_with_box();
    let port = yard.port();
    let model = format!(
        r#"
name: slow
services:
  web:
    image: box
    command: [httpd, -f, -p, "80", -h, /www]
    stop_signal: KILL
    ports: ["127.0.0.1:{port}:80"]
    x-brickyard:
      provides: {{http: 80}}
      templates: [{{src: slow.tmpl, dest: /www/cgi-bin/slow, mode: "0755"}}]
"#
    );
    let slow =
        "#!/bin/sh\necho >/tmp/began\nsleep 1\nprintf 'Content-Length: 5\\r\\n\\r\\nslow\\n'\n";
    let files = [("compose.yaml", model.as_str()), ("slow.tmpl", slow)];
    let project = yard.project("slow", &files);
    project.up();
    let before = project.field("pid");
    let asked = std::thread::spawn(move || get(port, "/cgi-bin/slow"));
    wait_until("it is being answered", DEADLINE, || {
        project.run(&["exec", "web", "ls", "/tmp/began"]).code == 0
    });
    let _ = project.run(&["restart", "web"]).ok();
    assert_ne!(project.field("pid"), before);
    let answer = asked.join().expect("it only asks");
    assert_eq!(answer.expect("it was answered"), (200, "slow\n".to_owned()));
}

/// The kernel keeps the network of a dead run for minutes when a connection of its could not say
/// goodbye, because the other end is gone. It must not answer in the place of the next run.
#[test]
fn a_former_run_does_not_answer_for_the_next() {
    let yard = yard_with_box();
    let port = yard.port();
    let model = format!(
        r#"
name: former
services:
  web:
    image: box
    command: [sh, -c, "nc $$OTHER 7 -e sleep 1000 & echo page >/www/index.html; exec httpd -f -p 80 -h /www"]
    stop_signal: KILL
    ports: ["127.0.0.1:{port}:80"]
    x-brickyard:
      provides: {{http: 80}}
      needs: {{other: {{to: other/echo, on_change: ignore}}}}
      environment: {{OTHER: '{{{{(line "other").Host}}}}'}}
  other:
    image: box
    command: [nc, -ll, -p, "7", -e, cat]
    stop_signal: KILL
    x-brickyard: {{provides: {{echo: {{port: 7, health: tcp}}}}}}
"#
    );
    let project = yard.project("former", &[("compose.yaml", &model)]);
    project.up();
    wait_until("they are connected", DEADLINE, || {
        // State 01 is ESTABLISHED; port 7 is 0007.
        let table = project.exec("web", "cat /proc/net/tcp");
        table.lines().any(|line| line.contains(":0007 01 "))
    });
    let _ = project.run(&["scale", "other=0"]).ok();
    let _ = project.run(&["restart", "web"]).ok();
    // The former run asks every second where the other one is, and is heard on the bridge.
    nothing_failed(while_asking(port, || std::thread::sleep(Duration::from_millis(2500))));
}

#[test]
fn scaling_keeps_the_port_served() {
    let yard = yard_with_box();
    let (project, port) = project(&yard);
    nothing_failed(while_asking(port, || {
        let _ = project.run(&["scale", "web=4"]).ok();
        let _ = project.run(&["scale", "web=1"]).ok();
    }));
}

#[test]
fn the_agents_death_drops_no_request() {
    let yard = yard_with_box();
    let (project, port) = project(&yard);
    nothing_failed(while_asking(port, || {
        yard.kill_agent();
        project.up();
    }));
}

#[test]
fn an_instance_that_dies_is_taken_out_at_once() {
    let yard = yard_with_box();
    let (project, port) = project(&yard);
    let pid = project.instance("web/1")["pid"].as_i64().expect("it runs");
    brickyard_testkit::kill_and_wait(i32::try_from(pid).expect("a pid fits"));
    // The front finds out by itself; the other one serves.
    nothing_failed(while_asking(port, || {
        wait_until("its end is seen", DEADLINE, || project.instance("web/1")["state"] == "exited");
        std::thread::sleep(Duration::from_millis(50));
    }));
}

#[test]
fn a_new_generation_that_does_not_get_well_leaves_the_old_one_serving() {
    let yard = yard_with_box();
    let (project, port) = project(&yard);
    let before = project.field("pid");
    project.edit("compose.yaml", "exec httpd -f", "exec no-such-httpd -f");
    nothing_failed(while_asking(port, || {
        let failed = project.run(&["up", "-d"]).fails_with(1);
        let _ = failed.says("/serving/dev/web/").says("no-such-httpd");
    }));
    assert_eq!(project.field("pid"), before);
    // The mended file goes through.
    project.edit("compose.yaml", "no-such-httpd", "httpd");
    project.edit("compose.yaml", "page one", "page two");
    project.up();
    assert_eq!(get(port, "/").expect("it is served").1, "page two\n");
}

#[test]
fn logs_are_followed_from_one_generation_to_the_next() {
    let yard = yard_with_box();
    let model = "name: follow\nservices:\n  app:\n    image: box\n    command: [sh, -c, 'echo said first; exec sleep 1000']\n    stop_signal: KILL\n";
    let project = yard.project("follow", &[("compose.yaml", model)]);
    project.up();
    let out = yard.home().join("followed");
    let file = project.directory().join("compose.yaml");
    let mut follow = yard.command(&["-f", file.as_str(), "logs", "-f"]);
    follow.stdout(std::fs::File::create(&out).expect("it can be written"));
    let mut follow = follow.spawn().expect("it starts");
    let followed = || std::fs::read_to_string(&out).unwrap_or_default();
    wait_until("what was said is shown", DEADLINE, || followed().contains("said first"));
    project.edit("compose.yaml", "said first", "said second");
    project.up();
    wait_until("what the next says is shown", DEADLINE, || followed().contains("said second"));
    follow.kill().expect("it runs");
    let _ = follow.wait();
    assert_eq!(followed(), "app/1 | said first\napp/1 | said second\n");
}

//! The disk that holds the logs is full.

use brickyard_testkit::{DEADLINE, Project, Yard, get, wait_for, wait_until};
use rustix::mount::{MountFlags, mount};
use serde_json::Value;

use super::fill;
use crate::support::yard_with_box;

/// A page, and one that counts aloud. What instances write is on a disk of its own.
fn project(yard: &Yard) -> (Project<'_>, u16) {
    let disk = yard.root().join("environments");
    if !disk.exists() {
        std::fs::create_dir(&disk).expect("the yard is writable");
    }
    mount("tmpfs", disk.as_str(), "tmpfs", MountFlags::empty(), c"size=24m,mode=0711")
        .expect("a file system in memory can be mounted");
    let port = yard.port();
    let model = format!(
        r#"
name: logs
services:
  loud:
    image: box
    command: [sh, -c, "i=0; while true; do i=$$((i+1)); echo line $$i of many that fill up what is left; sleep 0.01; done"]
    stop_signal: KILL
  web:
    image: box
    command: [sh, -c, "echo one >/www/index.html; exec httpd -f -p 80 -h /www"]
    stop_signal: KILL
    ports: ["127.0.0.1:{port}:80"]
    x-brickyard: {{provides: {{http: {{port: 80, protocol: http, health: {{path: /}}}}}}}}
"#
    );
    let project = yard.project("logs", &[("compose.yaml", &model)]);
    project.up();
    (project, port)
}

/// What the log has, in its order.
enum Word {
    Line(u64),
    Lost(u64),
}

fn words(project: &Project<'_>) -> Vec<Word> {
    let out = project.run(&["--json", "logs", "loud"]).ok().stdout;
    let word = |line: &str| {
        let value: Value = serde_json::from_str(line).expect("it is JSON");
        let text = value["text"].as_str().expect("it has a text").to_owned();
        let number = |text: Option<&str>| text.and_then(|text| text.parse().ok());
        let words: Vec<&str> = text.split(' ').collect();
        match words[0] {
            "line" => Word::Line(number(words.get(1).copied()).expect("lines have numbers")),
            "[brickyard]" => {
                assert!(text.ends_with("lines were lost: No space left on device (os error 28)"));
                Word::Lost(number(words.get(1).copied()).expect("it counts"))
            }
            _ => panic!("the log has `{text}`"),
        }
    };
    out.lines().map(word).collect()
}

fn last_line(words: &[Word]) -> u64 {
    let lines = words.iter().filter_map(|word| match word {
        Word::Line(number) => Some(*number),
        Word::Lost(_) => None,
    });
    lines.max().unwrap_or(0)
}

#[test]
fn a_full_disk_of_logs_loses_lines_and_says_how_many() {
    let yard = yard_with_box();
    let (project, port) = project(&yard);
    let pids = project.field("pid");
    wait_until("it is heard", DEADLINE, || last_line(&words(&project)) > 5);
    let ballast = yard.root().join("environments/ballast");
    fill(&ballast);
    let told = |kind: &str| {
        let events = yard.events();
        events.into_iter().filter(|event| event["kind"] == kind).collect::<Vec<_>>()
    };
    let lost = || project.instance("loud/1")["output_lost"].as_str().map(str::to_owned);
    let reason = wait_for("the loss is seen", DEADLINE, lost);
    assert!(reason.contains("No space left"), "{reason}");
    let shown = project.run(&["ps"]).ok().stdout;
    assert!(shown.contains("running, its output is lost"), "{shown}");
    let events = told("output.lost");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["address"], "/logs/dev/loud/1");
    assert!(events[0]["reason"].as_str().is_some_and(|text| text.contains("No space left")));
    // Everything goes on, and what was said before is there.
    assert_eq!(project.field("pid"), pids);
    assert!(get(port, "/").is_ok_and(|answer| answer == (200, "one\n".to_owned())));
    let before = last_line(&words(&project));
    assert!(before > 5);
    std::fs::remove_file(&ballast).expect("it is there");
    wait_until("it is heard again", DEADLINE, || last_line(&words(&project)) > before);
    wait_until("it is told", DEADLINE, || told("output.kept").len() == 1 && lost().is_none());
    let mut next = 1;
    let mut lost = 0;
    for word in words(&project) {
        match word {
            Word::Line(number) => {
                assert_eq!(number, next, "nothing is missing, and nothing comes twice");
                next += 1;
            }
            Word::Lost(count) => {
                next += count;
                lost += count;
            }
        }
    }
    assert!(lost > 0, "the log says what was lost");
    assert_eq!(told("output.kept")[0]["lines_lost"], lost.to_string());
    assert_eq!(project.field("pid"), pids);
}

#[test]
fn on_a_full_disk_an_end_is_recorded_and_another_starts_when_there_is_room() {
    let yard = yard_with_box();
    let (project, port) = project(&yard);
    let ballast = yard.root().join("environments/ballast");
    fill(&ballast);
    let _ = project.run(&["kill", "loud"]).ok();
    wait_until("its end is seen", DEADLINE, || project.instance("loud/1")["pid"].is_null());
    assert_eq!(project.instance("loud/1")["exit_code"], 137);
    // What it had while it ran makes some room.
    let more = yard.root().join("environments/more");
    fill(&more);
    let refused = project.run(&["scale", "loud=2"]).fails_with(1);
    assert!(refused.stderr.contains("No space left"), "{}", refused.stderr);
    assert!(get(port, "/").is_ok_and(|answer| answer == (200, "one\n".to_owned())));
    for path in [ballast, more] {
        std::fs::remove_file(path).expect("it is there");
    }
    let _ = project.run(&["up", "-d", "--scale", "loud=2"]).ok();
    assert_eq!(project.instance("loud/1")["state"], "running");
    assert_eq!(project.instance("loud/2")["state"], "running");
}

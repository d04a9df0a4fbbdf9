//! Memory that runs out inside.

use super::shows;
use crate::support::yard_with_box;

#[test]
fn a_memory_bomb_ends_alone_and_is_called_by_its_name() {
    let yard = yard_with_box();
    let port = yard.port();
    let model = format!(
        r#"
name: memory
services:
  bomb:
    image: box
    command: [tail, /dev/zero]
    mem_limit: 24m
    healthcheck: {{test: [CMD, "false"], interval: 1s, start_period: 5m}}
  web:
    image: box
    command: [sh, -c, "echo one >/www/index.html; exec httpd -f -p 80 -h /www"]
    stop_signal: KILL
    ports: ["127.0.0.1:{port}:80"]
    x-brickyard: {{provides: {{http: {{port: 80, protocol: http, health: {{path: /}}}}}}}}
"#
    );
    let project = yard.project("memory", &[("compose.yaml", &model)]);
    let failed = project.run(&["up", "-d"]).fails_with(1);
    let _ = failed.says("/memory/dev/bomb/1: it was killed for want of memory");
    // The other one may still have been on its way; the failed one is tried again by `up` alone.
    let failed = project.run(&["up", "-d"]).fails_with(1).says("want of memory");
    assert!(!failed.stderr.contains("web"), "{}", failed.stderr);
    shows(port, "one");
    let row = project.instance("bomb/1");
    assert_eq!((&row["exit_code"], &row["out_of_memory"]), (&137.into(), &true.into()));
    let shown = project.run(&["ps", "-a"]).ok().stdout;
    assert!(shown.contains("exited (137, out of memory)"), "{shown}");
    let events = yard.events();
    let ends: Vec<_> = events.iter().filter(|event| event["kind"] == "instance.exited").collect();
    assert!(!ends.is_empty());
    for end in ends {
        assert_eq!((&end["address"], &end["oom"]), (&"/memory/dev/bomb/1".into(), &"true".into()));
    }
}

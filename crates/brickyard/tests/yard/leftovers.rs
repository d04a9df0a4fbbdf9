//! `down` leaves the machine as it was: everything that the kernel lists is compared before and
//! after a life with every sort of change in it.
//!
//! The yard lives in network and mount namespaces of its own, so that neither other tests nor
//! anything else on the machine shows in the comparison, and everything of its own does.

use brickyard_testkit::{Aside, Picture, Project, Yard};

use crate::support::BRICKYARD;

fn project<'a>(yard: &'a Yard, name: &str) -> Project<'a> {
    let port = yard.port();
    let model = format!(
        r#"
name: {name}
services:
  web:
    image: box
    command: [httpd, -f, -p, "80", -h, /www]
    stop_signal: KILL
    ports: ["127.0.0.1:{port}:80"]
    deploy: {{replicas: 2, update_config: {{order: start-first}}}}
    mem_limit: 64m
    tmpfs: [/scratch]
    x-brickyard:
      provides: {{http: 80}}
      needs: {{db: db/echo}}
      templates: [{{src: page.tmpl, dest: /www/index.html, check: [grep, -q, text, "{{{{.src}}}}"], reload: none}}]
  db:
    image: box
    command: [nc, -ll, -p, "7", -e, cat]
    stop_signal: KILL
    read_only: true
    volumes: ["data:/data"]
    healthcheck: {{test: [CMD, "true"], interval: 1s}}
    x-brickyard: {{provides: {{echo: 7}}}}
volumes: {{data: {{}}}}
x-brickyard: {{config: {{text: one}}}}
"#
    );
    let page = "text {{getv \"/text\"}} at {{line \"db\"}}\n";
    yard.project(name, &[("compose.yaml", &model), ("page.tmpl", page)])
}

/// One life of an environment, with every sort of change in it.
fn live(project: &Project<'_>) {
    project.up();
    let _ = project.exec("db", "echo kept >/data/file");
    let _ = project.run(&["exec", "web/1", "false"]).fails_with(1);
    let _ = project.run(&["set", "text=two"]).ok();
    let _ = project.run(&["scale", "web=3"]).ok();
    let _ = project.run(&["restart", "db"]).ok();
    let _ = project.run(&["stop", "web/3"]).ok();
    let _ = project.run(&["rm", "web"]).ok();
    let _ = project.run(&["scale", "web=1"]).ok();
    project.edit("compose.yaml", "64m", "65m");
    project.up();
}

#[test]
fn down_leaves_the_machine_as_it_was() {
    let aside = Aside::new();
    let yard = Yard::within(BRICKYARD, aside.prefix());
    yard.import_box();
    let project = project(&yard, "life");
    let before = Picture::of(&aside, &yard, &[]);

    live(&project);
    let during = Picture::of(&aside, &yard, &[]);
    for looked_at in ["mounts", "links", "routes", "cgroups", "processes", "plots"] {
        assert_ne!(before.part(looked_at), during.part(looked_at), "{looked_at} shows nothing");
    }
    let _ = project.run(&["down", "-v"]).ok();
    before.assert_again(&aside, &yard);

    // What runs once and what fails to start leaves nothing either.
    let _ = project.run(&["run", "--rm", "box", "echo", "once"]).ok();
    before.assert_again(&aside, &yard);
    project.edit("compose.yaml", "httpd, -f", "no-such-program, -f");
    let _ = project.run(&["up", "-d"]).fails_with(1);
    let _ = project.run(&["down", "-v"]).ok();
    before.assert_again(&aside, &yard);
    let volumes = yard.root().join("volumes");
    let left: Vec<_> = walk(&volumes);
    assert!(left.is_empty(), "{left:?}");
}

/// Files below a directory.
fn walk(directory: &camino::Utf8Path) -> Vec<String> {
    let mut open = vec![directory.to_owned()];
    let mut files = Vec::new();
    while let Some(next) = open.pop() {
        for entry in next.read_dir_utf8().into_iter().flatten().flatten() {
            match entry.path().is_dir() {
                true => open.push(entry.path().to_owned()),
                false => files.push(entry.path().to_string()),
            }
        }
    }
    files
}

#[test]
fn volumes_stay_unless_they_are_told_to_go() {
    let yard = crate::support::yard_with_box();
    let project = project(&yard, "keep");
    project.up();
    let _ = project.exec("db", "echo kept >/data/file");
    let _ = project.run(&["down"]).ok();
    assert_eq!(yard.processes(), Vec::<i32>::new());
    project.up();
    assert_eq!(project.exec("db", "cat /data/file"), "kept\n");
    let _ = project.run(&["down", "-v"]).ok();
    project.up();
    assert_eq!(project.exec("db", "ls /data"), "");
}

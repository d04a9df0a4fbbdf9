//! The example in the repository, from its first start to a line that leads elsewhere.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;

use brickyard_testkit::{DEADLINE, Project, Yard, get, wait_until};
use serde_json::Value;

use crate::support::yard;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/father");
/// Reads of the page that meet every instance: the front takes them in turn.
const READS: usize = 6;

fn text_of(path: &str) -> String {
    let path = Path::new(EXAMPLE).join(path);
    std::fs::read_to_string(path).expect("the example is whole")
}

/// The example on a port of its own, brought up.
fn father(yard: &Yard) -> (Project<'_>, u16) {
    let port = yard.port();
    let model = text_of("compose.yaml");
    let moved = model.replace("127.0.0.1:8080:80", &format!("127.0.0.1:{port}:80"));
    assert_ne!(model, moved, "the example publishes port 8080");
    let files = [
        ("compose.yaml", moved),
        ("web/Dockerfile", text_of("web/Dockerfile")),
        ("web/index.html.tmpl", text_of("web/index.html.tmpl")),
        ("db/Dockerfile", text_of("db/Dockerfile")),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, &**text)).collect();
    let project = yard.project("father", &files);
    project.up();
    (project, port)
}

/// The page, of every instance.
#[track_caller]
fn every_page_says(port: u16, words: &str) {
    for _ in 0..READS {
        let (status, page) = get(port, "/").expect("the page can be read");
        assert_eq!(status, 200);
        assert!(page.contains(words), "no `{words}` in: {page}");
    }
}

/// What changes when an instance is replaced or restarted.
fn identities(project: &Project<'_>, service: &str) -> Vec<(u64, i64, u64)> {
    let number = |row: &Value, name: &str| row[name].as_u64().expect("it is a number");
    let rows = project.ps();
    rows.iter()
        .filter(|row| row["service"] == service)
        .map(|row| {
            let pid = row["pid"].as_i64().expect("it runs");
            (number(row, "generation"), pid, number(row, "restarts"))
        })
        .collect()
}

#[test]
fn a_changed_key_is_on_every_page_and_restarts_nothing() {
    let yard = yard();
    let (project, port) = father(&yard);
    every_page_says(port, "Luke, I am your father");
    let before = identities(&project, "web");
    assert_eq!(before.len(), 2);

    let _ = project.run(&["set", "text=mother"]).ok();
    every_page_says(port, "Luke, I am your mother");
    assert_eq!(identities(&project, "web"), before);

    // Taking the value back shows the model's own.
    let _ = project.run(&["unset", "text"]).ok();
    every_page_says(port, "Luke, I am your father");
    assert_eq!(identities(&project, "web"), before);
}

#[test]
fn a_value_that_the_check_refuses_changes_nothing_and_says_why() {
    let yard = yard();
    let (project, port) = father(&yard);
    let _ = project.run(&["set", "text=mother"]).ok();
    let before = identities(&project, "web");

    let refused = project.run(&["set", "text=42"]).fails_with(1);
    let refused = refused.says("web/1").says("/www/index.html");
    assert!(
        refused.stderr.contains("check") && refused.stderr.contains("grep"),
        "the check is not named: {}",
        refused.stderr
    );
    every_page_says(port, "Luke, I am your mother");
    assert_eq!(project.run(&["get", "text"]).ok().stdout.trim(), "mother");
    assert_eq!(identities(&project, "web"), before);

    // With several keys it is all or none.
    let _ = project.run(&["set", "other=1", "text=43"]).fails_with(1);
    let _ = project.run(&["get", "other"]).fails_with(3);
}

#[test]
fn the_page_follows_a_database_that_is_replaced() {
    let yard = yard();
    let (project, port) = father(&yard);
    let address = |project: &Project<'_>| {
        let key = "/brickyard/services/db/1/redis";
        project.run(&["get", key]).ok().stdout.trim().to_owned()
    };
    let (old, web) = (address(&project), identities(&project, "web"));
    let generation = project.instance("db/1")["generation"].clone();
    every_page_says(port, &format!("The database is at {old}"));

    project.edit("compose.yaml", "the force", "the dark side");
    project.up();
    let new = address(&project);
    assert_ne!(old, new);
    every_page_says(port, &format!("The database is at {new}"));
    // The line says `redis` is followed by a new file: its dependents run on.
    assert_eq!(identities(&project, "web"), web);
    assert_ne!(project.instance("db/1")["generation"], generation);
}

#[test]
fn the_page_follows_a_database_that_is_registered_in_its_place() {
    let yard = yard();
    let (project, port) = father(&yard);
    let own = project.run(&["get", "/brickyard/services/db/1/redis"]).ok();
    let own = own.stdout.trim().to_owned();
    let before = identities(&project, "web");

    // A database that really answers, on the host's address in the environment's network.
    let socket = yard.root().join("agent.sock");
    let (_, view) = brickyard_testkit::get_unix(&socket, "/v1/environments/father/dev").unwrap();
    let view: Value = serde_json::from_str(&view).unwrap();
    let host = view["host_ip"].as_str().expect("the host has an address");
    let outside = TcpListener::bind((host, 0)).expect("the host's address is its own");
    let at = outside.local_addr().unwrap();
    let _ = project.run(&["register", "db/1/redis", &at.to_string()]).ok();
    every_page_says(port, &format!("The database is at {at}"));
    let answering = std::thread::spawn(move || {
        let (mut caller, _) = outside.accept()?;
        caller.write_all(b"from outside")
    });
    let dial = format!("exec /bin/busybox nc {} {} </dev/null", at.ip(), at.port());
    assert_eq!(project.exec("web/1", &dial), "from outside");
    answering.join().unwrap().expect("the answer is sent");

    let _ = project.run(&["register", "--remove", "db/1/redis"]).ok();
    every_page_says(port, &format!("The database is at {own}"));
    assert_eq!(identities(&project, "web"), before);
}

#[test]
fn ps_and_events_show_what_scripts_rely_on() {
    let yard = yard();
    let (project, port) = father(&yard);
    let rows = project.ps();
    assert_eq!(rows.len(), 3);
    for row in &rows {
        let fields = "address service instance generation state health pid ip image exit_code \
                      restarts ports";
        for field in fields.split_whitespace() {
            assert!(row.get(field).is_some(), "no `{field}` in {row}");
        }
        assert_eq!((&row["state"], &row["health"]), (&"running".into(), &"healthy".into()));
    }
    let web = project.instance("web/2");
    assert_eq!(web["address"], "/father/dev/web/2");
    assert_eq!(web["ports"], serde_json::json!([format!("127.0.0.1:{port}->80/tcp")]));

    let _ = project.run(&["set", "text=mother"]).ok();
    let events = yard.events();
    let mut last = 0;
    for event in &events {
        for field in ["cursor", "time", "kind", "address"] {
            assert!(event.get(field).is_some(), "no `{field}` in {event}");
        }
        let cursor = event["cursor"].as_u64().expect("a cursor is a number");
        assert!(cursor > last, "the cursor does not grow: {events:#?}");
        last = cursor;
    }
    let kinds = crate::support::kinds(&events);
    for wanted in [
        "deploy.started /father/dev",
        "instance.started /father/dev/web/2",
        "template.rendered /father/dev/web/1",
    ] {
        assert!(kinds.iter().any(|kind| kind == wanted), "no `{wanted}` in {kinds:#?}");
    }
    // Only what came after a cursor is shown.
    let after = yard.run(&["--json", "events", "--after", &last.to_string()]).ok();
    assert_eq!(after.stdout, "");
}

#[test]
fn up_again_changes_nothing() {
    let yard = yard();
    let (project, port) = father(&yard);
    let (web, db) = (identities(&project, "web"), identities(&project, "db"));
    project.up();
    assert_eq!(identities(&project, "web"), web);
    assert_eq!(identities(&project, "db"), db);
    every_page_says(port, "Luke, I am your father");
}

#[test]
fn a_key_that_was_set_survives_down_unless_volumes_go() {
    let yard = yard();
    let (project, port) = father(&yard);
    let _ = project.run(&["set", "text=mother"]).ok();
    let _ = project.run(&["down"]).ok();
    wait_until("the port is free", DEADLINE, || get(port, "/").is_err());
    project.up();
    every_page_says(port, "Luke, I am your mother");
    let _ = project.run(&["down", "-v"]).ok();
    project.up();
    every_page_says(port, "Luke, I am your father");
}

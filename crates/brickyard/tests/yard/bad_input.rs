//! What is wrong is said with its place, with a documented exit code, and nothing is begun.

use std::net::TcpListener;

use brickyard_testkit::{DEADLINE, Project, Yard, get, wait_until};

use crate::support::{yard, yard_with_box};

/// Nothing was begun: no agent, no process, no network, nothing that `ps` shows.
#[track_caller]
fn nothing_runs(yard: &Yard) {
    assert!(yard.agent().is_none(), "an agent runs");
    assert_eq!(yard.processes(), Vec::<i32>::new());
    assert_eq!(yard.cgroups(), Vec::<camino::Utf8PathBuf>::new());
    let environments = yard.root().join("environments").read_dir_utf8();
    assert_eq!(environments.into_iter().flatten().count(), 0);
}

/// `up -d` of this model is refused as a wrong file; what it says.
#[track_caller]
fn refused(model: &str) -> String {
    let yard = yard_with_box();
    let project = yard.project("bad", &[("compose.yaml", model)]);
    let up = project.run(&["up", "-d"]).fails_with(2);
    nothing_runs(&yard);
    assert_eq!(up.stdout, "", "standard output carries data alone");
    up.stderr
}

#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in: {text}");
    }
}

#[test]
fn broken_yaml_has_a_place() {
    let said = refused("name: bad\nservices:\n  web: {image: box\n  db: ]\n");
    has(&said, &["error", "compose.yaml:4:"]);
}

#[test]
fn an_unknown_key_comes_with_the_nearest_one() {
    let said = refused("services:\n  web:\n    image: box\n    comand: [sh]\n");
    has(&said, &["comand", "compose.yaml:4:5", "did you mean `command`"]);
}

#[test]
fn a_cycle_of_starts_names_its_services() {
    let said = refused(
        "services:\n  a: {image: box, depends_on: [b]}\n  b: {image: box, depends_on: [a]}\n",
    );
    has(&said, &["`a`", "`b`", "compose.yaml:"]);
}

#[test]
fn check_tells_everything_at_once() {
    let yard = yard();
    let model = "services:\n  web:\n    image: box\n    comand: [sh]\n    mem_limit: lots\n    \
                 depends_on: [cahce]\n  cache: {image: box, privilegd: true}\n";
    let project = yard.project("bad", &[("compose.yaml", model)]);
    let check = project.run(&["check"]).fails_with(2);
    has(&check.stderr, &["comand", "lots", "cahce", "`cache`", "privilegd"]);
    has(&check.stderr, &[":4:5", ":5:16", ":6:18", ":7:23"]);
    let json = project.run(&["--json", "check"]).fails_with(2);
    let all: Vec<serde_json::Value> = serde_json::from_str(&json.stdout).expect("it is an array");
    assert_eq!(all.len(), 4, "{all:#?}");
    assert!(
        all.iter().all(|one| { one["code"].as_str().is_some_and(|code| code.starts_with("BY")) })
    );
    nothing_runs(&yard);
}

#[test]
fn a_missing_image_says_how_to_get_it() {
    let said = refused("services:\n  a: {image: box}\n  b: {image: boks}\n  c: {image: gone}\n");
    has(&said, &["`b`", "`boks`", "`c`", "`gone`", "hint", "image import"]);
}

#[test]
fn an_image_that_says_nothing_to_run_is_refused() {
    let yard = yard_with_box();
    let project = yard.project("bad", &[("compose.yaml", "services: {web: {image: box}}\n")]);
    let up = project.run(&["up", "-d"]);
    assert!(matches!(up.code, 1 | 2), "{up:?}");
    has(&up.stderr, &["web", "command"]);
    wait_until("the agent ends", DEADLINE, || yard.processes().is_empty());
    nothing_runs(&yard);
}

#[test]
fn a_template_with_a_syntax_error_has_a_place_in_its_own_file() {
    let yard = yard_with_box();
    let model = "services:\n  web:\n    image: box\n    command: [sleep, '9']\n    x-brickyard:\n      \
                 templates: [{src: page.tmpl, dest: /tmp/page}]\n";
    let files = [("compose.yaml", model), ("page.tmpl", "fine\n{{getv \"/a\"}}{{end}}\n")];
    let project = yard.project("bad", &files);
    for verb in [&["up", "-d"][..], &["check"]] {
        let said = project.run(verb).fails_with(2).stderr;
        has(&said, &["page.tmpl:2:", "web"]);
    }
    nothing_runs(&yard);
}

fn publishing(name: &str, port: u16) -> String {
    format!(
        "name: {name}\nservices:\n  web:\n    image: box\n    command: [httpd, -f, -p, '80', -h, /]\n    \
         stop_signal: KILL\n    ports: ['127.0.0.1:{port}:80']\n    x-brickyard: {{provides: {{http: 80}}}}\n"
    )
}

#[test]
fn a_port_in_use_names_the_process_that_has_it() {
    let yard = yard_with_box();
    let port = yard.port();
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let project = yard.project("bad", &[("compose.yaml", &publishing("bad", port))]);
    let up = project.run(&["up", "-d"]).fails_with(1);
    let comm = std::fs::read_to_string("/proc/self/comm").unwrap();
    let pid = std::process::id().to_string();
    has(&up.stderr, &["web", &format!("127.0.0.1:{port}"), &pid, comm.trim()]);
    assert_eq!(project.ps(), Vec::<serde_json::Value>::new());
    wait_until("the agent ends", DEADLINE, || yard.processes().is_empty());
    nothing_runs(&yard);
    // Once it is free, the same command does.
    drop(listener);
    project.up();
    assert_eq!(get(port, "/bin/busybox").unwrap().0, 200);
}

#[test]
fn a_port_of_another_environment_names_it() {
    let yard = yard_with_box();
    let port = yard.port();
    let project = yard.project("bad", &[("compose.yaml", &publishing("bad", port))]);
    project.up();
    let before = project.field("pid");
    let other = project.run(&["-E", "other", "up", "-d"]).fails_with(1);
    has(&other.stderr, &[&port.to_string(), "/bad/dev/web"]);
    assert_eq!(project.field("pid"), before);
    assert_eq!(get(port, "/bin/busybox").unwrap().0, 200);
}

#[test]
fn ports_that_cannot_be_published_are_refused() {
    let said = refused("services:\n  dns: {image: box, command: [sh], ports: ['5353:53/udp']}\n");
    has(&said, &["dns", "udp", "compose.yaml:2:"]);
}

/// Writes the number of the store's format, which is what a newer version would do.
fn set_format(yard: &Yard, format: u64) {
    let database = redb::Database::open(yard.root().join("yard.redb")).expect("nobody has it open");
    let write = database.begin_write().expect("it can be written");
    let meta = redb::TableDefinition::<&str, u64>::new("meta");
    let mut table = write.open_table(meta).expect("the table is there");
    let former = table.insert("format", format).expect("it can be written");
    assert!(former.is_some(), "the store does not say its format");
    drop(former);
    drop(table);
    write.commit().expect("it can be written");
}

#[test]
fn a_store_of_a_newer_format_is_left_alone() {
    let yard = yard_with_box();
    let port = yard.port();
    let project = yard.project("bad", &[("compose.yaml", &publishing("bad", port))]);
    project.up();
    let _ = project.run(&["set", "kept=value"]).ok();
    let _ = project.run(&["down"]).ok();
    set_format(&yard, 9);
    for verb in [&["up", "-d"][..], &["agent", "run"]] {
        let refused = project.run(verb).fails_with(4);
        has(&refused.stderr, &["yard.redb", "format 9"]);
        nothing_runs(&yard);
    }
    // Nothing is lost: for the version that wrote it, it is whole.
    set_format(&yard, 1);
    project.up();
    assert_eq!(project.run(&["get", "kept"]).ok().stdout, "value\n");
}

/// `up -d` of a service that ends at once, with this extension.
fn ends_at_once(extension: &str) {
    let yard = yard_with_box();
    let model = format!(
        "name: bad\nservices:\n  web:\n    image: box\n    \
         command: [sh, -c, 'echo first; echo the last words >&2; exit 3']\n    {extension}\n"
    );
    let project = yard.project("bad", &[("compose.yaml", &model)]);
    let up = project.run(&["up", "-d"]).fails_with(1);
    has(&up.stderr, &["/bad/dev/web/1", "exit code 3", "the last words"]);
    assert_eq!(project.instance("web/1")["exit_code"], 3);
}

#[test]
fn a_service_that_ends_at_once_fails_with_its_last_words() {
    ends_at_once("");
}

#[test]
fn a_service_that_ends_before_it_is_healthy_fails_with_its_last_words() {
    ends_at_once("x-brickyard: {provides: {http: {port: 80, health: tcp}}}");
}

#[test]
fn names_that_do_not_exist_come_with_the_nearest() {
    let yard = yard_with_box();
    let project = yard.project("bad", &[("compose.yaml", &publishing("bad", yard.port()))]);
    project.up();
    let wrong: [&[&str]; 7] = [
        &["exec", "wbe", "true"],
        &["restart", "wbe"],
        &["stop", "wbe"],
        &["scale", "wbe=2"],
        &["logs", "wbe"],
        &["up", "-d", "wbe"],
        &["run", "--rm", "wbe", "true"],
    ];
    for verb in wrong {
        let said = project.run(verb).fails_with(3).stderr;
        has(&said, &["wbe"]);
        if verb[0] != "run" {
            has(&said, &["did you mean `web`?"]);
        }
    }
    let _ = project.run(&["exec", "web/2", "true"]).fails_with(3);
    let _ = project.run(&["restart", "web/9"]).fails_with(3).says("1 instance");
    let _ = project.run(&["get", "absent"]).fails_with(3);
    let _ = project.run(&["nonsense"]).fails_with(2);
    let _ = project.run(&["set", "novalue"]).fails_with(2);
    let _ = project.run(&["set", "brickyard/services/db/1/x=1"]).fails_with(1);
}

#[test]
fn exec_into_what_does_not_run_says_so() {
    let yard = yard_with_box();
    let project = yard.project("bad", &[("compose.yaml", &publishing("bad", yard.port()))]);
    let _ = project.run(&["exec", "web", "true"]).fails_with(3).says("nothing runs");
    project.up();
    let _ = project.run(&["stop", "web"]).ok();
    let _ = project.run(&["exec", "web", "true"]).fails_with(3).says("stopped");
}

/// A deploy that is refused leaves what ran before as it was.
#[test]
fn a_refused_deploy_leaves_the_former_one() {
    let yard = yard_with_box();
    let port = yard.port();
    let model = publishing("bad", port);
    let project = yard.project("bad", &[("compose.yaml", &model)]);
    project.up();
    let before = project.field("pid");
    let still = |project: &Project<'_>| {
        assert_eq!(project.field("pid"), before);
        assert_eq!(get(port, "/bin/busybox").unwrap().0, 200);
    };
    project.write("compose.yaml", &model.replace("image: box", "image: boks"));
    let _ = project.run(&["up", "-d"]).fails_with(2);
    still(&project);
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let number = taken.local_addr().unwrap().port();
    project.write("compose.yaml", &model.replace(&format!(":{port}:"), &format!(":{number}:")));
    let _ = project.run(&["up", "-d"]).fails_with(1);
    still(&project);
}

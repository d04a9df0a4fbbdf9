//! Published ports that somebody else takes while nobody looks.

use std::net::TcpListener;

use brickyard_testkit::{DEADLINE, get, wait_until};

use super::{page, shows};
use crate::support::yard_with_box;

#[test]
fn a_port_taken_meanwhile_is_said_with_its_owner_and_served_when_it_is_free() {
    let yard = yard_with_box();
    let (project, port) = page(&yard);
    let calm = yard.port();
    let model = format!(
        "name: calm\nservices:\n  app:\n    image: box\n    \
         command: [sh, -c, 'echo calm >/www/index.html; exec httpd -f -p 80 -h /www']\n    \
         stop_signal: KILL\n    restart: always\n    ports: ['127.0.0.1:{calm}:80']\n"
    );
    let other = yard.project("calm", &[("compose.yaml", &model)]);
    other.up();
    // The machine is started anew, and somebody else is quicker than the next agent.
    yard.lose_power();
    wait_until("the port is free", DEADLINE, || get(port, "/").is_err());
    let thief = TcpListener::bind(("127.0.0.1", port)).expect("nobody has it");
    let refused = project.run(&["up", "-d"]).fails_with(1);
    let owner = format!("port 127.0.0.1:{port} is in use by process {}", std::process::id());
    let _ = refused.says("/faults/dev/web").says(&owner);
    // Others are served, and the instance itself is well.
    other.up();
    wait_until("the other one is served", DEADLINE, || {
        get(calm, "/").is_ok_and(|answer| answer == (200, "calm\n".to_owned()))
    });
    wait_until("the instance is well", DEADLINE, || {
        project.instance("web/1")["health"] == "healthy"
    });
    let event = |kind: &str| {
        let events = yard.events();
        events.into_iter().filter(|event| event["kind"] == kind).collect::<Vec<_>>()
    };
    let told = event("port.refused");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(
        (
            &told[0]["address"],
            &told[0]["reason"].as_str().is_some_and(|text| text.starts_with(&owner))
        ),
        (&"/faults/dev/web".into(), &true)
    );
    drop(thief);
    wait_until("it is served", DEADLINE, || get(port, "/").is_ok());
    shows(port, "one");
    wait_until("it is told", DEADLINE, || event("port.opened").len() == 1);
    project.up();
}

/// Networks are claimed anew after a reboot: another yard of the machine may come first.
#[test]
fn a_network_taken_meanwhile_is_made_up_for_by_another() {
    let yard = yard_with_box();
    let (project, port) = page(&yard);
    let former = project.instance("web/1")["ip"].clone();
    let _ = project.exec("web", "echo kept >/tmp/own; echo kept >/data/file");
    let plots = std::fs::read_dir("/run/brickyard/plots").expect("it is there").flatten();
    let is_its = |path: &std::path::PathBuf| {
        std::fs::read_to_string(path).is_ok_and(|text| text.starts_with(yard.home().as_str()))
    };
    let mut plots = plots.map(|entry| entry.path()).filter(is_its);
    let plot = plots.next().expect("it has one");
    yard.lose_power();
    let thief = yard.home().join("another/yard");
    std::fs::create_dir_all(&thief).expect("our own directory is writable");
    std::fs::write(&plot, thief.as_str()).expect("it is free");
    project.up();
    let row = project.instance("web/1");
    assert_ne!(row["ip"], former);
    assert_eq!(row["health"], "healthy");
    shows(port, "one");
    // Its files are its own as before.
    let script = "echo more >>/tmp/own; echo more >>/data/file; cat /tmp/own /data/file; stat -c %u /tmp/own";
    assert_eq!(project.exec("web", script), "kept\nmore\nkept\nmore\n0\n");
    let _ = project.run(&["set", "text=two"]).ok();
    shows(port, "two");
    std::fs::remove_file(plot).expect("it is the thief's still");
}

#[test]
fn a_port_taken_between_plan_and_deploy_refuses_the_deploy() {
    let yard = yard_with_box();
    let (project, port) = page(&yard);
    let pids = project.field("pid");
    let second = yard.port();
    project.edit(
        "compose.yaml",
        &format!("[\"127.0.0.1:{port}:80\"]"),
        &format!("[\"127.0.0.1:{port}:80\", \"127.0.0.1:{second}:80\"]"),
    );
    let _ = project.run(&["plan"]).ok();
    let thief = TcpListener::bind(("127.0.0.1", second)).expect("nobody has it");
    let refused = project.run(&["up", "-d"]).fails_with(1);
    let _ = refused
        .says(&format!("port 127.0.0.1:{second} is in use by process {}", std::process::id()));
    shows(port, "one");
    assert_eq!(project.field("pid"), pids);
    drop(thief);
    project.up();
    shows(second, "one");
}

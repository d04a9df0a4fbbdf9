//! A yard as the backend of configuration files of the host: `confd -backend brickyard`.

use std::process::{Child, Command, Stdio};

use brickyard_testkit::{DEADLINE, Yard, wait_until};
use camino::Utf8PathBuf;

use crate::support::{BRICKYARD, yard_with_box};

const MODEL: &str = r#"
name: source
services:
  web:
    image: box
    command: [sh, -c, "exec nc -ll -p 8080 -e cat"]
    stop_signal: KILL
    ports: ["PORT:8080"]
    x-brickyard: {provides: {http: 8080}}
x-brickyard:
  config: {text: father}
"#;

/// A directory of confd's beside a yard, and the command that goes on in it.
struct Host<'a> {
    yard: &'a Yard,
    directory: Utf8PathBuf,
    child: Option<Child>,
}

impl<'a> Host<'a> {
    fn new(yard: &'a Yard) -> Self {
        let directory = yard.home().join("confd");
        for (name, text) in [
            (
                "conf.d/a.toml",
                format!(
                    "[template]\nsrc = \"a\"\ndest = \"{directory}/a\"\nkeys = [\"/text\", \"/brickyard/services/web\"]\n"
                ),
            ),
            (
                "templates/a",
                "{{getv \"/text\" \"none\"}}:{{len (gets \"/brickyard/services/web/*/http\")}}"
                    .to_owned(),
            ),
        ] {
            let path = directory.join(name);
            std::fs::create_dir_all(path.parent().expect("it is below")).expect("it is new");
            std::fs::write(path, text).expect("it is new");
        }
        Self { yard, directory, child: None }
    }

    fn command(&self, flags: &[&str]) -> Command {
        let mut command = Command::new(BRICKYARD);
        command.args(["confd", "-backend", "brickyard", "-node", self.yard.root().as_str()]);
        command.args(["-confdir", self.directory.as_str()]).args(flags);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    fn fails(&self, flags: &[&str], text: &str) {
        let mut command = self.command(&[&["-onetime"], flags].concat());
        let output = command.stderr(Stdio::piped()).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(text), "{said}");
    }

    fn wait_for(&self, text: &str) {
        let path = self.directory.join("a");
        let read = || std::fs::read_to_string(&path).unwrap_or_default();
        wait_until(&format!("{path} is {text}, not {}", read()), DEADLINE, || read() == text);
    }
}

impl Drop for Host<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn files_of_the_host_follow_a_yards_configuration_and_registry() {
    let yard = yard_with_box();
    let mut host = Host::new(&yard);
    host.fails(&[], "no agent runs in this yard");
    let model = MODEL.replace("PORT", &yard.port().to_string());
    let project = yard.project("source", &[("compose.yaml", &model)]);
    project.up();
    host.fails(&["-yard", "other"], "no environment `other` runs in this yard");
    host.child = Some(host.command(&["-watch"]).spawn().expect("it runs"));
    host.wait_for("father:1");
    let _ = project.run(&["set", "text=son"]).ok();
    host.wait_for("son:1");
    let _ = project.run(&["scale", "web=2"]).ok();
    host.wait_for("son:2");
    // What was said while nobody listened is there afterwards.
    yard.kill_agent();
    let _ = project.run(&["up", "-d"]).ok();
    let _ = project.run(&["unset", "text"]).ok();
    host.wait_for("father:1");
    project.write("compose.yaml", &MODEL.replace("PORT", &yard.port().to_string()));
    let _ = project.run(&["-E", "test", "up", "-d"]).ok();
    host.fails(&[], "several environments run: source/dev, source/test");
}

const EXPLAINED: &str = r#"
name: explained
services:
  db:
    image: box
    command: [sh, -c, "exec nc -ll -p 6379 -e cat"]
    stop_signal: KILL
    x-brickyard: {provides: {redis: 6379}}
  web:
    image: box
    command: [sleep, "1000"]
    stop_signal: KILL
    x-brickyard:
      needs: {db: db/redis}
      templates: [{src: page.tmpl, dest: /srv/page, reload: none}]
x-brickyard:
  config: {text: father}
"#;

#[test]
fn why_a_file_last_changed_is_told() {
    let yard = yard_with_box();
    let page =
        "{{getv \"/text\"}} {{line \"db\"}} {{len (gets \"/brickyard/services/db/*/redis\")}}\n";
    let project = yard.project("explained", &[("compose.yaml", EXPLAINED), ("page.tmpl", page)]);
    project.up();
    let explain = || project.run(&["template", "explain", "--service", "web"]).ok().stdout;
    let said = explain();
    assert!(said.starts_with("/explained/dev/web/1 /srv/page: in place, loaded\n"), "{said}");
    for (kind, name, found) in [
        ("key", "/text", "father"),
        ("keys below", "/brickyard/services/db/*", "1 key"),
        ("line", "db", "10."),
    ] {
        let is_row =
            |line: &str| line.starts_with(kind) && line.contains(name) && line.contains(found);
        assert!(said.lines().any(is_row), "no {kind} {name} {found} in {said}");
    }
    assert!(said.ends_with("not changed since its instance was started\n"), "{said}");
    let _ = project.run(&["set", "text=son"]).ok();
    assert!(explain().ends_with(": key /text changed\n"), "{}", explain());
    let _ = project.run(&["scale", "db=2"]).ok();
    wait_until("it has followed", DEADLINE, || explain().contains("2 keys"));
    let said = explain();
    let cause = said.lines().last().expect("it says something");
    assert!(
        cause.contains("keys /brickyard/services/db/*") && cause.contains("line db"),
        "{cause}"
    );
    // An agent that is new knows it, too.
    yard.kill_agent();
    let _ = project.run(&["up", "-d"]).ok();
    let _ = project.run(&["set", "text=grandson"]).ok();
    assert!(explain().ends_with(": key /text changed\n"), "{}", explain());
    let json = project.run(&["--json", "template", "explain", "-s", "web"]).ok().stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(json[0]["changed"]["because"], "key /text changed");
    assert_eq!(json[0]["reads"][0]["found"], "grandson");
    let _ = project.run(&["template", "explain", "--service", "wbe"]).fails_with(3);
}

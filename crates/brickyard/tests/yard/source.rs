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

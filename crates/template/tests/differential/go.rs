//! Go's own `text/template` as a process that is asked case by case.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{Answer, Case};

/// The process, ended with its value.
pub(crate) struct Go {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Go {
    /// Builds the program, and starts it.
    pub(crate) fn start() -> Self {
        let mut child = Command::new(build())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it was just built");
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, input, output }
    }

    pub(crate) fn render(&mut self, case: &Case) -> Answer {
        let map = |pairs: &[(String, String)]| -> serde_json::Value {
            pairs
                .iter()
                .map(|(name, value)| (name.clone(), serde_json::Value::from(value.clone())))
                .collect()
        };
        let line = json!({
            "text": STANDARD.encode(&case.text),
            "keys": map(&case.keys),
            "env": map(&case.env),
            "data": case.data,
            "seconds": case.seconds,
            "nanoseconds": case.nanoseconds,
        });
        writeln!(self.input, "{line}").expect("it reads");
        let mut said = String::new();
        self.output.read_line(&mut said).expect("it writes");
        let said: serde_json::Value =
            serde_json::from_str(&said).unwrap_or_else(|err| panic!("{err}: {said:?}"));
        let bytes = |name: &str| {
            STANDARD.decode(said[name].as_str().unwrap_or_default()).expect("it is base64")
        };
        match bytes("error") {
            text if text.is_empty() => Ok(bytes("output")),
            text => Err(String::from_utf8_lossy(&text).into_owned()),
        }
    }
}

impl Drop for Go {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program, built for this run of the tests.
fn build() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = here.join("../../scripts/go");
    let found = Command::new(&script).output().expect("the script is there");
    let said = String::from_utf8_lossy(&found.stderr);
    assert!(found.status.success(), "this test needs Go: {} says {said}", script.display());
    let go = String::from_utf8_lossy(&found.stdout).trim().to_owned();
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("oracle");
    let mut building = Command::new(go);
    building.arg("build").arg("-o").arg(&program).arg(".").current_dir(here.join("tests/go"));
    building.env("GOFLAGS", "-mod=mod").env("GOTOOLCHAIN", "local").env("CGO_ENABLED", "0");
    let built = building.output().expect("Go was just found");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    program
}

//! Values that are encrypted as crypt does it, made with GnuPG.

use std::io::Write;
use std::process::{Command, Stdio};

use base64::Engine;

use crate::support::Confdir;

struct Gpg {
    home: tempfile::TempDir,
}

impl Gpg {
    fn new() -> Self {
        Self { home: tempfile::tempdir().expect("there is room") }
    }

    fn run(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let home = self.home.path();
        let mut command = Command::new("gpg");
        command.args(["--batch", "--quiet", "--yes", "--trust-model", "always"]).args(arguments);
        command.env("GNUPGHOME", home).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("gpg is installed: apt-get install gnupg");
        child.stdin.take().expect("it is piped").write_all(input).expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "gpg {arguments:?}");
        output.stdout
    }

    fn make_key(&self, user: &str, kind: &str) {
        let flags = ["--passphrase", "", "--quick-generate-key", user, kind, "encr", "never"];
        let _ = match kind {
            // A key of elliptic curves encrypts with a second one.
            "future-default" => {
                let flags = ["--passphrase", "", "--quick-generate-key", user, kind, "default"];
                self.run(&flags, b"")
            }
            _ => self.run(&flags, b""),
        };
    }

    /// What `crypt set` would write.
    fn encrypt(&self, user: &str, text: &[u8]) -> String {
        let mut packed = Vec::new();
        let mut gzip = flate2::write::GzEncoder::new(&mut packed, flate2::Compression::default());
        gzip.write_all(text).and_then(|()| gzip.try_finish()).expect("it is memory");
        drop(gzip);
        let message = self.run(&["--encrypt", "--recipient", user], &packed);
        base64::engine::general_purpose::STANDARD.encode(message)
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let mut end = Command::new("gpgconf");
        let _ = end.args(["--kill", "all"]).env("GNUPGHOME", self.home.path()).status();
    }
}

#[test]
fn encrypted_values_are_read_by_who_has_the_key() {
    let gpg = Gpg::new();
    gpg.make_key("app@test", "rsa2048");
    gpg.make_key("new@test", "future-default");
    gpg.make_key("other@test", "rsa2048");
    let mut confdir = Confdir::new();
    confdir.set("DB_PASSWORD", &gpg.encrypt("app@test", b"s3cret"));
    confdir.set("DB_TOKEN", &gpg.encrypt("new@test", b"a token\n"));
    confdir.set("PLAIN", "text");
    confdir.set("FOREIGN", &gpg.encrypt("other@test", b"no"));
    let armored = gpg.run(&["--armor", "--export-secret-keys", "app@test", "new@test"], b"");
    confdir.write("keyring.gpg", &String::from_utf8(armored).expect("it is armored"));
    let template = "{{cgetv \"/db/password\"}} {{with cget \"/db/token\"}}{{.Key}}={{.Value}}{{end}}\
        {{range cgets \"/db/*\"}}{{.Key}};{{end}} {{join (cgetvs \"/db/*\") \",\"}}";
    confdir.resource("a", template, "");
    let keyring = confdir.path("keyring.gpg");
    let with_it = ["-secret-keyring", keyring.as_str()];
    confdir.once(&with_it).ends(0);
    let expected = "s3cret /db/token=a token\n/db/password;/db/token; a token\n,s3cret";
    assert_eq!(confdir.read("out/a"), expected);
    let says = |run: crate::support::Run, wanted: &str| {
        let last = run.ends(1).lines().pop().expect("it says something");
        assert!(last.contains(wanted), "{last}");
    };
    says(confdir.once(&[]), "error calling cgetv: no keyring is given; -secret-keyring names it");
    confdir.resource("a", "{{cgetv \"/foreign\"}}", "");
    says(confdir.once(&with_it), "error calling cgetv: no key of the keyring opens it");
    confdir.resource("a", "{{cgetv \"/plain\"}}", "");
    says(confdir.once(&with_it), "error calling cgetv: the value is not encrypted");
    confdir.write("keyring.gpg", "no keyring");
    says(confdir.once(&with_it), "it is no keyring");
    let absent = confdir.path("absent");
    says(confdir.once(&["-secret-keyring", absent.as_str()]), "No such file or directory");
}

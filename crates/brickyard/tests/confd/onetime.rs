//! A single run: what confd says, writes and returns.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use crate::support::Confdir;

#[test]
fn a_file_is_rendered_checked_placed_and_told_of() {
    let mut confdir = Confdir::new();
    confdir.set("DB_HOST", "h");
    let template = "host={{getv \"/db/host\"}}\n";
    let more = "check_cmd = \"grep -q host= {{.src}} && echo checked\"\n\
                reload_cmd = \"echo loaded >>OUT/reloads\"\nmode = \"0640\"";
    confdir.resource("a", template, more);
    let run = confdir.once(&["-log-level", "debug"]).ends(0);
    assert_eq!(confdir.read("out/a"), "host=h\n");
    assert_eq!(confdir.read("out/reloads"), "loaded\n");
    let mode = std::fs::metadata(confdir.path("out/a")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o640);
    let dest = confdir.path("out/a");
    let lines = run.lines();
    assert_eq!(&lines[..2], ["INFO Backend set to env", "INFO Starting confd"]);
    run.says("INFO Backend source(s) set to ");
    run.says(&format!("INFO Target config {dest} out of sync"));
    run.says("DEBUG \"checked\\n\"");
    run.says(&format!("INFO Target config {dest} has been updated"));
    // RFC 3339 in local time, the machine, the program and the process.
    let first = run.stderr.lines().next().expect("it says something");
    let words: Vec<&str> = first.split(' ').collect();
    assert!(words[0].ends_with('Z') && words[0].contains('T'), "{first}");
    assert!(words[2].ends_with("]:") && words[2].contains('['), "{first}");
    let again = confdir.once(&["-log-level", "debug"]).ends(0);
    again.says(&format!("DEBUG Target config {dest} in sync"));
    assert_eq!(confdir.read("out/reloads"), "loaded\n");
    assert!(confdir.hidden().is_empty(), "{:?}", confdir.hidden());
}

#[test]
fn what_fails_is_said_as_confd_says_it() {
    let mut confdir = Confdir::new();
    confdir.set("K", "1");
    confdir.resource("a", "{{getv \"/nope\"}}", "");
    confdir.resource("b", "{{getv \"/k\"}}", "");
    let missing = "template: a.tmpl:1:2: executing \"a.tmpl\" at <getv \"/nope\">: \
                   error calling getv: key does not exist: /nope";
    let run = confdir.once(&[]).ends(1);
    run.says(&format!("ERROR {missing}"));
    run.says(&format!("FATAL {missing}"));
    assert_eq!(confdir.read("out/b"), "1", "the others are rendered all the same");
    confdir.resource("a", "new", "check_cmd = \"echo no; exit 1\"");
    let run = confdir.once(&[]).ends(1);
    run.says("ERROR \"no\\n\"");
    run.says("ERROR Config check failed: exit status 1");
    run.says("FATAL Config check failed: exit status 1");
    assert!(!confdir.path("out/a").exists() && confdir.hidden().is_empty());
    confdir.resource("a", "{{nofn}}", "");
    let path = confdir.path("templates/a.tmpl");
    let unknown = format!(
        "Unable to process template {path}, template: a.tmpl:1: function \"nofn\" not defined"
    );
    confdir.once(&[]).ends(1).says(&format!("FATAL {unknown}"));
    std::fs::remove_file(&path).expect("it is there");
    confdir.once(&[]).ends(1).says(&format!("FATAL Missing template: {path}"));
    confdir.resource("a", "x", "");
    confdir.write("conf.d/a.toml", "[template]\nsrc = \"a.tmpl\"\ndest = \"/nonexistent/dir/a\"\n");
    let run = confdir.once(&[]).ends(1);
    let fatal = run.lines().pop().expect("it says something");
    assert!(fatal.starts_with("FATAL open /nonexistent/dir/.a"), "{fatal}");
    assert!(fatal.ends_with("No such file or directory (os error 2)"), "{fatal}");
}

#[test]
fn resources_are_read_as_confd_reads_them() {
    let mut confdir = Confdir::new();
    confdir.set("A_B", "ab");
    confdir.write("templates/t", "{{getv \"/b\"}}");
    let out = confdir.path("out");
    // Upper case for lower, unknown keys, a name that only ends with toml, directories below.
    confdir.write(
        "conf.d/deep/btoml",
        &format!("[Template]\nSRC = \"t\"\nDest = \"{out}/x\"\nKeys = [\"/b\"]\nprefix = \"a\"\nunknown = 1\n"),
    );
    let run = confdir.once(&[]).ends(0);
    assert_eq!(confdir.read("out/x"), "ab");
    let toml = confdir.path("conf.d/deep/btoml");
    run.says(&format!("WARNING {toml}:6: `unknown` is ignored"));
    for (text, problem) in [
        ("[template]\ndest = \"/x\"\n", ":1: empty src template"),
        (
            "[template]\nsrc = \"t\"\ndest = \"/x\"\nmode = \"9z\"\n",
            ":4: strconv.ParseUint: parsing \"9z\": invalid syntax",
        ),
        ("[template]\nsrc = 1\n", ":2: `src` must be a string"),
        ("x = \n", ":1: "),
    ] {
        confdir.write("conf.d/deep/btoml", text);
        let last = confdir.once(&[]).ends(1).lines().pop().expect("it says something");
        let wanted = format!("FATAL Cannot process template resource {toml}{problem}");
        assert!(last.starts_with(&wanted), "{last}");
    }
}

#[test]
fn nothing_to_do_is_no_failure() {
    let confdir = Confdir::new();
    confdir.once(&[]).ends(0).says("WARNING Found no templates");
    let absent = confdir.path("absent");
    let run = confdir.once(&["-confdir", absent.as_str()]).ends(0);
    run.says(&format!("WARNING Cannot load template resources: confdir '{absent}' does not exist"));
}

#[test]
fn bad_settings_are_refused() {
    let confdir = Confdir::new();
    let fatal = |flags: &[&str], text: &str| {
        confdir.run(&[&["-onetime"], flags].concat()).ends(1).says(&format!("FATAL {text}"));
    };
    fatal(&["-backend", "rancher"], "Invalid backend");
    fatal(&["-log-level", "x"], "not a valid level: \"x\"");
    fatal(
        &["-backend", "etcd", "-srv-record", "_no._tcp.invalid."],
        "Cannot get nodes from SRV records: _no._tcp.invalid. names nothing",
    );
    fatal(&["-wait", "x"], "-wait: `x` is neither a time nor `MIN:MAX`");
    let run = confdir.run(&["-nope"]).ends(2);
    assert!(
        run.stderr.starts_with("flag provided but not defined: -nope\nUsage of "),
        "{}",
        run.stderr
    );
    let run = confdir.run(&["-version"]).ends(0);
    assert!(run.stdout.starts_with("confd 0.16.0 ("), "{}", run.stdout);
    assert!(confdir.run(&["-h"]).ends(0).stderr.starts_with("Usage of "));
    // A server that does not answer is told at once.
    confdir.resource("a", "x", "");
    fatal(&["-backend", "dynamodb"], "No DynamoDB table configured (name it with -table)");
    fatal(
        &["-backend", "vault"],
        "you have to set the auth type when using the vault backend (-auth-type token -auth-token TOKEN is the simplest)",
    );
    let run = confdir.run(&["-onetime", "-backend", "etcd", "-node", "127.0.0.1:1"]).ends(1);
    let last = run.lines().pop().expect("it says something");
    assert!(last.starts_with("FATAL 127.0.0.1:1: ") && last.contains("refused"), "{last}");
}

#[test]
fn noop_sync_only_and_keep_stage_file_do_what_they_say() {
    let mut confdir = Confdir::new();
    confdir.set("K", "1");
    let more = "check_cmd = \"false\"\nreload_cmd = \"echo x >>OUT/reloads\"";
    confdir.resource("a", "{{getv \"/k\"}}\n", more);
    let dest = confdir.path("out/a");
    let run = confdir.once(&["-noop"]).ends(0);
    run.says(&format!("WARNING Noop mode enabled. {dest} will not be modified"));
    assert!(!run.stderr.contains("out of sync") && !dest.exists());
    let run = confdir.once(&["-noop", "-diff"]).ends(0);
    assert_eq!(run.stdout, format!("--- {dest}\n+++ {dest}\n@@ -0,0 +1,1 @@\n+1\n"));
    confdir.once(&["-sync-only"]).ends(0);
    assert_eq!((confdir.read("out/a"), confdir.read("out/reloads")), ("1\n".into(), String::new()));
    let run = confdir.once(&["-keep-stage-file"]).ends(0);
    let hidden = confdir.hidden();
    assert_eq!(hidden.len(), 1, "{hidden:?}");
    run.says(&format!("INFO Keeping staged file: {}", confdir.path(&format!("out/{}", hidden[0]))));
    assert_eq!(confdir.read(&format!("out/{}", hidden[0])), "1\n");
}

#[test]
fn a_place_that_cannot_be_replaced_is_written() {
    let mut confdir = Confdir::new();
    confdir.set("K", "new");
    confdir.resource("a", "{{getv \"/k\"}}", "");
    confdir.write("out/a", "old");
    let dest = confdir.path("out/a");
    let mounted =
        std::process::Command::new("mount").args(["--bind", dest.as_str(), dest.as_str()]).status();
    assert!(mounted.expect("mount is installed").success(), "a file can be mounted over itself");
    let inode = std::fs::metadata(&dest).expect("it is there").ino();
    let run = confdir.once(&["-log-level", "debug"]);
    let unmounted = std::process::Command::new("umount").arg(dest.as_str()).status();
    assert!(unmounted.expect("umount is installed").success());
    let run = run.ends(0);
    run.says("DEBUG Rename failed - target is likely a mount. Trying to write instead");
    assert_eq!(confdir.read("out/a"), "new");
    assert_eq!(std::fs::metadata(&dest).expect("it is there").ino(), inode);
    assert!(confdir.hidden().is_empty());
    // A link is replaced by a file.
    std::fs::rename(&dest, confdir.path("out/target")).expect("it is there");
    confdir.write("out/target", "old");
    symlink("target", &dest).expect("it is new");
    confdir.once(&[]).ends(0);
    assert_eq!((confdir.read("out/a"), confdir.read("out/target")), ("new".into(), "old".into()));
}

#[test]
fn what_confd_users_asked_for_is_there() {
    let mut confdir = Confdir::new();
    confdir.set("K", "1");
    confdir.set("DB__HOST_NAME", "n");
    let more = "left_delimiter = \"[[\"\nright_delimiter = \"]]\"\ncreate_dest_dirs = true\n\
                output_format = \"json\"\nbackup = true\nowner = \"nobody\"\n";
    confdir.resource("a", "{\"k\": [[getv \"/k\"]]}", more);
    confdir.resource("b", "{{getv \"/db_host/name\"}} {{include \"part\"}}", "");
    confdir.write("templates/part", "part={{getv \"/k\"}}");
    let run = confdir.once(&["-env-underscores"]).ends(0);
    assert_eq!(confdir.read("out/a"), "{\"k\": 1}");
    assert_eq!(std::fs::metadata(confdir.path("out/a")).expect("it is there").uid(), 65534);
    assert_eq!(confdir.read("out/b"), "n part=1", "{}", run.stderr);
    confdir.set("K", "2");
    confdir.once(&["-env-underscores"]).ends(0);
    assert_eq!(
        (confdir.read("out/a"), confdir.read("out/a.bak")),
        ("{\"k\": 2}".into(), "{\"k\": 1}".into())
    );
    confdir.set("K", "no JSON");
    let last =
        confdir.once(&["-env-underscores"]).ends(1).lines().pop().expect("it says something");
    assert!(last.contains("out/a is no Json: "), "{last}");
    assert_eq!(confdir.read("out/a"), "{\"k\": 2}");
    // Nothing is asked of a backend.
    let run = confdir.run(&["-validate", "-backend", "etcd", "-node", "127.0.0.1:1"]).ends(0);
    run.says("INFO 2 template resources are valid");
    confdir.write("templates/b.tmpl", "{{if}}");
    let last = confdir.run(&["-validate"]).ends(1).lines().pop().expect("it says something");
    assert!(
        last.contains("conf.d/b.toml: Unable to process template")
            && last.contains("b.tmpl:1: missing value for if"),
        "{last}"
    );
    let run = confdir.once(&["-log-format", "json"]).ends(1);
    for line in run.stderr.lines() {
        let value: serde_json::Value = serde_json::from_str(line).expect("each line is an object");
        assert!(
            value["time"].is_string() && value["level"].is_string() && value["msg"].is_string()
        );
    }
}

#[test]
fn one_reload_serves_all_that_share_it_where_that_is_asked_for() {
    let mut confdir = Confdir::new();
    confdir.set("K", "1");
    for name in ["a", "b", "c"] {
        confdir.resource(name, "{{getv \"/k\"}}", "reload_cmd = \"echo x >>OUT/reloads\"");
    }
    confdir.once(&["-group-reloads"]).ends(0);
    assert_eq!(confdir.read("out/reloads"), "x\n");
    assert!(confdir.hidden().is_empty());
    confdir.set("K", "2");
    confdir.once(&[]).ends(0);
    assert_eq!(confdir.read("out/reloads"), "x\nx\nx\nx\n");
}

//! What a replacement of confd stumbles over: each trap of its contract by name. Those of the
//! functions are in the template crate, those of the environment in the source crate.

use std::os::unix::fs::PermissionsExt;

use crate::support::Confdir;

#[test]
fn trap_a_global_prefix_replaces_the_resources_own() {
    let mut confdir = Confdir::new();
    confdir.set("OWN_K", "own");
    confdir.set("GLOBAL_K", "global");
    confdir.set("GLOBAL_OWN_K", "both");
    confdir.resource("a", "{{getv \"/k\"}}", "keys = [\"/k\"]\nprefix = \"/own\"");
    confdir.once(&[]).ends(0);
    assert_eq!(confdir.read("out/a"), "own");
    confdir.once(&["-prefix", "global"]).ends(0);
    assert_eq!(confdir.read("out/a"), "global");
}

#[test]
fn trap_a_bad_toml_stops_everything_only_where_that_is_asked_for() {
    let mut confdir = Confdir::new();
    confdir.set("K", "1");
    confdir.resource("b", "{{getv \"/k\"}}", "");
    confdir.write("conf.d/a.toml", "[template\n");
    confdir.once(&["-strict-compat"]).ends(1);
    assert!(!confdir.path("out/b").exists());
    confdir.once(&[]).ends(1);
    assert_eq!(confdir.read("out/b"), "1");
}

#[test]
fn trap_a_failed_reload_is_repeated_unless_it_should_not_be() {
    for (flags, again, reloads) in [(&[][..], 1, "x\nx\n"), (&["-strict-compat"][..], 0, "x\n")] {
        let mut confdir = Confdir::new();
        confdir.set("K", "1");
        confdir.resource("a", "{{getv \"/k\"}}", "reload_cmd = \"echo x >>OUT/reloads; exit 3\"");
        let run = confdir.once(flags).ends(1);
        run.says("FATAL exit status 3");
        assert_eq!(confdir.read("out/a"), "1", "the file is in its place already");
        confdir.once(flags).ends(again);
        assert_eq!(confdir.read("out/reloads"), reloads, "{flags:?}");
    }
}

#[test]
fn trap_another_mode_alone_leads_to_check_and_reload() {
    let mut confdir = Confdir::new();
    confdir.set("K", "1");
    let more =
        "mode = \"0600\"\ncheck_cmd = \"echo c >>OUT/log\"\nreload_cmd = \"echo r >>OUT/log\"";
    confdir.resource("a", "{{getv \"/k\"}}", more);
    confdir.once(&[]).ends(0);
    let dest = confdir.path("out/a");
    std::fs::set_permissions(&dest, std::fs::Permissions::from_mode(0o644)).expect("it is ours");
    let run = confdir.once(&[]).ends(0);
    run.says(&format!("INFO {dest} has mode -rw-r--r-- should be -rw-------"));
    assert_eq!(confdir.read("out/log"), "c\nr\nc\nr\n");
}

#[test]
fn trap_reload_commands_of_others_templates_are_left_alone() {
    let mut confdir = Confdir::new();
    confdir.set("K", "1");
    confdir.resource("a", "{{getv \"/k\"}}", "reload_cmd = \"echo '{{.ID}}' {{.dest}} >OUT/log\"");
    confdir.once(&[]).ends(0);
    assert_eq!(confdir.read("out/log"), format!("{{{{.ID}}}} {}\n", confdir.path("out/a")));
}

#[test]
fn trap_flags_win_over_the_file_and_variables_stand_between() {
    let mut confdir = Confdir::new();
    confdir.set("FILE_K", "file");
    confdir.set("VARIABLE_K", "variable");
    confdir.set("FLAG_K", "flag");
    confdir.resource("a", "{{getv \"/k\"}}", "keys = [\"/k\"]");
    confdir.write("confd.toml", "Prefix = \"file\"\nnodes = []\nunknown = 1\nwatch = false\n");
    confdir.once(&[]).ends(0);
    assert_eq!(confdir.read("out/a"), "file");
    confdir.set("CONFD_PREFIX", "variable");
    confdir.once(&[]).ends(0);
    assert_eq!(confdir.read("out/a"), "variable");
    confdir.once(&["-prefix", "flag"]).ends(0);
    assert_eq!(confdir.read("out/a"), "flag");
    confdir.write("confd.toml", "watch = 1\n");
    let path = confdir.path("confd.toml");
    confdir.once(&[]).ends(1).says(&format!("FATAL {path}:1: `watch` must be true or false"));
}

#[test]
fn trap_output_of_commands_is_quoted_as_go_does() {
    let mut confdir = Confdir::new();
    confdir.set("K", "1");
    confdir.resource("a", "x", "check_cmd = \"printf 'a\\\\tb\\\"\\\\377'; exit 2\"");
    let run = confdir.once(&[]).ends(1);
    run.says("ERROR \"a\\tb\\\"\\xff\"");
    run.says("ERROR Config check failed: exit status 2");
}

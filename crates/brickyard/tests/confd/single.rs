//! `brickyard template`: one template by itself.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::Confdir;

fn template(confdir: &Confdir, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_brickyard"));
    command.args(arguments).current_dir(confdir.path("")).env("USER_OF_TEST", "brick");
    let output = command.output().expect("it can be run");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn templates_are_checked_rendered_and_explained() {
    let confdir = Confdir::new();
    confdir.write("good.tmpl", "{{getv \"/a/b\"}} {{getv \"/no\" \"default\"}} {{getenv \"USER_OF_TEST\"}} {{len (gets \"/a/*\")}} {{include \"part\"}}\n");
    confdir.write("part", "[{{getv \"/k\"}}]");
    confdir.write("bad.tmpl", "ok\n{{if}}\n");
    confdir.write("calls.tmpl", "{{template \"absent\"}}");
    confdir.write("keys.yaml", "a: {b: one, c: two}\n");
    let (code, _, said) = template(&confdir, &["template", "check", "good.tmpl"]);
    assert_eq!((code, said.trim()), (Some(0), "checked 1 template"));
    let (code, _, said) =
        template(&confdir, &["template", "check", "bad.tmpl", "calls.tmpl", "good.tmpl"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("error: template: bad.tmpl:2: missing value for if"), "{said}");
    assert!(said.contains("error: calls.tmpl: template \"absent\" is not defined"), "{said}");
    let more = ["good.tmpl", "--keys", "keys.yaml", "-k", "/k=v"];
    let (code, out, said) = template(&confdir, &[&["template", "render"][..], &more].concat());
    assert_eq!((code, out.as_str()), (Some(0), "one default brick 2 [v]\n"), "{said}");
    let (code, out, said) = template(&confdir, &[&["template", "explain"][..], &more].concat());
    assert_eq!(code, Some(0), "{said}");
    let rows: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    for row in [
        &["key", "/a/b", "one"][..],
        &["key", "/no", "-"],
        &["key", "/k", "v"],
        &["keys", "below", "/a/*", "2", "keys"],
        &["variable", "USER_OF_TEST", "brick"],
        &["template", "part", "included"],
    ] {
        assert!(rows.contains(&row.to_vec()), "no {row:?} in {out}");
    }
    let (code, _, said) = template(&confdir, &["template", "render", "good.tmpl"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("key does not exist: /a/b"), "{said}");
    assert_eq!(template(&confdir, &["template", "render", "absent"]).0, Some(3));
}

#[test]
fn templates_are_put_in_order_and_render_the_same() {
    let confdir = Confdir::new();
    confdir.write("a.tmpl", "x {{  getv \"/k\"|toUpper  }}\n{{- if  true -}} y {{ end }}\n");
    confdir.write("b.tmpl", "{{getv \"/k\"}}\n");
    let mode = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(confdir.path("a.tmpl"), mode).expect("it is ours");
    let rendered = || template(&confdir, &["template", "render", "a.tmpl", "-k", "/k=v"]).1;
    let before = rendered();
    let both = ["a.tmpl", "b.tmpl"];
    let (code, out, said) =
        template(&confdir, &[&["template", "fmt", "--check"][..], &both].concat());
    assert_eq!((code, out.as_str()), (Some(1), "a.tmpl\n"), "{said}");
    assert!(said.contains("1 template not in order"), "{said}");
    let (code, out, _) = template(&confdir, &[&["template", "fmt"][..], &both].concat());
    assert_eq!((code, out.as_str()), (Some(0), "a.tmpl\n"));
    let written = "x {{getv \"/k\" | toUpper}}\n{{- if true -}} y {{end}}\n";
    assert_eq!(confdir.read("a.tmpl"), written);
    assert_eq!(rendered(), before);
    let mode = std::fs::metadata(confdir.path("a.tmpl")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o640);
    let (code, out, _) = template(&confdir, &[&["template", "fmt", "--check"][..], &both].concat());
    assert_eq!((code, out.as_str()), (Some(0), ""));
    // One that is none leaves the others alone.
    confdir.write("a.tmpl", "{{ 1 }}");
    confdir.write("bad.tmpl", "{{if}}");
    assert_eq!(template(&confdir, &["template", "fmt", "a.tmpl", "bad.tmpl"]).0, Some(2));
    assert_eq!(confdir.read("a.tmpl"), "{{ 1 }}");
}

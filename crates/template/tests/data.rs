//! The functions that read data: confd's, whose oddities users' files rely on, and `line`.

use std::collections::BTreeSet;

use brickyard_template::{
    LineError, LineErrorKind, LineInstance, LineValue, MapScope, Pair, Reads, Scope, Text,
    expand_check, parse,
};

use crate::render;

fn scope() -> MapScope {
    let mut scope = MapScope::new([
        ("/a", "root leaf"),
        ("/app/b", "2"),
        ("/app/a", "10"),
        ("/app/sub/x", "1"),
        ("/app/sub/y/z", "0"),
        ("/apple", "no child of app"),
        ("/list", "b,a"),
    ]);
    let instance = |slot: u32, host: &str| LineInstance {
        host: host.to_owned(),
        port: 6379,
        address: format!("/sys/dev/db/{slot}/redis"),
        slot,
    };
    let line = LineValue {
        host: "10.0.0.2".to_owned(),
        port: 6379,
        address: "/sys/dev/db/1/redis".to_owned(),
        instances: vec![instance(1, "10.0.0.2"), instance(2, "fd00::3")],
    };
    scope.lines.insert("db".to_owned(), line);
    scope
}

fn all(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(render(&scope(), text), *expected, "{text}");
    }
}

#[test]
fn listings_are_confds() {
    all(&[
        ("{{ls \"/app\"}}", "[a b sub]"),
        ("{{ls \"/app/\"}}", "[a b sub]"),
        ("{{ls \"/app/a\"}}", "[a]"),
        ("{{ls \"/app/sub/y\"}}", "[z]"),
        ("{{lsdir \"/app\"}}", "[sub]"),
        ("{{lsdir \"/app/sub\"}}", "[y]"),
        ("{{ls \"/nothing\"}}{{lsdir \"/app/a\"}}", "[][]"),
        // A path is compared part by part, and the root has two empty ones.
        ("{{ls \"/\"}}", "[a apple list]"),
        ("{{lsdir \"/\"}}", "[]"),
    ]);
}

#[test]
fn patterns_stay_within_a_part_and_values_have_their_own_order() {
    all(&[
        ("{{range gets \"/app/*\"}}{{.Key}}={{.Value}};{{end}}", "/app/a=10;/app/b=2;"),
        ("{{range gets \"/app/[^a]\"}}{{.Key}}{{end}}", "/app/b"),
        ("{{range gets \"/ap?le\"}}{{.Key}}{{end}}", "/apple"),
        ("{{getvs \"/app/*\"}}", "[10 2]"),
        ("{{getvs \"/app/*/*\"}}", "[1]"),
        ("{{gets \"/zzz/*\"}}", "[]"),
        (
            "{{getvs \"[\"}}",
            "EXEC template: t:1:2: executing \"t\" at <getvs \"[\">: error calling getvs: syntax error in pattern",
        ),
    ]);
}

#[test]
fn turning_around_works_on_what_confd_knows() {
    all(&[
        ("{{reverse (split \"a,b\" \",\")}}", "[b a]"),
        // `gets` has a type of its own, which `reverse` does not know.
        ("{{range reverse (gets \"/app/*\")}}{{.Key}} {{end}}", "/app/a /app/b "),
        ("{{range reverse (sortKVByLength (gets \"/a*\"))}}{{.Key}} {{end}}", "/apple /a "),
        ("{{sortByLength (split \"ccc,a,bb\" \",\")}}", "[a bb ccc]"),
    ]);
}

#[test]
fn a_line_is_a_record_that_prints_its_endpoint() {
    all(&[
        ("{{line \"db\"}}", "10.0.0.2:6379"),
        (
            "{{with line \"db\"}}{{.Host}} {{.Port}} {{.Address}}{{end}}",
            "10.0.0.2 6379 /sys/dev/db/1/redis",
        ),
        (
            "{{range (line \"db\").Instances}}{{.Slot}}={{.Endpoint}} {{end}}",
            "1=10.0.0.2:6379 2=[fd00::3]:6379 ",
        ),
        ("{{printf \"%s|%q\" (line \"db\") (line \"db\")}}", "10.0.0.2:6379|\"10.0.0.2:6379\""),
        ("{{add 1 (len (line \"db\").Instances)}}", "3"),
        (
            "{{(line \"db\").Nope}}",
            "EXEC template: t:1:8: executing \"t\" at <\"db\">: can't evaluate field Nope in type brickyard.Line",
        ),
        (
            "{{line \"dbx\"}}",
            "EXEC template: t:1:2: executing \"t\" at <line \"dbx\">: error calling line: line `dbx`: the service needs no line of that name; it has `db`",
        ),
    ]);
}

/// A scope whose only line has nobody at its end.
struct Deserted;

impl Scope for Deserted {
    fn value(&self, _key: &str) -> Option<Text> {
        None
    }
    fn keys(&self, _prefix: &str) -> Vec<Pair> {
        Vec::new()
    }
    fn env(&self, _name: &str) -> Option<String> {
        None
    }
    fn line(&self, alias: &str) -> Result<LineValue, LineError> {
        let target = "db/redis".to_owned();
        Err(LineError { alias: alias.to_owned(), kind: LineErrorKind::NoInstance { target } })
    }
}

#[test]
fn a_line_without_instances_says_so() {
    let error = parse("t", "x\n {{line \"db\"}}").unwrap().render(&Deserted).unwrap_err();
    assert_eq!(
        error.message,
        "template: t:2:3: executing \"t\" at <line \"db\">: error calling line: line `db`: no instance of db/redis yet"
    );
    assert_eq!((error.line, error.column), (2, 3));
}

#[test]
fn what_was_read_comes_back_whether_it_was_there_or_not() {
    let text = "{{getv \"/a\"}}{{getv \"/gone\" \"x\"}}{{exists \"/b\"}}{{gets \"/app/*\"}}{{ls \"/app/sub/\"}}\
                {{getenv \"HOME\"}}{{line \"db\"}}{{if false}}{{getv \"/unreached\"}}{{end}}";
    let rendered = parse("t", text).unwrap().render(&scope()).unwrap();
    let set = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<BTreeSet<_>>();
    let expected = Reads {
        keys: set(&["/a", "/gone", "/b"]),
        prefixes: set(&["/app/", "/app/sub"]),
        env: set(&["HOME"]),
        lines: set(&["db"]),
        ..Reads::default()
    };
    assert_eq!(rendered.reads, expected);
}

#[test]
fn lines_and_missing_templates_are_seen_without_rendering() {
    let text = "{{if false}}{{(line \"a\").Host}}{{end}}{{\"b\" | line}}{{$x := \"c\"}}{{line $x}}\
                {{define \"t\"}}{{range (line `d`).Instances}}{{else}}{{print (print (line \"e\"))}}{{end}}{{end}}\
                {{template \"t\"}}{{with 1}}{{template \"gone\"}}{{end}}";
    let template = parse("main", text).unwrap();
    let lines: Vec<String> = template.lines_used().into_iter().collect();
    assert_eq!(lines, ["a", "b", "d", "e"]);
    let undefined: Vec<String> = template.undefined_templates().into_iter().collect();
    assert_eq!(undefined, ["gone"]);
}

#[test]
fn a_parse_error_knows_its_place() {
    let error = parse("web.tmpl", "a\nb {{getvv \"/x\"}}").unwrap_err();
    assert_eq!(error.message, "template: web.tmpl:2: function \"getvv\" not defined");
    assert_eq!((error.line, error.offset), (2, 6));
}

#[test]
fn check_arguments_are_expanded_one_by_one() {
    let arguments = ["grep", "-q", "{{.src}}", "--in={{.src}}"].map(str::to_owned);
    let expanded = expand_check(&arguments, "/tmp/a b").unwrap();
    assert_eq!(expanded, ["grep", "-q", "/tmp/a b", "--in=/tmp/a b"]);
    let error = expand_check(&["{{.src".to_owned()], "x").unwrap_err();
    assert_eq!(error.to_string(), "template: check:1: unclosed action");
}

#[test]
fn bytes_pass_through_and_control_bytes_are_replaced_in_html() {
    let template = parse("t", "{{\"\\xff\\x00\"}}{{html \"\\x00\"}}").unwrap();
    let rendered = template.render(&scope()).unwrap();
    assert_eq!(rendered.output, b"\xff\0\xef\xbf\xbd");
}

#[test]
fn json_errors_are_worded_as_by_go() {
    for (json, expected) in [
        ("", "unexpected end of JSON input"),
        ("{\\\"a\\\":1} x", "invalid character 'x' after top-level value"),
        ("{\\\"a\\\" 1}", "invalid character '1' after object key"),
        ("[1]", "json: cannot unmarshal array into Go value of type map[string]interface {}"),
    ] {
        let found = render(&scope(), &format!("{{{{json \"{json}\"}}}}"));
        assert!(found.ends_with(&format!("error calling json: {expected}")), "{found}");
    }
}

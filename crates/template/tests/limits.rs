//! No template hangs, fills or overflows what renders it.

use brickyard_template::{Limits, MapScope, parse};

use crate::render;

fn fails(text: &str, expected: &str) {
    let found = render(&MapScope::default(), text);
    assert!(found.contains(expected), "{found}");
}

#[test]
fn steps_are_limited() {
    fails("{{range 1000000000000}}{{end}}", "exceeded maximum number of steps (10000000)");
    fails("{{range seq 1 100000}}{{range seq 1 100000}}{{end}}{{end}}", "number of steps");
    fails("{{seq 1 1000000000000}}", "more than 1000000 elements");
}

#[test]
fn recursion_is_limited() {
    let expected =
        "executing \"r\" at <{{template \"r\"}}>: exceeded maximum template depth (1500)";
    fails("{{define \"r\"}}{{template \"r\"}}{{end}}{{template \"r\"}}", expected);
    // The most stack for each level: a call inside of parentheses inside of a range.
    let body = "{{range 1}}{{with (print (print 1))}}{{template \"r\" (print .)}}{{end}}{{end}}";
    fails(
        &format!("{{{{define \"r\"}}}}{body}{{{{end}}}}{{{{template \"r\"}}}}"),
        "exceeded maximum template depth (1500)",
    );
}

#[test]
fn nesting_is_limited_when_parsed() {
    let deep = |count: usize| format!("{{{{{}1{}}}}}", "(".repeat(count), ")".repeat(count));
    assert_eq!(render(&MapScope::default(), &deep(490)), "1");
    fails(&deep(100_000), "PARSE template: t:1: max expression depth exceeded");
    let blocks = |count: usize| "{{if 1}}".repeat(count) + "x" + &"{{end}}".repeat(count);
    assert_eq!(render(&MapScope::default(), &blocks(490)), "x");
    fails(&blocks(100_000), "PARSE template: t:1: max nesting depth exceeded");
    fails(
        &("{{if 0}}".to_owned() + &"{{else if 0}}".repeat(100_000)),
        "max nesting depth exceeded",
    );
    fails(&"{{block \"x\" 1}}".repeat(100_000), "max nesting depth exceeded");
    let json = format!("{{{{jsonArray `{}`}}}}", "[".repeat(100_000));
    fails(&json, "exceeded max depth");
}

#[test]
fn output_and_growth_are_limited() {
    let limits = Limits { output_max: 1000, ..Limits::default() };
    let template = parse("t", "{{range 1000}}ab{{end}}").unwrap().with_limits(limits);
    let error = template.render(&MapScope::default()).unwrap_err();
    assert_eq!(
        error.message,
        "template: t:1:14: executing \"t\" at <ab>: exceeded maximum output size (1000 bytes)"
    );
    // A text that doubles in every turn.
    fails("{{$x := \"xxxxxxxx\"}}{{range 100}}{{$x = print $x $x}}{{end}}", "number of steps");
    // One call that asks for a terabyte.
    let wide = "%1000000d".repeat(1000);
    fails(&format!("{{{{printf `{wide}`}}}}"), "(MISSING)");
    let many = "1 ".repeat(1000);
    fails(&format!("{{{{printf `{wide}` {many}}}}}"), "larger than 67108864 bytes");
    let big = "{{$x := printf \"%1000000d\" 1}}";
    fails(&format!("{big}{{{{replace $x \"\" $x -1}}}}"), "larger than 67108864 bytes");
    fails(&format!("{big}{{{{replace $x \" \" $x -1}}}}"), "larger than 67108864 bytes");
    fails(&format!("{big}{{{{join (split $x \" \") $x}}}}"), "larger than 67108864 bytes");
}

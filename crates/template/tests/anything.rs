//! Whatever is parsed and rendered ends with an output or an error, never with a panic.

use brickyard_template::{Limits, MapScope, Value, parse};
use proptest::prelude::*;

fn survives(text: &str) {
    let limits = Limits { steps_max: 20_000, output_max: 1 << 20, ..Limits::default() };
    let scope = MapScope::new([("/a", "1"), ("/b", "{\"x\":[1,null]}")]);
    let Ok(template) = parse("t", text) else {
        return;
    };
    let template = template.with_limits(limits);
    let dot = Value::map([
        ("a", Value::text("text")),
        ("l", Value::strings(["x", "y"])),
        ("n", Value::Nil),
        ("f", Value::Float(1.5)),
    ]);
    // Both ends are fine; what is tested is that one of them is reached.
    let _ = template.render_with(&scope, dot);
    let _ = (template.lines_used(), template.undefined_templates());
}

/// Pieces of templates, so that most of what is put together parses.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{{",
        "}}",
        "{{- ",
        " -}}",
        "{{end}}",
        "{{else}}",
        "{{if ",
        "{{range ",
        "{{with ",
        "{{define \"x\"}}",
        "{{template \"x\" .}}",
        "{{break}}",
        "{{continue}}",
        "$x := ",
        "$x",
        "$i, $e := ",
        " = ",
        ".",
        ".a",
        ".l",
        ".n",
        ".f",
        " ",
        "\n",
        "|",
        "(",
        ")",
        ",",
        "\"s\"",
        "'c'",
        "`r`",
        "1",
        "-2",
        "0x1f",
        "1.5e3",
        "1i",
        "nil",
        "true",
        "print ",
        "printf \"%v %5.2f %-*d %[2]q %#x %!\" ",
        "index ",
        "slice ",
        "len ",
        "eq ",
        "lt ",
        "and ",
        "or ",
        "not ",
        "getv \"/a\" ",
        "gets \"/*\" ",
        "json (getv \"/b\") ",
        "split \"a,b\" \",\" ",
        "seq 1 3 ",
        "map \"k\" 1 ",
        "line \"db\" ",
        "html ",
        "js ",
        "call ",
        "é",
        "{{/* c */}}",
        "text",
    ]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

const REAL: &str = "{{define \"T\"}}<{{.}}>{{end}}{{range $i, $e := gets \"/*\"}}{{if eq $i 0 -}} {{$e.Key | printf \"%-10s|\"}}\
                    {{- else if $e}}{{template \"T\" $e.Value}}{{else}}{{break}}{{end}}{{end}}{{with $x := index .l 1}}{{slice $x 0 1}}{{end}}";

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_ends(text in "\\PC{0,60}") {
        survives(&text);
        survives(&format!("{{{{{text}}}}}"));
    }

    #[test]
    fn any_pieces_end(text in pieces()) {
        survives(&text);
    }

    #[test]
    fn any_mutation_of_a_real_one_ends(at in 0..REAL.len(), length in 0_usize..6, put in "\\PC{0,3}") {
        let end = (at + length).min(REAL.len());
        survives(&format!("{}{put}{}", &REAL[..at], &REAL[end..]));
    }

    #[test]
    fn any_format_ends(format in "(%[-+# 0]{0,2}[0-9*]{0,2}(\\.[0-9*]{0,2})?(\\[[0-9]\\])?[a-zA-Z%]|\\PC){0,5}") {
        survives(&format!("{{{{printf {format:?} .a 1 .f .l nil}}}}"));
        survives(&format!("{{{{printf `{}` 5 \"é\" 1e300 'x'}}}}", format.replace('`', "")));
    }
}

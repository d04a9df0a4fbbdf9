//! No text makes the parser panic, and every finding has a place that exists.

use brickyard_build::parse;
use brickyard_core::Source;
use proptest::prelude::*;

fn try_it(text: &str) {
    let source = Source::new("Dockerfile", text);
    let (_, diagnostics) = parse(&source);
    for found in &diagnostics {
        for label in &found.labels {
            assert!(label.span.start <= label.span.end, "{found:?}");
            assert!(label.span.end <= text.len(), "{found:?}");
        }
        assert!(!found.render(false).is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,60}|[A-Z a-z\\[\\]\"'=\\\\\n#<$-]{0,100}") {
        try_it(&text);
    }

    #[test]
    fn instructions_with_any_arguments_never_panic(
        lines in proptest::collection::vec(
            ("(FROM|COPY|ADD|ENV|LABEL|ARG|EXPOSE|CMD|HEALTHCHECK|SHELL|VOLUME|RUN|# escape=`)",
             "[ a-z=\\[\\]\"'\\\\,$<{}\u{e4}-]{0,20}"),
            0..6,
        ),
    ) {
        let text: String = lines.iter().map(|(word, rest)| format!("{word} {rest}\n")).collect();
        try_it(&text);
    }
}

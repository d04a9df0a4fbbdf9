//! Functions of confd's followers and of the collections that users' files call. What is expected is
//! what their own documentation shows.

use brickyard_template::MapScope;

use crate::render;

fn all(cases: &[(&str, &str)]) {
    let scope = MapScope::new([("/a", "1"), ("/b", "2")]);
    for (text, expected) in cases {
        assert_eq!(render(&scope, text), *expected, "{text}");
    }
}

#[test]
fn defaults_are_taken_for_what_is_empty() {
    all(&[
        (r#"{{default "x" ""}} {{default "x" "y"}}"#, "x y"),
        (r#"{{"" | default "x"}}"#, "x"),
        (r#"{{ternary "yes" "no" true}} {{false | ternary "yes" "no"}}"#, "yes no"),
        (r#"{{coalesce "" 0 "third"}}"#, "third"),
        (r#"{{empty ""}} {{empty "a"}} {{empty 0}}"#, "true false true"),
    ]);
}

#[test]
fn texts_are_changed() {
    all(&[
        (r#"{{indent 2 "a\nb"}}"#, "  a\n  b"),
        (r#"{{nindent 2 "a"}}"#, "\n  a"),
        (r#"{{quote "a"}} {{squote "a"}}"#, r#""a" 'a'"#),
        (r#"{{trimPrefix "v1.0" "v"}} {{trimSuffix "a.conf" ".conf"}}"#, "1.0 a"),
        (r#"{{"ab" | repeat 3}}"#, "ababab"),
        (r#"{{nospace " a b "}}"#, "ab"),
        (r#"{{snakecase "FirstName"}} {{kebabcase "FirstName"}}"#, "first_name first-name"),
        (r#"{{regexMatch "^[a-z]+$" "abc"}} {{regexFind "[0-9]+" "a12b"}}"#, "true 12"),
        (r#"{{regexReplaceAll "a(x*)b" "-ab-axxb-" "${1}W"}}"#, "-W-xxW-"),
        (r#"{{toUpper "a"}}{{toLower "B"}}{{replace "oink oink" "k" "ky" 1}}"#, "Aboinky oink"),
    ]);
}

#[test]
fn digests_and_encodings_are_the_known_ones() {
    all(&[
        (
            r#"{{sha256sum "abc"}}"#,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
        (r#"{{base64Encode "hi"}} {{base64Decode "aGk="}}"#, "aGk= hi"),
        (r#"{{toJson (dict "a" 1)}}"#, r#"{"a":1}"#),
        (r#"{{(fromJson "{\"a\": [1, 2]}").a}}"#, "[1 2]"),
    ]);
}

#[test]
fn collections_are_made_and_asked() {
    all(&[
        (r#"{{list 1 "b"}}"#, "[1 b]"),
        (
            r#"{{$d := dict "a" 1 "b" 2}}{{hasKey $d "a"}} {{hasKey $d "x"}} {{keys $d}}"#,
            "true false [a b]",
        ),
        (r#"{{append (list 1 2) 3}}"#, "[1 2 3]"),
        (r#"{{range seq 1 3}}{{.}}{{end}}"#, "123"),
        (r#"{{pluck "a" (dict "a" 1) (dict "a" 2)}}"#, "[1 2]"),
    ]);
}

#[test]
fn division_by_zero_is_a_plain_error() {
    let scope = MapScope::new([("/a", "1")]);
    let text = render(&scope, "{{div 1 0}}");
    assert!(text.starts_with("EXEC") && text.contains("divi") && text.contains("zero"), "{text}");
}

#[test]
fn what_is_around_is_not_available_without_a_port() {
    let scope = MapScope::new([("/a", "1")]);
    for call in ["hostname", "datetime", "lookupIP \"localhost\"", "fileExists \"/\""] {
        let text = render(&scope, &format!("{{{{{call}}}}}"));
        assert!(text.starts_with("EXEC") && text.contains("is not available here"), "{text}");
    }
}

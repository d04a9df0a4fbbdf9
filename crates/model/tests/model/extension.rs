//! The JSON Schema of `x-brickyard` says what the loader says.

use brickyard_core::Diagnostic;
use brickyard_model::{codes, spec};
use jsonschema::Validator;
use serde_json::Value;

use crate::yard::{Yard, shown};

fn validator() -> Validator {
    jsonschema::validator_for(&spec::schema()).expect("the schema is one")
}

fn as_json(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|err| panic!("{err}\n{text}"))
}

#[test]
fn the_schema_is_valid_itself() {
    assert!(jsonschema::meta::is_valid(&spec::schema()));
}

#[test]
fn the_examples_are_valid() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
    let mut seen = 0;
    for example in std::fs::read_dir(root).unwrap() {
        let path = example.unwrap().path().join("compose.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("x-brickyard"), "{}", path.display());
        let errors: Vec<String> =
            validator().iter_errors(&as_json(&text)).map(|err| err.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
        seen += 1;
    }
    assert!(seen >= 2, "there are {seen} examples");
}

/// Whether the loader finds that something is written in a wrong way. What is only wrong in its
/// context, as a need that leads nowhere, is nothing that a schema could say.
fn is_written_wrong(text: &str) -> (bool, String) {
    let written = [
        codes::UNKNOWN_KEY,
        codes::WRONG_TYPE,
        codes::BAD_VALUE,
        codes::BAD_NAME,
        codes::MISSING_KEY,
    ];
    let findings = Yard::new(text).file("/project/t", "x").load().findings();
    let is_one = |found: &Diagnostic| written.contains(&found.code);
    (findings.iter().any(is_one), shown(&findings))
}

/// A file with this below the `x-brickyard` of a service, or of the system where it begins with `^`.
fn file(extension: &str) -> String {
    match extension.strip_prefix('^') {
        Some(top) => format!("services: {{web: {{image: i}}}}\nx-brickyard: {top}\n"),
        None => format!(
            "services:\n  db: {{image: i, x-brickyard: {{provides: {{sql: 1}}}}}}\n  web:\n    image: i\n    \
             x-brickyard: {extension}\n"
        ),
    }
}

const RIGHT: &[&str] = &[
    "",
    "{}",
    "{provides: , needs: , templates: , environment: }",
    "{provides: {http: 80, x: '81'}}",
    "{provides: {http: {port: 80}}}",
    "{provides: {http: {port: 80, protocol: http, health: }}}",
    "{provides: {http: {port: 80, health: tcp}, b: {port: 81, health: none}}}",
    "{provides: {http: {port: 80, health: {path: /x, interval: 1s, timeout: 1.5s, retries: 2}}}}",
    "{provides: {http: {port: 80, health: {start_period: 0, start_interval: 1m30s}}}}",
    "{needs: {db: }}",
    "{needs: {db: db/sql}}",
    "{needs: {main: {to: db/sql, on_change: reload}}}",
    "{needs: {db: {on_change: ignore}}}",
    "{needs: [db]}",
    "{needs: [{main: db}]}",
    "{environment: {A: '{{x}}', B: , C: 5, D: true}}",
    "{templates: []}",
    "{templates: [{src: ./t, dest: /x}]}",
    "{templates: [{src: ./t, dest: /x, mode: '0600', uid: 1, gid: 2}]}",
    "{templates: [{src: ./t, dest: /x, mode: 0600, check: [a, b], check_timeout: 5s}]}",
    "{templates: [{src: ./t, dest: /x, reload: none}]}",
    "{templates: [{src: ./t, dest: /x, reload: {signal: HUP}}]}",
    "{templates: [{src: ./t, dest: /x, reload: {exec: [a, 5]}, reload_timeout: 1m}]}",
    "^",
    "^ {config: , external: }",
    "^ {config: {a: 1, b: {c: x, d: }, e/f: true}}",
    "^ {external: {mail: {smtp: 'mail.example.com:25', v6: '[::1]:80'}}}",
];

const WRONG: &[&str] = &[
    "5",
    "[]",
    "{provide: {http: 80}}",
    "{provides: 80}",
    "{provides: [http]}",
    "{provides: {http: }}",
    "{provides: {http: 0}}",
    "{provides: {http: 65536}}",
    "{provides: {http: eighty}}",
    "{provides: {-http: 80}}",
    "{provides: {'a b': 80}}",
    "{provides: {http: {}}}",
    "{provides: {http: {protocol: http}}}",
    "{provides: {http: {port: 80, prot: http}}}",
    "{provides: {http: {port: 80, protocol: []}}}",
    "{provides: {http: {port: 80, health: udp}}}",
    "{provides: {http: {port: 80, health: {path: x}}}}",
    "{provides: {http: {port: 80, health: {interval: soon}}}}",
    "{provides: {http: {port: 80, health: {interval: 5}}}}",
    "{provides: {http: {port: 80, health: {retries: -1}}}}",
    "{provides: {http: {port: 80, health: {test: x}}}}",
    "{needs: db}",
    "{needs: {'': db}}",
    "{needs: {db: 'db/sql/x'}}",
    "{needs: {db: 'd b'}}",
    "{needs: {db: []}}",
    "{needs: {db: {too: db}}}",
    "{needs: {db: {to: }}}",
    "{needs: {db: {on_change: never}}}",
    "{needs: [[db]]}",
    "{needs: [~]}",
    "{environment: [A=b]}",
    "{environment: {A: [b]}}",
    "{environment: {'': b}}",
    "{environment: {'A=': b}}",
    "{templates: {src: ./t}}",
    "{templates: [t]}",
    "{templates: [~]}",
    "{templates: [{}]}",
    "{templates: [{src: ./t}]}",
    "{templates: [{dest: /x}]}",
    "{templates: [{src: ./t, dest: x}]}",
    "{templates: [{src: ./t, dest: /x/}]}",
    "{templates: [{src: ./t, dest: /x, mod: 1}]}",
    "{templates: [{src: ./t, dest: /x, mode: '999'}]}",
    "{templates: [{src: ./t, dest: /x, uid: root}]}",
    "{templates: [{src: ./t, dest: /x, check: nginx}]}",
    "{templates: [{src: ./t, dest: /x, check: []}]}",
    "{templates: [{src: ./t, dest: /x, check: }]}",
    "{templates: [{src: ./t, dest: /x, check: [a], check_timeout: 5}]}",
    "{templates: [{src: ./t, dest: /x, reload: again}]}",
    "{templates: [{src: ./t, dest: /x, reload: }]}",
    "{templates: [{src: ./t, dest: /x, reload: {}}]}",
    "{templates: [{src: ./t, dest: /x, reload: {signal: HUP, exec: [a]}}]}",
    "{templates: [{src: ./t, dest: /x, reload: {exec: []}}]}",
    "{templates: [{src: ./t, dest: /x, reload: {exec: }}]}",
    "{templates: [{src: ./t, dest: /x, reload: {shell: x}}]}",
    "{external: {a: {b: 'c:1'}}}",
    "^ 5",
    "^ {configs: {}}",
    "^ {config: 5}",
    "^ {config: {a: [1]}}",
    "^ {external: {mail: 'a:1'}}",
    "^ {external: {mail: {smtp: a}}}",
    "^ {external: {mail: {smtp: 'a:0'}}}",
    "^ {external: {mail: }}",
    "^ {provides: {http: 80}}",
];

#[test]
fn schema_and_loader_agree() {
    let validator = validator();
    for (extensions, wrong) in [(RIGHT, false), (WRONG, true)] {
        for extension in extensions {
            let text = file(extension);
            let (is_wrong, findings) = is_written_wrong(&text);
            assert_eq!(is_wrong, wrong, "the loader on {extension}: {findings}");
            let refused = !validator.is_valid(&as_json(&text));
            assert_eq!(refused, wrong, "the schema on {extension}");
        }
    }
}

//! No text makes the loader panic, and every error has a place that exists.

use proptest::prelude::*;

use crate::yard::Yard;

const VALID: &str = "
name: x
services:
  web:
    image: ${I:-a}
    build: {context: ., args: {A: b}}
    command: a 'b c'
    ports: ['127.0.0.1:80-81:80-81', {target: 1, published: 99}]
    depends_on: {db: {condition: service_healthy}}
    healthcheck: {test: [CMD, x], interval: 1s}
    volumes: ['d:/d:ro', {type: tmpfs, target: /t, tmpfs: {size: 1m}}]
    deploy: {replicas: 2, update_config: {order: start-first}}
    x-brickyard:
      provides: {http: {port: 80, health: {path: /}}}
      needs: {db: {to: db/redis, on_change: reload}}
      templates: [{src: t, dest: /t, mode: '0644', reload: {exec: [a]}}]
      environment: {A: '{{$x}}'}
  db: &db
    image: i
    expose: [6379]
    x-brickyard: {provides: {redis: 6379}}
  c: {<<: *db, links: ['db:x']}
volumes: {d: {}}
x-brickyard: {config: {a: {b: c}}, external: {m: {s: 'h:1'}}}
";

fn try_it(text: &str) {
    let mut loaded = Yard::new(text).file("/project/t", "x").file("/project/.env", text).load();
    let system = loaded.take_runnable();
    let findings = loaded.findings();
    for found in &findings {
        assert!(!found.render(false).is_empty());
        for label in &found.labels {
            assert!(label.span.start <= label.span.end, "{found:?}");
            assert!(label.span.end <= label.source.text.len(), "{found:?}");
        }
    }
    let has_errors = findings.iter().any(brickyard_core::Diagnostic::is_error);
    assert_eq!(system.is_none(), has_errors);
}

#[test]
fn the_valid_file_is_valid() {
    let loaded = Yard::new(VALID).file("/project/t", "x").load();
    assert_eq!(crate::yard::shown(&loaded.findings()), "");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,80}|[a-z:${}\\[\\],&*<\"'|> \n-]{0,120}") {
        try_it(&text);
    }

    #[test]
    fn mutated_files_never_panic(
        at in 0..VALID.len(),
        cut in 0..20_usize,
        put in "[a-z0-9:${}\\[\\],&*<!%\"'|>/ \n\u{e4}-]{0,6}",
    ) {
        let mut text = VALID.to_owned();
        let end = (at + cut).min(text.len());
        text.replace_range(at..end, &put);
        try_it(&text);
    }
}

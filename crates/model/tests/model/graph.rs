//! Start order and dependents.

use brickyard_core::ServiceName;
use brickyard_model::graph::{dependents_of, start_order};

use crate::yard::system;

fn order(compose: &str) -> Vec<String> {
    let levels = start_order(&system(compose));
    levels
        .iter()
        .map(|level| {
            let names: Vec<&str> = level.iter().map(ServiceName::as_str).collect();
            names.join(" ")
        })
        .collect()
}

#[test]
fn dependencies_and_needs_order_the_start() {
    let text = "
services:
  web: {image: i, depends_on: [app], x-brickyard: {needs: [db]}}
  app: {image: i, x-brickyard: {needs: [db, mail]}}
  db: {image: i, x-brickyard: {provides: {x: 1}}}
  alone: {image: i}
x-brickyard: {external: {mail: {smtp: h:25}}}
";
    assert_eq!(order(text), ["alone db", "app", "web"]);
    let dependents = dependents_of(&system(text), &"db".parse().unwrap());
    let names: Vec<&str> = dependents.iter().map(ServiceName::as_str).collect();
    assert_eq!(names, ["app", "web"]);
}

/// `a` and `b` need each other, and `a` also waits for `b`: the wait counts, the needs do not.
#[test]
fn circular_needs_do_not_order_but_dependencies_do() {
    let provides = "provides: {x: 1}";
    let text = format!(
        "
services:
  a: {{image: i, depends_on: [b], x-brickyard: {{{provides}, needs: [b]}}}}
  b: {{image: i, x-brickyard: {{{provides}, needs: [a, c]}}}}
  c: {{image: i, x-brickyard: {{{provides}, needs: [a]}}}}
  d: {{image: i, x-brickyard: {{needs: [a]}}}}
"
    );
    assert_eq!(order(&text), ["b c", "a", "d"]);
}

/// A chain as long as this would overflow the stack of a recursive walk.
#[test]
fn long_chains_are_walked() {
    let mut text = String::from("services:\n  s0: {image: i}\n");
    for number in 1..3000 {
        text.push_str(&format!("  s{number}: {{image: i, depends_on: [s{}]}}\n", number - 1));
    }
    assert_eq!(order(&text).len(), 3000);
}

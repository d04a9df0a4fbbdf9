//! The manual's table of functions is the one of the code. `UPDATE_MANUAL=1` writes it anew.

use std::fmt::Write;

use brickyard_template::{Origin, functions};

const BEGIN: &str = "<!-- functions -->\n";
const END: &str = "<!-- end of functions -->\n";

fn table() -> String {
    let mut text = String::from("| function | takes | from | what it does |\n|---|---|---|---|\n");
    for found in functions() {
        let origin = match found.origin {
            Origin::Go => "Go",
            Origin::Confd => "confd",
            Origin::Abtreece => "abtreece/confd",
            Origin::ConsulTemplate => "consul-template",
            Origin::Sprig => "sprig",
            Origin::Brickyard => "Brickyard",
        };
        let parameters = match found.parameters.is_empty() {
            true => String::new(),
            false => format!("`{}`", found.parameters.join(", ")),
        };
        let meaning = found.meaning.replace('|', "\\|");
        let _ = writeln!(text, "| `{}` | {parameters} | {origin} | {meaning} |", found.name);
    }
    text
}

#[test]
fn the_manual_lists_every_function() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/templates.md");
    let manual = std::fs::read_to_string(path).unwrap();
    let (before, rest) = manual.split_once(BEGIN).expect("the table begins");
    let (listed, after) = rest.split_once(END).expect("the table ends");
    if std::env::var_os("UPDATE_MANUAL").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}{}{END}{after}", table())).unwrap();
        return;
    }
    assert_eq!(listed, table(), "docs/templates.md is out of date: run with UPDATE_MANUAL=1");
}

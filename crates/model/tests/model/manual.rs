//! The manual's tables are those of the code. `UPDATE_MANUAL=1` writes them anew.

use brickyard_model::spec::{extension_manual, manual, schema};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/compose.md");
const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/x-brickyard.schema.json");

/// Part of the page, between two comments.
fn is_listed(name: &str, wanted: &str) {
    let page = std::fs::read_to_string(PAGE).expect("the page is there");
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->\n"));
    let (before, rest) = page.split_once(&begin).expect("the part begins");
    let (listed, after) = rest.split_once(&end).expect("the part ends");
    if std::env::var_os("UPDATE_MANUAL").is_some() {
        std::fs::write(PAGE, format!("{before}{begin}{wanted}{end}{after}"))
            .expect("the page can be written");
        return;
    }
    assert_eq!(listed, wanted, "docs/compose.md is out of date: run with UPDATE_MANUAL=1");
}

/// One test for both parts, as they are written into one file.
#[test]
fn the_manual_lists_every_key() {
    is_listed("keys", &manual());
    is_listed("x-brickyard", &extension_manual());
}

#[test]
fn the_published_schema_is_the_one_of_the_code() {
    let wanted = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    if std::env::var_os("UPDATE_MANUAL").is_some() {
        std::fs::write(SCHEMA, &wanted).unwrap();
    }
    let published = std::fs::read_to_string(SCHEMA).unwrap();
    assert!(published == wanted, "{SCHEMA} is out of date: run with UPDATE_MANUAL=1");
}

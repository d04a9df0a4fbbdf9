//! The manual's table of keys is the one of the code. `UPDATE_MANUAL=1` writes it anew.

use brickyard_model::spec::manual;

const BEGIN: &str = "<!-- keys -->\n";
const END: &str = "<!-- end of keys -->\n";

#[test]
fn the_manual_lists_every_key() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/compose.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the table begins");
    let (listed, after) = rest.split_once(END).expect("the table ends");
    if std::env::var_os("UPDATE_MANUAL").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}{}{END}{after}", manual())).unwrap();
        return;
    }
    assert_eq!(listed, manual(), "docs/compose.md is out of date: run with UPDATE_MANUAL=1");
}

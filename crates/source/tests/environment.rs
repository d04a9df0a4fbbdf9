//! Environment variables: confd's mapping, quirks included.

use brickyard_source::{Backend, Config, Entries, Environment};

fn read(variables: &[(&str, &str)], path: &str, double_underscore: bool) -> Vec<(String, String)> {
    let mut config = Config::new(Backend::Env);
    config.environment =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    config.double_underscore = double_underscore;
    let entries: Entries = Environment::new(&config).entries(&[path.to_owned()]);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    entries.iter().map(|(key, value)| (key.clone(), text(value))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

const VARIABLES: &[(&str, &str)] = &[
    ("DATA", "1"),
    ("DATABASE_HOST", "h"),
    ("DATA_DIR", "d"),
    ("DB__HOST_NAME", "n"),
    ("data_low", "l"),
];

#[test]
fn trap_env_maps_every_underscore_to_a_slash_and_matches_text() {
    let data = [("/data", "1"), ("/data/dir", "d"), ("/database/host", "h")];
    assert_eq!(read(VARIABLES, "/data", false), pairs(&data));
    assert_eq!(read(VARIABLES, "/db", false), pairs(&[("/db//host/name", "n")]));
    assert_eq!(read(VARIABLES, "/", false).len(), 5);
}

#[test]
fn two_underscores_are_one_of_the_key_where_that_is_asked_for() {
    assert_eq!(read(VARIABLES, "/db_host", true), pairs(&[("/db_host/name", "n")]));
    assert_eq!(read(VARIABLES, "/data/dir", true), pairs(&[("/data/dir", "d")]));
}

//! Every script in `tests/scenarios` says what it says when it is run again. With
//! `UPDATE_SCENARIOS=1` the files are written anew; read the difference before it is committed.

#[test]
fn scripts_do_as_they_say() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut names: Vec<_> =
        std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    assert!(names.len() >= 8, "scenarios are missing: {names:?}");
    let mut wrong = Vec::new();
    for path in names {
        let expected = std::fs::read_to_string(&path).unwrap();
        let actual = brickyard_plan::simulator::run_script(&expected);
        if std::env::var_os("UPDATE_SCENARIOS").is_some() {
            std::fs::write(&path, &actual).unwrap();
        } else if actual != expected {
            wrong.push(format!("{}:\n{actual}", path.display()));
        }
        for forbidden in ["ENDLESS", "?\n"] {
            assert!(!actual.contains(forbidden), "{}: {actual}", path.display());
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

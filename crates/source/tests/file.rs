//! Files: what they say together, and that no way of changing them is missed.

use std::time::Duration;

use brickyard_source::{Backend, Config, Entries, Error, Files, Source, Update, Watching};
use camino::Utf8PathBuf;
use tokio::time::timeout;

fn source(paths: &[Utf8PathBuf], filter: &str) -> Files {
    let mut config = Config::new(Backend::File);
    config.files = paths.to_vec();
    config.filter = filter.to_owned();
    Files::new(&config).expect("it has files")
}

fn directory() -> (tempfile::TempDir, Utf8PathBuf) {
    let directory = tempfile::tempdir().expect("there is room");
    let path = Utf8PathBuf::from_path_buf(directory.path().to_owned()).expect("it is UTF-8");
    (directory, path)
}

fn value(entries: &Entries, key: &str) -> String {
    entries.get(key).map_or("none".to_owned(), |v| String::from_utf8_lossy(v).into_owned())
}

#[tokio::test]
async fn later_files_count_and_names_are_filtered() {
    let (_kept, path) = directory();
    std::fs::create_dir(path.join("below")).expect("it is new");
    for (name, text) in [
        ("a.yaml", "x: a\nonly: a\n"),
        ("b.yaml", "x: b\n"),
        ("below/c.json", "{\"c\": 1}"),
        ("d.toml", "[d]\nx = true\n"),
        ("note.txt", "not: [ours"),
    ] {
        std::fs::write(path.join(name), text).expect("it is new");
    }
    let all = ["/".to_owned()];
    let read = source(std::slice::from_ref(&path), "*.[yjt][aso][mo][ln]*").read(&all).await;
    let read = read.expect("they are good");
    let found = ["/x", "/only", "/c", "/d/x"].map(|key| value(&read, key));
    assert_eq!(found, ["b", "a", "1", "true"]);
    let text = source(std::slice::from_ref(&path), "*.txt")
        .read(&all)
        .await
        .expect_err("it is bad")
        .to_string();
    assert!(text.starts_with(&format!("{path}/note.txt:")), "{text}");
    let absent = source(&[path.join("absent")], "*").read(&all).await;
    assert!(matches!(absent, Err(Error::Unavailable { .. })), "{absent:?}");
    assert!(matches!(Files::new(&Config::new(Backend::File)), Err(Error::Config { .. })));
}

#[tokio::test]
async fn what_a_link_leads_to_is_watched_where_it_lies() {
    let (_kept, path) = directory();
    std::fs::create_dir(path.join("real")).expect("it is new");
    std::fs::write(path.join("real/keys.yaml"), "k: 0\n").expect("it is new");
    std::os::unix::fs::symlink("real/keys.yaml", path.join("link.yaml")).expect("it is new");
    let watching = source(&[path.join("link.yaml")], "*").watch(&["/".to_owned()]).await;
    let Ok(Watching::Watch(mut watch)) = watching else { panic!("files can be watched") };
    assert!(matches!(watch.next().await, Ok(Update::All(_))));
    std::fs::write(path.join("real/keys.yaml"), "k: 1\n").expect("it is writable");
    let next = timeout(Duration::from_secs(10), watch.next()).await.expect("it is noticed");
    let Ok(Update::All(entries)) = next else { panic!("{next:?}") };
    assert_eq!(value(&entries, "/k"), "1");
}

#[tokio::test]
async fn no_way_of_changing_a_file_is_missed() {
    let (_kept, path) = directory();
    let file = path.join("keys.yaml");
    std::fs::write(&file, "k: 0\n").expect("it is new");
    let files = source(&[file.clone(), path.join("more")], "*");
    std::fs::create_dir(path.join("more")).expect("it is new");
    let watching = files.watch(&["/".to_owned()]).await.expect("it can");
    let Watching::Watch(mut watch) = watching else { panic!("files can be watched") };
    let mut expect = async |key: &str, expected: &str| loop {
        let next = timeout(Duration::from_secs(10), watch.next()).await;
        match next.unwrap_or_else(|_| panic!("{key} does not become {expected}")) {
            Ok(Update::All(entries)) if value(&entries, key) == expected => return,
            Ok(Update::All(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    expect("/k", "0").await;
    std::fs::write(&file, "k: 1\n").expect("it is writable");
    expect("/k", "1").await;
    // As editors do.
    for number in 2..5 {
        let other = path.join(".keys.yaml.swp");
        std::fs::write(&other, format!("k: {number}\n")).expect("it is writable");
        std::fs::rename(&other, &file).expect("it is there");
        expect("/k", &number.to_string()).await;
    }
    std::fs::create_dir(path.join("more/deep")).expect("it is new");
    std::fs::write(path.join("more/deep/new.yaml"), "new: 1\n").expect("it is new");
    expect("/new", "1").await;
    std::fs::remove_dir_all(path.join("more/deep")).expect("it is there");
    expect("/new", "none").await;
    std::fs::create_dir(path.join("more/deep")).expect("it is new");
    std::fs::write(path.join("more/deep/new.yaml"), "new: 2\n").expect("it is new");
    expect("/new", "2").await;
}

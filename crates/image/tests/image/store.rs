//! Names, digests, removal and what happens after a crash.

use std::collections::BTreeSet;

use brickyard_image::{ContainerConfig, Error, ImageConfig, Store};

use crate::archive::{Tar, Yard};

fn hello() -> Vec<u8> {
    Tar::new().file("hello", "world").bytes()
}

#[test]
fn importing_again_changes_nothing() {
    let yard = Yard::new();
    let first = yard.import(&hello()).unwrap();
    let content = yard.content();
    let second = yard.import(&hello()).unwrap();
    assert_eq!(first, second);
    assert_eq!(yard.content(), content);
    assert_eq!(first.name, "test:latest");
    assert_eq!(first.created_ms, 1_700_000_000_000, "the newest file's time");
    assert_eq!(first.size_bytes, hello().len() as u64);
    // Another process sees the same.
    let again = Store::open(yard.root()).unwrap();
    assert_eq!(again.get("test").unwrap().unwrap(), first);
}

#[test]
fn images_are_found_by_name_and_by_digest() {
    let yard = Yard::new();
    let image = yard.store.import_rootfs("redis", &hello()[..], &|_| {}).unwrap();
    let hex = image.digest.hex();
    for name in ["redis", "redis:latest", "docker.io/library/redis", &hex[..8], &hex] {
        assert_eq!(yard.store.get(name).unwrap().unwrap().digest, image.digest, "{name}");
    }
    let digest = image.digest.to_string();
    assert_eq!(yard.store.require(&digest).unwrap().name, "redis:latest");
    for name in ["redis:7", "redsi", "abc", "Not A Name"] {
        assert_eq!(yard.store.get(name).unwrap(), None, "{name}");
    }
    let err = yard.store.require("redsi").unwrap_err();
    assert_eq!(err.to_string(), "there is no image `redsi`");
    let hint = err.hint().unwrap();
    assert_eq!(hint, "an image named `redis` exists; did you mean that?");
    assert!(matches!(
        yard.store.import_rootfs("Bad Name", &hello()[..], &|_| {}),
        Err(Error::Name { .. })
    ));
}

#[test]
fn removal_takes_what_nothing_needs() {
    let yard = Yard::new();
    let none = BTreeSet::new();
    let one = yard.store.import_rootfs("one", &hello()[..], &|_| {}).unwrap();
    let other = Tar::new().file("other", "").bytes();
    let two = yard.store.import_rootfs("two", &other[..], &|_| {}).unwrap();
    yard.store.import_rootfs("alias", &hello()[..], &|_| {}).unwrap();
    assert!(yard.store.remove("one", &none).unwrap());
    assert!(!yard.store.remove("one", &none).unwrap());
    assert!(one.layers[0].is_dir(), "`alias` still has the layer");
    // What still runs is not pulled away from under it.
    let pinned = BTreeSet::from([one.digest]);
    assert!(yard.store.remove("alias", &pinned).unwrap());
    assert!(one.layers[0].is_dir());
    let nameless = yard.store.get_by_digest(&one.digest).unwrap().unwrap();
    assert_eq!(nameless.name, one.digest.to_string());
    yard.store.prune(&none).unwrap();
    assert!(!one.layers[0].exists());
    assert_eq!(yard.store.get_by_digest(&one.digest).unwrap(), None);
    assert_eq!(yard.store.list().unwrap(), [two]);
    yard.store.remove("two", &none).unwrap();
    assert_eq!(yard.content(), Vec::<String>::new());
}

/// What a killed writer leaves is taken away by the next one who opens the store, but not while
/// a writer is at work.
#[test]
fn leftovers_are_cleared_when_nobody_writes() {
    let yard = Yard::new();
    let leftover = yard.root().join("tmp/123-0");
    std::fs::create_dir_all(leftover.join("half/a/layer")).unwrap();
    let writer = yard.store.writer().unwrap();
    Store::open(yard.root()).unwrap();
    assert!(leftover.is_dir());
    drop(writer);
    Store::open(yard.root()).unwrap();
    assert!(!leftover.exists());
}

#[test]
fn images_are_put_together_from_layers() {
    let yard = Yard::new();
    let writer = yard.store.writer().unwrap();
    let base = writer.put_layer(&hello()[..], None, &|_| {}).unwrap();
    let top = Tar::new().file("top", "").bytes();
    let top = writer.put_layer(&top[..], None, &|_| {}).unwrap();
    let config = || {
        ImageConfig::new(ContainerConfig {
            cmd: Some(vec!["run".into()]),
            labels: [("b", "2"), ("a", "1")].map(|(k, v)| (k.into(), v.into())).into(),
            ..ContainerConfig::default()
        })
    };
    let layers = [base, top];
    let image = writer.put_image("app:v1", config(), &layers).unwrap();
    assert_eq!(image.layers.len(), 2);
    assert!(image.layers[1].join("top").is_file());
    assert_eq!(image.config, config().config);
    let same = writer.put_image("app:v2", config(), &layers).unwrap();
    assert_eq!(image.digest, same.digest);
    let mut missing = layers[0].clone();
    missing.diff_id = brickyard_core::Digest::of("nothing");
    assert!(writer.put_image("app:v3", config(), &[missing]).is_err());
}

#[test]
fn a_damaged_store_says_so() {
    let yard = Yard::new();
    let image = yard.import(&hello()).unwrap();
    let blob = yard.root().join("blobs/sha256").join(image.digest.hex());
    std::fs::write(blob, "{}").unwrap();
    assert!(matches!(yard.store.get("test"), Err(Error::Damaged { .. })));
}

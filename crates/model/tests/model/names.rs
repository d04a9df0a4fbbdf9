//! Where a system's name comes from.

use brickyard_core::MemoryFiles;
use brickyard_model::default_files;

use crate::yard::{Yard, shown};

fn name(yard: &Yard) -> String {
    yard.system().name.to_string()
}

#[test]
fn the_name_given_by_hand_wins_then_the_variable_then_the_file_then_the_directory() {
    let text = "name: ${BASE:-x}-y\nservices: {web: {image: '$COMPOSE_PROJECT_NAME'}}\n";
    let mut yard = Yard::new(text).variable("BASE", "file");
    assert_eq!(name(&yard), "file-y");
    let web = crate::yard::service(&yard.system(), "web");
    assert_eq!(web.image.unwrap(), "file-y");
    yard = yard.variable("COMPOSE_PROJECT_NAME", "variable");
    assert_eq!(name(&yard), "variable");
    yard.name = Some("hand".to_owned());
    assert_eq!(name(&yard), "hand");
    let mut yard = Yard::new("services: {}\n");
    yard.directory = "/srv/_My Project.2";
    assert_eq!(name(&yard), "myproject2");
    yard.directory = "/";
    assert_eq!(name(&yard), "default");
}

#[test]
fn a_bad_name_is_shown() {
    let found = Yard::new("name: Big\nservices: {}\n").load().findings();
    assert!(shown(&found).starts_with("1:7 BY0112 `Big` is not a system name"));
}

#[test]
fn compose_yaml_is_preferred_with_what_overrides_it() {
    let files = MemoryFiles::default()
        .with("/p/docker-compose.yml", "")
        .with("/p/compose.yml", "")
        .with("/o/docker-compose.yml", "")
        .with("/o/docker-compose.override.yml", "")
        .with("/o/compose.override.yml", "")
        .with("/n/compose.override.yaml", "");
    let found = |directory: &str| {
        let found = default_files(&files, directory.into());
        found.map(|paths| paths.into_iter().map(String::from).collect::<Vec<_>>())
    };
    assert_eq!(found("/p"), Some(vec!["/p/compose.yml".to_owned()]));
    let both = ["/o/docker-compose.yml", "/o/compose.override.yml"].map(str::to_owned);
    assert_eq!(found("/o"), Some(both.to_vec()));
    assert_eq!(found("/n"), None, "there is nothing to override");
    assert_eq!(found("/q"), None);
}

//! Where a system's name comes from.

use brickyard_core::MemoryFiles;
use brickyard_model::default_file;

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
    let found = Yard::new("name: Big\nservices: {}\n").load().diagnostics;
    assert!(shown(&found).starts_with("1:7 BY0112 `Big` is not a system name"));
}

#[test]
fn compose_yaml_is_preferred() {
    let files = MemoryFiles::default().with("/p/docker-compose.yml", "").with("/p/compose.yml", "");
    assert_eq!(default_file(&files, "/p".into()).unwrap(), "/p/compose.yml");
    assert_eq!(default_file(&files, "/q".into()), None);
}

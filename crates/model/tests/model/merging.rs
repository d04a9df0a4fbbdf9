//! Several files as one model.

use crate::yard::{Yard, service, shown};

#[test]
fn later_files_count_more_and_see_their_own_variables() {
    let base = "name: base\nservices:\n  web: {image: 'i:${TAG:-1}', ports: ['80:80'], environment: {A: one, B: two}}\n  db: {image: d}\n";
    let over = "name: over\nservices:\n  web: {image: 'i:${TAG:-2}', environment: [B=three, 'C=${D-}'], ports: !override ['81:80']}\n  cache: {image: c}\n";
    let yard = Yard::new(base).over("compose.override.yaml", over).variable("D", "dee");
    let system = yard.system();
    assert_eq!(system.name.to_string(), "over");
    let names: Vec<String> = system.services.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["cache", "db", "web"]);
    let web = service(&system, "web");
    let environment: Vec<String> =
        web.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(environment, ["A=one", "B=three", "C=dee"]);
    assert_eq!(web.ports.len(), 1);
    assert_eq!(web.ports[0].published.map(|port| port.to_string()), Some("81".to_owned()));
}

#[test]
fn mistakes_are_shown_in_the_file_that_has_them() {
    let base = "services:\n  web: {image: i}\n";
    let yard = Yard::new(base).over("b.yaml", "services:\n  web: {imag: j}\n");
    let found = yard.load().findings();
    assert_eq!(found[0].labels[0].source.name, "b.yaml");
    assert!(shown(&found).contains("unknown key `imag`"), "{}", shown(&found));
    let absent = Yard::new(base).over("c.yaml", "services: {}\n");
    let mut gone = absent;
    gone.files = brickyard_core::MemoryFiles::default().with("compose.yaml", base);
    let found = gone.load().findings();
    assert!(
        shown(&found).contains("cannot be read: there is no file `c.yaml`"),
        "{}",
        shown(&found)
    );
}

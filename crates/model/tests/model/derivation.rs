//! What files without `x-brickyard` imply.

use brickyard_model::types::OnChange;

use crate::yard::{service, system};

fn lines(compose: &str, name: &str) -> Vec<String> {
    let system = system(compose);
    let service = service(&system, name);
    let needs = service.needs.iter();
    needs
        .map(|(alias, line)| {
            let derived = if line.derived { " derived" } else { "" };
            let change = match line.on_change {
                OnChange::Auto => "",
                OnChange::Restart => " restart",
                OnChange::Reload => " reload",
                OnChange::Ignore => " ignore",
            };
            format!("{alias} -> {}{change}{derived}", line.to)
        })
        .collect()
}

#[test]
fn a_plain_compose_file_has_lines_and_endpoints() {
    let text = "
services:
  web: {image: i, ports: ['8080:80'], depends_on: {db: {restart: true}, quiet: {}}, links: ['cache:store', cache]}
  db: {image: i, expose: [5432]}
  cache: {image: i, expose: ['1-2']}
  quiet: {image: i}
";
    assert_eq!(
        lines(text, "web"),
        [
            "cache -> cache derived",
            "db -> db/5432 restart derived",
            "quiet -> quiet derived",
            "store -> cache derived",
        ]
    );
    let system = system(text);
    let names = |name: &str| -> Vec<String> {
        let provides = service(&system, name).provides;
        provides.keys().map(ToString::to_string).collect()
    };
    assert_eq!(names("web"), ["80"]);
    assert_eq!(names("cache"), ["1", "2"]);
    assert_eq!(service(&system, "web").depends_on.len(), 3, "links order the start too");
}

#[test]
fn what_is_written_wins_over_what_is_implied() {
    let text = "
services:
  web:
    image: i
    ports: ['8080:80']
    depends_on: [db]
    links: ['db:main', 'db:other']
    x-brickyard: {provides: {http: 80}, needs: {main: db}}
  db: {image: i, x-brickyard: {provides: {redis: 6379}}}
";
    assert_eq!(lines(text, "web"), ["main -> db/redis", "other -> db/redis derived"]);
    let web = service(&system(text), "web");
    assert_eq!(web.provides.len(), 1, "the published port is the endpoint `http`");
}

#[test]
fn needs_have_short_forms_and_may_be_external() {
    let text = "
services:
  web: {image: i, x-brickyard: {needs: [db, mail/smtp, {a: db}]}}
  app: {image: i, x-brickyard: {needs: {db: , m: mail, long: {to: db, on_change: ignore}}}}
  db: {image: i, x-brickyard: {provides: {redis: 6379}}}
x-brickyard: {external: {mail: {smtp: 'mail.example.com:25'}}}
";
    assert_eq!(lines(text, "web"), ["a -> db/redis", "db -> db/redis", "mail -> mail/smtp"]);
    assert_eq!(lines(text, "app"), ["db -> db/redis", "long -> db/redis ignore", "m -> mail/smtp"]);
}

//! What drawings show.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use brickyard_core::{MemoryFiles, OsFiles, ServiceName};
use brickyard_diagram::{Diagram, dot, svg, text};
use brickyard_model::{Input, Options, System, load};
use camino::{Utf8Path, Utf8PathBuf};
use insta::assert_snapshot;

/// A bit of everything: external boxes, volumes, a circle, a line to itself, conditions, aliases.
const MIXED: &str = "
name: mixed
services:
  front:
    image: nginx:1.27
    ports: ['80:80', '127.0.0.1:443:443']
    x-brickyard: {needs: {api: api/http, auth: auth/http, mailer: mail/smtp}}
  api:
    image: ghcr.io/acme/very-long-organisation/api-with-a-name-that-is-long:2026.11
    expose: [9090]
    deploy: {replicas: 4}
    depends_on: {db: {condition: service_healthy}, migrate: {condition: service_completed_successfully}}
    x-brickyard:
      provides: {http: {port: 8080, protocol: http}}
      needs: {main: db/postgres, self: api/http, auth: {to: auth/http, on_change: restart}}
    volumes: ['certs:/certs:ro']
  migrate: {image: m, x-brickyard: {needs: {main: db/postgres}}}
  auth:
    image: auth
    x-brickyard: {provides: {http: 8081}, needs: {api: api/http}}
    volumes: ['certs:/certs:ro']
  db: {image: 'postgres:16', volumes: ['db:/data'], x-brickyard: {provides: {postgres: 5432, ro: 5433}}}
  tool: {image: busybox}
volumes: {db: , certs: }
x-brickyard: {external: {mail: {smtp: 'smtp.example.com:587'}}}
";

fn system(text: &str) -> System {
    let files = MemoryFiles::default().with("/p/compose.yaml", text);
    let mut loaded = load(&input(&files, &["/p/compose.yaml".into()], &BTreeMap::new()));
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    loaded.system.take().expect("no error, so a system")
}

fn input<'a>(
    files: &'a dyn brickyard_core::Files,
    paths: &'a [Utf8PathBuf],
    environment: &'a BTreeMap<String, String>,
) -> Input<'a> {
    Input {
        files,
        paths,
        project_directory: paths[0].parent().expect("it is in a directory").to_owned(),
        environment,
        env_files: &[],
        name: None,
        profiles: &[],
        options: Options::default(),
    }
}

fn as_text(diagram: &Diagram) -> String {
    text::draw(diagram, &|_, words| words.to_owned())
}

#[test]
fn text_has_a_row_for_each_box() {
    assert_snapshot!(as_text(&Diagram::of(&system(MIXED), &[])), @r"
        ●       front            443 ← 127.0.0.1:443, 80 ← :80  → api/http  → auth/http  → mail/smtp as mailer
        ├─┬─╮
        ● │ │   auth             http 8081                      → api/http  ▸ certs at /certs (read-only)
        ├─┤ │
        │ ● │   api ×4           9090, http 8080                → api/http as self  → auth/http (restarts on change)  → db/postgres as main (healthy first)  ⇢ migrate (completed first)  ▸ certs at /certs (read-only)
        ├─┼─│─╮
        │ ● │ │ migrate                                         → db/postgres as main
        │ ╰─│─┤
        │   │ ● db               postgres 5432, ro 5433         ▸ db at /data
        │   │ ▪ db (volume)
        ▪   │   certs (volume)
            ◌   mail (external)  smtp smtp.example.com:587
        ●       tool
    ");
}

#[test]
fn a_plain_file_has_lines_and_endpoints_too() {
    let plain = "
services:
  web: {image: i, ports: ['8080:80'], links: ['db:database'], depends_on: [cache]}
  cache: {image: i, expose: [6379]}
  db: {image: i, volumes: ['d:/d']}
volumes: {d: }
";
    assert_snapshot!(as_text(&Diagram::of(&system(plain), &[])), @r"
        ●   web         80 ← :8080  ⇢ cache/6379  ⇢ db as database
        ├─╮
        ● │ cache       6379
          ● db                      ▸ d at /d
          ▪ d (volume)
    ");
}

#[test]
fn what_has_nothing_to_do_with_each_other_does_not_look_joined() {
    let apart = "services: {a: {image: i}, b: {image: i, depends_on: [c]}, c: {image: i}}";
    assert_snapshot!(as_text(&Diagram::of(&system(apart), &[])), @r"
        ● a

        ● b  ⇢ c
        ● c
    ");
}

#[test]
fn some_services_come_with_what_they_lead_to() {
    let only = [ServiceName::new("migrate").expect("a name")];
    assert_snapshot!(as_text(&Diagram::of(&system(MIXED), &only)), @r"
        ● migrate                              → db/postgres as main
        ● db           postgres 5432, ro 5433  ▸ db at /data
        ▪ db (volume)
    ");
}

#[test]
fn dot_is_for_graphviz() {
    assert_snapshot!(dot::draw(&Diagram::of(&system(MIXED), &[])), @r#"
        digraph "mixed" {
          rankdir=LR
          node [shape=record fontname="Helvetica" fontsize=11]
          edge [fontname="Helvetica" fontsize=9]
          "api" [style=rounded label="api ×4\nghcr.io/acme/very-long-organisation/api-with-a-name-that-is-long:2026.11|<e0> 9090|<e1> http 8080"]
          "auth" [style=rounded label="auth\nauth|<e0> http 8081"]
          "db" [style=rounded label="db\npostgres:16|<e0> postgres 5432|<e1> ro 5433"]
          "front" [style=rounded label="front\nnginx:1.27|<e0> 443 ← 127.0.0.1:443|<e1> 80 ← :80"]
          "migrate" [style=rounded label="migrate\nm"]
          "tool" [style=rounded label="tool\nbusybox"]
          "external mail" [style=dashed label="mail|<e0> smtp smtp.example.com:587"]
          "volume certs" [shape=cylinder label="certs"]
          "volume db" [shape=cylinder label="db"]
          "api" -> "api":e1 [style=solid label="self"]
          "api" -> "auth":e0 [style=solid label="restarts on change"]
          "api" -> "db":e0 [style=solid label="main, healthy first"]
          "api" -> "migrate" [style=dashed label="completed first"]
          "api" -> "volume certs" [style=dotted arrowhead=none label="/certs, read-only"]
          "auth" -> "api":e1 [style=solid]
          "auth" -> "volume certs" [style=dotted arrowhead=none label="/certs, read-only"]
          "db" -> "volume db" [style=dotted arrowhead=none label="/data"]
          "front" -> "api":e1 [style=solid]
          "front" -> "auth":e0 [style=solid]
          "front" -> "external mail":e0 [style=solid label="mailer"]
          "migrate" -> "db":e0 [style=solid label="main"]
        }
    "#);
}

/// Graphviz itself reads it: every box and every line is in what it lays out.
#[test]
fn graphviz_lays_it_out() {
    let diagram = Diagram::of(&system(MIXED), &[]);
    let mut child = Command::new("dot")
        .arg("-Tplain")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("`dot` is installed: scripts/deps test");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(dot::draw(&diagram).as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let plain = String::from_utf8_lossy(&output.stdout);
    let count = |kind: &str| plain.lines().filter(|line| line.starts_with(kind)).count();
    assert_eq!((count("node "), count("edge ")), (diagram.nodes.len(), diagram.lines.len()));
}

/// Texts of one class, in the order in which they stand.
fn texts<'a>(document: &'a roxmltree::Document<'_>, class: &str) -> Vec<&'a str> {
    let elements = document.descendants().filter(|node| node.attribute("class") == Some(class));
    elements.filter_map(|node| node.text()).collect()
}

#[test]
fn svg_shows_every_box_and_every_line() {
    let drawn = svg::draw(&Diagram::of(&system(MIXED), &[]));
    let document = roxmltree::Document::parse(&drawn).expect("it is well-formed");
    let names = texts(&document, "name");
    assert_eq!(names, ["api", "auth", "db", "front", "migrate", "tool", "mail", "certs", "db"]);
    assert_eq!(texts(&document, "badge"), ["×4", "external"]);
    assert_eq!(texts(&document, "published")[..2], ["127.0.0.1:443", ":80"]);
    let titles = document.descendants().filter(|node| {
        let parent = node.parent().and_then(|parent| parent.attribute("class"));
        node.has_tag_name("title") && parent.is_some_and(|class| class.starts_with("line"))
    });
    let mut titles: Vec<&str> = titles.filter_map(|title| title.text()).collect();
    titles.sort_unstable();
    assert_snapshot!(titles.join("\n"), @r"
        api → api/http as self
        api → auth/http (restarts on change)
        api → certs at /certs (read-only)
        api → db/postgres as main (healthy first)
        api → migrate (completed first)
        auth → api/http
        auth → certs at /certs (read-only)
        db → db at /data
        front → api/http
        front → auth/http
        front → mail/smtp as mailer
        migrate → db/postgres as main
    ");
    assert_eq!(texts(&document, "image")[0], "…-with-a-name-that-is-long:2026.11");
}

#[test]
fn what_has_a_meaning_in_xml_is_escaped() {
    let sharp = "
name: sharp
services:
  web:
    image: \"a<b>&'\\\"\\u0007\"
    volumes: ['v:/<script>']
volumes: {v: }
";
    let drawn = svg::draw(&Diagram::of(&system(sharp), &[]));
    let document = roxmltree::Document::parse(&drawn).expect("it is well-formed");
    assert_eq!(texts(&document, "image"), ["a<b>&'\"\u{fffd}"]);
    assert!(drawn.contains("v at /&lt;script&gt;"), "{drawn}");
}

#[test]
fn records_of_dot_keep_their_fields() {
    let sharp = "services: {web: {image: 'a|b{c}<d>\"\\e'}}";
    let drawn = dot::draw(&Diagram::of(&system(sharp), &[]));
    assert!(drawn.contains(r#"label="web\na\|b\{c\}\<d\>\"\\e""#), "{drawn}");
}

/// A drawing of the shop stands in the README; `UPDATE_MANUAL=1` draws it anew.
#[test]
fn the_shop_of_the_manual_is_the_one_of_the_examples() {
    let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("two up");
    let path = root.join("examples/shop/compose.yaml");
    let mut loaded = load(&input(&OsFiles, &[path], &BTreeMap::new()));
    let system = loaded.system.take().expect("the example is valid");
    let drawn = svg::draw(&Diagram::of(&system, &[]));
    let picture = root.join("docs/shop.svg");
    if std::env::var_os("UPDATE_MANUAL").is_some() {
        std::fs::write(&picture, &drawn).expect("the picture can be written");
    }
    let known = std::fs::read_to_string(&picture).expect("the picture is there");
    assert!(known == drawn, "docs/shop.svg is old: run the test with UPDATE_MANUAL=1");
}

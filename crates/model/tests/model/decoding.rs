//! What keys mean.

use brickyard_core::EndpointName;
use brickyard_core::spec::{Mount, MountKind, ProbeKind};
use brickyard_model::types::{Condition, Reload, RestartPolicy, UpdateOrder};
use insta::assert_debug_snapshot;

use crate::yard::{Yard, service, system, web, web_findings};

/// Everything at once, so that a key that stops being read is noticed.
const EVERYTHING: &str = r#"
name: all
services:
  web:
    image: busybox
    build: {context: ./web, dockerfile: Dockerfile.web, target: run, args: {A: 1, HOME: }}
    command: httpd -f "a b"
    entrypoint: [/init]
    environment: {PLAIN: 1.50, EMPTY: , HOME: , QUOTED: "x$$y", FLAG: true}
    env_file: [a.env, {path: missing.env, required: false}]
    ports: ["127.0.0.1:8080:80", {target: 443, published: "8443", protocol: tcp}]
    expose: [9000]
    depends_on: {db: {condition: service_healthy, restart: true}}
    links: ["cache:store"]
    healthcheck: {test: curl localhost, interval: 1m30s, timeout: 2s, retries: 5, start_period: 1s}
    volumes: ["data:/data:ro", "./conf:/conf", {type: tmpfs, target: /t, tmpfs: {size: 64m, mode: "1777"}}]
    tmpfs: /run:size=1m
    restart: on-failure:3
    user: "1000:1000"
    working_dir: /srv
    hostname: web.local
    stop_signal: SIGQUIT
    stop_grace_period: 1m
    read_only: true
    cap_add: [CAP_NET_ADMIN]
    cap_drop: [all]
    mem_limit: 64m
    cpus: "0.5"
    pids_limit: 100
    labels: [a=b, c]
    deploy: {replicas: 3, update_config: {order: start-first, parallelism: 2, delay: 500ms, failure_action: rollback, max_failure_ratio: 0.25}}
    x-brickyard:
      provides: {http: {port: 80, protocol: http, health: {path: /up, interval: 1s}}}
      needs: {main: {to: db/redis, on_change: reload}, mail: }
      templates: [{src: t.tmpl, dest: /www/i.html, mode: "0600", uid: 3, gid: 4, check: [grep, x], check_timeout: 5s, reload: {signal: SIGHUP}}, {src: t.tmpl, dest: /x, reload: {exec: [y]}, reload_timeout: 1m30s}]
      environment: {TEXT: '{{$x := getv "/text"}}{{$x}}'}
  db: {image: redis, x-brickyard: {provides: {redis: {port: 6379, health: tcp}}}}
  cache: {image: c, healthcheck: {test: [NONE]}}
volumes: {data: }
x-brickyard:
  config: {text: father, db: {host: h, /port: 1}}
  external: {mail: {smtp: 192.0.2.25:25}}
"#;

fn everything() -> Yard {
    Yard::new(EVERYTHING)
        .variable("HOME", "/root")
        .file("/project/a.env", "FROM_FILE=1\nPLAIN=lower\n")
        .file("/project/t.tmpl", "{{.}}")
}

#[test]
fn every_supported_key_is_read() {
    let system = everything().system();
    let web = service(&system, "web");
    let build = web.build.clone().unwrap();
    assert_eq!(build.dockerfile, "/project/web/Dockerfile.web");
    assert_eq!(build.args["HOME"], "/root");
    assert_eq!(web.command.unwrap(), ["httpd", "-f", "a b"]);
    let environment: Vec<String> =
        web.environment.iter().map(|(key, value)| format!("{key}={value}")).collect();
    // A null value of the environment that is not set outside either is no variable.
    let expected = ["FLAG=true", "FROM_FILE=1", "HOME=/root", "PLAIN=1.50", "QUOTED=x$y"];
    assert_eq!(environment, expected);
    let names: Vec<&str> = web.provides.keys().map(EndpointName::as_str).collect();
    assert_eq!(names, ["443", "9000", "http"]);
    let lines: Vec<String> = web
        .needs
        .iter()
        .map(|(alias, line)| format!("{alias} {} {:?} {}", line.to, line.on_change, line.derived))
        .collect();
    let expected =
        ["mail mail/smtp Auto false", "main db/redis Reload false", "store cache Auto true"];
    assert_eq!(lines, expected);
    assert_eq!(web.templates[0].reload, Reload::Signal("HUP".into()));
    assert_eq!((web.templates[0].mode, web.templates[0].uid), (0o600, 3));
    let timeouts: Vec<_> = web
        .templates
        .iter()
        .map(|template| (template.check_timeout_ms, template.reload_timeout_ms))
        .collect();
    assert_eq!(timeouts, [(5_000, 60_000), (30_000, 90_000)]);
    let text = &web.environment_templates["TEXT"];
    assert_eq!(text.text, r#"{{$x := getv "/text"}}{{$x}}"#);
    assert_eq!(text.place, "compose.yaml:36:27");
    assert_eq!(web.restart, RestartPolicy::OnFailure { retries_max: Some(3) });
    assert_eq!(web.update.order, UpdateOrder::StartFirst);
    assert_eq!(web.update.max_failure_permille, 250);
    assert_eq!((web.memory_bytes, web.cpu_millis), (Some(64 << 20), Some(500)));
    assert_eq!((web.cap_add, web.cap_drop), (vec!["NET_ADMIN".into()], vec!["ALL".into()]));
    let config: Vec<_> =
        system.config.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(config, ["/db/host=h", "/db/port=1", "/text=father"]);
    assert!(service(&system, "cache").healthcheck_disabled);
}

#[test]
fn the_config_output_loads_to_the_same_system() {
    let loaded = everything().load();
    let (model, mut first) = (loaded.model.unwrap(), loaded.system.unwrap());
    let yaml = model.to_yaml(true);
    let again = everything().file("compose.yaml", &yaml).load();
    let (model, mut second) = (again.model.unwrap(), again.system.unwrap());
    for system in [&mut first, &mut second] {
        for service in system.services.values_mut() {
            for template in service.environment_templates.values_mut() {
                template.place.clear();
            }
            // Paths are absolute in what is shown.
            service.templates.iter_mut().for_each(|template| template.src.clear());
        }
    }
    assert_eq!(first, second, "{yaml}");
    assert_eq!(model.to_yaml(true), yaml);
}

#[test]
fn defaults_are_those_of_compose() {
    let web = web("healthcheck: {test: [CMD, 'true']}");
    let probe = web.healthcheck.unwrap();
    assert_eq!((probe.interval_ms, probe.timeout_ms, probe.retries), (30_000, 30_000, 3));
    assert_eq!((probe.start_period_ms, probe.start_interval_ms), (0, 5_000));
    assert_eq!(probe.kind, ProbeKind::Exec { argv: vec!["true".into()] });
    assert_eq!((web.stop_grace_ms, web.replicas), (10_000, 1));
    assert_eq!((web.update.parallelism, web.update.monitor_ms), (1, 5_000));
    assert_eq!(web.update.order, UpdateOrder::StopFirst);
}

#[test]
fn mounts_have_their_forms() {
    let mounts = web("volumes: ['./a/../b:/b', '~/c:/c:ro']").mounts;
    assert_debug_snapshot!(mounts.iter().map(short).collect::<Vec<_>>(), @r#"
    [
        "/b bind /project/b",
        "/c bind /project/~/c ro",
    ]
    "#);
    let system = Yard::new(
        "services: {web: {image: i, volumes: ['~/c:/c', v:/v, \
         {type: bind, source: ./d, target: /d, bind: {create_host_path: false}}]}}\nvolumes: {v: {}}\n",
    )
    .variable("HOME", "/home/me")
    .system();
    let mounts = service(&system, "web").mounts;
    assert_debug_snapshot!(mounts.iter().map(short).collect::<Vec<_>>(), @r#"
    [
        "/c bind /home/me/c",
        "/v volume v",
        "/d bind! /project/d",
    ]
    "#);
}

fn short(mount: &Mount) -> String {
    let kind = match &mount.kind {
        MountKind::Volume { name } => format!("volume {name}"),
        MountKind::Bind { source, create: true } => format!("bind {source}"),
        MountKind::Bind { source, create: false } => format!("bind! {source}"),
        MountKind::Tmpfs { .. } => "tmpfs".to_owned(),
    };
    let mode = if mount.read_only { " ro" } else { "" };
    format!("{} {kind}{mode}", mount.target)
}

#[test]
fn dependencies_have_two_forms() {
    let system = system(
        "services:\n  a: {image: i, depends_on: [b]}\n  \
         b: {image: i, depends_on: {c: {condition: service_completed_successfully}}}\n  c: {image: i}\n",
    );
    let condition = |name: &str, on: &str| service(&system, name).depends_on[on].condition;
    assert_eq!(condition("a", "b"), Condition::ServiceStarted);
    assert_eq!(condition("b", "c"), Condition::ServiceCompletedSuccessfully);
}

#[test]
fn variables_come_from_the_environment_over_dot_env() {
    let yard = Yard::new("services: {web: {image: '${IMAGE}:${TAG:-latest}', hostname: $H}}\n")
        .file("/project/.env", "IMAGE=nginx\nH=low\n")
        .variable("H", "high");
    let web = service(&yard.system(), "web");
    assert_eq!(web.image.unwrap(), "nginx:latest");
    assert_eq!(web.hostname.unwrap(), "high");
}

#[test]
fn anchors_and_extension_keys_pass() {
    let system = system(
        "x-common: &common {image: i, labels: {a: b}}\nservices:\n  web:\n    <<: *common\n    x-mine: [1]\n",
    );
    assert_eq!(service(&system, "web").labels["a"], "b");
}

#[test]
fn null_keys_are_no_keys() {
    assert_eq!(web_findings("command:\nports:\nenvironment:\ndeploy:\n"), "");
    assert_eq!(web("command: []").command, Some(vec![]));
}

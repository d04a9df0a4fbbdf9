//! What a user sees when a file is wrong.

use insta::assert_snapshot;

use crate::yard::{Yard, findings, shown, web_findings};

#[test]
fn all_errors_come_at_once_with_places_and_hints() {
    let text = "
version: '3'
service: {}
services:
  web:
    iamge: nginx
    privileged: true
    replicas: 2
    ports: [http, '8:80']
    restart: allways
    mem_limit: lots
    healthcheck: {test: [CMD], intervall: 3s}
    depends_on: [caches]
    deploy: {replicas: x, mode: global, update_config: {order: first}}
    volumes: ['data:/data', 'x:relative', {type: npipe}]
    x-brickyard:
      provide: {}
      provides: {http: {protocol: http}}
      needs: [cache, {db: /other/prod/db/x}]
      templates: [{src: missing.tmpl, dest: etc/x, reload: hup}]
      config: {}
  cache: {image: i}
  'bad name': {image: i}
networks: {}
volumes: {dat: {driver: local}}
";
    assert_snapshot!(findings(text), @r#"
    2:1 BY0117 warning `version` has no effect: it is obsolete
    3:1 BY0102 unknown key `service` (did you mean `services`?)
    5:3 BY0107 service `web` has neither `image` nor `build`
    6:5 BY0102 unknown key `iamge` (did you mean `image`?)
    7:17 BY0103 the native engine cannot honour `privileged: true`
    8:5 BY0102 unknown key `replicas`
    9:13 BY0106 `http` is no port: the container's port is not a number or range
    10:14 BY0106 `allways` is no value for `restart`: it is one of no, always, unless-stopped, on-failure, on-failure:N (did you mean `always`?)
    11:16 BY0106 `lots` is no value for `mem_limit`: it must be a size as 64m or 1.5g
    12:25 BY0106 a `test` list is [NONE], [CMD, PROGRAM, ...] or [CMD-SHELL, TEXT]
    12:32 BY0102 unknown key `intervall` (did you mean `interval`?)
    13:18 BY0113 service `web` depends on `caches`, which is not defined (a service named `cache` exists; did you mean that?)
    14:24 BY0106 `x` is no value for `replicas`: it must be a whole number
    14:33 BY0117 warning `deploy.mode` has no effect: `global` is one instance on one machine
    14:64 BY0106 `first` is no value for `order`: it is one of stop-first, start-first
    15:15 BY0113 service `web` uses the volume `data`, which is not declared (a volume named `dat` exists; did you mean that?)
    15:29 BY0113 service `web` uses the volume `x`, which is not declared (declare it on the top level: `volumes: {x: {}}`)
    15:29 BY0106 a volume's target must be an absolute path without `..`, not `relative`
    15:43 BY0107 an item of `volumes` has no `target`
    17:7 BY0102 unknown key `provide` (did you mean `provides`?)
    18:18 BY0107 endpoint `http` has no `port`
    19:15 BY0116 `cache` provides no endpoint (add `provides: {NAME: PORT}` to `cache`'s x-brickyard)
    19:27 BY0103 the native engine cannot honour a line to another system
    20:25 BY0100 `missing.tmpl` cannot be read: there is no file `/project/missing.tmpl`
    20:45 BY0106 `dest` must be an absolute path without `..`, not `etc/x`
    20:60 BY0106 `hup` is no value for `reload`: it is one of none, restart
    21:7 BY0102 `config` belongs into the top-level `x-brickyard`
    23:3 BY0112 `bad name` is not a service name: it starts with a letter or digit and goes on with at most 62 of a-z A-Z 0-9 . _ -
    "#);
}

#[test]
fn timeouts_of_templates_bound_something() {
    let text = "\
services:
  web:
    image: i
    x-brickyard:
      templates:
        - {src: t, dest: /t, check_timeout: 5s, reload: {signal: HUP}, reload_timeout: 5s}
        - {src: t, dest: /u, check: [x], check_timeout: 0s, reload_timeout: soon, reload: restart}
        - {src: t, dest: /v, check: [x], check_time: 1s}
";
    let yard = Yard::new(text).file("/project/t", "");
    assert_snapshot!(shown(&yard.load().findings()), @"
    6:45 BY0106 `check_timeout` without `check` bounds nothing
    6:88 BY0106 `reload_timeout` without `reload: {exec: [...]}` bounds nothing
    7:57 BY0106 `check_timeout` must be longer than nothing
    7:77 BY0106 `soon` is no value for `reload_timeout`: it must be a duration as 500ms, 10s or 1m30s
    7:77 BY0106 `reload_timeout` without `reload: {exec: [...]}` bounds nothing
    8:42 BY0102 unknown key `check_time` (did you mean `check_timeout`?)
    ");
}

#[test]
fn broken_yaml_has_its_place() {
    assert_snapshot!(findings("services:\n  web: {image: i\n  db: x\n"), @"3:5 BY0101 this is not valid YAML: while parsing a flow mapping, did not find expected ',' or '}'");
    assert_snapshot!(findings(""), @"1:1 BY0101 the Compose file is empty");
    assert_snapshot!(findings("just text\n"), @"1:1 BY0105 a Compose file must be a mapping, and this is text");
    assert_snapshot!(findings("services: {web: {image: a, image: b}}\n"), @"1:28 1:18 BY0104 the key `image` stands twice in one mapping");
    assert_snapshot!(findings("name: [x]\nservices: {}\n"), @"1:7 BY0105 `name` must be text");
}

#[test]
fn circles_of_start_order_show_all_places() {
    let text = "
services:
  a: {image: i, depends_on: [b]}
  b: {image: i, depends_on: {c: {}}}
  c: {image: i, links: [a]}
  d: {image: i, depends_on: [d]}
  e: {image: i, depends_on: [a]}
";
    assert_snapshot!(findings(text), @r#"
    3:30 4:30 5:25 BY0114 services wait for each other's start: `a` -> `b` -> `c` -> `a` (break the circle, or use `needs`, which may be circular)
    6:30 BY0114 services wait for each other's start: `d` -> `d` (break the circle, or use `needs`, which may be circular)
    "#);
}

#[test]
fn circles_of_needs_are_fine() {
    let text = "
services:
  a: {image: i, x-brickyard: {provides: {x: 1}, needs: [b]}}
  b: {image: i, x-brickyard: {provides: {x: 1}, needs: [a]}}
";
    assert_snapshot!(findings(text), @"");
}

#[test]
fn needs_must_lead_to_one_endpoint() {
    let text = "
services:
  web:
    image: i
    x-brickyard: {needs: {two: db, none: empty, wrong: db/redsi, gone: dbs}}
  db: {image: i, x-brickyard: {provides: {redis: 1, admin: 2}}}
  empty: {image: i}
";
    assert_snapshot!(findings(text), @r#"
    5:32 BY0116 `db` provides more than one endpoint (say which one: `db/admin`, `db/redis`)
    5:42 BY0116 `empty` provides no endpoint (add `provides: {NAME: PORT}` to `empty`'s x-brickyard)
    5:56 BY0113 `db` provides no endpoint `redsi` (it provides `db/admin`, `db/redis`)
    5:72 BY0113 the need `gone` leads to `dbs`, which is not defined (`db` exists; did you mean that?)
    "#);
}

#[test]
fn what_collides_is_shown_twice() {
    let text = "
services:
  a: {image: i, ports: ['80:1', '127.0.0.1:81:1', '85:1', '83:1']}
  b: {image: i, ports: ['80:1', '0.0.0.0:81:1', '82:1', '84:1'], mem_limit: 1m, deploy: {resources: {limits: {memory: 2m}}}}
  mail: {image: i, x-brickyard: {templates: [{src: t, dest: /t}, {src: t, dest: //t}]}}
x-brickyard: {config: {a/b: 1, a: {b: 2}, brickyard: {x: 1}}, external: {mail: {smtp: host}}}
";
    let yard = Yard::new(text).file("/project/t", "");
    assert_snapshot!(shown(&yard.load().findings()), @r#"
    4:25 3:25 BY0115 the host port 80 is published twice
    4:33 3:33 BY0115 the host port 81 is published twice
    4:77 4:119 BY0115 `mem_limit` and `deploy.resources.limits.memory` say different things
    5:3 BY0115 `mail` is a service and an external box at once
    5:81 5:61 BY0115 two templates of `mail` write `/t`
    6:36 BY0104 the configuration key `/a/b` is set twice
    6:43 BY0112 keys below `/brickyard` belong to the registry
    6:87 BY0106 `host` is no value for external `mail`: it must be HOST:PORT
    "#);
}

#[test]
fn names_that_are_not_defined() {
    let text = "
services:
  a: {image: i, volumes: ['dta:/d'], depends_on: {gone: {required: false}}, links: [nowhere]}
  b: {command: x}
volumes: {data: {}}
";
    assert_snapshot!(findings(text), @r#"
    3:27 BY0113 service `a` uses the volume `dta`, which is not declared (a volume named `data` exists; did you mean that?)
    3:51 BY0113 warning service `a` depends on `gone`, which is not defined
    3:85 BY0113 service `a` depends on `nowhere`, which is not defined
    4:3 BY0107 service `b` has neither `image` nor `build`
    "#);
}

#[test]
fn variables_that_are_not_set() {
    let text = "
x-a: [$ONE, $ONE]
services:
  a: {image: '${IMAGE:?say which}', command: 'echo ${ONE} $(date)'}
";
    assert_snapshot!(findings(text), @r#"
    2:8 BY0109 warning the variable `ONE` is not set and becomes empty (set it in the environment or in .env, or write ${ONE:-})
    4:3 BY0107 service `a` has neither `image` nor `build`
    4:17 BY0110 the variable `IMAGE` must be set: say which
    4:59 BY0108 `$(date)` is no variable expression (write ${NAME}, or $$ for a dollar sign)
    "#);
}

#[test]
fn files_that_cannot_be_read() {
    let mut yard = Yard::new("services: {a: {image: i, env_file: [x.env, gone.env]}}\n")
        .file("/project/x.env", "A=1\nB B\n");
    yard.env_files = vec!["other.env".into()];
    assert_snapshot!(shown(&yard.load().findings()), @r#"
     BY0100 the env file `other.env` cannot be read: there is no file `/project/other.env`
    1:44 BY0100 `gone.env` cannot be read: there is no file `/project/gone.env`
    x.env:2:1 BY0111 `=` is missing after `B`
    "#);
    yard.files = brickyard_core::MemoryFiles::default();
    yard.env_files.clear();
    assert_snapshot!(shown(&yard.load().findings()), @" BY0100 the Compose file cannot be read: there is no file `compose.yaml`");
}

#[test]
fn single_values_say_what_they_must_be() {
    let text = "
command: echo 'x
entrypoint: a && b
working_dir: ../x
stop_grace_period: 10
read_only: maybe
labels: text
environment: {A: [1]}
hostname: a_b
tmpfs: [/a:size=x, /a]
expose: [70000]
healthcheck: {interval: 1s}
volumes: [/anonymous]
build: https://example.com/x.git
x-bricyard: {}
";
    assert_snapshot!(web_findings(text.trim_start()), @r#"
    4:14 BY0106 `command` has a quote that is never closed
    5:17 BY0117 warning no shell reads `entrypoint`: its operators are passed on as words (for a shell's operators write ["/bin/sh", "-c", "..."])
    6:18 BY0106 `working_dir` must be an absolute path without `..`, not `../x`
    7:24 BY0106 `10` is no value for `stop_grace_period`: it must be a duration as 500ms, 10s or 1m30s
    8:16 BY0106 `maybe` is no value for `read_only`: it must be true or false
    9:13 BY0105 `labels` must be a mapping, and this is text
    10:22 BY0105 `A` must be text, and this is a list
    11:15 BY0106 `a_b` is no value for `hostname`: it must be a host name: letters, digits, `-` and `.`, at most 63 characters
    12:13 BY0103 the native engine cannot honour the tmpfs option `size=x`
    12:24 BY0115 `/a` is mounted twice
    13:14 BY0106 `70000` is no value for `expose`: it must be a port or a range, as 80, 80/tcp or 8000-8003
    14:18 BY0103 the native engine cannot honour a `healthcheck` without `test`
    15:15 BY0103 the native engine cannot honour a volume without a name
    16:12 BY0103 the native engine cannot honour a build context that is not a directory
    17:5 BY0102 warning unknown key `x-bricyard` (did you mean `x-brickyard`?)
    "#);
}

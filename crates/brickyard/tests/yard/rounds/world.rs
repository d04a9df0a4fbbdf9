//! What is done to a yard, and what may be true of it afterwards: a change whose command did not
//! succeed may or may not have been made.

use std::collections::{BTreeMap, BTreeSet};

use brickyard_testkit::Random;
use serde_json::Value;

use super::facts::{environment_of, place_of, read_inside};

/// Configuration keys; the last one is shown to a program in a variable.
pub(super) const KEYS: [&str; 4] = ["k0", "k1", "k2", "w"];
/// Services of the model.
const SERVICES: [&str; 4] = ["web", "db", "worker", "solo"];
/// Instances that are stopped now and then.
const STOPPED: [&str; 2] = ["solo/1", "web/1"];
/// Replicas of `web` in the model.
const REPLICAS: u64 = 2;

/// The model: `rounds` says of each service the round in which it was last changed.
pub(super) fn model(port: u16, rounds: &BTreeMap<&'static str, u64>) -> String {
    let round = |service: &str| rounds[service];
    let (web, db, worker, solo) = (round("web"), round("db"), round("worker"), round("solo"));
    format!(
        r#"
name: rounds
services:
  web:
    image: box
    command: [httpd, -f, -p, "80", -h, /www]
    environment: {{ROUND: "{web}"}}
    restart: always
    stop_signal: KILL
    ports: ["127.0.0.1:{port}:80"]
    deploy: {{replicas: {REPLICAS}, update_config: {{order: start-first}}}}
    x-brickyard:
      provides: {{http: {{port: 80, protocol: http, health: {{path: /}}}}}}
      needs: {{db: db/echo}}
      templates:
        - {{src: page.tmpl, dest: /www/index.html, check: [grep, -q, text, "{{{{.src}}}}"], reload: {{signal: HUP}}}}
  db:
    image: box
    command: [nc, -ll, -p, "7", -e, cat]
    environment: {{ROUND: "{db}"}}
    restart: always
    stop_signal: KILL
    volumes: ["data:/data"]
    x-brickyard: {{provides: {{echo: {{port: 7, health: tcp}}}}}}
  worker:
    image: box
    command: [sleep, "100000"]
    environment: {{ROUND: "{worker}"}}
    restart: always
    stop_signal: KILL
    healthcheck: {{test: [CMD, "true"], interval: 300ms}}
    x-brickyard: {{environment: {{W: '{{{{getv "/w"}}}}'}}}}
  solo:
    image: box
    command: [sleep, "100000"]
    environment: {{ROUND: "{solo}"}}
    restart: unless-stopped
    stop_signal: KILL
    x-brickyard:
      needs: {{db: {{to: db/echo, on_change: restart}}}}
      templates: [{{src: peer.tmpl, dest: /etc/peer, reload: none}}]
volumes: {{data: {{}}}}
x-brickyard: {{config: {{k0: none, k1: none, k2: none, w: none}}}}
"#
    )
}

/// One thing that is done by a command.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Set { key: &'static str, value: String },
    Unset { key: &'static str },
    Scale { replicas: u64 },
    Stop { place: &'static str },
    Start { place: &'static str },
    Restart { service: &'static str },
    Deploy { service: &'static str, round: u64 },
    Once,
    Exec,
}

impl Change {
    /// At most one change of what runs, and some changes of data: they concern different things, so
    /// that their order does not matter.
    pub(super) fn choose(random: &mut Random, round: u64, truth: &Truth) -> Vec<Self> {
        let mut changes = Vec::new();
        let service = *random.pick(&SERVICES);
        let place = *random.pick(&STOPPED);
        let replicas = REPLICAS + random.below(4);
        match random.below(8) {
            0 | 1 => changes.push(Self::Scale { replicas }),
            2 if truth.worlds.iter().all(|world| world.stopped.contains(place)) => {
                changes.push(Self::Start { place });
            }
            2 => changes.push(Self::Stop { place }),
            3 | 4 => changes.push(Self::Restart { service }),
            5 | 6 => changes.push(Self::Deploy { service, round }),
            _ => {}
        }
        for key in KEYS {
            match random.below(6) {
                0 | 1 => changes.push(Self::Set { key, value: format!("{key}-{round}") }),
                2 if random.one_in(2) => changes.push(Self::Unset { key }),
                _ => {}
            }
        }
        if random.one_in(3) {
            changes.push(Self::Once);
        }
        if random.one_in(5) || changes.is_empty() {
            changes.push(Self::Exec);
        }
        changes
    }

    /// The command's words.
    pub(super) fn words(&self) -> Vec<String> {
        let text = match self {
            Self::Set { key, value } => format!("set {key}={value}"),
            Self::Unset { key } => format!("unset {key}"),
            Self::Scale { replicas } => format!("scale web={replicas}"),
            Self::Stop { place } => format!("stop {place}"),
            Self::Start { place } => format!("start {place}"),
            Self::Restart { service } => format!("restart {service}"),
            Self::Deploy { .. } => "up -d".to_owned(),
            Self::Once => "run --rm --no-deps solo sleep 0.4".to_owned(),
            Self::Exec => "exec db sleep 0.2".to_owned(),
        };
        text.split(' ').map(str::to_owned).collect()
    }
}

/// One way in which things may be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct World {
    replicas: u64,
    pub(super) stopped: BTreeSet<&'static str>,
    rounds: BTreeMap<&'static str, u64>,
}

impl World {
    fn after(&self, change: &Change, file: &BTreeMap<&'static str, u64>) -> Self {
        let mut next = self.clone();
        match change {
            Change::Scale { replicas } => next.replicas = *replicas,
            Change::Stop { place } => drop(next.stopped.insert(place)),
            Change::Start { place } => drop(next.stopped.remove(place)),
            Change::Restart { service } => {
                next.stopped.retain(|place| place.split('/').next() != Some(service));
            }
            Change::Deploy { .. } => next = Self::of(file),
            Change::Set { .. } | Change::Unset { .. } | Change::Once | Change::Exec => {}
        }
        next
    }

    fn of(file: &BTreeMap<&'static str, u64>) -> Self {
        Self { replicas: REPLICAS, stopped: BTreeSet::new(), rounds: file.clone() }
    }

    /// Whether `ps` and the programs' own variables show it.
    fn is_shown(&self, rows: &[Value]) -> bool {
        let web = (1..=self.replicas).map(|slot| format!("web/{slot}"));
        let others = SERVICES[1..].iter().map(|service| format!("{service}/1"));
        let wanted: BTreeSet<String> = web.chain(others).collect();
        let found: BTreeSet<String> = rows.iter().map(place_of).collect();
        wanted == found && rows.len() == found.len() && rows.iter().all(|row| self.is_well(row))
    }

    fn is_well(&self, row: &Value) -> bool {
        if self.stopped.contains(&*place_of(row)) {
            return row["state"] == "stopped";
        }
        let service = row["service"].as_str().unwrap_or_default();
        let runs = row["state"] == "running" && row["health"] == "healthy";
        runs && environment_of(row, "ROUND") == Some(self.rounds[service].to_string())
    }
}

/// What is known.
#[derive(Debug)]
pub(super) struct Truth {
    /// Ways in which things may be.
    pub(super) worlds: BTreeSet<World>,
    /// Values that each key may have.
    pub(super) keys: BTreeMap<&'static str, BTreeSet<String>>,
    /// Changes that were acknowledged.
    pub(super) told: Vec<(&'static str, String)>,
    /// What the model's file says.
    pub(super) file: BTreeMap<&'static str, u64>,
}

impl Default for Truth {
    fn default() -> Self {
        let file: BTreeMap<_, _> = SERVICES.into_iter().map(|service| (service, 0)).collect();
        let none = || BTreeSet::from(["none".to_owned()]);
        Self {
            worlds: [World::of(&file)].into(),
            keys: KEYS.into_iter().map(|key| (key, none())).collect(),
            told: Vec::new(),
            file,
        }
    }
}

impl Truth {
    /// Takes in a command that has ended.
    pub(super) fn take(&mut self, change: &Change, done: bool) {
        let after: BTreeSet<World> =
            self.worlds.iter().map(|world| world.after(change, &self.file)).collect();
        let value = match change {
            Change::Set { key, value } => Some((*key, value.clone())),
            Change::Unset { key } => Some((*key, "none".to_owned())),
            _ => None,
        };
        if done {
            self.worlds = after;
            if let Some((key, value)) = value {
                self.keys.insert(key, [value.clone()].into());
                self.told.extend((value != "none").then_some((key, value)));
            }
        } else {
            self.worlds.extend(after);
            if let Some((key, value)) = value {
                self.keys.entry(key).or_default().insert(value);
            }
        }
    }

    /// Takes in a deploy of the model's file.
    pub(super) fn deployed(&mut self) {
        self.worlds = [World::of(&self.file)].into();
    }

    /// The world that is shown, if it is a possible one.
    pub(super) fn world_of(&self, rows: &[Value]) -> Option<World> {
        self.worlds.iter().find(|world| world.is_shown(rows)).cloned()
    }

    /// What instances show otherwise than they should.
    pub(super) fn contents(&self, rows: &[Value]) -> Vec<String> {
        let db = rows.iter().find(|row| row["service"] == "db");
        let db = format!("{}:7", db.and_then(|row| row["ip"].as_str()).unwrap_or("?"));
        let value = |key: &str| {
            let possible = &self.keys[key];
            possible.iter().cloned().collect::<Vec<_>>().join(" or ")
        };
        let page: String =
            KEYS.iter().map(|key| format!("{key}={};", value(key))).collect::<String>();
        let mut problems = Vec::new();
        for row in rows.iter().filter(|row| row["state"] == "running") {
            let (found, wanted) = match row["service"].as_str().unwrap_or_default() {
                "web" => (read_inside(row, "www/index.html"), format!("text {page} db={db};\n")),
                "db" => (read_inside(row, "data/file"), "kept\n".to_owned()),
                "solo" => (read_inside(row, "etc/peer"), format!("{db}\n")),
                _ => (environment_of(row, "W").unwrap_or_default(), value("w")),
            };
            if found != wanted {
                problems.push(format!("{} has `{found}` instead of `{wanted}`", place_of(row)));
            }
        }
        problems
    }
}

//! Scripted scenarios on a fake world: a text in, the same text with what happened filled in.
//!
//! A script is a list of commands, each on a line that begins with `> `; all other lines are
//! output and are written anew. `> model` is followed by a Compose file up to a line `---`, and
//! `> file` by a template.
//!
//! | command | meaning |
//! |---|---|
//! | `> model` | deploys the file that follows |
//! | `> file NAME` | keeps the file that follows beside the model |
//! | `> run [N]` | lets the world go on until nothing is left to do, or for N effects |
//! | `> set KEY=VALUE` | sets a configuration key |
//! | `> register SERVICE/SLOT/ENDPOINT HOST:PORT` | registers an endpoint in a service's place |
//! | `> scale SERVICE=N` | changes the number of instances |
//! | `> restart SERVICE/SLOT` | asks for a restart |
//! | `> stop SERVICE/SLOT` | stops a slot |
//! | `> down` | takes everything away |
//! | `> end SERVICE/SLOT CODE` | the process ends by itself |
//! | `> dies SERVICE CODE` / `> lives SERVICE` | every start of it ends at once, or no longer |
//! | `> sick SERVICE` / `> well SERVICE` | its checks fail from the next start on, or no longer |
//! | `> fails SERVICE/SLOT` / `> recovers SERVICE/SLOT` | the checks of a running one say so |
//! | `> check SERVICE REFUSES TEXT` | its checks refuse files that hold the text |
//! | `> wait MILLIS` | time passes |
//! | `> clock MILLIS` | the machine's clock is set forward, or back |
//! | `> agent dies` | what is transient is forgotten |
//! | `> show` | lists what runs, with the first line of its files |

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::Ipv4Addr;

use brickyard_core::clock::Millis;
use brickyard_core::spec::Exit;
use brickyard_core::{Address, Digest, Generation, MemoryFiles, ServiceName, Slot};
use brickyard_model::types::{HostPort, Reload};
use brickyard_model::{Options, System};
use camino::Utf8PathBuf;

use crate::action::Action;
use crate::apply::{Outcome, begin, finish};
use crate::decide::decide;
use crate::difference::RenderedFile;
use crate::observed::{Busy, Health, Observed, Place, State};
use crate::view::View;
use crate::wanted::{Adjustments, ImageConfig, Wanted, resolve};

/// Effects after which a world that does not come to rest is called endless.
const EFFECTS_MAX: u32 = 500;

/// Runs a script and returns it with its outputs.
#[must_use]
pub fn run_script(script: &str) -> String {
    let mut world = World::default();
    let mut output = String::new();
    let mut lines = script.lines();
    while let Some(line) = lines.next() {
        let Some(command) = line.strip_prefix("> ") else {
            if line.starts_with('#') {
                let _ = writeln!(output, "{line}");
            }
            continue;
        };
        let _ = writeln!(output, "{line}");
        let mut said = String::new();
        let file = command.strip_prefix("file ");
        if command == "model" || file.is_some() {
            let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "---").collect();
            let text = text.join("\n");
            let _ = writeln!(output, "{text}\n---");
            match file {
                Some(name) => drop(world.files.insert(name.to_owned(), text)),
                None => world.deploy(&text, &mut said),
            }
        } else {
            world.command(command, &mut said);
        }
        output.push_str(&said);
        output.push('\n');
    }
    output
}

#[derive(Default)]
struct World {
    files: BTreeMap<String, String>,
    system: Option<System>,
    wanted: Option<Wanted>,
    deploys: u64,
    adjustments: Adjustments,
    observed: Observed,
    view: View,
    now_ms: Millis,
    issued: u64,
    addresses: u8,
    dying: BTreeMap<ServiceName, i32>,
    sick: BTreeSet<ServiceName>,
    refusals: BTreeMap<ServiceName, String>,
    /// Effects under way, in the order in which they began.
    under_way: Vec<Action>,
    contents: BTreeMap<(Place, Utf8PathBuf), String>,
}

impl World {
    fn deploy(&mut self, text: &str, said: &mut String) {
        let mut files = MemoryFiles::default().with("/m/compose.yaml", text);
        for (name, text) in &self.files {
            files = files.with(&format!("/m/{name}"), text);
        }
        let environment = BTreeMap::new();
        let mut loaded = brickyard_model::load(&brickyard_model::Input {
            files: &files,
            paths: &["/m/compose.yaml".into()],
            project_directory: "/m".into(),
            environment: &environment,
            env_files: &[],
            name: Some("sim"),
            profiles: &[],
            options: Options::default(),
        });
        let system = loaded.take_runnable();
        for found in &loaded.findings() {
            let _ = writeln!(said, "{}", found.message);
        }
        if let Some(system) = system {
            self.deploys += 1;
            self.system = Some(system);
            self.resolve(said);
        }
    }

    fn resolve(&mut self, said: &mut String) {
        let Some(system) = &self.system else { return };
        let images = system
            .services
            .iter()
            .map(|(name, service)| {
                let digest = Digest::of(service.image.as_deref().unwrap_or("built"));
                let config = ImageConfig { cmd: vec!["run".to_owned()], ..ImageConfig::default() };
                (name.clone(), (digest, config))
            })
            .collect();
        let address =
            Address::environment(&system.name, &"dev".parse().expect("a fixed, valid name"));
        match resolve(address, self.deploys, system, &images, &self.adjustments) {
            Ok(wanted) => self.wanted = Some(wanted),
            Err(errors) => errors.iter().for_each(|err| {
                let _ = writeln!(said, "error: {err}");
            }),
        }
    }

    fn command(&mut self, command: &str, said: &mut String) {
        let words: Vec<&str> = command.split_whitespace().collect();
        let understood = match words.as_slice() {
            ["run"] => {
                self.run(EFFECTS_MAX, said);
                Some(())
            }
            ["run", count] => count.parse().ok().map(|count| self.run(count, said)),
            ["set", pair] => pair.split_once('=').map(|(key, value)| {
                self.view.config.insert(format!("/{key}"), value.to_owned());
            }),
            ["register", what, at] => self.register(what, at),
            ["scale", pair] => self.scale(pair, said),
            ["restart", place] => self.restart(place),
            ["stop", place] => self.stop(place, said),
            ["pause", place] => self.pause(place, true, said),
            ["unpause", place] => self.pause(place, false, said),
            ["down"] => {
                self.adjustments.down = true;
                self.resolve(said);
                Some(())
            }
            ["end", place, code] => self.end(place, code, said),
            ["dies", name, code] => code.parse().ok().and_then(|code| {
                self.dying.insert(name.parse().ok()?, code);
                Some(())
            }),
            ["lives", name] => self.dying.remove(*name).map(drop),
            ["sick", name] => name.parse().ok().map(|name| {
                self.sick.insert(name);
            }),
            ["fails", place] => self.checked(place, Health::Unhealthy, said),
            ["recovers", place] => self.checked(place, Health::Healthy, said),
            ["well", name] => {
                self.sick.remove(*name);
                Some(())
            }
            ["check", name, "refuses", text] => name.parse().ok().map(|name| {
                self.refusals.insert(name, (*text).to_owned());
            }),
            ["wait", millis] => millis.parse::<Millis>().ok().map(|millis| self.now_ms += millis),
            ["clock", by] => by.parse().ok().map(|by_ms| {
                self.now_ms = self.now_ms.saturating_add_signed(by_ms);
                self.observed.shift_times(by_ms);
            }),
            ["agent", "dies"] => {
                self.observed.transient.clear();
                self.observed.given_up.clear();
                self.under_way.clear();
                Some(())
            }
            ["show"] => {
                self.show(said);
                Some(())
            }
            _ => None,
        };
        if understood.is_none() {
            let _ = writeln!(said, "?");
        }
    }

    fn register(&mut self, what: &str, at: &str) -> Option<()> {
        let mut parts = what.split('/');
        let service = parts.next()?.parse().ok()?;
        let slot = Slot(parts.next()?.parse().ok()?);
        let endpoint = parts.next()?.parse().ok()?;
        let (host, port) = at.rsplit_once(':')?;
        let at = HostPort { host: host.to_owned(), port: port.parse().ok()? };
        self.view.registered.entry(service).or_default().insert((slot, endpoint), at);
        Some(())
    }

    fn scale(&mut self, pair: &str, said: &mut String) -> Option<()> {
        let (name, count) = pair.split_once('=')?;
        self.adjustments.replicas.insert(name.parse().ok()?, count.parse().ok()?);
        self.resolve(said);
        Some(())
    }

    fn restart(&mut self, place: &str) -> Option<()> {
        let place = parse_place(place)?;
        let generation = self.observed.newest(&place)?.generation;
        self.observed.get_mut(&place, generation)?.restart_requested = true;
        Some(())
    }

    fn stop(&mut self, place: &str, said: &mut String) -> Option<()> {
        let place = parse_place(place)?;
        self.adjustments.stopped.entry(place.service).or_default().insert(place.slot);
        self.resolve(said);
        Some(())
    }

    fn pause(&mut self, place: &str, paused: bool, said: &mut String) -> Option<()> {
        let place = parse_place(place)?;
        let slots = self.adjustments.paused.entry(place.service).or_default();
        match paused {
            true => slots.insert(place.slot),
            false => slots.remove(&place.slot),
        };
        self.resolve(said);
        Some(())
    }

    fn end(&mut self, place: &str, code: &str, said: &mut String) -> Option<()> {
        let place = parse_place(place)?;
        let exit = Exit { code: code.parse().ok()?, oom: false, lost: None, time_ms: self.now_ms };
        let generation = self.observed.newest(&place)?.generation;
        let _ = writeln!(said, "{place}#{generation} ends with {}", exit.code);
        self.happen(&place, generation, Outcome::Ended(exit));
        Some(())
    }

    fn checked(&mut self, place: &str, health: Health, said: &mut String) -> Option<()> {
        let place = parse_place(place)?;
        let generation = self.observed.newest(&place)?.generation;
        let _ = writeln!(said, "{} {place}#{generation}", health.word());
        self.happen(&place, generation, Outcome::Health(health));
        Some(())
    }

    fn happen(&mut self, place: &Place, generation: Generation, outcome: Outcome) {
        if let Some(wanted) = &self.wanted {
            finish(wanted, &mut self.observed, place, generation, outcome, self.now_ms);
        }
    }

    /// Decides, begins everything, lets the oldest effect end, and so on.
    fn run(&mut self, effects_max: u32, said: &mut String) {
        for _ in 0..effects_max {
            let Some(wanted) = self.wanted.clone() else {
                return;
            };
            let decision = loop {
                let issued = Generation(self.issued);
                let decision = decide(&wanted, &self.observed, &self.view, self.now_ms, issued);
                if decision.actions.is_empty() {
                    break decision;
                }
                for action in decision.actions {
                    self.begin(action, said);
                }
            };
            if !self.under_way.is_empty() {
                let action = self.under_way.remove(0);
                self.end_effect(&action, said);
            } else if self.probe(said) {
            } else if let Some(at) = decision.wake_at_ms {
                let for_notice = decision.waiting.iter().filter(|(_, why)| why.contains("notice"));
                for (place, why) in for_notice {
                    let _ = writeln!(said, "{place} {why}, {} ms", at.saturating_sub(self.now_ms));
                }
                self.now_ms = at;
                if self.now_ms > 600_000 {
                    let _ = writeln!(said, "(still repeating after ten minutes)");
                    return;
                }
            } else {
                for (place, reason) in &decision.waiting {
                    let _ = writeln!(said, "{place}: {reason}");
                }
                for (place, reason) in &decision.failed {
                    let _ = writeln!(said, "{place} failed: {reason}");
                }
                let _ = writeln!(said, "{}", if decision.unsettled { "stuck" } else { "settled" });
                return;
            }
        }
        if effects_max == EFFECTS_MAX {
            let _ = writeln!(said, "ENDLESS");
        }
    }

    fn begin(&mut self, action: Action, said: &mut String) {
        let mut action = action;
        if let Action::Intend(record) = &mut action {
            self.issued = self.issued.max(record.generation.0);
            if record.address.is_unspecified() {
                self.addresses += 1;
                record.address = Ipv4Addr::new(10, 0, 0, self.addresses);
            }
            let (place, generation) = (&record.place, record.generation);
            let _ = writeln!(said, "intend {place}#{generation} at {}", record.address);
        }
        match &action {
            Action::Withhold { place, generation, reason, .. } => {
                let _ = writeln!(said, "withhold {place}#{generation}: {reason}");
            }
            Action::Admit { place, generation } => {
                let _ = writeln!(said, "admit {place}#{generation}");
            }
            Action::Refuse { place, generation, reason, .. } => {
                let _ = writeln!(said, "{place}#{generation} keeps its file: {reason}");
            }
            Action::GiveUp { place, generation, reason, .. } => {
                let _ = writeln!(said, "give up {place}#{generation}: {reason}");
            }
            _ => {}
        }
        begin(&mut self.observed, &action, self.now_ms);
        if action.busy().is_some() {
            self.under_way.push(action);
        }
    }

    fn end_effect(&mut self, action: &Action, said: &mut String) {
        let (place, generation) = action.subject();
        let place = place.clone();
        let name = format!("{place}#{generation}");
        let outcome = match action {
            Action::Start { job, reason, .. } | Action::Restart { job, reason, .. } => {
                let verb = if matches!(action, Action::Start { .. }) { "start" } else { "restart" };
                let _ = writeln!(said, "{verb} {name}: {reason}");
                job.files.iter().for_each(|file| self.keep(&place, file));
                Outcome::Started(Ok(1))
            }
            Action::Stop { remove, reason, .. } => {
                let _ = writeln!(said, "stop {name}: {reason}");
                let exit = Exit { code: 143, oom: false, lost: None, time_ms: self.now_ms };
                Outcome::Stopped { exit, removed: *remove }
            }
            Action::Pause { .. } | Action::Unpause { .. } => {
                let paused = matches!(action, Action::Pause { .. });
                let _ = writeln!(said, "{} {name}", if paused { "pause" } else { "unpause" });
                Outcome::Paused(paused)
            }
            Action::Kill { .. } => {
                let _ = writeln!(said, "kill {name}");
                let exit = Exit { code: 137, oom: false, lost: None, time_ms: self.now_ms };
                Outcome::Stopped { exit, removed: false }
            }
            Action::Remove { .. } => {
                let _ = writeln!(said, "remove {name}");
                Outcome::Removed
            }
            Action::Render { file, .. } => self.end_render(&place, &name, file, said),
            Action::Reload { methods, loaded, lines, .. } => {
                let ways: Vec<&Reload> = methods.iter().map(|method| &method.reload).collect();
                let _ = writeln!(said, "reload {name} by {ways:?}");
                let (loaded, lines) = (loaded.clone(), lines.clone());
                Outcome::Reloaded { loaded, lines, result: Ok(()) }
            }
            Action::Intend(_)
            | Action::Withhold { .. }
            | Action::Admit { .. }
            | Action::Refuse { .. }
            | Action::GiveUp { .. } => return,
        };
        let started = matches!(outcome, Outcome::Started(_));
        self.happen(&place, generation, outcome);
        if started && let Some(code) = self.dying.get(&place.service) {
            let exit = Exit { code: *code, oom: false, lost: None, time_ms: self.now_ms };
            let _ = writeln!(said, "{name} ends with {code}");
            self.happen(&place, generation, Outcome::Ended(exit));
        }
    }

    fn end_render(
        &mut self,
        place: &Place,
        name: &str,
        file: &RenderedFile,
        said: &mut String,
    ) -> Outcome {
        let text = String::from_utf8_lossy(&file.contents).into_owned();
        let refuses = self.refusals.get(&place.service);
        let refused = refuses.is_some_and(|bad| text.contains(bad.as_str()));
        let verb = if refused { "check refuses" } else { "render" };
        let _ = writeln!(said, "{verb} {name} {}: {}", file.template.dest, text.trim());
        if !refused {
            self.keep(place, file);
        }
        Outcome::Rendered {
            dest: file.template.dest.clone(),
            digest: file.digest,
            reads: file.marks(),
            silent: file.template.reload == Reload::None,
            result: if refused { Err("refused".to_owned()) } else { Ok(()) },
        }
    }

    fn keep(&mut self, place: &Place, file: &RenderedFile) {
        let text = String::from_utf8_lossy(&file.contents).into_owned();
        self.contents.insert((place.clone(), file.template.dest.clone()), text);
    }

    /// Lets the check of one starting instance come to its end.
    fn probe(&mut self, said: &mut String) -> bool {
        let starting = self
            .observed
            .all()
            .find(|r| r.is_running() && !r.is_paused() && r.health == Health::Starting)
            .map(|record| (record.place.clone(), record.generation));
        let Some((place, generation)) = starting else {
            return false;
        };
        let health = match self.sick.contains(&place.service) {
            true => Health::Unhealthy,
            false => Health::Healthy,
        };
        let _ = writeln!(said, "{} {place}#{generation}", health.word());
        self.happen(&place, generation, Outcome::Health(health));
        true
    }

    fn show(&self, said: &mut String) {
        for record in self.observed.all() {
            let _ = write!(
                said,
                "{}#{} {} {} at {} restarts {}",
                record.place,
                record.generation,
                record.state.word(),
                record.health.word(),
                record.address,
                record.restarts
            );
            let key = (record.place.clone(), Utf8PathBuf::new());
            let files = self.contents.range(key..).take_while(|((p, _), _)| *p == record.place);
            for ((_, dest), text) in files {
                let _ = write!(said, " {dest}={}", text.trim());
            }
            let busy = self.observed.transient(record).busy;
            if busy == Some(Busy::Lifecycle) && record.state == State::Intended {
                let _ = write!(said, " (under way)");
            }
            let _ = writeln!(said);
        }
    }
}

fn parse_place(text: &str) -> Option<Place> {
    let (service, slot) = text.split_once('/')?;
    Some(Place { service: service.parse().ok()?, slot: Slot(slot.parse().ok()?) })
}

//! Kill rounds: while keys change and services scale, restart and are redeployed, processes of the
//! product are killed at random moments; after each next start nothing is lost, left or run twice.
//!
//! A seed says what is done and who is killed when; what that hits differs from run to run. A test
//! run has ten rounds; `make soak` has more. `BRICKYARD_ROUNDS` and `BRICKYARD_SEED` say otherwise.

mod facts;
mod world;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use brickyard_testkit::{
    ASYNCHRONOUS, Aside, DEADLINE, Picture, Project, Random, Yard, kill_and_wait, run, wait_until,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::BRICKYARD;
use world::{Change, KEYS, Truth, model};

/// Rounds of a test run; one takes some seconds.
const ROUNDS: u64 = 10;
/// Seed of a test run.
const SEED: u64 = 1;
/// How long a process is looked for that is to be killed.
const HUNT: Duration = Duration::from_millis(300);
/// How long a yard may take to settle: a start that failed before waits before the next.
const SETTLING: Duration = Duration::from_secs(40);
/// How long a yard has to stay as it is to count as settled.
const STILL: Duration = Duration::from_millis(250);
/// Parts of the machine that look the same whenever the environment is up.
const STEADY: [&str; 6] = ["mounts", "links", "addresses", "routes", "rules", "plots"];

/// Who is killed.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Agent,
    Front,
    AgentAndFront,
    Monitor,
    Worker,
    Exec,
    File,
    /// The command of a one-off.
    Run,
    Everything,
}

const VICTIMS: [Victim; 12] = [
    Victim::Agent,
    Victim::Agent,
    Victim::Agent,
    Victim::Front,
    Victim::AgentAndFront,
    Victim::Monitor,
    Victim::Worker,
    Victim::Worker,
    Victim::Exec,
    Victim::File,
    Victim::Run,
    Victim::Everything,
];

/// A yard that is treated badly, with what is known to be true of it.
struct Rounds<'a> {
    aside: &'a Aside,
    yard: &'a Yard,
    project: Project<'a>,
    port: u16,
    random: Random,
    truth: Truth,
    /// Events as they were told, by cursor.
    seen: BTreeMap<u64, String>,
    /// An agent that was started by hand.
    agent: Option<Child>,
    steady: Picture,
}

/// What the test runner shows with a failure.
#[expect(clippy::print_stderr, reason = "a run that fails says how to repeat it")]
fn tell(text: &str) {
    eprintln!("{text}");
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("it is a number"))
}

#[test]
fn killed_processes_lose_nothing_leave_nothing_and_run_nothing_twice() {
    let (rounds, seed) = (setting("BRICKYARD_ROUNDS", ROUNDS), setting("BRICKYARD_SEED", SEED));
    tell(&format!("BRICKYARD_SEED={seed} BRICKYARD_ROUNDS={rounds}"));
    let aside = Aside::new();
    let yard = Yard::within(BRICKYARD, aside.prefix());
    yard.import_box();
    // Somebody else's rules, so that there is something to be left alone.
    let _ = aside.output("nft add table inet others && nft add chain inet others first");
    let before = Picture::of(&aside, &yard, &[]);
    let mut bad = Rounds::new(&aside, &yard, seed);
    for round in 1..=rounds {
        let start = Instant::now();
        bad.round(round);
        tell(&format!("round {round}: {:.1} s", start.elapsed().as_secs_f32()));
    }
    bad.end();
    before.assert_again(&aside, &yard);
}

impl<'a> Rounds<'a> {
    fn new(aside: &'a Aside, yard: &'a Yard, seed: u64) -> Self {
        let port = yard.port();
        let truth = Truth::default();
        let text = model(port, &truth.file);
        let page: String =
            KEYS.iter().map(|key| format!("{key}={{{{getv \"/{key}\"}}}};")).collect();
        let page = format!("text {page} db={{{{line \"db\"}}}};\n");
        let peer = "{{line \"db\"}}\n";
        let files = [("compose.yaml", &*text), ("page.tmpl", &*page), ("peer.tmpl", peer)];
        let project = yard.project("rounds", &files);
        project.up();
        let _ = project.exec("db", "echo kept >/data/file");
        // Some time after it was made, an address of a link counts as its own, and is routed.
        wait_until("addresses stand", DEADLINE, || {
            !aside.output("ip -o addr").contains("tentative")
        });
        let steady = Picture::of(aside, yard, &STEADY);
        let random = Random::new(seed);
        let seen = BTreeMap::new();
        Self { aside, yard, project, port, random, truth, seen, agent: None, steady }
    }

    fn round(&mut self, round: u64) {
        let changes = Change::choose(&mut self.random, round, &self.truth);
        let count = 1 + self.random.below(2);
        let victims: Vec<(Duration, Victim)> = (0..count)
            .map(|_| {
                let pause = Duration::from_millis(self.random.below(200));
                (pause, *self.random.pick(&VICTIMS))
            })
            .collect();
        let (by_up, choice) = (self.random.one_in(2), self.random.number());
        tell(&format!(
            "round {round}: {changes:?}, {victims:?}, by {}",
            if by_up { "up" } else { "agent run" }
        ));
        self.write_model(&changes);
        let commands: Vec<Command> = changes.iter().map(|change| self.command(change)).collect();
        let codes: Vec<i32> = std::thread::scope(|scope| {
            let running: Vec<_> =
                commands.into_iter().map(|command| scope.spawn(move || run(command))).collect();
            for (pause, victim) in victims {
                std::thread::sleep(pause);
                self.kill(victim, choice);
            }
            let outputs = running.into_iter().map(|thread| thread.join().expect("it ends"));
            outputs
                .map(|out| {
                    tell(&format!("  {} {}", out.code, out.stderr.trim().replace('\n', " | ")));
                    out.code
                })
                .collect()
        });
        for (change, code) in changes.iter().zip(codes) {
            self.truth.take(change, code == 0);
        }
        self.start_next(by_up);
        self.clear_one_offs();
        self.settle();
        self.check();
    }

    /// A one-off whose command was killed is still there, is shown, and goes when it is told to.
    fn clear_one_offs(&self) {
        let one_off = |row: &serde_json::Value| row["instance"] == u32::MAX;
        for row in facts::all_rows(&self.project).iter().filter(|row| one_off(row)) {
            let name = row["service"].as_str().expect("it has a name");
            tell(&format!("  {name} is {}", row["state"]));
            let _ = self.project.run(&["rm", "--force", "--stop", name]).ok();
        }
        assert!(!facts::all_rows(&self.project).iter().any(one_off));
    }

    fn write_model(&mut self, changes: &[Change]) {
        for change in changes {
            if let Change::Deploy { service, round } = change {
                self.truth.file.insert(service, *round);
            }
        }
        self.project.write("compose.yaml", &model(self.port, &self.truth.file));
    }

    fn command(&self, change: &Change) -> Command {
        let file = self.project.directory().join("compose.yaml");
        let mut words = vec!["-f".to_owned(), file.into_string()];
        words.extend(change.words());
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.yard.command(&words)
    }

    /// The yard's processes of a sort.
    fn processes(&self, words: &[&str]) -> Vec<i32> {
        facts::with_words(&self.yard.processes(), words)
    }

    fn hunt(&self, words: &[&str], choice: u64) -> Vec<i32> {
        let start = Instant::now();
        loop {
            let found = self.processes(words);
            if !found.is_empty() {
                let at = usize::try_from(choice).unwrap_or(0) % found.len();
                return vec![found[at]];
            }
            if start.elapsed() > HUNT {
                return Vec::new();
            }
        }
    }

    fn kill(&mut self, victim: Victim, choice: u64) {
        let agent = ["agent", "run"];
        let pids = match victim {
            Victim::Agent => self.processes(&agent),
            Victim::Front => self.processes(&["__front"]),
            Victim::AgentAndFront => {
                [self.processes(&agent), self.processes(&["__front"])].concat()
            }
            Victim::Monitor => self.hunt(&["__monitor"], choice),
            Victim::Worker => self.hunt(&["__worker"], choice),
            Victim::Exec => self.hunt(&["__exec"], choice),
            Victim::File => self.hunt(&["__file"], choice),
            Victim::Run => self.hunt(&["run", "--rm"], choice),
            Victim::Everything => {
                let words = ["__front", "__monitor", "__worker", "__exec", "__file"];
                let others = words.iter().map(|word| self.processes(&[word]));
                self.processes(&agent).into_iter().chain(others.flatten()).collect()
            }
        };
        for pid in &pids {
            let _ = kill_process(Pid::from_raw(*pid).expect("it is no zero"), Signal::KILL);
        }
        tell(&format!("  killed {victim:?}: {pids:?}"));
        if let Some(agent) = &mut self.agent
            && pids.contains(&i32::try_from(agent.id()).expect("a pid fits"))
        {
            let _ = agent.wait();
            self.agent = None;
        }
        pids.into_iter().for_each(kill_and_wait);
    }

    /// What comes next: `up`, or an agent alone.
    fn start_next(&mut self, by_up: bool) {
        if by_up {
            self.project.up();
            self.truth.deployed();
        } else if self.yard.agent().is_none() {
            let mut command = self.yard.command(&["agent", "run"]);
            let log = std::fs::File::create(self.yard.root().join("agent.log"));
            command.stdin(Stdio::null()).stderr(log.expect("the yard is writable"));
            self.agent = Some(command.spawn().expect("the binary can be started"));
            wait_until("the agent answers", DEADLINE, || self.yard.agent().is_some());
        }
    }

    /// Waits until the yard is as one of the worlds that are possible, and stays so.
    fn settle(&mut self) {
        let start = Instant::now();
        let mut last = String::new();
        let world = wait_for_or(SETTLING, || {
            let rows = facts::rows(&self.project)?;
            last = format!("{rows:#?}");
            let world = self.truth.world_of(&rows)?;
            std::thread::sleep(STILL);
            (facts::rows(&self.project)? == rows).then_some(world)
        });
        let Some(world) = world else {
            panic!("it does not settle in {:?}: {last}\n{:#?}", start.elapsed(), self.truth);
        };
        self.truth.worlds = [world].into();
    }

    fn check(&mut self) {
        let mut problems = Vec::new();
        let start = Instant::now();
        let all_is_well = wait_for_or(ASYNCHRONOUS, || {
            problems = self.problems();
            problems.is_empty().then_some(())
        });
        assert!(
            all_is_well.is_some(),
            "after {:?}:\n{}\n{:#?}",
            start.elapsed(),
            problems.join("\n"),
            self.truth
        );
        self.steady.assert_again(self.aside, self.yard);
    }

    /// Everything that is not as it should be at this moment.
    fn problems(&mut self) -> Vec<String> {
        let Some(rows) = facts::rows(&self.project) else {
            return vec!["`ps` fails".to_owned()];
        };
        let mut problems = facts::cgroups(self.yard, &rows);
        problems.extend(facts::processes(self.yard, &rows));
        problems.extend(facts::mounts(self.yard, self.aside, &rows));
        problems.extend(facts::files(self.yard, &rows));
        problems.extend(facts::links(self.yard, self.aside, &rows));
        problems.extend(self.keys());
        problems.extend(self.truth.contents(&rows));
        problems.extend(self.page(&rows));
        problems.extend(self.events());
        problems
    }

    fn keys(&mut self) -> Vec<String> {
        let mut problems = Vec::new();
        for key in KEYS {
            let out = self.project.run(&["get", key]);
            let value = out.stdout.trim_end().to_owned();
            let possible = self.truth.keys.get_mut(key).expect("all keys are there");
            if possible.contains(&value) {
                *possible = [value].into();
            } else {
                problems.push(format!("{key} is `{value}`, not one of {possible:?}"));
            }
        }
        problems
    }

    fn page(&self, rows: &[serde_json::Value]) -> Vec<String> {
        let up = |row: &&serde_json::Value| row["service"] == "web" && row["state"] == "running";
        let count = rows.iter().filter(up).count();
        if count == 0 {
            return Vec::new();
        }
        let port = self.port;
        let answers = self
            .aside
            .within(|| (0..=count).map(|_| brickyard_testkit::get(port, "/")).collect::<Vec<_>>());
        let bad =
            answers.into_iter().filter(|answer| !answer.as_ref().is_ok_and(|(s, _)| *s == 200));
        bad.map(|answer| format!("the port answers {answer:?}")).collect()
    }

    /// The journal has every cursor once, what it once said, and every change that was promised.
    fn events(&mut self) -> Vec<String> {
        let events = self.yard.events();
        let mut problems = Vec::new();
        let mut next = None;
        let mut now = BTreeMap::new();
        for event in &events {
            let cursor = event["cursor"].as_u64().expect("an event has a cursor");
            if next.is_some_and(|next| next != cursor) {
                problems.push(format!("event {cursor} comes where {next:?} should"));
            }
            next = Some(cursor + 1);
            now.insert(cursor, event.to_string());
        }
        let first = now.keys().next().copied().unwrap_or_default();
        for (cursor, text) in self.seen.range(first..) {
            if now.get(cursor) != Some(text) {
                problems.push(format!("event {cursor} was {text}, is {:?}", now.get(cursor)));
            }
        }
        for (key, value) in &self.truth.told {
            let tells = |event: &&serde_json::Value| {
                event["kind"] == "config.changed" && event[format!("/{key}")] == **value
            };
            if first <= 1 && events.iter().filter(tells).count() != 1 {
                problems.push(format!("no single event tells of {key}={value}"));
            }
        }
        self.seen = now;
        problems
    }

    /// Takes everything down by an agent that ends with it.
    fn end(&mut self) {
        if self.yard.agent().is_some() {
            let _ = self.yard.run(&["agent", "stop"]).ok();
        }
        if let Some(mut agent) = self.agent.take() {
            let status: ExitStatus = agent.wait().expect("it is our own child");
            assert_eq!((status.code(), status.signal()), (Some(0), None));
        }
        self.project.up();
        let _ = self.project.run(&["down", "-v"]).ok();
        let left = facts::walk(&self.yard.root().join("volumes"));
        assert!(left.is_empty(), "{left:?}");
    }
}

/// As `wait_for`, for those who say themselves what is wrong.
fn wait_for_or<T>(deadline: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    while start.elapsed() < deadline {
        if let Some(found) = look() {
            return Some(found);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    None
}

impl Drop for Rounds<'_> {
    fn drop(&mut self) {
        // After a failure the yard still asks it for the last events, and kills it then.
        if let Some(mut agent) = self.agent.take().filter(|_| !std::thread::panicking()) {
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }
}

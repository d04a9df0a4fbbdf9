//! Carrying out the instructions of one stage.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::Arc;

use brickyard_core::{Diagnostic, Diagnostics, Source};
use brickyard_image::{ContainerConfig, Healthcheck, Layer, Writer, config::Empty};

use crate::build::{Error, Progress};
use crate::copy::{Job, Problem, plan};
use crate::dockerfile::{Check, Command, Copy, Instruction, Kind, Word};
use crate::layer::Plan;
use crate::tree::{Context, Layers, Tree};
use crate::{codes, words};

/// What a stage has come to.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) layers: Vec<Layer>,
    pub(crate) tree: Layers,
    pub(crate) config: ContainerConfig,
    /// Time of the newest thing in it, in seconds since the Unix epoch.
    pub(crate) created_s: u64,
}

/// Where a COPY may take files from.
pub(crate) trait Stages {
    /// The files of an earlier stage or a local image.
    fn files(&self, name: &str) -> Result<Option<Layers>, Error>;
}

/// One stage being built.
pub(crate) struct Running<'a> {
    pub(crate) source: &'a Arc<Source>,
    pub(crate) escape: char,
    pub(crate) writer: &'a Writer<'a>,
    pub(crate) context: &'a Context,
    pub(crate) stages: &'a dyn Stages,
    /// Arguments given by the caller, and those that are always there.
    pub(crate) given: &'a BTreeMap<String, String>,
    /// Defaults of `ARG` before the first stage.
    pub(crate) global: &'a BTreeMap<String, String>,
    /// Names that some `ARG` declared.
    pub(crate) declared: &'a mut BTreeSet<String>,
    pub(crate) diagnostics: &'a mut Diagnostics,
    pub(crate) progress: &'a dyn Fn(&Progress<'_>),
    pub(crate) arguments: BTreeMap<String, String>,
    pub(crate) state: State,
    pub(crate) shell: Vec<String>,
    /// Whether CMD has been set in this stage.
    pub(crate) has_cmd: bool,
}

impl Running<'_> {
    /// Carries out all instructions. Mistakes are collected; only the disk stops it.
    pub(crate) fn run(&mut self, instructions: &[Instruction]) -> Result<(), Error> {
        for instruction in instructions {
            self.instruction(instruction)?;
        }
        Ok(())
    }

    fn report(&mut self, found: Diagnostic, span: std::ops::Range<usize>) {
        self.diagnostics.push(found.at(self.source, span, ""));
    }

    /// A word without quotes and with its variables. Reports what is wrong with it.
    fn expand(&mut self, word: &Word) -> Word {
        let environment = &self.state.config.env;
        let arguments = &self.arguments;
        let lookup = |name: &str| {
            let set =
                environment.iter().find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            set.map(str::to_owned).or_else(|| arguments.get(name).cloned())
        };
        let expanded = words::expand(&word.text, self.escape, &lookup);
        let text = expanded.unwrap_or_else(|reason| {
            let message = format!("`{}` cannot be read: {reason}", word.text);
            self.report(Diagnostic::error(codes::SYNTAX, message), word.span.clone());
            String::new()
        });
        Word { text, span: word.span.clone() }
    }

    fn expand_all(&mut self, words: &[Word]) -> Vec<Word> {
        words.iter().map(|word| self.expand(word)).collect()
    }

    fn instruction(&mut self, instruction: &Instruction) -> Result<(), Error> {
        match &instruction.kind {
            Kind::Copy(copy) => return self.copy(copy),
            Kind::Env(pairs) => {
                // All values of one instruction see the variables from before it.
                let pairs = self.pairs(pairs);
                for (key, value) in pairs {
                    set_variable(&mut self.state.config.env, &key, &value);
                }
            }
            Kind::Label(pairs) => {
                let pairs = self.pairs(pairs);
                self.state.config.labels.extend(pairs);
            }
            Kind::Maintainer(name) => {
                let labels = &mut self.state.config.labels;
                labels.insert("maintainer".to_owned(), name.clone());
            }
            Kind::Arg(arguments) => self.declare(arguments),
            Kind::Workdir(word) => {
                let word = self.expand(word);
                let old = std::mem::take(&mut self.state.config.working_dir);
                let path = camino::Utf8Path::new("/").join(old).join(&word.text);
                self.state.config.working_dir = path.as_str().trim_end_matches('/').to_owned();
                if self.state.config.working_dir.is_empty() {
                    self.state.config.working_dir = "/".to_owned();
                }
            }
            Kind::User(word) => self.state.config.user = self.expand(word).text,
            Kind::StopSignal(word) => {
                self.state.config.stop_signal = Some(self.expand(word).text);
            }
            Kind::Expose(words) => self.expose(words),
            Kind::Volume(words) => {
                let paths = self.expand_all(words).into_iter();
                let paths = paths.map(|word| (word.text, Empty {}));
                self.state.config.volumes.extend(paths);
            }
            Kind::Cmd(command) => {
                self.has_cmd = true;
                self.state.config.cmd = Some(argv(command, &self.shell));
            }
            Kind::Entrypoint(command) => {
                self.state.config.entrypoint = Some(argv(command, &self.shell));
                if !self.has_cmd {
                    // The base's arguments were for the base's program.
                    self.state.config.cmd = None;
                }
            }
            Kind::Healthcheck(check) => {
                self.state.config.healthcheck = Some(match check {
                    None => Healthcheck { test: vec!["NONE".to_owned()], ..Healthcheck::default() },
                    Some(check) => healthcheck(check),
                });
            }
            Kind::Shell(shell) => {
                self.shell.clone_from(shell);
                self.state.config.shell = Some(shell.clone());
            }
        }
        Ok(())
    }

    fn pairs(&mut self, pairs: &[(Word, Word)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| (self.expand(key).text, self.expand(value).text)).collect()
    }

    fn declare(&mut self, arguments: &[(Word, Option<Word>)]) {
        for (name, default) in arguments {
            let name = self.expand(name).text;
            self.declared.insert(name.clone());
            let default = default.as_ref().map(|word| self.expand(word).text);
            let value = self.given.get(&name).cloned();
            let value = value.or(default).or_else(|| self.global.get(&name).cloned());
            if let Some(value) = value {
                self.arguments.insert(name, value);
            }
        }
    }

    fn expose(&mut self, words: &[Word]) {
        for word in self.expand_all(words) {
            let (ports, protocol) = word.text.split_once('/').unwrap_or((&word.text, "tcp"));
            let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
            let protocol = protocol.to_ascii_lowercase();
            let range = (first.parse::<u16>(), last.parse::<u16>());
            let known = matches!(protocol.as_str(), "tcp" | "udp" | "sctp");
            match range {
                (Ok(first), Ok(last)) if first > 0 && first <= last && known => {
                    let ports = (first..=last).map(|port| format!("{port}/{protocol}"));
                    let ports = ports.map(|port| (port, Empty {}));
                    self.state.config.exposed_ports.extend(ports);
                }
                _ => {
                    let message = format!("`{}` is no port, as 80 or 80/tcp", word.text);
                    self.report(Diagnostic::error(codes::SYNTAX, message), word.span);
                }
            }
        }
    }

    fn copy(&mut self, copy: &Copy) -> Result<(), Error> {
        let errors_before = self.diagnostics.len();
        let sources = self.expand_all(&copy.sources);
        let dest = self.expand(&copy.dest);
        let chown = copy.chown.as_ref().map(|word| self.expand(word));
        let chmod = copy.chmod.as_ref().map(|word| self.expand(word));
        let from = copy.from.as_ref().map(|word| self.expand(word));
        let files = match &from {
            None => None,
            Some(word) => {
                let files = self.stages.files(&word.text)?;
                if files.is_none() {
                    let message = format!("there is no stage or local image `{}`", word.text);
                    let found = Diagnostic::error(codes::NO_STAGE, message);
                    self.report(found, word.span.clone());
                }
                files
            }
        };
        if self.diagnostics.len() > errors_before {
            return Ok(());
        }
        let job = Job {
            copy,
            sources,
            dest,
            chown,
            chmod,
            context: files.is_none().then_some(self.context),
            from: files.as_ref().map_or(self.context as &dyn Tree, |files| files),
            rootfs: &self.state.tree,
            working_dir: &self.state.config.working_dir,
        };
        let plan = match plan(&job) {
            Ok(plan) => plan,
            Err(Problem::Io(err)) => return Err(Error::Copy { err }),
            Err(Problem::Dockerfile(found, span)) => {
                self.report(*found, span);
                return Ok(());
            }
        };
        let copied = |err| Error::Copy { err };
        let digest = plan.digest().map_err(copied)?;
        let known = self.writer.find_plain_layer(&digest);
        let cached = known.is_some();
        let layer = match known {
            Some(layer) => layer,
            None => put(self.writer, &plan)?,
        };
        let what = if copy.add { "ADD" } else { "COPY" };
        (self.progress)(&Progress { instruction: what, detail: &job.dest.text, cached });
        self.state.created_s = self.state.created_s.max(plan.newest_s());
        self.state.tree.push(self.writer.layer_directory(&layer));
        self.state.layers.push(layer);
        Ok(())
    }
}

/// Writes the archive on one thread and unpacks it on this one, so that no layer is ever in memory
/// as a whole.
fn put(writer: &Writer<'_>, plan: &Plan) -> Result<Layer, Error> {
    let copied = |err| Error::Copy { err };
    let (reader, sink) = std::io::pipe().map_err(copied)?;
    std::thread::scope(|scope| {
        let written = scope.spawn(move || {
            let sink = std::io::BufWriter::with_capacity(1 << 16, sink);
            plan.write(sink)?.flush()
        });
        let layer = writer.put_layer(reader, None, &|_| {});
        match written.join() {
            // A reader that gave up breaks the pipe, and then its own error says why.
            Ok(Err(err)) if err.kind() != std::io::ErrorKind::BrokenPipe => Err(copied(err)),
            _ => Ok(layer?),
        }
    })
}

fn set_variable(environment: &mut Vec<String>, key: &str, value: &str) {
    let pair = format!("{key}={value}");
    let known = environment
        .iter_mut()
        .find(|pair| pair.strip_prefix(key).is_some_and(|rest| rest.starts_with('=')));
    match known {
        Some(known) => *known = pair,
        None => environment.push(pair),
    }
}

fn argv(command: &Command, shell: &[String]) -> Vec<String> {
    match command {
        Command::Exec(words) => words.clone(),
        Command::Shell(text) => shell.iter().chain([text]).cloned().collect(),
    }
}

fn healthcheck(check: &Check) -> Healthcheck {
    let test = match &check.command {
        Command::Exec(words) => std::iter::once("CMD".to_owned()).chain(words.clone()).collect(),
        Command::Shell(text) => vec!["CMD-SHELL".to_owned(), text.clone()],
    };
    Healthcheck {
        test,
        interval: check.interval,
        timeout: check.timeout,
        start_period: check.start_period,
        start_interval: check.start_interval,
        retries: check.retries,
    }
}

//! Configuration files of hosts, kept up to date: what the confd command does, from the same files.
//!
//! [`main`] is the command. A [`resource`] says which template goes where; the sources of
//! `brickyard-source` say what there is; [`runner`] holds them together, and for a single run
//! [`once`] does. Where confd 0.16 loses a change this does not, unless it is asked to do as confd
//! did (`-strict-compat`).
//!
//! Everything happens on one thread but the commands that are run.

#![forbid(unsafe_code)]

mod backends;
mod child;
mod command;
mod context;
mod data;
mod diff;
pub mod duration;
mod feed;
mod flags;
mod job;
mod keyring;
mod load;
mod log;
mod notify;
mod once;
mod place;
pub mod preview;
mod resolve;
pub mod resource;
mod runner;
mod serve;
mod settings;
mod status;
mod templates;
mod zone;

use std::io::Write;

use context::{Context, Machine};
use flags::Usage;
use log::{Form, Level, Log};
use runner::Runner;
use settings::{Mode, Refusal};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The version of confd whose files and flags these are.
const CONFD_VERSION: &str = "0.16.0";

/// Runs the command with the words after its name; the exit code.
#[must_use]
pub fn main(program: &str, arguments: &[String]) -> i32 {
    let environment = context::environment();
    let settings = match settings::settings(arguments, &environment) {
        Ok(settings) => settings,
        Err(refusal) => return refuse(program, &refusal),
    };
    let log = Log::new(program, settings.level, settings.form);
    log.info(format!("Backend set to {}", settings.backend_name));
    let source = match settings.source(None) {
        Ok(source) => source,
        Err(text) => {
            log.fatal(text);
            return 1;
        }
    };
    let keyring = match settings.keyring.as_deref().map(keyring::Keyring::read).transpose() {
        Ok(keyring) => keyring,
        Err(text) => {
            log.fatal(text);
            return 1;
        }
    };
    let machine = Machine { templates: settings.confdir.join("templates"), keyring };
    let status = status::Status::default();
    let templates = templates::Templates::default();
    let context = Context { settings, log, status, machine, templates };
    if context.settings.validate {
        return once::validate(&context);
    }
    context.log.info("Starting confd");
    context.log.info(format!("Backend source(s) set to {}", source.nodes.join(", ")));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(err) => {
            context.log.fatal(err.to_string());
            return 1;
        }
    };
    runtime.block_on(run(&context))
}

async fn run(context: &Context) -> i32 {
    if context.settings.mode == Mode::Onetime {
        return once::run(context).await;
    }
    let signals = match Signals::new() {
        Ok(signals) => signals,
        Err(err) => {
            context.log.fatal(err.to_string());
            return 1;
        }
    };
    let serving = async {
        match context.settings.metrics {
            Some(address) => serve::serve(context, address).await,
            None => std::future::pending().await,
        }
    };
    let petting = async {
        let Some(pause) = notify::watchdog() else { return std::future::pending().await };
        loop {
            tokio::time::sleep(pause).await;
            notify::tell("WATCHDOG=1");
        }
    };
    let code = tokio::select! {
        code = Runner::new(context).run(signals) => code,
        err = serving => {
            context.log.fatal(err);
            1
        }
        never = petting => never,
    };
    notify::tell("STOPPING=1");
    code
}

fn refuse(program: &str, refusal: &Refusal) -> i32 {
    let mut stderr = std::io::stderr();
    match refusal {
        Refusal::Version => {
            let version = env!("CARGO_PKG_VERSION");
            let _ = writeln!(std::io::stdout(), "confd {CONFD_VERSION} (brickyard {version})");
            0
        }
        Refusal::Usage(Usage::Help) => {
            let _ = write!(stderr, "{}", flags::usage(program));
            0
        }
        Refusal::Usage(Usage::Wrong(text)) => {
            let _ = write!(stderr, "{text}\n{}", flags::usage(program));
            2
        }
        Refusal::Fatal(text) => {
            Log::new(program, Level::Info, Form::Text).fatal(text);
            1
        }
    }
}

/// What somebody asks of us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// To read resources and templates again.
    Reload,
    /// To end; what Go calls the signal.
    End(&'static str),
}

/// Signals that ask something of us.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    /// confd does nothing about it, and does not end.
    _user_defined: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            _user_defined: signal(SignalKind::user_defined1())?,
        })
    }

    /// Waits for the next one. Dropping the future loses none.
    pub(crate) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::End("interrupt"),
            _ = self.terminate.recv() => Asked::End("terminated"),
            _ = self.hang_up.recv() => Asked::Reload,
        }
    }
}

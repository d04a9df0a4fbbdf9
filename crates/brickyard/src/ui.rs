//! Where words go: data to standard output, everything else to standard error, colour by role.

use std::io::{IsTerminal, Write};

use brickyard_core::Diagnostic;
use owo_colors::{OwoColorize, Style};

use crate::error::CommandError;

/// How things are said.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ui {
    /// Data as JSON.
    pub(crate) json: bool,
    quiet: bool,
    verbose: bool,
    colour: bool,
    /// Whether data may be coloured: a terminal reads it.
    pub(crate) data_colour: bool,
    pub(crate) terminal: bool,
}

/// What a word is, which decides on its colour.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Role {
    Good,
    Bad,
    Busy,
    Faint,
    Strong,
}

impl Ui {
    pub(crate) fn new(json: bool, quiet: bool, verbose: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let is_wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let colour = terminal && is_wanted;
        let data_colour = std::io::stdout().is_terminal() && is_wanted;
        Self { json, quiet, verbose, colour, data_colour, terminal }
    }

    /// A word of what is said, in its colour.
    pub(crate) fn paint(&self, role: Role, text: &str) -> String {
        if self.colour { Self::in_role(role, text) } else { text.to_owned() }
    }

    /// A word of data in its colour: another stream than what is said, which may be a file.
    pub(crate) fn paint_data(&self, role: Role, text: &str) -> String {
        if self.data_colour { Self::in_role(role, text) } else { text.to_owned() }
    }

    /// A text in one of the colours that tell things of one kind apart.
    pub(crate) fn in_series(place: usize, text: &str) -> String {
        let styles = [
            Style::new().cyan(),
            Style::new().yellow(),
            Style::new().green(),
            Style::new().magenta(),
            Style::new().blue(),
            Style::new().bright_cyan(),
            Style::new().bright_yellow(),
            Style::new().bright_green(),
            Style::new().bright_magenta(),
            Style::new().bright_blue(),
        ];
        text.style(styles[place % styles.len()]).to_string()
    }

    fn in_role(role: Role, text: &str) -> String {
        let style = match role {
            Role::Good => Style::new().green(),
            Role::Bad => Style::new().red().bold(),
            Role::Busy => Style::new().cyan(),
            Role::Faint => Style::new().dimmed(),
            Role::Strong => Style::new().bold(),
        };
        text.style(style).to_string()
    }

    /// Data. A reader that has gone away is no error.
    pub(crate) fn data(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            std::process::exit(0);
        }
    }

    /// A line of data.
    pub(crate) fn line(&self, text: &str) {
        self.data(&format!("{text}\n"));
    }

    /// A value as JSON.
    pub(crate) fn json_value(&self, value: &impl serde::Serialize) {
        match serde_json::to_string(value) {
            Ok(text) => self.line(&text),
            Err(err) => self.say(&format!("cannot be written as JSON: {err}")),
        }
    }

    /// News for a person.
    pub(crate) fn say(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(std::io::stderr().lock(), "{text}");
        }
    }

    /// Whether only data and errors are said.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// News that only matter while something is under way.
    pub(crate) fn detail(&self, text: &str) {
        if self.verbose {
            self.say(text);
        }
    }

    /// A finding in what the user wrote.
    pub(crate) fn finding(&self, found: &Diagnostic) {
        if !self.quiet || found.is_error() {
            let _ = write!(std::io::stderr().lock(), "{}", found.render(self.colour));
        }
    }

    /// Why a command failed.
    pub(crate) fn failure(&self, err: &CommandError) {
        let mut out = std::io::stderr().lock();
        let error = self.paint(Role::Bad, "error");
        let hint = self.paint(Role::Busy, "hint");
        match err {
            CommandError::Code(_) => {}
            CommandError::Findings(findings) => {
                for found in findings {
                    let _ = write!(out, "{}", found.render(self.colour));
                }
            }
            CommandError::Plain { message, hints, .. } => {
                let _ = writeln!(out, "{error}: {message}");
                for text in hints {
                    let _ = writeln!(out, "{hint}: {text}");
                }
            }
            CommandError::Failed { reasons, .. } => {
                for reason in reasons {
                    let place = self.paint(Role::Strong, &reason.address);
                    let separator = if reason.address.is_empty() { "" } else { ": " };
                    let _ = writeln!(out, "{error}: {place}{separator}{}", reason.text);
                    for line in &reason.log {
                        let _ = writeln!(out, "  {} {line}", self.paint(Role::Faint, "|"));
                    }
                }
            }
        }
    }
}

/// `1 service`, `2 services`.
pub(crate) fn count(number: usize, singular: &str) -> String {
    match number {
        1 => format!("1 {singular}"),
        _ => format!("{number} {singular}s"),
    }
}

//! What a run says, line by line, as confd does it: on standard error, with time, machine and process.

use std::io::Write;

use brickyard_core::clock::{Clock, SystemClock};

/// How important a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Debug,
    Info,
    Warning,
    Error,
    Fatal,
}

impl Level {
    /// The level of a name as confd takes it.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match &*name.to_ascii_lowercase() {
            "debug" => Self::Debug,
            "info" => Self::Info,
            "warn" | "warning" => Self::Warning,
            "error" => Self::Error,
            "fatal" | "panic" => Self::Fatal,
            _ => return None,
        })
    }

    fn word(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }
}

/// What a line looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Json,
}

/// Where lines go.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    pub(crate) level: Level,
    pub(crate) form: Form,
    /// `MACHINE PROGRAM[PROCESS]`.
    pub(crate) who: String,
}

impl Log {
    /// A log of this program.
    pub(crate) fn new(program: &str, level: Level, form: Form) -> Self {
        let who = format!("{} {program}[{}]", hostname(), std::process::id());
        Self { level, form, who }
    }

    /// Whether lines of this importance are said.
    pub(crate) fn says(&self, level: Level) -> bool {
        level >= self.level
    }

    fn say(&self, level: Level, message: &str) {
        if !self.says(level) {
            return;
        }
        let line = match self.form {
            Form::Text => {
                let time = jiff::Timestamp::from_millisecond(now_ms()).unwrap_or_default();
                let zoned = time.to_zoned(crate::zone::local());
                let offset = match zoned.offset().seconds() {
                    0 => "Z".to_owned(),
                    _ => zoned.strftime("%:z").to_string(),
                };
                let time = zoned.strftime("%Y-%m-%dT%H:%M:%S");
                format!("{time}{offset} {}: {} {message}\n", self.who, level.word())
            }
            Form::Json => {
                let time = brickyard_core::clock::rfc3339(now_ms().unsigned_abs());
                let level = level.word().to_ascii_lowercase();
                format!("{}\n", serde_json::json!({"time": time, "level": level, "msg": message}))
            }
        };
        // Nobody may be listening any more.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }

    pub(crate) fn debug(&self, message: impl AsRef<str>) {
        self.say(Level::Debug, message.as_ref());
    }

    pub(crate) fn info(&self, message: impl AsRef<str>) {
        self.say(Level::Info, message.as_ref());
    }

    pub(crate) fn warning(&self, message: impl AsRef<str>) {
        self.say(Level::Warning, message.as_ref());
    }

    pub(crate) fn error(&self, message: impl AsRef<str>) {
        self.say(Level::Error, message.as_ref());
    }

    pub(crate) fn fatal(&self, message: impl AsRef<str>) {
        self.say(Level::Fatal, message.as_ref());
    }
}

fn now_ms() -> i64 {
    i64::try_from(SystemClock::default().now_ms()).unwrap_or(i64::MAX)
}

/// The machine's name.
pub(crate) fn hostname() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

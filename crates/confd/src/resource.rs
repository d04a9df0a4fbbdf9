//! Template resources: which template goes where, what is read for it, and who is told.

use std::collections::BTreeMap;
use std::time::Duration;

use brickyard_core::diagnostic::nearest;
use brickyard_core::path;
use camino::{Utf8Path, Utf8PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::duration;

/// How long a check may take when nobody says otherwise.
const CHECK_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a reload may take when nobody says otherwise.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(60);

/// One file that is kept up to date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The file that says so.
    pub path: Utf8PathBuf,
    /// The template, below the directory of templates.
    pub src: String,
    /// Where the file goes.
    pub dest: Utf8PathBuf,
    /// What is read: absolute paths, the prefix included.
    pub keys: Vec<String>,
    /// What is taken off the keys that the template sees; begins with a slash.
    pub prefix: String,
    /// Permission bits; without them it keeps those that it has, or gets 0644.
    pub mode: Option<u32>,
    /// Its owner, by number.
    pub uid: Option<u32>,
    /// Its group, by number.
    pub gid: Option<u32>,
    /// Its owner, by name; a number counts more.
    pub owner: Option<String>,
    /// Its group, by name; a number counts more.
    pub group: Option<String>,
    /// A command that must end well before the file gets into its place.
    pub check: Option<String>,
    /// A command that tells somebody of it.
    pub reload: Option<String>,
    /// How long the check may take.
    pub check_timeout: Duration,
    /// How long the reload may take.
    pub reload_timeout: Duration,
    /// What actions stand between, where it is not `{{` and `}}`.
    pub delimiters: (String, String),
    /// Whether a key that a map does not have is an error.
    pub error_on_missing_key: bool,
    /// What the file must be, to get into its place.
    pub format: Option<Format>,
    /// How long after one reload the next may come.
    pub reload_pause: Duration,
    /// How long there must be silence after a change, and how long is waited for that at most.
    pub quiescence: Option<Quiescence>,
    /// Whether directories above the file are made.
    pub create_directories: bool,
    /// Whether what was there before is kept as `DEST.bak`.
    pub backup: bool,
    /// A backend of its own: flags by name, over those of the command line.
    pub backend: Option<BTreeMap<String, Vec<String>>>,
}

/// How long changes are waited for that may follow another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quiescence {
    /// Without a change.
    pub min: Duration,
    /// Altogether.
    pub max: Duration,
}

/// What a file must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON value.
    Json,
    /// TOML.
    Toml,
    /// YAML.
    Yaml,
}

/// Something wrong with a resource.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}:{line}: {message}")]
pub struct Problem {
    /// The resource.
    pub path: Utf8PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// A resource, and what its author may want to know.
pub type Parsed = (Resource, Vec<Problem>);

const KEYS: &[&str] = &[
    "src",
    "dest",
    "keys",
    "prefix",
    "mode",
    "uid",
    "gid",
    "owner",
    "group",
    "check_cmd",
    "reload_cmd",
    "check_cmd_timeout",
    "reload_cmd_timeout",
    "left_delimiter",
    "right_delimiter",
    "error_on_missing_key",
    "output_format",
    "min_reload_interval",
    "debounce",
    "wait",
    "create_dest_dirs",
    "backup",
];

/// Reads a resource. `prefix` is the one of the command line, which replaces its own.
///
/// # Errors
/// All that is wrong with it.
pub fn parse(path: &Utf8Path, text: &str, prefix: &str) -> Result<Parsed, Vec<Problem>> {
    let mut reader = Reader { path, text, problems: Vec::new(), notes: Vec::new() };
    let (root, errors) = DeTable::parse_recoverable(text);
    for err in errors {
        let at = err.span().map_or(0, |span| span.start);
        reader.problem(at, err.message().to_owned());
    }
    let root = root.into_inner();
    let resource = reader.resource(&root, prefix);
    match reader.problems.is_empty() {
        true => Ok((resource, reader.notes)),
        false => Err(reader.problems),
    }
}

type Value<'a> = Spanned<DeValue<'a>>;

struct Reader<'a> {
    path: &'a Utf8Path,
    text: &'a str,
    problems: Vec<Problem>,
    notes: Vec<Problem>,
}

impl Reader<'_> {
    fn at(&self, offset: usize, message: String) -> Problem {
        let before = self.text.as_bytes().iter().take(offset);
        let line = before.filter(|byte| **byte == b'\n').count() + 1;
        Problem { path: self.path.to_owned(), line, message }
    }

    fn problem(&mut self, offset: usize, message: String) {
        let problem = self.at(offset, message);
        self.problems.push(problem);
    }

    /// The value of a key, however it is written: confd takes upper case for lower.
    fn get<'t, 'v>(&self, table: &'t DeTable<'v>, key: &str) -> Option<&'t Value<'v>> {
        let mut entries = table.iter();
        entries.find(|(found, _)| found.get_ref().eq_ignore_ascii_case(key)).map(|(_, value)| value)
    }

    fn resource(&mut self, root: &DeTable<'_>, prefix: &str) -> Resource {
        let mut resource = Resource {
            path: self.path.to_owned(),
            src: String::new(),
            dest: Utf8PathBuf::new(),
            keys: Vec::new(),
            prefix: prefix.to_owned(),
            mode: None,
            uid: None,
            gid: None,
            owner: None,
            group: None,
            check: None,
            reload: None,
            check_timeout: CHECK_TIMEOUT,
            reload_timeout: RELOAD_TIMEOUT,
            delimiters: (String::new(), String::new()),
            error_on_missing_key: false,
            format: None,
            reload_pause: Duration::ZERO,
            quiescence: None,
            create_directories: false,
            backup: false,
            backend: None,
        };
        match self.get(root, "template").map(|value| (value.span().start, value.get_ref())) {
            Some((at, DeValue::Table(table))) => self.template(table, at, &mut resource),
            Some((at, _)) => self.problem(at, "`template` must be a table".to_owned()),
            None => self.problem(0, "there is no [template]".to_owned()),
        }
        if let Some(value) = self.get(root, "backend") {
            let at = value.span().start;
            match value.get_ref() {
                DeValue::Table(table) => resource.backend = Some(self.flags(table)),
                _ => self.problem(at, "`backend` must be a table".to_owned()),
            }
        }
        resource
    }

    fn template(&mut self, table: &DeTable<'_>, at: usize, resource: &mut Resource) {
        resource.src = self.text_of(table, "src").unwrap_or_default();
        if resource.src.is_empty() && self.problems.is_empty() {
            self.problem(at, "empty src template".to_owned());
        }
        resource.dest = self.text_of(table, "dest").unwrap_or_default().into();
        if resource.dest.file_name().is_none() && self.problems.is_empty() {
            self.problem(at, "`dest` names no file".to_owned());
        }
        let own = self.text_of(table, "prefix").unwrap_or_default();
        let prefix = if resource.prefix.is_empty() { own } else { resource.prefix.clone() };
        resource.prefix = path::join(&["/", &prefix]);
        let keys = self.list_of(table, "keys");
        resource.keys = keys.iter().map(|key| path::join(&[&resource.prefix, key])).collect();
        resource.mode = self.mode(table);
        resource.uid = self.id(table, "uid");
        resource.gid = self.id(table, "gid");
        resource.owner = self.text_of(table, "owner");
        resource.group = self.text_of(table, "group");
        let command = |text: Option<String>| text.filter(|text| !text.is_empty());
        resource.check = command(self.text_of(table, "check_cmd"));
        resource.reload = command(self.text_of(table, "reload_cmd"));
        let or = |found: Option<Duration>, default| found.unwrap_or(default);
        resource.check_timeout = or(self.time(table, "check_cmd_timeout"), CHECK_TIMEOUT);
        resource.reload_timeout = or(self.time(table, "reload_cmd_timeout"), RELOAD_TIMEOUT);
        resource.reload_pause = or(self.time(table, "min_reload_interval"), Duration::ZERO);
        resource.delimiters = (
            self.text_of(table, "left_delimiter").unwrap_or_default(),
            self.text_of(table, "right_delimiter").unwrap_or_default(),
        );
        resource.error_on_missing_key = self.flag(table, "error_on_missing_key");
        resource.create_directories = self.flag(table, "create_dest_dirs");
        resource.backup = self.flag(table, "backup");
        resource.format = self.format(table);
        resource.quiescence = self.quiescence(table);
        for (key, _) in table {
            let name = key.get_ref();
            if KEYS.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                continue;
            }
            let hint = nearest(name, KEYS.iter().copied())
                .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            let note = self.at(key.span().start, format!("`{name}` is ignored{hint}"));
            self.notes.push(note);
        }
    }

    fn text_of(&mut self, table: &DeTable<'_>, key: &str) -> Option<String> {
        let value = self.get(table, key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(text.to_string()),
            _ => {
                let at = value.span().start;
                self.problem(at, format!("`{key}` must be a string"));
                None
            }
        }
    }

    fn list_of(&mut self, table: &DeTable<'_>, key: &str) -> Vec<String> {
        let Some(value) = self.get(table, key) else { return Vec::new() };
        let at = value.span().start;
        let DeValue::Array(items) = value.get_ref() else {
            self.problem(at, format!("`{key}` must be a list of strings"));
            return Vec::new();
        };
        let mut found = Vec::new();
        for item in items.iter() {
            match item.get_ref() {
                DeValue::String(text) => found.push(text.to_string()),
                _ => {
                    let at = item.span().start;
                    self.problem(at, format!("`{key}` must be a list of strings"));
                }
            }
        }
        found
    }

    fn integer(&mut self, table: &DeTable<'_>, key: &str) -> Option<(i64, usize)> {
        let value = self.get(table, key)?;
        let at = value.span().start;
        let number = match value.get_ref() {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        if number.is_none() {
            self.problem(at, format!("`{key}` must be a number"));
        }
        number.map(|number| (number, at))
    }

    /// An owner's number; below 0 means none.
    fn id(&mut self, table: &DeTable<'_>, key: &str) -> Option<u32> {
        let (number, at) = self.integer(table, key)?;
        if number < 0 {
            return None;
        }
        let id = u32::try_from(number).ok();
        if id.is_none() {
            self.problem(at, format!("`{key}` is too large"));
        }
        id
    }

    fn flag(&mut self, table: &DeTable<'_>, key: &str) -> bool {
        let Some(value) = self.get(table, key) else { return false };
        match value.get_ref() {
            DeValue::Boolean(value) => *value,
            _ => {
                let at = value.span().start;
                self.problem(at, format!("`{key}` must be true or false"));
                false
            }
        }
    }

    /// Permission bits as Go reads numbers: octal with a leading zero, decimal without.
    fn mode(&mut self, table: &DeTable<'_>) -> Option<u32> {
        let text = self.text_of(table, "mode").filter(|text| !text.is_empty())?;
        let (digits, radix) = match text.as_bytes() {
            [b'0', b'x' | b'X', ..] => (&text[2..], 16),
            [b'0', b'o' | b'O', ..] => (&text[2..], 8),
            [b'0', b'b' | b'B', ..] => (&text[2..], 2),
            [b'0', _, ..] => (&text[1..], 8),
            _ => (text.as_str(), 10),
        };
        let bits = u32::from_str_radix(digits, radix).ok().filter(|bits| *bits <= 0o7777);
        if bits.is_none() {
            let at = self.get(table, "mode").map_or(0, |value| value.span().start);
            let message = format!("strconv.ParseUint: parsing {text:?}: invalid syntax");
            self.problem(at, message);
        }
        bits
    }

    /// A time as a number of seconds, or as Go writes it.
    fn time(&mut self, table: &DeTable<'_>, key: &str) -> Option<Duration> {
        let value = self.get(table, key)?;
        let at = value.span().start;
        let found = match value.get_ref() {
            DeValue::String(text) => duration::parse(text),
            DeValue::Integer(number) => number.as_str().parse().ok().map(Duration::from_secs),
            _ => None,
        };
        if found.is_none() {
            self.problem(at, format!("`{key}` is no time; write seconds, or `1m30s`"));
        }
        found
    }

    fn format(&mut self, table: &DeTable<'_>) -> Option<Format> {
        let text = self.text_of(table, "output_format").filter(|text| !text.is_empty())?;
        let format = match &*text.to_ascii_lowercase() {
            "json" => Format::Json,
            "toml" => Format::Toml,
            "yaml" | "yml" => Format::Yaml,
            _ => {
                let at = self.get(table, "output_format").map_or(0, |value| value.span().start);
                let message = format!("`{text}` cannot be checked; json, toml and yaml can");
                self.problem(at, message);
                return None;
            }
        };
        Some(format)
    }

    /// `wait = "2s:8s"`, `wait = {min, max}`, or abtreece's `debounce`.
    fn quiescence(&mut self, table: &DeTable<'_>) -> Option<Quiescence> {
        if let Some(value) = self.get(table, "wait") {
            let at = value.span().start;
            let found = match value.get_ref() {
                DeValue::String(text) => duration::parse_range(text),
                DeValue::Table(inner) => {
                    let min = self.time(inner, "min").unwrap_or_default();
                    Some((min, self.time(inner, "max").unwrap_or(min * 4)))
                }
                _ => None,
            };
            match found {
                Some((min, max)) if min <= max => return Some(Quiescence { min, max }),
                _ => self.problem(at, "`wait` is a time, or `MIN:MAX`".to_owned()),
            }
            return None;
        }
        let min = self.time(table, "debounce")?;
        Some(Quiescence { min, max: min * 4 })
    }

    /// A table of flags, by their names on the command line.
    fn flags(&mut self, table: &DeTable<'_>) -> BTreeMap<String, Vec<String>> {
        crate::flags::from_table(table).unwrap_or_else(|(at, message)| {
            self.problem(at, message);
            BTreeMap::new()
        })
    }
}

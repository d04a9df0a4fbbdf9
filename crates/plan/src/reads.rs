//! What rendered files were made of, so that it can be said later why one has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use brickyard_core::Digest;
use brickyard_template::{Reads, Scope};

use crate::view::InstanceScope;

/// Short digests of what a file was made of, by the text of each [`Read`]: enough to tell later what
/// has changed, and nothing of the values themselves.
pub type Marks = BTreeMap<String, String>;

/// What of `now` is not as it was.
#[must_use]
pub fn changed(before: &Marks, now: &Marks) -> Vec<String> {
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    names.into_iter().filter(|name| before.get(*name) != now.get(*name)).cloned().collect()
}

/// One thing that a template looked at; it shows as `key /text`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// `key`, `keys`, `variable` or `line`.
    pub kind: &'static str,
    /// Its name; of keys, what they begin with.
    pub name: String,
    /// What was there; of many keys, each with its value. None where there was nothing.
    pub found: Option<String>,
}

impl Read {
    pub(crate) fn mark(&self) -> String {
        Digest::of_json(&self.found).short()
    }
}

impl fmt::Display for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.kind == "keys" { "*" } else { "" };
        write!(f, "{} {}{more}", self.kind, self.name)
    }
}

/// What a rendering looked at, with what was there.
pub(crate) fn reads_of(scope: &InstanceScope<'_>, reads: &Reads) -> Vec<Read> {
    let read = |kind, name: &String, found| Read { kind, name: name.clone(), found };
    let keys =
        reads.keys.iter().map(|key| read("key", key, scope.value(key).map(|text| text.to_lossy())));
    let prefixes = reads.prefixes.iter().map(|prefix| {
        let found = scope.keys(prefix).into_iter();
        let found =
            found.map(|pair| format!("{}={}", pair.key().to_lossy(), pair.value().to_lossy()));
        let found: Vec<String> = found.collect();
        read("keys", prefix, (!found.is_empty()).then(|| found.join("\n")))
    });
    let variables = reads.env.iter().map(|name| read("variable", name, scope.env(name)));
    let lines = reads.lines.iter().map(|alias| {
        let line = scope.line(alias).ok();
        let ends = line.map(|line| {
            let ends = line.instances.iter().map(|end| format!("{}:{}", end.host, end.port));
            ends.collect::<Vec<_>>().join(" ")
        });
        read("line", alias, ends)
    });
    keys.chain(prefixes).chain(variables).chain(lines).collect()
}

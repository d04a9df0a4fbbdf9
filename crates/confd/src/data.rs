//! The keys of one source, and what of them a template sees.

use std::collections::BTreeMap;
use std::ops::Bound;

use brickyard_core::path;
use brickyard_source::{Entries, Update, covers};
use brickyard_template::{LineError, LineErrorKind, LineValue, Pair, Scope, Text, World};

/// All keys that a source has told of, by their whole path.
#[derive(Debug, Default)]
pub(crate) struct Data {
    entries: BTreeMap<String, Pair>,
}

impl Data {
    /// Takes in what a source tells; the keys whose values are others now.
    pub(crate) fn apply(&mut self, update: Update) -> Vec<String> {
        match update {
            Update::All(entries) => self.replace(entries),
            Update::Some(changes) => {
                let mut changed = Vec::with_capacity(changes.len());
                for (key, value) in changes {
                    let key = cleaned(key);
                    let is_other = match value {
                        None => self.entries.remove(&key).is_some(),
                        Some(value) => {
                            let known = self.entries.get(&key).map(Pair::value);
                            let is_other = known.map(Text::as_bytes) != Some(&value);
                            if is_other {
                                let pair = Pair::new(&key, &*value);
                                self.entries.insert(key.clone(), pair);
                            }
                            is_other
                        }
                    };
                    if is_other {
                        changed.push(key);
                    }
                }
                changed
            }
        }
    }

    fn replace(&mut self, entries: Entries) -> Vec<String> {
        let before = std::mem::take(&mut self.entries);
        let mut changed = Vec::new();
        for (key, value) in entries {
            let key = cleaned(key);
            match before.get(&key) {
                Some(pair) if pair.value().as_bytes() == &*value => {
                    self.entries.insert(key, pair.clone());
                }
                _ => {
                    let pair = Pair::new(&key, &*value);
                    changed.push(key.clone());
                    self.entries.insert(key, pair);
                }
            }
        }
        changed.extend(before.into_keys().filter(|key| !self.entries.contains_key(key)));
        changed
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// confd cleans the paths of what it gets.
fn cleaned(key: String) -> String {
    let is_clean = key.starts_with('/') && !key.contains("//") && !key.contains("/.");
    if is_clean { key } else { path::join(&["/", &key]) }
}

/// What a resource's template may read.
pub(crate) struct View<'a> {
    pub(crate) data: &'a Data,
    /// Paths of the resource, the prefix included.
    pub(crate) paths: &'a [String],
    /// What is taken off the keys; begins with a slash.
    pub(crate) prefix: &'a str,
    /// Whether paths cover whatever begins with their text.
    pub(crate) matches_text: bool,
    pub(crate) environment: &'a BTreeMap<String, String>,
    pub(crate) world: &'a dyn World,
}

impl View<'_> {
    /// Whether one of the paths covers a key.
    pub(crate) fn is_covered(&self, key: &str) -> bool {
        is_covered(self.paths, self.matches_text, key)
    }

    /// What stands before the template's keys.
    fn before(&self) -> &str {
        if self.prefix == "/" { "" } else { self.prefix }
    }
}

/// Whether one of the paths covers a key.
pub(crate) fn is_covered(paths: &[String], matches_text: bool, key: &str) -> bool {
    paths.iter().any(|path| match matches_text {
        true => key.starts_with(path.as_str()),
        false => covers(path, key),
    })
}

/// A pair whose key has something taken off, if what is left begins with a prefix.
fn without(pair: &Pair, before: &str, prefix: &str) -> Option<Pair> {
    let rest = pair.key().as_bytes().get(before.len()..)?;
    let key = match rest.first() {
        Some(b'/') => Text::from(rest),
        _ => Text::from([b"/", rest].concat()),
    };
    key.as_bytes().starts_with(prefix.as_bytes()).then(|| Pair::new(key, pair.value().clone()))
}

impl Scope for View<'_> {
    fn value(&self, key: &str) -> Option<Text> {
        let before = self.before();
        let mut whole = String::with_capacity(before.len() + key.len());
        whole.push_str(before);
        whole.push_str(key);
        let mut found = self.data.entries.get(&whole).filter(|_| self.is_covered(&whole));
        if found.is_none() && self.matches_text && !before.is_empty() {
            // The prefix is taken off as text: `/app` off `/apple`, too, which leaves `/le`.
            let whole = format!("{before}{}", key.trim_start_matches('/'));
            found = self.data.entries.get(&whole).filter(|_| self.is_covered(&whole));
        }
        found.map(|pair| pair.value().clone())
    }

    fn keys(&self, prefix: &str) -> Vec<Pair> {
        let before = self.before();
        let takes_text_off = self.matches_text && !before.is_empty();
        let whole = if takes_text_off { before.to_owned() } else { format!("{before}{prefix}") };
        let mut pairs = Vec::new();
        for path in self.paths {
            // All keys of both begin with the longer one, or there are none.
            let path = path.trim_end_matches('/');
            let from = match (whole.starts_with(path), path.starts_with(&whole)) {
                (true, _) => &whole,
                (false, true) => path,
                (false, false) => continue,
            };
            let all = self.data.entries.range::<str, _>((Bound::Included(from), Bound::Unbounded));
            let under = all.take_while(|(key, _)| key.starts_with(from));
            let covered =
                under.filter(|(key, _)| self.matches_text || covers(path, key)).map(|(_, p)| p);
            match before.is_empty() {
                true => pairs.extend(covered.cloned()),
                false => pairs.extend(covered.filter_map(|pair| without(pair, before, prefix))),
            }
        }
        if self.paths.len() > 1 || takes_text_off {
            pairs.sort();
            pairs.dedup();
        }
        pairs
    }

    fn env(&self, name: &str) -> Option<String> {
        self.environment.get(name).cloned()
    }

    fn line(&self, alias: &str) -> Result<LineValue, LineError> {
        let kind = LineErrorKind::Unknown { known: Vec::new() };
        Err(LineError { alias: alias.to_owned(), kind })
    }

    fn world(&self) -> Option<&dyn World> {
        Some(self.world)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;
    impl World for Nothing {}

    fn data(keys: &[&str]) -> Data {
        let mut data = Data::default();
        let entries = keys.iter().map(|key| ((*key).to_owned(), key.as_bytes().to_vec().into()));
        let _ = data.apply(Update::All(entries.collect()));
        data
    }

    fn view<'a>(
        data: &'a Data,
        paths: &'a [String],
        prefix: &'a str,
        matches_text: bool,
    ) -> View<'a> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        View { data, paths, prefix, matches_text, environment: &NONE, world: &Nothing }
    }

    fn keys(view: &View<'_>, prefix: &str) -> Vec<String> {
        view.keys(prefix).iter().map(|pair| pair.key().to_lossy()).collect()
    }

    #[test]
    fn a_template_sees_what_its_paths_cover_without_the_prefix() {
        let data = data(&["/app/a/x", "/app/a", "/app/ab", "/apple", "/other"]);
        let paths = ["/app/a".to_owned()];
        let seen = view(&data, &paths, "/app", false);
        assert_eq!(keys(&seen, "/"), ["/a", "/a/x"]);
        assert_eq!(seen.value("/a/x"), Some("/app/a/x".into()));
        assert_eq!(seen.value("/ab"), None);
        let several = ["/app/a/x", "/app/a", "/other"].map(str::to_owned);
        let seen = view(&data, &several, "/", false);
        assert_eq!(keys(&seen, "/"), ["/app/a", "/app/a/x", "/other"]);
        assert_eq!(keys(&seen, "/app/a/"), ["/app/a/x"]);
        let all = ["/".to_owned()];
        let seen = view(&data, &all, "/", false);
        assert_eq!(keys(&seen, "/app"), ["/app/a", "/app/a/x", "/app/ab", "/apple"]);
    }

    #[test]
    fn trap_prefix_is_taken_off_as_text() {
        let data = data(&["/apple/x", "/app/y"]);
        let paths = ["/app".to_owned()];
        let seen = view(&data, &paths, "/app", true);
        assert_eq!(keys(&seen, "/"), ["/le/x", "/y"]);
        assert_eq!(seen.value("/le/x"), Some("/apple/x".into()));
    }

    #[test]
    fn changes_are_told_once() {
        let mut data = data(&["/a", "/b"]);
        let change = |key: &str, value: Option<&str>| {
            (key.to_owned(), value.map(|value| value.as_bytes().to_vec().into()))
        };
        let update = vec![change("/a", Some("/a")), change("/b", None), change("/c//d", Some("1"))];
        assert_eq!(data.apply(Update::Some(update)), ["/b", "/c/d"]);
        let again = vec![change("/b", None), change("/c/d", Some("1"))];
        assert_eq!(data.apply(Update::Some(again)), Vec::<String>::new());
        assert_eq!(data.apply(Update::All(Entries::new())), ["/a", "/c/d"]);
    }
}

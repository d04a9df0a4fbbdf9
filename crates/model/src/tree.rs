//! A YAML document as a tree that keeps what people wrote: raw scalar text, whether it was quoted,
//! and the place of every key and value.
//!
//! Raw text matters because YAML's own typing would lose it (`1.50`, `010`, `no`). Anchors,
//! aliases and `<<` merge keys are resolved here; an alias copies its node with the places of the
//! anchor, which is where a mistake has to be put right.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use brickyard_core::{Diagnostic, Diagnostics, Source};
use compact_str::CompactString;
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, Span, StrInput};

use crate::codes;
use crate::findings::AtPlace;

/// Most nodes after aliases are resolved: a few lines of nested aliases can ask for billions.
const NODE_COUNT_MAX: usize = 200_000;

/// Deepest nesting; later stages recurse.
const DEPTH_MAX: usize = 64;

/// A range of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub source: Arc<Source>,
    /// Bytes of its text.
    pub span: Range<usize>,
    /// How it came from there to where it counts, when it is not only there that it does.
    pub(crate) via: Option<Arc<Via>>,
}

/// A place at which something was taken over from elsewhere.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Via {
    /// Where it says so.
    pub place: Place,
    /// What it says.
    pub text: String,
    /// The step before, nearer to where it was written.
    pub before: Option<Arc<Via>>,
}

impl Via {
    /// All steps, that nearest to where something was written first.
    pub(crate) fn steps(last: &Self) -> Vec<&Self> {
        let mut steps: Vec<&Self> =
            std::iter::successors(Some(last), |via| via.before.as_deref()).collect();
        steps.reverse();
        steps
    }
}

impl Place {
    /// `FILE:LINE:COLUMN`.
    #[must_use]
    pub fn describe(&self) -> String {
        let (line, column) = self.source.position(self.span.start);
        format!("{}:{line}:{column}", self.source.name)
    }
}

/// A value with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Where it stands.
    pub place: Place,
    /// What it does to the same node of an earlier file.
    pub tag: Option<Tag>,
}

/// What a node of one file does to the same one of an earlier file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// `!reset`: it is not there any more.
    Reset,
    /// `!override`: it is replaced whole.
    Override,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Text, a number, a boolean or null: typed only when it is used.
    Scalar {
        /// The text after YAML's own escapes.
        text: CompactString,
        /// Whether it was written without quotes, so that `null` is null.
        plain: bool,
    },
    /// A list.
    Sequence(Vec<Node>),
    /// Keys and values in the order in which they were written.
    Mapping(Vec<Entry>),
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key's text.
    pub key: CompactString,
    /// Where the key stands.
    pub key_place: Place,
    /// The value.
    pub value: Node,
}

impl Entry {
    /// Whether this is its key. Most are told apart by the first letter or the length, which is worth
    /// a look: nothing is asked more often.
    fn is(&self, key: &str) -> bool {
        let (own, wanted) = (self.key.as_bytes(), key.as_bytes());
        own.len() == wanted.len() && own.first() == wanted.first() && own == wanted
    }
}

impl Node {
    /// Notes for all that is below that it was taken over.
    pub(crate) fn taken_over(&mut self, at: &Place, text: &str) {
        let mut known: Vec<Arc<Via>> = Vec::new();
        self.each_place(&mut |place| {
            let before = place.via.take();
            let is_same = |via: &&Arc<Via>| match (&via.before, &before) {
                (Some(one), Some(other)) => Arc::ptr_eq(one, other),
                (one, other) => one.is_none() && other.is_none(),
            };
            if let Some(via) = known.iter().find(is_same) {
                place.via = Some(Arc::clone(via));
                return;
            }
            let via = Arc::new(Via { place: at.clone(), text: text.to_owned(), before });
            known.push(Arc::clone(&via));
            place.via = Some(via);
        });
    }

    fn each_place(&mut self, change: &mut impl FnMut(&mut Place)) {
        change(&mut self.place);
        match &mut self.kind {
            Kind::Scalar { .. } => {}
            Kind::Sequence(items) => items.iter_mut().for_each(|item| item.each_place(change)),
            Kind::Mapping(entries) => {
                for entry in entries {
                    change(&mut entry.key_place);
                    entry.value.each_place(change);
                }
            }
        }
    }

    /// A text that was not written by hand; `place` is what brought it.
    pub(crate) fn text_at(place: &Place, text: impl Into<CompactString>) -> Self {
        Self::scalar_at(place, text.into(), false)
    }

    /// A number, a truth or null that was not written by hand.
    pub(crate) fn literal_at(place: &Place, text: impl Into<CompactString>) -> Self {
        Self::scalar_at(place, text.into(), true)
    }

    fn scalar_at(place: &Place, text: CompactString, plain: bool) -> Self {
        Self { kind: Kind::Scalar { text, plain }, place: place.clone(), tag: None }
    }

    /// A list that was not written by hand.
    pub(crate) fn list_at(place: &Place, items: Vec<Self>) -> Self {
        Self { kind: Kind::Sequence(items), place: place.clone(), tag: None }
    }

    /// A mapping that was not written by hand, of what there is.
    pub(crate) fn mapping_at<const N: usize>(
        place: &Place,
        entries: [(&str, Option<Self>); N],
    ) -> Self {
        let entries = entries.into_iter().filter_map(|(key, value)| {
            let key_place = place.clone();
            Some(Entry { key: key.into(), key_place, value: value? })
        });
        Self { kind: Kind::Mapping(entries.collect()), place: place.clone(), tag: None }
    }

    /// The text of a scalar that is not null.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } if !self.is_null() => Some(text),
            _ => None,
        }
    }

    /// A path as it was written, where `path` is what has been made of it.
    #[must_use]
    pub(crate) fn written<'a>(&'a self, path: &'a str) -> &'a str {
        let written = self.place.source.text.get(self.place.span.clone()).unwrap_or(path);
        let written = written.trim_matches(['"', '\'']);
        // A variable, an anchor or a longer text that the path came from says less than the path.
        let is_its_end = path.ends_with(written.trim_start_matches(['.', '/', '~']));
        if is_its_end && !written.is_empty() { written } else { path }
    }

    /// The items, when this is a list.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        match &self.kind {
            Kind::Sequence(items) => items,
            Kind::Scalar { .. } | Kind::Mapping(_) => &[],
        }
    }

    /// The entries, when this is a mapping.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        match &self.kind {
            Kind::Mapping(entries) => entries,
            Kind::Scalar { .. } | Kind::Sequence(_) => &[],
        }
    }

    /// The entries to be changed; null becomes an empty mapping.
    pub(crate) fn entries_mut(&mut self) -> Option<&mut Vec<Entry>> {
        if self.is_null() {
            self.kind = Kind::Mapping(Vec::new());
        }
        match &mut self.kind {
            Kind::Mapping(entries) => Some(entries),
            Kind::Scalar { .. } | Kind::Sequence(_) => None,
        }
    }

    /// What several keys in a row lead to.
    #[must_use]
    pub fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// The value of a key, to be changed.
    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        let entries = self.entries_mut()?;
        entries.iter_mut().find(|entry| entry.is(key)).map(|entry| &mut entry.value)
    }

    /// Takes a key out of a mapping.
    pub(crate) fn take(&mut self, key: &str) -> Option<Entry> {
        let Kind::Mapping(entries) = &mut self.kind else {
            return None;
        };
        let at = entries.iter().position(|entry| entry.is(key))?;
        Some(entries.remove(at))
    }

    /// Puts a value under a key, in the place of one that is there.
    pub(crate) fn put(&mut self, key: &str, value: Self) {
        let key_place = value.place.clone();
        let Some(entries) = self.entries_mut() else {
            return;
        };
        match entries.iter_mut().find(|entry| entry.is(key)) {
            Some(entry) => entry.value = value,
            None => entries.push(Entry { key: key.into(), key_place, value }),
        }
    }

    /// Whether both say the same, wherever they stand.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        match (&self.kind, &other.kind) {
            (Kind::Scalar { text, .. }, Kind::Scalar { text: others, .. }) => {
                text == others && self.is_null() == other.is_null()
            }
            (Kind::Sequence(items), Kind::Sequence(others)) => {
                let pairs = items.iter().zip(others);
                items.len() == others.len() && pairs.into_iter().all(|(a, b)| a.says_the_same(b))
            }
            (Kind::Mapping(entries), Kind::Mapping(others)) => {
                let is_there = |entry: &Entry| {
                    other.get(&entry.key).is_some_and(|value| entry.value.says_the_same(value))
                };
                entries.len() == others.len() && entries.iter().all(is_there)
            }
            _ => false,
        }
    }

    /// Whether it is YAML's null: nothing, `~` or an unquoted `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        match &self.kind {
            Kind::Scalar { text, plain } => {
                *plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
            }
            Kind::Sequence(_) | Kind::Mapping(_) => false,
        }
    }

    /// The value of a key, when this is a mapping that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.kind {
            Kind::Mapping(entries) => {
                entries.iter().find(|entry| entry.is(key)).map(|entry| &entry.value)
            }
            Kind::Scalar { .. } | Kind::Sequence(_) => None,
        }
    }
}

/// Among so many keys one is found as quickly without an index.
const KEYS_FEW: usize = 24;

/// Reads the documents of a text. There is none when the text is not YAML; duplicate keys are
/// reported and the first one counts.
#[must_use]
pub fn parse(source: &Arc<Source>) -> (Vec<Node>, Diagnostics) {
    let mut builder = Builder {
        source,
        parser: Parser::new_from_str(&source.text),
        anchors: BTreeMap::new(),
        node_count: 0,
        diagnostics: Vec::new(),
    };
    let documents = builder.documents().unwrap_or_else(|Stopped(diagnostic)| {
        builder.diagnostics.push(*diagnostic);
        Vec::new()
    });
    (documents, builder.diagnostics)
}

/// Reading cannot go on. Boxed, as it is rare and large.
struct Stopped(Box<Diagnostic>);

/// A node that aliases may copy, with what the copy costs.
struct Anchored {
    node: Node,
    node_count: usize,
    depth: usize,
}

struct Builder<'a> {
    source: &'a Arc<Source>,
    parser: Parser<'a, StrInput<'a>>,
    anchors: BTreeMap<usize, Anchored>,
    node_count: usize,
    diagnostics: Diagnostics,
}

impl<'a> Builder<'a> {
    fn place(&self, span: Range<usize>) -> Place {
        Place { source: Arc::clone(self.source), span, via: None }
    }

    fn stop(&self, message: impl Into<String>, span: Range<usize>) -> Stopped {
        let found = Diagnostic::error(codes::SYNTAX, message).at(self.source, span, "");
        Stopped(Box::new(found))
    }

    fn range(&self, span: &Span) -> Range<usize> {
        let end = self.source.text.len();
        span.byte_range().unwrap_or(end..end)
    }

    /// The next event that is not a comment.
    fn next(&mut self) -> Result<(Event<'a>, Range<usize>), Stopped> {
        loop {
            match self.parser.next_event() {
                None => {
                    let end = self.source.text.len();
                    return Err(self.stop("the YAML ends too early", end..end));
                }
                Some(Err(err)) => {
                    let end = self.source.text.len();
                    let at = err.marker().byte_offset().unwrap_or(end).min(end);
                    let info = err.to_string();
                    // The place is in the label; the parser's own " at byte ..." would repeat it.
                    let info = info.split(" at ").next().unwrap_or(&info).to_owned();
                    return Err(self.stop(format!("this is not valid YAML: {info}"), at..at));
                }
                Some(Ok((event, span))) => match event {
                    Event::StreamStart | Event::DocumentStart(..) | Event::Comment(..) => {}
                    event => return Ok((event, self.range(&span))),
                },
            }
        }
    }

    fn documents(&mut self) -> Result<Vec<Node>, Stopped> {
        let mut documents = Vec::new();
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(documents),
                (Event::DocumentEnd, _) => {}
                (event, span) => documents.push(self.node(event, span, 0)?.0),
            }
        }
    }

    /// The node that `event` begins, and its depth.
    fn node(
        &mut self,
        event: Event<'a>,
        span: Range<usize>,
        depth: usize,
    ) -> Result<(Node, usize), Stopped> {
        self.count(1, depth, &span)?;
        let count_before = self.node_count;
        let merge_tag = merge_tag(&event);
        let (mut node, anchor, height) = match event {
            Event::Alias(id) => return self.alias(id, span, depth),
            Event::Scalar(text, style, anchor, tag) => {
                let mut plain = style == ScalarStyle::Plain;
                let other = tag.as_deref().filter(|_| merge_tag.is_none());
                match other.map(|tag| (tag.core_suffix(), tag.original())) {
                    Some((Some("str"), _)) => plain = false,
                    Some((None, name)) => return Err(self.tag(&name, span)),
                    Some((Some(_), _)) | None => {}
                }
                let place = self.place(span);
                let kind = Kind::Scalar { text: text.into(), plain };
                (Node { kind, place, tag: None }, anchor, 0)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref().filter(|_| merge_tag.is_none()), &span)?;
                let (node, height) = self.sequence(span, depth)?;
                (node, anchor, height)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref().filter(|_| merge_tag.is_none()), &span)?;
                let (node, height) = self.mapping(span, depth)?;
                (node, anchor, height)
            }
            _ => return Err(self.stop("this is not valid YAML: a value is missing", span)),
        };
        node.tag = merge_tag;
        if anchor != 0 {
            let anchored = Anchored {
                node: node.clone(),
                node_count: self.node_count - count_before + 1,
                depth: height,
            };
            self.anchors.insert(anchor, anchored);
        }
        Ok((node, height))
    }

    fn count(&mut self, added: usize, depth: usize, span: &Range<usize>) -> Result<(), Stopped> {
        self.node_count = self.node_count.saturating_add(added);
        if depth > DEPTH_MAX {
            let message = format!("the YAML is nested more than {DEPTH_MAX} deep");
            return Err(self.stop(message, span.clone()));
        }
        if self.node_count > NODE_COUNT_MAX {
            let message = format!("the YAML has more than {NODE_COUNT_MAX} values");
            return Err(self.stop(message, span.clone()));
        }
        Ok(())
    }

    fn refuse_tag(
        &self,
        tag: Option<&serde_saphyr::granit_parser::Tag>,
        span: &Range<usize>,
    ) -> Result<(), Stopped> {
        match tag {
            Some(tag) if !tag.is_yaml_core_schema() => Err(self.tag(&tag.original(), span.clone())),
            _ => Ok(()),
        }
    }

    fn tag(&self, name: &str, span: Range<usize>) -> Stopped {
        let message = format!("nothing is known of the YAML tag `{name}`");
        let found = Diagnostic::error(codes::SYNTAX, message).at(self.source, span, "");
        Stopped(Box::new(found))
    }

    fn alias(
        &mut self,
        id: usize,
        span: Range<usize>,
        depth: usize,
    ) -> Result<(Node, usize), Stopped> {
        let Some(anchored) = self.anchors.get(&id) else {
            return Err(self.stop("this alias stands inside of its own anchor", span));
        };
        let (node_count, height) = (anchored.node_count, anchored.depth);
        self.count(node_count, depth + height, &span)?;
        Ok((self.anchors[&id].node.clone(), height))
    }

    fn sequence(&mut self, span: Range<usize>, depth: usize) -> Result<(Node, usize), Stopped> {
        let mut items = Vec::new();
        let mut height = 0;
        loop {
            let (event, item_span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                // Most lists are short, and room for more would cost more than they do.
                items.shrink_to_fit();
                let place = self.place(span.start..item_span.end.max(span.start));
                let kind = Kind::Sequence(items);
                return Ok((Node { kind, place, tag: None }, height));
            }
            let (item, item_height) = self.node(event, item_span, depth + 1)?;
            height = height.max(item_height + 1);
            items.push(item);
        }
    }

    fn mapping(&mut self, span: Range<usize>, depth: usize) -> Result<(Node, usize), Stopped> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut known: HashMap<CompactString, usize> = HashMap::new();
        let mut merges = Vec::new();
        let mut height = 0;
        loop {
            let (event, key_span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                let place = self.place(span.start..key_span.end.max(span.start));
                for merge in merges {
                    self.merge(&mut entries, merge)?;
                }
                entries.shrink_to_fit();
                let kind = Kind::Mapping(entries);
                return Ok((Node { kind, place, tag: None }, height));
            }
            let (key, _) = self.node(event, key_span.clone(), depth + 1)?;
            let (event, value_span) = self.next()?;
            let (value, value_height) = self.node(event, value_span, depth + 1)?;
            height = height.max(value_height + 1);
            let Kind::Scalar { text, plain } = key.kind else {
                return Err(self.stop("a key must be text", key_span));
            };
            if plain && text == "<<" {
                merges.push(value);
                continue;
            }
            let entry = Entry { key: text, key_place: self.place(key_span), value };
            if entries.len() == KEYS_FEW {
                let keys = entries.iter().enumerate();
                known = keys.map(|(at, entry)| (entry.key.clone(), at)).collect();
            }
            let first = match entries.len() < KEYS_FEW {
                true => entries.iter().position(|known| known.is(&entry.key)),
                false => known.get(&entry.key).copied(),
            };
            if let Some(first) = first {
                self.diagnostics.push(duplicate(&entry, &entries[first]));
                continue;
            }
            if entries.len() >= KEYS_FEW {
                known.insert(entry.key.clone(), entries.len());
            }
            entries.push(entry);
        }
    }

    /// Adds what `<<: value` brings: keys that are not there yet.
    fn merge(&mut self, entries: &mut Vec<Entry>, value: Node) -> Result<(), Stopped> {
        match value.kind {
            Kind::Mapping(merged) => {
                for entry in merged {
                    if entries.iter().all(|other| other.key != entry.key) {
                        entries.push(entry);
                    }
                }
                Ok(())
            }
            Kind::Sequence(values) => {
                values.into_iter().try_for_each(|value| self.merge(entries, value))
            }
            Kind::Scalar { .. } => {
                let span = value.place.span;
                Err(self.stop("`<<` takes a mapping or a list of mappings", span))
            }
        }
    }
}

/// What a node's tag says of merging.
fn merge_tag(event: &Event<'_>) -> Option<Tag> {
    let tag = match event {
        Event::Scalar(_, _, _, tag) => tag,
        Event::SequenceStart(_, _, tag) | Event::MappingStart(_, _, tag) => tag,
        _ => return None,
    };
    match &*tag.as_deref()?.original() {
        "!reset" => Some(Tag::Reset),
        "!override" => Some(Tag::Override),
        _ => None,
    }
}

fn duplicate(again: &Entry, first: &Entry) -> Diagnostic {
    let (here, there) = (&again.key_place, &first.key_place);
    let message = format!("the key `{}` stands twice in one mapping", again.key);
    Diagnostic::error(codes::DUPLICATE_KEY, message)
        .at_place(here, "again here")
        .at_place(there, "first here")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Node {
        let (documents, diagnostics) = parse(&Source::new("t.yaml", text));
        assert_eq!(diagnostics, []);
        documents.into_iter().next().unwrap()
    }

    fn text<'a>(node: &'a Node, path: &[&str]) -> &'a str {
        let node = path.iter().fold(node, |node, key| node.get(key).unwrap());
        match &node.kind {
            Kind::Scalar { text, .. } => text,
            _ => panic!("no scalar at {path:?}"),
        }
    }

    fn first_message(text: &str) -> String {
        let (_, diagnostics) = parse(&Source::new("t.yaml", text));
        let found = diagnostics.first().expect("a finding");
        let label = &found.labels[0];
        let (line, column) = label.source.position(label.span.start);
        format!("{line}:{column} {}", found.message)
    }

    #[test]
    fn scalars_keep_their_text_style_and_place() {
        let root = tree("a: 1.50\nb: 010\nc: 'null'\nd:\n# comment\ne: [x, \"ü\"]\n");
        assert_eq!(text(&root, &["a"]), "1.50");
        assert_eq!(text(&root, &["b"]), "010");
        assert!(!root.get("c").unwrap().is_null());
        assert!(root.get("d").unwrap().is_null());
        let place = &root.get("b").unwrap().place;
        assert_eq!(&place.source.text[place.span.clone()], "010");
        assert_eq!(place.describe(), "t.yaml:2:4");
    }

    #[test]
    fn aliases_and_merge_keys_resolve_and_written_keys_win() {
        let root = tree(
            "x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\n\
             one: {<<: *x, a: 0}\nmany: {<<: [*x, *y]}\nplain: *x\nliteral: {'<<': 1}\n",
        );
        assert_eq!(text(&root, &["one", "a"]), "0");
        assert_eq!(text(&root, &["one", "b"]), "2");
        assert_eq!(text(&root, &["many", "b"]), "2");
        assert_eq!(text(&root, &["many", "c"]), "4");
        assert_eq!(text(&root, &["plain", "a"]), "1");
        assert_eq!(text(&root, &["literal", "<<"]), "1");
    }

    #[test]
    fn a_text_may_have_several_documents_or_none() {
        let count = |text: &str| parse(&Source::new("t.yaml", text)).0.len();
        assert_eq!([count("a: 1\n---\nb: 2\n"), count("---\n"), count("")], [2, 1, 0]);
    }

    #[test]
    fn a_duplicate_key_names_both_places() {
        let (_, diagnostics) = parse(&Source::new("t.yaml", "a: 1\nb: 2\na: 3\n"));
        let places: Vec<_> = diagnostics[0]
            .labels
            .iter()
            .map(|label| label.source.position(label.span.start))
            .collect();
        assert_eq!(diagnostics[0].code, codes::DUPLICATE_KEY);
        assert_eq!(places, [(3, 1), (1, 1)]);
    }

    #[test]
    fn broken_yaml_says_where() {
        let message = first_message("services:\n  web: [a, b\n  db: {}\n");
        assert!(message.contains("this is not valid YAML"), "{message}");
        assert!(message.starts_with('2') || message.starts_with('3'), "{message}");
        assert!(first_message("a: *nowhere\n").starts_with("1:"));
        assert!(
            first_message("a: !own null\n").contains("nothing is known of the YAML tag `!own`")
        );
        assert!(first_message("? [a]\n: b\n").contains("a key must be text"));
        assert!(first_message("a: &a [*a]\n").contains("inside of its own anchor"));
    }

    #[test]
    fn a_billion_laughs_are_refused() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let items = vec![format!("*a{}", level - 1); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        assert!(first_message(&text).contains("more than 200000 values"));
        let mut text = String::from("a0: &a0 x\n");
        for level in 1..500 {
            text.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
        }
        assert!(first_message(&text).contains("nested more than"));
    }
}

//! Files as one tree: each is read, its variables are replaced, it is written out in full, what it
//! extends and includes is fetched, and it is put over those before it.
//!
//! The order is Compose's: what a file extends and includes is settled within the file, so that a later
//! file can change it.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use brickyard_core::diagnostic::{Label, has_errors, nearest};
use brickyard_core::{Diagnostic, Diagnostics, Files, Source};
use camino::{Utf8Path, Utf8PathBuf};
use compact_str::CompactString;

use crate::canonical::{Canonical, What, is_remote};
use crate::decode::read_text;
use crate::dotenv::Layered;
use crate::findings::AtPlace;
use crate::interpolate::interpolate;
use crate::merge;
use crate::spec::{SERVICE, Shape, TOP};
use crate::tree::{Entry, Kind, Node, Place};
use crate::{codes, tree};

/// Deepest chain of files that include or services that extend one another.
const CHAIN_MAX: usize = 50;

/// What is written where a service takes something over.
pub(crate) const TAKEN_OVER: &str = "extends it here";

/// Most values of all files together, so that files which include each other many times end.
const NODE_COUNT_MAX: usize = 4_000_000;

/// What stands on the top level and is known by its name in the whole model.
const RESOURCES: [&str; 6] = ["services", "networks", "volumes", "secrets", "configs", "models"];

/// In what a file is read.
#[derive(Clone)]
pub(crate) struct Scope {
    /// Where its relative paths start.
    pub directory: Utf8PathBuf,
    /// Its variables.
    pub environment: Rc<BTreeMap<String, String>>,
    /// Tells scopes apart.
    pub number: usize,
}

/// How a file came to be read.
struct Origin {
    source: Arc<Source>,
    place: Place,
    how: String,
}

/// Services of one document before and after what they extend is in them.
#[derive(Default)]
struct Bases {
    written: HashMap<String, Node>,
    extended: HashMap<String, Node>,
}

/// A service on the way through those that it extends.
struct Step {
    document: String,
    service: String,
    place: Place,
}

/// Where names stand in the parts of a document, by the part.
type Known = HashMap<&'static str, HashMap<CompactString, usize>>;

/// Reads files.
pub(crate) struct Layers<'a> {
    files: &'a dyn Files,
    /// The project's directory, and how messages call it.
    project: (&'a Utf8Path, &'a Utf8Path),
    keeps_variables: bool,
    scope_count: usize,
    node_count: usize,
    origins: Vec<Origin>,
    documents: HashMap<String, Bases>,
    /// What was found.
    pub diagnostics: Diagnostics,
}

impl<'a> Layers<'a> {
    /// For a project's directory that messages call otherwise.
    pub(crate) fn new(
        files: &'a dyn Files,
        project: &'a Utf8Path,
        shown: &'a Utf8Path,
        keeps_variables: bool,
    ) -> Self {
        Self {
            files,
            project: (project, shown),
            keeps_variables,
            scope_count: 0,
            node_count: 0,
            origins: Vec::new(),
            documents: HashMap::new(),
            diagnostics: Vec::new(),
        }
    }

    /// A scope of its own.
    pub(crate) fn scope(
        &mut self,
        directory: Utf8PathBuf,
        environment: BTreeMap<String, String>,
    ) -> Scope {
        self.scope_count += 1;
        Scope { directory, environment: Rc::new(environment), number: self.scope_count }
    }

    /// A file's documents; nothing when it cannot be read or is no YAML.
    pub(crate) fn read(&mut self, path: &Utf8Path, from: Option<(&Place, String)>) -> Vec<Node> {
        let text = match read_text(self.files, path) {
            Ok(text) => text,
            Err(reason) => {
                let message = format!("the Compose file cannot be read: {reason}");
                let mut found = Diagnostic::error(codes::UNREADABLE, message);
                if let Some((place, _)) = from {
                    found = found.at_place(place, "");
                }
                self.diagnostics.push(found);
                return Vec::new();
            }
        };
        let source = Source::new(self.shown(path), text);
        if let Some((place, how)) = from {
            let (source, place) = (Arc::clone(&source), place.clone());
            self.origins.push(Origin { source, place, how });
        }
        let (mut documents, found) = tree::parse(&source);
        documents.retain(|document| !document.is_null());
        if documents.is_empty() && !has_errors(&found) {
            let message = "the Compose file is empty";
            let found = Diagnostic::error(codes::SYNTAX, message).at(&source, 0..0, "");
            self.diagnostics.push(found);
        }
        self.diagnostics.extend(found);
        documents
    }

    /// A path as messages show it.
    fn shown(&self, path: &Utf8Path) -> String {
        let (project, shown) = self.project;
        path.strip_prefix(project).map_or_else(|_| path.to_string(), |rest| shown.join(rest).into())
    }

    /// The documents of a file, put over each other and over what is there already.
    pub(crate) fn add(
        &mut self,
        model: &mut Option<Node>,
        documents: Vec<Node>,
        path: &Utf8Path,
        scope: &Scope,
        chain: &mut Vec<Utf8PathBuf>,
    ) {
        for (number, mut document) in documents.into_iter().enumerate() {
            self.written_out(&mut document, scope);
            let key = format!("{} {number} {path}", scope.number);
            self.extend_all(&mut document, &key, scope);
            if let Some(includes) = document.take("include") {
                chain.push(path.to_owned());
                let mut known = Known::new();
                for item in includes.value.items() {
                    self.include(&mut document, &mut known, item, scope, chain);
                }
                chain.pop();
            }
            match model {
                None => *model = Some(document),
                Some(model) => merge::over(model, document, &Shape::Section(TOP)),
            }
        }
    }

    /// Replaces variables and short ways of writing.
    fn written_out(&mut self, document: &mut Node, scope: &Scope) {
        if !self.keeps_variables {
            interpolate(document, &scope.environment, &mut self.diagnostics);
        }
        let mut canonical = Canonical {
            directory: &scope.directory,
            home: scope.environment.get("HOME").map(String::as_str),
            keeps_variables: self.keeps_variables,
            diagnostics: &mut self.diagnostics,
        };
        canonical.section(document, TOP, What::Text(TOP.name));
        merge::once(document, &Shape::Section(TOP), &mut self.diagnostics);
    }

    /// Puts what services extend into them.
    fn extend_all(&mut self, document: &mut Node, key: &str, scope: &Scope) {
        let Some(Kind::Mapping(entries)) = document.get_mut("services").map(|node| &mut node.kind)
        else {
            return;
        };
        if entries.iter().all(|entry| entry.value.get("extends").is_none()) {
            return;
        }
        let written = entries.iter().map(|entry| (entry.key.to_string(), entry.value.clone()));
        let bases = Bases { written: written.collect(), extended: HashMap::new() };
        self.documents.insert(key.to_owned(), bases);
        for entry in entries {
            if entry.value.get("extends").is_some() {
                let extended = self.extended(key, &entry.key, scope, &mut Vec::new());
                entry.value.take("extends");
                entry.value = extended.unwrap_or_else(|| entry.value.clone());
            }
        }
    }

    /// A service with all that it extends.
    fn extended(
        &mut self,
        document: &str,
        name: &str,
        scope: &Scope,
        steps: &mut Vec<Step>,
    ) -> Option<Node> {
        let bases = self.documents.get(document)?;
        if let Some(done) = bases.extended.get(name) {
            return Some(done.clone());
        }
        let mut service = bases.written.get(name)?.clone();
        if let Some(extends) = service.take("extends") {
            let place = extends.value.place.clone();
            let step = Step { document: document.to_owned(), service: name.to_owned(), place };
            steps.push(step);
            let base = self.base(document, &extends.value, scope, steps);
            steps.pop();
            if let Some(mut base) = base {
                self.count(&base)?;
                base.taken_over(&extends.value.place, &format!("`{name}` {TAKEN_OVER}"));
                merge::settle(&mut base);
                merge::over(&mut base, service, &Shape::Section(SERVICE));
                service = base;
            }
        }
        let bases = self.documents.get_mut(document)?;
        bases.extended.insert(name.to_owned(), service.clone());
        Some(service)
    }

    /// What a service extends, with all that this extends.
    fn base(
        &mut self,
        document: &str,
        extends: &Node,
        scope: &Scope,
        steps: &mut Vec<Step>,
    ) -> Option<Node> {
        let wanted = extends.get("service")?;
        let name = wanted.as_text()?;
        let file = extends.get("file");
        let (key, scope) = match file {
            None => (document.to_owned(), scope.clone()),
            Some(file) => self.base_file(file, extends, scope, steps)?,
        };
        let circle = steps.iter().position(|step| step.document == key && step.service == name);
        if circle.is_some() || steps.len() > CHAIN_MAX {
            let around = steps.get(circle.unwrap_or(0)..).unwrap_or_default();
            let names = around.iter().map(|step| format!("`{}`", step.service));
            let names: Vec<String> = names.chain([format!("`{name}`")]).collect();
            let message = format!("services extend each other: {}", names.join(" -> "));
            let found = Diagnostic::error(codes::CIRCLE, message);
            let places = around.iter().map(|step| &step.place);
            let found = places.fold(found, |found, place| found.at_place(place, ""));
            self.diagnostics.push(found);
            return None;
        }
        let known = &self.documents.get(&key)?.written;
        if !known.contains_key(name) {
            let by = steps.last().map_or("", |step| step.service.as_str());
            let at = file.and_then(Node::as_text).map(|file| self.shown(file.into()));
            let at = at.map(|file| format!(" in `{file}`")).unwrap_or_default();
            let message = format!("service `{by}` extends `{name}`, which is not defined{at}");
            let mut found = Diagnostic::error(codes::UNDEFINED, message);
            if let Some(near) = nearest(name, known.keys().map(String::as_str)) {
                found = found.hint(format!("a service named `{near}` exists; did you mean that?"));
            }
            let place = &wanted.place;
            self.diagnostics.push(found.at_place(place, ""));
            return None;
        }
        self.extended(&key, name, &scope, steps)
    }

    /// The file that holds what is extended, read once.
    fn base_file(
        &mut self,
        file: &Node,
        extends: &Node,
        scope: &Scope,
        steps: &[Step],
    ) -> Option<(String, Scope)> {
        let path = self.local(file)?;
        let directory = path.parent().unwrap_or(Utf8Path::new("/")).to_owned();
        let scope = Scope { directory, ..scope.clone() };
        let key = format!("{} extended {path}", scope.number);
        if !self.documents.contains_key(&key) {
            let by = steps.last().map_or("", |step| step.service.as_str());
            let from = format!("`{by}` {TAKEN_OVER}");
            let mut model: Option<Node> = None;
            for mut document in self.read(&path, Some((&extends.place, from))) {
                self.written_out(&mut document, &scope);
                match &mut model {
                    None => model = Some(document),
                    Some(model) => merge::over(model, document, &Shape::Section(TOP)),
                }
            }
            let services = model.as_ref().and_then(|model| model.get("services"));
            let entries = services.into_iter().flat_map(Node::entries);
            let written =
                entries.map(|entry| (entry.key.to_string(), entry.value.clone())).collect();
            let is_read = model.is_some();
            self.documents.insert(key.clone(), Bases { written, ..Bases::default() });
            if !is_read {
                return None;
            }
        }
        Some((key, scope))
    }

    /// A path in the file system; others are reported.
    fn local(&mut self, node: &Node) -> Option<Utf8PathBuf> {
        let text = node.as_text()?;
        if is_remote(text) {
            let message = format!("`{text}` is not in the file system, and nothing is fetched");
            let found = Diagnostic::error(codes::UNSUPPORTED, message)
                .hint("keep a copy of it beside the model, so that it changes when you change it");
            let place = &node.place;
            self.diagnostics.push(found.at_place(place, ""));
            return None;
        }
        Some(text.into())
    }

    /// Brings another model's resources into a document.
    fn include(
        &mut self,
        document: &mut Node,
        known: &mut Known,
        item: &Node,
        scope: &Scope,
        chain: &mut Vec<Utf8PathBuf>,
    ) {
        let nodes = item.get("path").map(Node::items).unwrap_or_default();
        let paths: Option<Vec<Utf8PathBuf>> = nodes.iter().map(|node| self.local(node)).collect();
        let Some(paths) = paths.filter(|paths| !paths.is_empty()) else {
            return;
        };
        if chain.contains(&paths[0]) || chain.len() > CHAIN_MAX {
            let names = chain.iter().chain([&paths[0]]);
            let names: Vec<String> = names.map(|path| format!("`{}`", self.shown(path))).collect();
            let message = format!("files include each other: {}", names.join(" -> "));
            let found = Diagnostic::error(codes::CIRCLE, message);
            self.diagnostics.push(found.at_place(&item.place, ""));
            return;
        }
        let directory =
            item.get("project_directory").and_then(Node::as_text).map(Utf8PathBuf::from);
        let directory =
            directory.unwrap_or_else(|| paths[0].parent().unwrap_or(Utf8Path::new("/")).to_owned());
        let env_files = item.get("env_file").map(Node::items);
        let environment = self.included_environment(env_files, &directory, scope);
        let inner = self.scope(directory, environment);
        let mut model = None;
        for path in &paths {
            let how = "this file is included here".to_owned();
            let mut documents = self.read(path, Some((&item.place, how)));
            for document in &mut documents {
                // The name of the whole is said by the file that includes.
                document.take("name");
            }
            if documents.iter().any(|document| self.count(document).is_none()) {
                return;
            }
            self.add(&mut model, documents, path, &inner, chain);
        }
        if let Some(mut model) = model {
            merge::settle(&mut model);
            self.import(document, known, model, item);
        }
    }

    /// Whether there is room for a tree. Files that bring each other in many times are refused.
    fn count(&mut self, node: &Node) -> Option<()> {
        self.node_count += size_of_tree(node);
        if self.node_count <= NODE_COUNT_MAX {
            return Some(());
        }
        let message = format!("all files together have more than {NODE_COUNT_MAX} values");
        let found = Diagnostic::error(codes::SYNTAX, message);
        if self.diagnostics.iter().all(|known| known.message != found.message) {
            self.diagnostics.push(found.at_place(&node.place, ""));
        }
        None
    }

    /// Variables of env files below those of the file that includes.
    fn included_environment(
        &mut self,
        env_files: Option<&[Node]>,
        directory: &Utf8Path,
        scope: &Scope,
    ) -> BTreeMap<String, String> {
        let mut variables = Layered::new(&scope.environment);
        let mut file = |layers: &mut Self, path: &Utf8Path, place: Option<&Place>| match (
            read_text(layers.files, path),
            place,
        ) {
            (Ok(text), _) => {
                let source = Source::new(layers.shown(path), text);
                layers.diagnostics.extend(variables.add(&source));
            }
            (Err(_), None) => {}
            (Err(reason), Some(place)) => {
                let message = format!("the env file cannot be read: {reason}");
                let found = Diagnostic::error(codes::UNREADABLE, message);
                layers.diagnostics.push(found.at_place(place, ""));
            }
        };
        match env_files {
            Some(nodes) => {
                for node in nodes {
                    file(self, node.as_text().unwrap_or_default().into(), Some(&node.place));
                }
            }
            None => file(self, &directory.join(".env"), None),
        }
        variables.finish()
    }

    /// Puts what an included model defines beside what is there.
    fn import(&mut self, document: &mut Node, known: &mut Known, mut model: Node, item: &Node) {
        for kind in RESOURCES {
            let Some(brought) = model.take(kind) else {
                continue;
            };
            self.beside(document, known.entry(kind).or_default(), brought, kind, item);
        }
        // Of our extension, the parts are known by their names, too.
        if let Some(mut brought) = model.take("x-brickyard") {
            if document.get("x-brickyard").is_none() {
                document.put("x-brickyard", Node::mapping_at(&brought.value.place, []));
            }
            let Some(extension) = document.get_mut("x-brickyard") else {
                return;
            };
            for kind in ["config", "external"] {
                if let Some(part) = brought.value.take(kind) {
                    self.beside(extension, known.entry(kind).or_default(), part, kind, item);
                }
            }
        }
    }

    /// `known` has the places of names that were there or were brought before.
    fn beside(
        &mut self,
        node: &mut Node,
        known: &mut HashMap<CompactString, usize>,
        brought: Entry,
        kind: &str,
        item: &Node,
    ) {
        if node.get(kind).is_none_or(Node::is_null) {
            node.put(kind, Node::mapping_at(&brought.value.place, []));
        }
        let Some(entries) = node.get_mut(kind).and_then(Node::entries_mut) else {
            return;
        };
        let Kind::Mapping(others) = brought.value.kind else {
            return;
        };
        let unknown = entries.iter().enumerate().skip(known.len());
        known.extend(unknown.map(|(at, entry)| (entry.key.clone(), at)));
        for other in others {
            match known.get(&other.key).map(|at| &entries[*at]) {
                None => {
                    known.insert(other.key.clone(), entries.len());
                    entries.push(other);
                }
                Some(entry) if entry.value.says_the_same(&other.value) => {}
                Some(entry) => {
                    let of = kind.trim_end_matches('s');
                    let message = format!("the {of} `{}` is included and defined", other.key);
                    let (one, two) = (&other.key_place, &entry.key_place);
                    let found = Diagnostic::error(codes::CONFLICT, message)
                        .at_place(one, "here")
                        .at_place(two, "and here")
                        .at_place(&item.place, "included here")
                        .hint("a file given by a further `-f` can change what is included");
                    self.diagnostics.push(found);
                }
            }
        }
    }

    /// Findings with the way by which their place came to be read.
    pub(crate) fn explain(&self, found: &mut Diagnostic) {
        let mut source = match found.labels.first() {
            Some(label) => Arc::clone(&label.source),
            None => return,
        };
        for _ in 0..CHAIN_MAX {
            let Some(origin) =
                self.origins.iter().find(|origin| Arc::ptr_eq(&origin.source, &source))
            else {
                return;
            };
            let place = &origin.place;
            source = Arc::clone(&place.source);
            let is_said = |label: &Label| {
                Arc::ptr_eq(&label.source, &place.source) && label.span == place.span
            };
            if !found.labels.iter().any(is_said) {
                let (source, span) = (Arc::clone(&place.source), place.span.clone());
                found.labels.push(Label { source, span, text: origin.how.clone() });
            }
        }
    }
}

fn size_of_tree(node: &Node) -> usize {
    1 + match &node.kind {
        Kind::Scalar { .. } => 0,
        Kind::Sequence(items) => items.iter().map(size_of_tree).sum(),
        Kind::Mapping(entries) => entries.iter().map(|entry| size_of_tree(&entry.value)).sum(),
    }
}

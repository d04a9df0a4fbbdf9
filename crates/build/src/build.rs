//! A whole build: the stages that the target needs, one after the other.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

use brickyard_core::diagnostic::{has_errors, nearest};
use brickyard_core::{Diagnostic, Diagnostics, Source};
use brickyard_image::config::rfc3339;
use brickyard_image::{Image, ImageConfig, Store};
use camino::{Utf8Path, Utf8PathBuf};

use crate::dockerfile::{Dockerfile, Kind, Word, parse};
use crate::ignore::Ignore;
use crate::stage::{Running, Stages, State};
use crate::tree::{Context, Layers};
use crate::{codes, words};

/// What is to be built.
#[derive(Debug)]
pub struct Request<'a> {
    /// The context directory.
    pub context: &'a Utf8Path,
    /// The Dockerfile.
    pub dockerfile: &'a Utf8Path,
    /// The stage to build; absent means the last one.
    pub target: Option<&'a str>,
    /// Build arguments.
    pub args: &'a BTreeMap<String, String>,
    /// The image's name.
    pub tag: &'a str,
}

/// A layer that is done.
#[derive(Debug)]
pub struct Progress<'a> {
    /// `COPY` or `ADD`.
    pub instruction: &'a str,
    /// Its destination.
    pub detail: &'a str,
    /// Whether the layer was there already.
    pub cached: bool,
}

/// A finished build.
#[derive(Debug)]
pub struct Built {
    /// The image.
    pub image: Image,
    /// Findings that did not stop it.
    pub warnings: Diagnostics,
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Dockerfile is wrong; the findings say where.
    #[error("the Dockerfile cannot be built")]
    Dockerfile {
        /// Everything that was found.
        diagnostics: Diagnostics,
    },
    /// The context cannot be read.
    #[error("cannot read the build context `{path}`")]
    Context {
        /// The directory.
        path: Utf8PathBuf,
        /// What the file system said.
        #[source]
        err: io::Error,
    },
    /// A file that is copied cannot be read.
    #[error("cannot copy")]
    Copy {
        /// What the file system said.
        #[source]
        err: io::Error,
    },
    /// The image store failed.
    #[error(transparent)]
    Image(#[from] brickyard_image::Error),
}

/// Builds an image. The same inputs give the same image, and layers that are there are not made
/// again.
///
/// # Errors
/// When the Dockerfile is wrong (all findings at once), or a disk fails.
pub fn build(
    store: &Store,
    request: &Request<'_>,
    progress: &dyn Fn(&Progress<'_>),
) -> Result<Built, Error> {
    let source = read_dockerfile(request.dockerfile)?;
    let (dockerfile, diagnostics) = parse(&source);
    let mut whole = Whole {
        store,
        dockerfile: &dockerfile,
        diagnostics,
        declared: BTreeSet::new(),
        global: BTreeMap::new(),
        given: predefined(),
        done: RefCell::new(BTreeMap::new()),
    };
    whole.given.extend(request.args.clone());
    let ignore = whole.ignore(request)?;
    whole.global_arguments();
    let target = whole.target(request.target);
    let bases: Vec<Word> = dockerfile.stages.iter().map(|stage| whole.base(&stage.base)).collect();
    let Some(target) = target.filter(|_| !has_errors(&whole.diagnostics)) else {
        return Err(whole.failed());
    };
    let context = Context::read(request.context, &ignore)
        .map_err(|err| Error::Context { path: request.context.to_owned(), err })?;
    let writer = store.writer()?;
    for index in whole.needed(target, &bases) {
        let state = whole.stage(index, &bases[index], &context, &writer, progress)?;
        whole.done.borrow_mut().insert(index, state);
    }
    whole.warn_of_unused(request.args);
    let state = whole.done.borrow_mut().remove(&target);
    let Some(state) = state.filter(|_| !has_errors(&whole.diagnostics)) else {
        return Err(whole.failed());
    };
    let config =
        ImageConfig { created: Some(rfc3339(state.created_s)), ..ImageConfig::new(state.config) };
    let image = writer.put_image(request.tag, config, &state.layers)?;
    Ok(Built { image, warnings: whole.diagnostics })
}

fn read_dockerfile(path: &Utf8Path) -> Result<std::sync::Arc<Source>, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Source::new(path.as_str(), text)),
        Err(err) => {
            let message = format!("the Dockerfile `{path}` cannot be read: {err}");
            Err(Error::Dockerfile {
                diagnostics: vec![Diagnostic::error(codes::UNREADABLE, message)],
            })
        }
    }
}

/// Arguments that exist without being given; an `ARG` still has to name them.
fn predefined() -> BTreeMap<String, String> {
    let architecture = ImageConfig::new(Default::default()).architecture;
    let platform = format!("linux/{architecture}");
    let mut given = BTreeMap::new();
    for side in ["TARGET", "BUILD"] {
        given.insert(format!("{side}OS"), "linux".to_owned());
        given.insert(format!("{side}ARCH"), architecture.clone());
        given.insert(format!("{side}PLATFORM"), platform.clone());
    }
    given
}

struct Whole<'a> {
    store: &'a Store,
    dockerfile: &'a Dockerfile,
    diagnostics: Diagnostics,
    declared: BTreeSet<String>,
    global: BTreeMap<String, String>,
    given: BTreeMap<String, String>,
    done: RefCell<BTreeMap<usize, State>>,
}

impl Whole<'_> {
    fn failed(&mut self) -> Error {
        Error::Dockerfile { diagnostics: std::mem::take(&mut self.diagnostics) }
    }

    fn report(&mut self, found: Diagnostic, span: std::ops::Range<usize>) {
        let found = found.at(&self.dockerfile.source, span, "");
        self.diagnostics.push(found);
    }

    /// `DOCKERFILE.dockerignore`, or the context's `.dockerignore`.
    fn ignore(&mut self, request: &Request<'_>) -> Result<Ignore, Error> {
        let own = Utf8PathBuf::from(format!("{}.dockerignore", request.dockerfile));
        for path in [own, request.context.join(".dockerignore")] {
            let text = match std::fs::read_to_string(&path) {
                Ok(text) => text,
                Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
                Err(err) => return Err(Error::Context { path, err }),
            };
            match Ignore::parse(&text) {
                Ok(ignore) => return Ok(ignore),
                Err((number, line)) => {
                    let start = text.lines().take(number - 1).map(|line| line.len() + 1).sum();
                    let source = Source::new(path.as_str(), text);
                    let message = format!("the pattern `{line}` is malformed");
                    let found = Diagnostic::error(codes::SYNTAX, message);
                    let span = start..start + line.len();
                    self.diagnostics.push(found.at(&source, span, ""));
                }
            }
            break;
        }
        Ok(Ignore::default())
    }

    fn expand_global(&mut self, word: &Word) -> String {
        let global = &self.global;
        let lookup = |name: &str| global.get(name).cloned();
        words::expand(&word.text, self.dockerfile.escape, &lookup).unwrap_or_else(|reason| {
            let message = format!("`{}` cannot be read: {reason}", word.text);
            self.report(Diagnostic::error(codes::SYNTAX, message), word.span.clone());
            String::new()
        })
    }

    fn global_arguments(&mut self) {
        let dockerfile = self.dockerfile;
        for instruction in &dockerfile.arguments {
            let Kind::Arg(arguments) = &instruction.kind else {
                continue;
            };
            for (name, default) in arguments {
                self.declared.insert(name.text.clone());
                let default = default.as_ref().map(|word| self.expand_global(word));
                let value = self.given.get(&name.text).cloned().or(default);
                if let Some(value) = value {
                    self.global.insert(name.text.clone(), value);
                }
            }
        }
    }

    fn base(&mut self, word: &Word) -> Word {
        let text = self.expand_global(word);
        if text.is_empty() {
            let message = format!("the base `{}` is empty", word.text);
            self.report(Diagnostic::error(codes::SYNTAX, message), word.span.clone());
        }
        Word { text, span: word.span.clone() }
    }

    fn target(&mut self, name: Option<&str>) -> Option<usize> {
        let count = self.dockerfile.stages.len();
        let Some(name) = name else {
            return count.checked_sub(1);
        };
        let found = self.stage_index(name, count);
        if found.is_none() {
            let names = self.dockerfile.stages.iter().filter_map(|stage| stage.name.as_deref());
            let message = format!("the Dockerfile has no stage `{name}`");
            let mut diagnostic = Diagnostic::error(codes::NO_STAGE, message);
            if let Some(near) = nearest(name, names) {
                diagnostic = diagnostic.hint(format!("did you mean `{near}`?"));
            }
            self.diagnostics.push(diagnostic);
        }
        found
    }

    /// A stage before `before`, by its name or number. Of two with one name the later one counts.
    fn stage_index(&self, name: &str, before: usize) -> Option<usize> {
        let stages = &self.dockerfile.stages[..before];
        let lower = name.to_ascii_lowercase();
        let named = stages.iter().rposition(|stage| stage.name.as_deref() == Some(&lower));
        let number = name.parse::<usize>().ok().filter(|index| *index < before);
        named.or(number)
    }

    /// The stages that the target is made of, in order.
    fn needed(&self, target: usize, bases: &[Word]) -> BTreeSet<usize> {
        let mut needed = BTreeSet::new();
        let mut open = vec![target];
        while let Some(index) = open.pop() {
            if !needed.insert(index) {
                continue;
            }
            open.extend(self.stage_index(&bases[index].text, index));
            for instruction in &self.dockerfile.stages[index].instructions {
                if let Kind::Copy(copy) = &instruction.kind
                    && let Some(from) = &copy.from
                {
                    match from.text.contains('$') {
                        // Its value is only known later, so any stage may be meant.
                        true => open.extend(0..index),
                        false => open.extend(self.stage_index(&from.text, index)),
                    }
                }
            }
        }
        needed
    }

    fn base_state(&mut self, index: usize, base: &Word) -> Result<State, Error> {
        if let Some(earlier) = self.stage_index(&base.text, index) {
            return Ok(self.done.borrow().get(&earlier).cloned().unwrap_or_default());
        }
        if base.text == "scratch" {
            return Ok(State::default());
        }
        match self.store.require(&base.text) {
            Ok(image) => Ok(State {
                tree: Layers::new(&image.layers),
                layers: image.layer_blobs,
                config: image.config,
                created_s: image.created_ms / 1000,
            }),
            Err(
                err @ (brickyard_image::Error::NotFound { .. }
                | brickyard_image::Error::Name { .. }),
            ) => {
                let mut found = Diagnostic::error(codes::NO_STAGE, err.to_string());
                if let Some(hint) = err.hint() {
                    found = found.hint(hint);
                }
                self.report(found, base.span.clone());
                Ok(State::default())
            }
            Err(err) => Err(err.into()),
        }
    }

    fn stage(
        &mut self,
        index: usize,
        base: &Word,
        context: &Context,
        writer: &brickyard_image::Writer<'_>,
        progress: &dyn Fn(&Progress<'_>),
    ) -> Result<State, Error> {
        let state = self.base_state(index, base)?;
        let shell = state.config.shell.clone();
        let shell = shell.unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
        let mut diagnostics = Vec::new();
        let mut declared = BTreeSet::new();
        let earlier = Earlier { whole: self, index };
        let mut running = Running {
            source: &self.dockerfile.source,
            escape: self.dockerfile.escape,
            writer,
            context,
            stages: &earlier,
            given: &self.given,
            global: &self.global,
            declared: &mut declared,
            diagnostics: &mut diagnostics,
            progress,
            arguments: BTreeMap::new(),
            state,
            shell,
            has_cmd: false,
        };
        running.run(&self.dockerfile.stages[index].instructions)?;
        let state = running.state;
        self.diagnostics.extend(diagnostics);
        self.declared.extend(declared);
        Ok(state)
    }

    fn warn_of_unused(&mut self, args: &BTreeMap<String, String>) {
        for name in args.keys().filter(|name| !self.declared.contains(*name)) {
            let message = format!("no ARG declares the build argument `{name}`");
            let found = Diagnostic::warning(codes::UNUSED_ARGUMENT, message);
            self.diagnostics.push(found);
        }
    }
}

/// What `COPY --from` of one stage may name.
struct Earlier<'a, 'w> {
    whole: &'a Whole<'w>,
    index: usize,
}

impl Stages for Earlier<'_, '_> {
    fn files(&self, name: &str) -> Result<Option<Layers>, Error> {
        if let Some(earlier) = self.whole.stage_index(name, self.index) {
            let done = self.whole.done.borrow();
            return Ok(done.get(&earlier).map(|state| state.tree.clone()));
        }
        let image = self.whole.store.get(name)?;
        Ok(image.map(|image| Layers::new(&image.layers)))
    }
}

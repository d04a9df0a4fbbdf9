//! A context and a store in a directory of their own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use brickyard_build::{Built, Error, Request, build};
use brickyard_core::Diagnostic;
use brickyard_image::{Image, Store};
use camino::{Utf8Path, Utf8PathBuf};

pub(crate) struct Yard {
    pub(crate) store: Store,
    pub(crate) args: BTreeMap<String, String>,
    pub(crate) target: Option<&'static str>,
    /// For each layer of the last build, whether it was there already.
    pub(crate) cached: RefCell<Vec<bool>>,
    directory: tempfile::TempDir,
}

impl Yard {
    pub(crate) fn new(dockerfile: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(directory.path()).unwrap();
        let yard = Self {
            store: Store::open(&root.join("store")).unwrap(),
            args: BTreeMap::new(),
            target: None,
            cached: RefCell::default(),
            directory,
        };
        std::fs::create_dir(yard.context()).unwrap();
        yard.file("Dockerfile", dockerfile)
    }

    pub(crate) fn context(&self) -> Utf8PathBuf {
        Utf8Path::from_path(self.directory.path()).unwrap().join("context")
    }

    pub(crate) fn file(self, path: &str, text: &str) -> Self {
        self.bytes(path, text.as_bytes())
    }

    pub(crate) fn bytes(self, path: &str, bytes: &[u8]) -> Self {
        let path = self.context().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        self
    }

    pub(crate) fn mode(self, path: &str, mode: u32) -> Self {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(self.context().join(path), permissions).unwrap();
        self
    }

    pub(crate) fn symlink(self, path: &str, target: &str) -> Self {
        std::os::unix::fs::symlink(target, self.context().join(path)).unwrap();
        self
    }

    pub(crate) fn arg(mut self, name: &str, value: &str) -> Self {
        self.args.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn try_build(&self) -> Result<Built, Error> {
        self.cached.borrow_mut().clear();
        let context = self.context();
        let dockerfile = context.join("Dockerfile");
        let request = Request {
            context: &context,
            dockerfile: &dockerfile,
            target: self.target,
            args: &self.args,
            tag: "built",
        };
        build(&self.store, &request, &|progress| {
            self.cached.borrow_mut().push(progress.cached);
        })
    }

    pub(crate) fn image(&self) -> Image {
        match self.try_build() {
            Ok(built) => {
                assert_eq!(shown(&built.warnings), "");
                built.image
            }
            Err(Error::Dockerfile { diagnostics }) => panic!("{}", shown(&diagnostics)),
            Err(err) => panic!("{err:?}"),
        }
    }

    /// What is found in a Dockerfile that cannot be built.
    pub(crate) fn findings(&self) -> String {
        match self.try_build() {
            Ok(built) => shown(&built.warnings),
            Err(Error::Dockerfile { diagnostics }) => shown(&diagnostics),
            Err(err) => panic!("{err:?}"),
        }
    }
}

/// `LINE:COLUMN CODE message (hints)`.
pub(crate) fn shown(diagnostics: &[Diagnostic]) -> String {
    let line = |found: &Diagnostic| {
        let place = found.labels.first().map_or(String::new(), |label| {
            let (line, column) = label.source.position(label.span.start);
            format!("{line}:{column} ")
        });
        let hints: String = found.hints.iter().map(|hint| format!(" ({hint})")).collect();
        format!("{place}{} {}{hints}", found.code.0, found.message)
    };
    diagnostics.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Everything in a layer, as `PATH MODE UID:GID CONTENT`.
pub(crate) fn listing(layer: &Utf8Path) -> Vec<String> {
    let mut lines = Vec::new();
    list(layer, layer, &mut lines);
    lines.sort();
    lines
}

fn list(root: &Utf8Path, directory: &Utf8Path, lines: &mut Vec<String>) {
    for entry in directory.read_dir_utf8().unwrap() {
        let path = entry.unwrap().path().to_owned();
        let metadata = path.symlink_metadata().unwrap();
        let inner = path.strip_prefix(root).unwrap();
        let kind = match () {
            () if metadata.is_dir() => "/".to_owned(),
            () if metadata.is_symlink() => format!(" -> {}", path.read_link_utf8().unwrap()),
            () => format!(" {:?}", std::fs::read_to_string(&path).unwrap()),
        };
        let (mode, uid, gid) = (metadata.mode() & 0o7777, metadata.uid(), metadata.gid());
        lines.push(format!("{inner}{kind} {mode:o} {uid}:{gid}"));
        if metadata.is_dir() {
            list(root, &path, lines);
        }
    }
}

/// The paths of a layer's files, without directories.
pub(crate) fn files(layer: &Utf8Path) -> Vec<String> {
    let mut paths = Vec::new();
    let mut open = vec![layer.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in directory.read_dir_utf8().unwrap() {
            let path = entry.unwrap().path().to_owned();
            if path.symlink_metadata().unwrap().is_dir() {
                open.push(path);
            } else {
                paths.push(path.strip_prefix(layer).unwrap().to_string());
            }
        }
    }
    paths.sort();
    paths
}

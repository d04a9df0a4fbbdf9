//! Two kinds of file tree that COPY reads: the build context, and the merged layers of an image.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use camino::{Utf8Path, Utf8PathBuf};

use crate::ignore::Ignore;

/// Most symbolic links that one path may lead through, as in the kernel.
const LINK_COUNT_MAX: usize = 40;

/// A file of a tree.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// Where it really is.
    pub(crate) path: Utf8PathBuf,
    pub(crate) metadata: Metadata,
}

impl Found {
    pub(crate) fn is_dir(&self) -> bool {
        self.metadata.is_dir()
    }

    pub(crate) fn is_symlink(&self) -> bool {
        self.metadata.is_symlink()
    }
}

/// A tree with paths relative to its root, without a slash at either end; the root is empty.
pub(crate) trait Tree {
    /// What is at a path. The last part is not followed.
    fn get(&self, path: &str) -> io::Result<Option<Found>>;

    /// Names in a directory, sorted.
    fn names(&self, path: &str) -> io::Result<Vec<String>>;

    /// The path behind all symbolic links, none of which leads out of the tree. Parts that do not
    /// exist stay as they are.
    fn follow(&self, path: &str) -> io::Result<String> {
        let mut done = String::new();
        let mut rest: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut link_count = 0;
        while let Some(part) = rest.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    done.truncate(done.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let next = join(&done, &part);
            match self.get(&next)? {
                Some(found) if found.is_symlink() => {
                    link_count += 1;
                    if link_count > LINK_COUNT_MAX {
                        return Err(io::Error::other("too many symbolic links"));
                    }
                    let target = found.path.read_link_utf8()?;
                    if target.is_absolute() {
                        done.clear();
                    }
                    rest.extend(target.as_str().split('/').rev().map(str::to_owned));
                }
                _ => done = next,
            }
        }
        Ok(done)
    }
}

/// A path below a path.
pub(crate) fn join(parent: &str, name: &str) -> String {
    match parent {
        "" => name.to_owned(),
        parent => format!("{parent}/{name}"),
    }
}

/// The directory that a path lies in.
pub(crate) fn parent(path: &str) -> &str {
    path.rfind('/').map_or("", |slash| &path[..slash])
}

/// The build context without what `.dockerignore` leaves out.
pub(crate) struct Context {
    root: Found,
    files: BTreeMap<String, Found>,
    /// Left out, for messages.
    pub(crate) ignored: BTreeSet<String>,
}

impl Context {
    pub(crate) fn read(root: &Utf8Path, ignore: &Ignore) -> io::Result<Self> {
        let mut context = Self {
            root: found(root.to_owned())?,
            files: BTreeMap::new(),
            ignored: BTreeSet::new(),
        };
        context.directory(root, "", ignore)?;
        Ok(context)
    }

    /// Returns whether anything in it is not left out.
    fn directory(&mut self, real: &Utf8Path, inner: &str, ignore: &Ignore) -> io::Result<bool> {
        let mut any = false;
        for entry in real.read_dir_utf8()? {
            let entry = entry?;
            let path = join(inner, entry.file_name());
            let file = found(entry.path().to_owned())?;
            let excluded = ignore.excludes(&path);
            let mut kept = !excluded;
            if file.is_dir() && (!excluded || ignore.has_exceptions()) {
                kept |= self.directory(entry.path(), &path, ignore)?;
            }
            if kept {
                any = true;
                self.files.insert(path, file);
            } else {
                self.ignored.insert(path);
            }
        }
        Ok(any)
    }

    /// All paths, sorted.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }
}

impl Tree for Context {
    fn get(&self, path: &str) -> io::Result<Option<Found>> {
        Ok(match path {
            "" => Some(self.root.clone()),
            path => self.files.get(path).cloned(),
        })
    }

    fn names(&self, path: &str) -> io::Result<Vec<String>> {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let below = self.files.range(prefix.clone()..).map(|(path, _)| path);
        let below = below.take_while(|path| path.starts_with(&prefix));
        let names = below.map(|path| &path[prefix.len()..]);
        Ok(names.filter(|name| !name.contains('/')).map(str::to_owned).collect())
    }
}

fn found(path: Utf8PathBuf) -> io::Result<Found> {
    let metadata = path.symlink_metadata()?;
    Ok(Found { path, metadata })
}

/// Layers as overlayfs would show them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layers {
    /// Directories, the uppermost first.
    directories: Vec<Utf8PathBuf>,
}

impl Layers {
    /// Of directories with the lowest first.
    pub(crate) fn new(lowest_first: &[Utf8PathBuf]) -> Self {
        let directories = lowest_first.iter().rev().cloned().collect();
        Self { directories }
    }

    pub(crate) fn push(&mut self, directory: Utf8PathBuf) {
        self.directories.insert(0, directory);
    }

    /// What layers have at a path, uppermost first; only directories are more than one.
    fn stack(&self, path: &str) -> io::Result<Vec<Found>> {
        let mut stack = Vec::new();
        for directory in &self.directories {
            stack.push(found(directory.clone())?);
        }
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let mut below = Vec::new();
            // Joining a name to a link would follow it on this machine instead of in the tree.
            stack.retain(Found::is_dir);
            for directory in stack {
                let file = match found(directory.path.join(part)) {
                    Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
                    other => other?,
                };
                let is_whiteout =
                    file.metadata.file_type().is_char_device() && file.metadata.rdev() == 0;
                let is_dir = file.is_dir();
                if is_whiteout || (!is_dir && !below.is_empty()) {
                    break;
                }
                let hides = !is_dir || is_opaque(&file.path);
                below.push(file);
                if hides {
                    break;
                }
            }
            // Nothing lies below what is not a directory.
            stack = below;
            if stack.is_empty() {
                break;
            }
        }
        Ok(stack)
    }
}

impl Tree for Layers {
    fn get(&self, path: &str) -> io::Result<Option<Found>> {
        Ok(self.stack(path)?.into_iter().next())
    }

    fn names(&self, path: &str) -> io::Result<Vec<String>> {
        let mut names = BTreeSet::new();
        for directory in self.stack(path)?.iter().filter(|found| found.is_dir()) {
            for entry in directory.path.read_dir_utf8()? {
                names.insert(entry?.file_name().to_owned());
            }
        }
        // An upper layer's whiteouts have names too.
        let mut kept = Vec::new();
        for name in names {
            if self.get(&join(path, &name))?.is_some() {
                kept.push(name);
            }
        }
        Ok(kept)
    }
}

fn is_opaque(path: &Utf8Path) -> bool {
    let mut value = [0; 8];
    let name = "trusted.overlay.opaque";
    let length = rustix::fs::lgetxattr(path.as_std_path(), name, &mut value[..]);
    length.is_ok_and(|length| value[..length] == *b"y")
}

/// A file's capabilities, as they are stored.
pub(crate) fn capability(path: &Utf8Path) -> Option<Vec<u8>> {
    let mut value = vec![0; 64];
    let name = "security.capability";
    let length = rustix::fs::lgetxattr(path.as_std_path(), name, &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

/// The beginning of a file.
pub(crate) fn beginning(path: &Utf8Path) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(fs::File::open(path)?, 512), &mut start)?;
    Ok(start)
}

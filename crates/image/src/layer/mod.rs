//! Unpacking a layer into a directory that overlayfs can use.
//!
//! An archive is hostile until proven otherwise. Paths are resolved by the kernel inside of the
//! target directory (`openat2` with `RESOLVE_IN_ROOT`), the last part is never followed, and `..`
//! is refused, so nothing outside can be reached whatever links the archive makes. Whiteouts
//! become overlayfs' own: `.wh.NAME` a 0/0 character device, `.wh..wh..opq` an attribute.
//! Owners stay as in the archive; they are mapped when the layer is mounted.

mod tree;

use std::collections::BTreeMap;
use std::io::Read;

use rustix::fs::FileType;
use tar::{Archive, Entry, EntryType};

use crate::{Error, Result};
pub(crate) use tree::open_root;
use tree::{Attributes, Tree};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Other files with this beginning are notes of a file system called aufs.
const AUFS: &[u8] = b".wh..wh.";

/// What an archive may ask for at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most entries.
    pub entry_count_max: u64,
    /// Most bytes of the uncompressed archive.
    pub size_bytes_max: u64,
    /// Longest path.
    pub path_length_max: usize,
}

/// Far above any real image, far below what fills a machine's memory or table of inodes.
pub const LIMITS: Limits =
    Limits { entry_count_max: 4_000_000, size_bytes_max: 128 << 30, path_length_max: 4096 };

/// What was unpacked.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Unpacked {
    /// The latest modification time of any entry, in seconds.
    pub(crate) newest_s: u64,
}

/// Unpacks all entries of an uncompressed archive into an open, empty directory.
pub(crate) fn unpack(
    reader: impl Read,
    directory: std::os::fd::OwnedFd,
    limits: &Limits,
) -> Result<Unpacked> {
    let mut unpacker = Unpacker {
        tree: Tree::new(directory),
        directories: BTreeMap::new(),
        unpacked: Unpacked::default(),
        limits: *limits,
    };
    let mut archive = Archive::new(reader);
    let broken = |err: std::io::Error| Error::Archive { reason: err.to_string() };
    for (index, entry) in archive.entries().map_err(broken)?.enumerate() {
        let mut entry = entry.map_err(broken)?;
        if index as u64 >= limits.entry_count_max {
            let reason = format!("it has more than {} entries", limits.entry_count_max);
            return Err(Error::Archive { reason });
        }
        let shown = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        unpacker.entry(&mut entry).map_err(|problem| match problem {
            Problem::Here(reason) => Error::Entry { entry: shown, reason },
            Problem::Archive(reason) => Error::Archive { reason },
        })?;
    }
    unpacker.finish().map_err(|err| Error::Archive {
        reason: format!("a directory's time cannot be set: {err}"),
    })?;
    Ok(unpacker.unpacked)
}

/// Why an entry could not be unpacked.
enum Problem {
    Here(String),
    Archive(String),
}

impl From<std::io::Error> for Problem {
    fn from(err: std::io::Error) -> Self {
        Self::Here(err.to_string())
    }
}

impl From<rustix::io::Errno> for Problem {
    fn from(err: rustix::io::Errno) -> Self {
        Self::Here(std::io::Error::from(err).to_string())
    }
}

fn here(reason: impl Into<String>) -> Problem {
    Problem::Here(reason.into())
}

struct Unpacker {
    tree: Tree,
    /// Times of directories, set at the end because every file in them changes them.
    directories: BTreeMap<Vec<u8>, i64>,
    unpacked: Unpacked,
    limits: Limits,
}

impl Unpacker {
    fn entry(&mut self, entry: &mut Entry<'_, impl Read>) -> std::result::Result<(), Problem> {
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader) {
            return Ok(());
        }
        let raw = entry.path_bytes().into_owned();
        let path = inner_path(&raw, self.limits.path_length_max)?;
        let attributes = attributes(entry)?;
        self.unpacked.newest_s =
            self.unpacked.newest_s.max(u64::try_from(attributes.mtime_s).unwrap_or(0));
        if path.is_empty() {
            self.directories.insert(path, attributes.mtime_s);
            return Ok(self.tree.set_root(&attributes)?);
        }
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(&path);
        if name.starts_with(WHITEOUT) {
            let name = name.to_vec();
            return self.whiteout(&path, &name);
        }
        match kind {
            EntryType::Directory => self.directory(path, &attributes),
            // Archives older than the directory type mark one by a slash at the end.
            EntryType::Regular if raw.ends_with(b"/") => self.directory(path, &attributes),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let size = entry.size();
                let copied = self.tree.file(&path, entry, &attributes)?;
                if copied != size {
                    let reason = format!("it ends in the middle of `{}`", lossy(&path));
                    return Err(Problem::Archive(reason));
                }
                Ok(())
            }
            EntryType::Symlink => {
                let target = link_target(entry)?;
                Ok(self.tree.symlink(&path, &target, &attributes)?)
            }
            EntryType::Link => {
                let target = inner_path(&link_target(entry)?, self.limits.path_length_max)?;
                self.tree
                    .hard_link(&path, &target)
                    .map_err(|err| here(format!("the link to `{}` fails: {err}", lossy(&target))))
            }
            EntryType::Char => self.node(&path, entry, FileType::CharacterDevice, &attributes),
            EntryType::Block => self.node(&path, entry, FileType::BlockDevice, &attributes),
            EntryType::Fifo => self.node(&path, entry, FileType::Fifo, &attributes),
            other => Err(here(format!("entries of type {other:?} are not supported"))),
        }
    }

    fn directory(
        &mut self,
        path: Vec<u8>,
        attributes: &Attributes,
    ) -> std::result::Result<(), Problem> {
        self.tree.directory(&path, attributes)?;
        self.directories.insert(path, attributes.mtime_s);
        Ok(())
    }

    fn node(
        &mut self,
        path: &[u8],
        entry: &Entry<'_, impl Read>,
        kind: FileType,
        attributes: &Attributes,
    ) -> std::result::Result<(), Problem> {
        let header = entry.header();
        let (major, minor) = match kind {
            FileType::Fifo => (0, 0),
            _ => (header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0)),
        };
        let device = rustix::fs::makedev(major, minor);
        Ok(self.tree.node(path, kind, device, attributes)?)
    }

    fn whiteout(&mut self, path: &[u8], name: &[u8]) -> std::result::Result<(), Problem> {
        let parent = &path[..path.len() - name.len()];
        if name == OPAQUE {
            return Ok(self.tree.opaque(parent)?);
        }
        if name.starts_with(AUFS) {
            return Ok(());
        }
        let hidden = &name[WHITEOUT.len()..];
        if hidden.is_empty() || hidden == b"." || hidden == b".." {
            return Err(here("a whiteout must name a file"));
        }
        Ok(self.tree.whiteout(&[parent, hidden].concat())?)
    }

    fn finish(&mut self) -> std::io::Result<()> {
        // Deepest first, as the order of paths has a parent before its children.
        for (path, mtime_s) in self.directories.iter().rev() {
            self.tree.set_directory_time(path, *mtime_s)?;
        }
        Ok(())
    }
}

fn lossy(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// A path relative to the root: no leading slash, no `.`; `..` is refused.
fn inner_path(raw: &[u8], length_max: usize) -> std::result::Result<Vec<u8>, Problem> {
    if raw.len() > length_max {
        return Err(here(format!("its path is longer than {length_max} bytes")));
    }
    let parts = raw.split(|byte| *byte == b'/');
    let parts = parts.filter(|part| !part.is_empty() && *part != b".");
    let parts: Vec<&[u8]> = parts.collect();
    if parts.contains(&b"..".as_slice()) {
        return Err(here("a path must not contain `..`"));
    }
    if parts.iter().any(|part| part.len() > 255) {
        return Err(here("a part of its path is longer than 255 bytes"));
    }
    if raw.contains(&0) {
        return Err(here("a path must not contain a zero byte"));
    }
    Ok(parts.join(b"/".as_slice()))
}

fn link_target(entry: &Entry<'_, impl Read>) -> std::result::Result<Vec<u8>, Problem> {
    let target = entry.link_name_bytes().map(std::borrow::Cow::into_owned);
    target
        .filter(|target| !target.is_empty() && !target.contains(&0))
        .ok_or_else(|| here("a link must have a target"))
}

/// Which extended attributes are kept. `trusted.` and `user.overlay.` would let an image talk to
/// overlayfs; labels of security modules belong to this host and not to the image's author.
fn keeps_attribute(name: &str) -> bool {
    name == "security.capability"
        || name.starts_with("system.posix_acl_")
        || (name.starts_with("user.") && !name.starts_with("user.overlay."))
}

fn attributes(entry: &mut Entry<'_, impl Read>) -> std::result::Result<Attributes, Problem> {
    let mut xattrs = Vec::new();
    if let Some(extensions) = entry.pax_extensions()? {
        for extension in extensions {
            let extension = extension?;
            let key = extension.key().unwrap_or_default();
            if key.starts_with("GNU.sparse.") {
                return Err(here("sparse files in the pax format are not supported"));
            }
            if let Some(name) = key.strip_prefix("SCHILY.xattr.")
                && keeps_attribute(name)
            {
                xattrs.push((name.to_owned(), extension.value_bytes().to_vec()));
            }
        }
    }
    let header = entry.header();
    let id = |id: u64| u32::try_from(id).map_err(|_| here("its owner's number is too large"));
    Ok(Attributes {
        mode: header.mode()? & 0o7777,
        uid: id(header.uid()?)?,
        gid: id(header.gid()?)?,
        mtime_s: i64::try_from(header.mtime()?).unwrap_or(0),
        xattrs,
    })
}

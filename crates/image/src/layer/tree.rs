//! Writing below one directory and never outside of it.
//!
//! The directory is fresh and belongs to us alone, so nobody else changes it meanwhile; what the
//! kernel must protect us from is links that earlier entries of the same archive made.

use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{
    AtFlags, CWD, Dev, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_OMIT,
    Uid, XattrFlags,
};
use rustix::io::Errno;

/// What every kind of entry has.
pub(super) struct Attributes {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime_s: i64,
    pub(super) xattrs: Vec<(String, Vec<u8>)>,
}

/// A directory that is filled.
pub(super) struct Tree {
    root: OwnedFd,
    /// The parent of the last entry: most entries have the same one as the entry before.
    parent: Option<(Vec<u8>, OwnedFd)>,
}

/// Where a path's last part is.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

impl Tree {
    pub(super) fn new(root: OwnedFd) -> Self {
        Self { root, parent: None }
    }

    fn open_directory(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        let path = if path.is_empty() { b".".as_slice() } else { path };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // Links inside of the archive's own tree are followed as a chroot would follow them.
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        loop {
            match rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve) {
                // The kernel asks for another try when a rename elsewhere came between.
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
    }

    /// The directory, made with its parents where it is missing.
    fn make_directory(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        match self.open_directory(path) {
            Err(Errno::NOENT) => {}
            other => return other,
        }
        let (parent, name) = split(path);
        if name.is_empty() {
            return Err(Errno::NOENT);
        }
        let parent = self.make_directory(parent)?;
        rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))?;
        rustix::fs::fchmod(self.open_directory(path)?, Mode::from_raw_mode(0o755))?;
        self.open_directory(path)
    }

    /// Runs `act` with the directory that `path` lies in and its last part.
    fn inside<T>(
        &mut self,
        path: &[u8],
        act: impl FnOnce(&OwnedFd, &[u8]) -> io::Result<T>,
    ) -> io::Result<T> {
        let (parent, name) = split(path);
        if self.parent.as_ref().is_none_or(|(known, _)| known != parent) {
            self.parent = Some((parent.to_vec(), self.make_directory(parent)?));
        }
        match &self.parent {
            Some((_, directory)) => act(directory, name),
            None => Err(Errno::NOENT.into()),
        }
    }

    /// Removes what an earlier entry put at `path`.
    fn clear(&mut self, path: &[u8]) -> io::Result<()> {
        let removed_directory = self.inside(path, |parent, name| {
            match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => Ok(false),
                Err(Errno::ISDIR | Errno::PERM) => {
                    remove_directory(parent, name)?;
                    Ok(true)
                }
                Err(err) => Err(err.into()),
            }
        })?;
        if removed_directory {
            self.parent = None;
        }
        Ok(())
    }

    pub(super) fn set_root(&self, attributes: &Attributes) -> io::Result<()> {
        set_open(&self.root, attributes)
    }

    pub(super) fn directory(&mut self, path: &[u8], attributes: &Attributes) -> io::Result<()> {
        let found = self.inside(path, |parent, name| Ok(kind_at(parent, name)?))?;
        if found != Found::Directory {
            self.clear(path)?;
            self.inside(path, |parent, name| {
                Ok(rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700))?)
            })?;
        }
        self.inside(path, |parent, name| {
            let directory = open_here(parent, name, OFlags::DIRECTORY)?;
            if found == Found::Whiteout {
                // The archive removed an older directory before it brought this one.
                set_opaque(&directory)?;
            }
            set_open(&directory, attributes)
        })
    }

    /// Writes a file and returns how many bytes came.
    pub(super) fn file(
        &mut self,
        path: &[u8],
        content: &mut impl Read,
        attributes: &Attributes,
    ) -> io::Result<u64> {
        self.clear(path)?;
        self.inside(path, |parent, name| {
            let flags =
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600))?;
            let mut file = std::fs::File::from(file);
            let copied = io::copy(content, &mut file)?;
            set_open(&file, attributes)?;
            set_time(&file, attributes.mtime_s)?;
            Ok(copied)
        })
    }

    pub(super) fn symlink(
        &mut self,
        path: &[u8],
        target: &[u8],
        attributes: &Attributes,
    ) -> io::Result<()> {
        self.clear(path)?;
        self.inside(path, |parent, name| {
            rustix::fs::symlinkat(target, parent, name)?;
            set_named(parent, name, attributes, false)
        })
    }

    pub(super) fn hard_link(&mut self, path: &[u8], target: &[u8]) -> io::Result<()> {
        let (directory, name) = split(target);
        let directory = self.open_directory(directory)?;
        let name = name.to_vec();
        if path == target {
            return Err(io::Error::other("it leads to itself"));
        }
        if kind_at(&directory, &name)? == Found::Nothing {
            return Err(Errno::NOENT.into());
        }
        self.clear(path)?;
        self.inside(path, |parent, new| {
            // Without AT_SYMLINK_FOLLOW a link to a symbolic link is to the link itself.
            Ok(rustix::fs::linkat(&directory, &*name, parent, new, AtFlags::empty())?)
        })
    }

    pub(super) fn node(
        &mut self,
        path: &[u8],
        kind: FileType,
        device: Dev,
        attributes: &Attributes,
    ) -> io::Result<()> {
        self.clear(path)?;
        self.inside(path, |parent, name| {
            rustix::fs::mknodat(parent, name, kind, Mode::from_raw_mode(0o600), device)?;
            set_named(parent, name, attributes, true)
        })
    }

    /// Hides a path of lower layers. What this archive put there itself stays.
    pub(super) fn whiteout(&mut self, path: &[u8]) -> io::Result<()> {
        self.inside(path, |parent, name| match kind_at(parent, name)? {
            Found::Nothing => {
                let mode = Mode::from_raw_mode(0o000);
                let kind = FileType::CharacterDevice;
                Ok(rustix::fs::mknodat(parent, name, kind, mode, 0)?)
            }
            Found::Directory => set_opaque(open_here(parent, name, OFlags::DIRECTORY)?),
            Found::Whiteout | Found::Other => Ok(()),
        })
    }

    /// Hides everything that lower layers have in a directory.
    pub(super) fn opaque(&mut self, path: &[u8]) -> io::Result<()> {
        let path = path.strip_suffix(b"/").unwrap_or(path);
        set_opaque(self.make_directory(path)?)
    }

    pub(super) fn set_directory_time(&self, path: &[u8], mtime_s: i64) -> io::Result<()> {
        match self.open_directory(path) {
            Ok(directory) => set_time(directory, mtime_s),
            // A later entry put something else in its place.
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
            Err(err) => Err(err.into()),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    Directory,
    Whiteout,
    Other,
}

fn kind_at(parent: &OwnedFd, name: &[u8]) -> rustix::io::Result<Found> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(Found::Nothing),
        Err(err) => Err(err),
        Ok(stat) => Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Found::Directory,
            FileType::CharacterDevice if stat.st_rdev == 0 => Found::Whiteout,
            _ => Found::Other,
        }),
    }
}

fn open_here(parent: &OwnedFd, name: &[u8], extra: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | extra;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// The path of an entry through our own descriptor of its parent, for the standard library, which
/// removes directories without following links.
fn through(parent: &OwnedFd, name: &[u8]) -> std::path::PathBuf {
    use std::os::unix::ffi::OsStrExt;
    let parent = format!("/proc/self/fd/{}", parent.as_raw_fd());
    std::path::Path::new(&parent).join(std::ffi::OsStr::from_bytes(name))
}

fn remove_directory(parent: &OwnedFd, name: &[u8]) -> io::Result<()> {
    std::fs::remove_dir_all(through(parent, name))
}

fn times(mtime_s: i64) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime_s, tv_nsec: 0 },
    }
}

fn set_time(file: impl AsFd, mtime_s: i64) -> io::Result<()> {
    Ok(rustix::fs::futimens(file, &times(mtime_s))?)
}

fn owner(attributes: &Attributes) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(attributes.uid)), Some(Gid::from_raw(attributes.gid)))
}

/// Owner first, as changing it clears set-uid bits and capabilities.
fn set_open(file: impl AsFd, attributes: &Attributes) -> io::Result<()> {
    let (uid, gid) = owner(attributes);
    rustix::fs::fchown(&file, uid, gid)?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(attributes.mode))?;
    for (name, value) in &attributes.xattrs {
        tolerate(rustix::fs::fsetxattr(&file, name.as_str(), value, XattrFlags::empty()))?;
    }
    Ok(())
}

/// As `set_open` for what cannot be opened: links, devices and fifos. It has just been made, so it
/// is what `name` says.
fn set_named(
    parent: &OwnedFd,
    name: &[u8],
    attributes: &Attributes,
    has_mode: bool,
) -> io::Result<()> {
    let (uid, gid) = owner(attributes);
    rustix::fs::chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    if has_mode {
        let mode = Mode::from_raw_mode(attributes.mode);
        rustix::fs::chmodat(parent, name, mode, AtFlags::empty())?;
    }
    let path = through(parent, name);
    for (key, value) in &attributes.xattrs {
        tolerate(rustix::fs::lsetxattr(&path, key.as_str(), value, XattrFlags::empty()))?;
    }
    let times = times(attributes.mtime_s);
    rustix::fs::utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

/// A file system without extended attributes loses nothing that a program would notice; the kernel
/// also refuses `user.` ones on links and devices.
fn tolerate(result: rustix::io::Result<()>) -> io::Result<()> {
    match result {
        Err(Errno::OPNOTSUPP) => Ok(()),
        Err(err) => Err(err.into()),
        Ok(()) => Ok(()),
    }
}

fn set_opaque(directory: impl AsFd) -> io::Result<()> {
    let name = "trusted.overlay.opaque";
    Ok(rustix::fs::fsetxattr(directory, name, b"y", XattrFlags::empty())?)
}

/// Opens the directory that a layer is unpacked into.
pub(crate) fn open_root(path: &camino::Utf8Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, path.as_std_path(), flags, Mode::empty())?)
}

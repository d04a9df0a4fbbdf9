//! A file and its place: what differs, a stage beside it, and one step that puts it there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::sync::atomic::{AtomicU32, Ordering};

use camino::{Utf8Path, Utf8PathBuf};
use md5::{Digest, Md5};
use rustix::fs::{Gid, Uid};

/// Permission bits of a file that has none and of which nobody says any.
const MODE_DEFAULT: u32 = 0o644;

/// A file as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) dest: Utf8PathBuf,
    pub(crate) contents: Vec<u8>,
    pub(crate) mode: Option<u32>,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// What there is at the place.
#[derive(Debug)]
pub(crate) struct Found {
    /// Whether the file is as it should be.
    pub(crate) is_in_sync: bool,
    /// What is there, if anything is.
    pub(crate) contents: Option<Vec<u8>>,
    /// Owner, group and mode of what is there.
    has: (u32, u32, u32),
    /// The mode that the file gets.
    mode: u32,
}

impl Found {
    /// What differs, as confd words it; nothing where nothing was.
    pub(crate) fn differences(&self, wanted: &Wanted) -> Vec<String> {
        let mut differences = Vec::new();
        let Some(contents) = self.contents.as_ref().filter(|_| !self.is_in_sync) else {
            return differences;
        };
        let (dest, (uid, gid, mode)) = (&wanted.dest, self.has);
        if uid != wanted.uid {
            differences.push(format!("{dest} has UID {uid} should be {}", wanted.uid));
        }
        if gid != wanted.gid {
            differences.push(format!("{dest} has GID {gid} should be {}", wanted.gid));
        }
        if mode != self.mode {
            let (has, should) = (permissions(mode), permissions(self.mode));
            differences.push(format!("{dest} has mode {has} should be {should}"));
        }
        if *contents != wanted.contents {
            let (has, should) = (sum(contents), sum(&wanted.contents));
            differences.push(format!("{dest} has md5sum {has} should be {should}"));
        }
        differences
    }
}

/// Looks at the place of a file.
pub(crate) fn look(wanted: &Wanted) -> io::Result<Found> {
    let mut file = match File::open(&wanted.dest) {
        Ok(file) => file,
        Err(err) if err.kind() == ErrorKind::NotFound => {
            let mode = wanted.mode.unwrap_or(MODE_DEFAULT);
            return Ok(Found { is_in_sync: false, contents: None, has: (0, 0, 0), mode });
        }
        Err(err) => return Err(err),
    };
    let meta = file.metadata()?;
    let has = (meta.uid(), meta.gid(), meta.mode() & 0o7777);
    let mode = wanted.mode.unwrap_or(has.2);
    let mut contents = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0) + 1);
    file.read_to_end(&mut contents)?;
    let is_in_sync = has == (wanted.uid, wanted.gid, mode) && contents == wanted.contents;
    Ok(Found { is_in_sync, contents: Some(contents), has, mode })
}

fn sum(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Permission bits as Go shows them.
fn permissions(mode: u32) -> String {
    let letters = "rwxrwxrwx".chars().enumerate();
    let bits = letters.map(|(at, letter)| if mode & (0o400 >> at) != 0 { letter } else { '-' });
    std::iter::once('-').chain(bits).collect()
}

/// A file beside its place. It is locked as long as it is on its way, by which others, in other
/// containers too, know that somebody still wants it.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) path: Utf8PathBuf,
    _locked: File,
}

/// What becomes of a staged file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// It is put into its place, or discarded.
    Place,
    /// A person wants to look at it.
    Keep,
}

/// How many digits a stage's name has after the file's; what is kept has fewer.
const MARK_LENGTH: usize = 16;
static COUNT: AtomicU32 = AtomicU32::new(0);

fn mark(purpose: Purpose) -> String {
    let count = COUNT.fetch_add(1, Ordering::Relaxed) % 1_000_000;
    match purpose {
        Purpose::Place => format!("{:010}{count:06}", std::process::id()),
        Purpose::Keep => format!("{}{count}", std::process::id()),
    }
}

/// Writes a file beside its place, with its mode and owner. Who may not give files away keeps them,
/// as confd does.
pub(crate) fn stage(
    wanted: &Wanted,
    found: &Found,
    purpose: Purpose,
    sync: bool,
) -> io::Result<Staged> {
    let name = wanted.dest.file_name().unwrap_or_default();
    let path = wanted.dest.with_file_name(format!(".{name}{}", mark(purpose)));
    let mut options = OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(0o600).open(&path);
    let mut file =
        opened.map_err(|err| io::Error::new(err.kind(), format!("open {path}: {err}")))?;
    // Where files cannot be locked, nothing is swept away either.
    let _ = file.lock();
    let written = (|| {
        file.write_all(&wanted.contents)?;
        let _ = rustix::fs::fchown(
            &file,
            Some(Uid::from_raw(wanted.uid)),
            Some(Gid::from_raw(wanted.gid)),
        );
        file.set_permissions(fs::Permissions::from_mode(found.mode))?;
        if sync { file.sync_data() } else { Ok(()) }
    })();
    let staged = Staged { path, _locked: file };
    match written {
        Ok(()) => Ok(staged),
        Err(err) => {
            staged.discard();
            Err(err)
        }
    }
}

/// How a file got into its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Renamed,
    /// The place is a mount, and cannot be replaced: it was written.
    Written,
}

impl Staged {
    /// Puts the file into its place, in one step where that is possible.
    pub(crate) fn put(self, wanted: &Wanted) -> io::Result<Way> {
        match fs::rename(&self.path, &wanted.dest) {
            Ok(()) => Ok(Way::Renamed),
            Err(err) if err.kind() == ErrorKind::ResourceBusy => {
                let written = fs::write(&wanted.dest, &wanted.contents);
                let _ = std::os::unix::fs::chown(&wanted.dest, Some(wanted.uid), Some(wanted.gid));
                if let Some(mode) = wanted.mode {
                    let _ = fs::set_permissions(&wanted.dest, fs::Permissions::from_mode(mode));
                }
                self.discard();
                written.map(|()| Way::Written)
            }
            Err(err) => {
                self.discard();
                Err(err)
            }
        }
    }

    /// Takes it away.
    pub(crate) fn discard(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes what processes have staged in a directory that were killed.
pub(crate) fn sweep(directory: &Utf8Path) {
    let entries = directory.read_dir_utf8().into_iter().flatten().filter_map(Result::ok);
    for entry in entries {
        let name = entry.file_name();
        let Some(at) = name.len().checked_sub(MARK_LENGTH).filter(|at| *at > 1) else { continue };
        let Some((before, mark)) = name.split_at_checked(at) else { continue };
        if !before.starts_with('.') || !mark.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let is_wanted = File::open(entry.path()).is_ok_and(|file| file.try_lock().is_err());
        if !is_wanted {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The note beside a file that it is in its place and nobody was told yet. It outlives this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unloaded(Utf8PathBuf);

impl Unloaded {
    pub(crate) fn of(dest: &Utf8Path) -> Self {
        let name = dest.file_name().unwrap_or_default();
        Self(dest.with_file_name(format!(".{name}.unloaded")))
    }

    pub(crate) fn exists(&self) -> bool {
        self.0.exists()
    }

    pub(crate) fn set(&self) -> io::Result<()> {
        File::create(&self.0).map(drop)
    }

    pub(crate) fn clear(&self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(dest: &Utf8Path, contents: &str, mode: Option<u32>) -> Wanted {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Wanted { dest: dest.to_owned(), contents: contents.into(), mode, uid, gid }
    }

    #[test]
    fn differences_are_told_as_confd_does() {
        let directory = tempfile::tempdir().expect("there is room");
        let dest = Utf8PathBuf::from_path_buf(directory.path().join("f")).expect("it is UTF-8");
        let new = wanted(&dest, "one\n", Some(0o600));
        let found = look(&new).expect("it can be looked at");
        assert!(!found.is_in_sync && found.differences(&new).is_empty());
        let staged = stage(&new, &found, Purpose::Place, false).expect("it is writable");
        let name = staged.path.file_name().expect("it has a name").to_owned();
        assert!(name.starts_with(".f") && name.len() == 2 + MARK_LENGTH, "{name}");
        assert_eq!(staged.put(&new).expect("it is writable"), Way::Renamed);
        assert!(look(&new).expect("it is there").is_in_sync);
        // Without a mode it keeps the one that it has.
        assert!(look(&wanted(&dest, "one\n", None)).expect("it is there").is_in_sync);
        let two = wanted(&dest, "two\n", Some(0o644));
        let other = look(&two).expect("it is there");
        let expected = [
            format!("{dest} has mode -rw------- should be -rw-r--r--"),
            format!(
                "{dest} has md5sum 5bbf5a52328e7439ae6e719dfe712200 \
                 should be c193497a1a06b2c72230e6146ff47080"
            ),
        ];
        assert_eq!(other.differences(&two), expected);
    }

    #[test]
    fn what_the_dead_have_staged_is_swept_away() {
        let directory = tempfile::tempdir().expect("there is room");
        let path = Utf8PathBuf::from_path_buf(directory.path().to_owned()).expect("it is UTF-8");
        let file = wanted(&path.join("f"), "x", None);
        let found = look(&file).expect("it can be looked at");
        let mine = stage(&file, &found, Purpose::Place, false).expect("it is writable");
        let shown = stage(&file, &found, Purpose::Keep, false).expect("it is writable");
        let name = |staged: &Staged| staged.path.file_name().expect("it has one").to_owned();
        let (mine_name, shown_name) = (name(&mine), name(&shown));
        drop(shown);
        let kept = ["f", ".f", ".f12", ".f.unloaded", "f0000000001000001", &mine_name, &shown_name];
        for name in kept.iter().take(5).chain(&[".f4000000000000001"]) {
            fs::write(path.join(name), "").expect("it is writable");
        }
        sweep(&path);
        let mut left: Vec<String> = path
            .read_dir_utf8()
            .expect("it is there")
            .map(|entry| entry.expect("it is there").file_name().to_owned())
            .collect();
        left.sort();
        let mut kept: Vec<String> = kept.iter().map(ToString::to_string).collect();
        kept.sort();
        assert_eq!(left, kept);
    }
}

//! Copying what an image has at a volume's place into the new volume.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, openat,
};

/// Copies everything in the directory `from` into the directory `to`; `inside` tells the id that a
/// file has inside from the one that it has out here. Links between files become copies; sockets
/// and devices stay behind.
pub(crate) fn contents(
    from: &OwnedFd,
    to: &OwnedFd,
    inside: &dyn Fn(u32) -> u32,
) -> io::Result<()> {
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let open = |dir: &OwnedFd, flags: OFlags| {
            openat(dir, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                rustix::fs::mkdirat(to, name, Mode::RWXU)?;
                let flags = OFlags::RDONLY | OFlags::DIRECTORY;
                contents(&open(from, flags)?, &open(to, flags)?, inside)?;
            }
            FileType::RegularFile => {
                let mut source = File::from(open(from, OFlags::RDONLY)?);
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
                io::copy(&mut source, &mut File::from(open(to, flags)?))?;
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(from, name, Vec::new())?;
                rustix::fs::symlinkat(&*target, to, name)?;
            }
            FileType::Fifo => {
                rustix::fs::mknodat(to, name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
            }
            _ => continue,
        }
        give(to, name, &stat, inside)?;
    }
    Ok(())
}

/// Gives the copy `name` in `to` the owner, mode and times that `stat` tells.
pub(crate) fn give(
    to: impl AsFd,
    name: &std::ffi::CStr,
    stat: &Stat,
    inside: &dyn Fn(u32) -> u32,
) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(inside(stat.st_uid)), Gid::from_raw(inside(stat.st_gid)));
    rustix::fs::chownat(&to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        // After the owner: changing that clears set-id bits.
        rustix::fs::chmodat(&to, name, Mode::from_raw_mode(stat.st_mode), AtFlags::empty())?;
    }
    let time = |seconds: i64, nanos: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanos).unwrap_or(0),
    };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    };
    Ok(rustix::fs::utimensat(&to, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Opens a directory to list it or to make things in it.
pub(crate) fn open(path: &camino::Utf8Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(CWD, path.as_std_path(), flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use camino::Utf8Path;

    use super::*;

    #[test]
    fn a_tree_is_copied_with_modes_links_and_mapped_owners() {
        let home = tempfile::tempdir().unwrap();
        let home = Utf8Path::from_path(home.path()).unwrap();
        let (from, to) = (home.join("from"), home.join("to"));
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(from.join("a/b/file"), "text").unwrap();
        fs::set_permissions(from.join("a/b/file"), fs::Permissions::from_mode(0o4711)).unwrap();
        symlink("../../etc/passwd", from.join("a/link")).unwrap();
        let outside = fs::metadata(&from).unwrap().uid();
        contents(&open(&from).unwrap(), &open(&to).unwrap(), &|id| id - outside).unwrap();
        let copied = fs::metadata(to.join("a/b/file")).unwrap();
        assert_eq!(copied.mode() & 0o7777, 0o4711);
        assert_eq!(copied.uid(), 0);
        assert_eq!(fs::read_to_string(to.join("a/b/file")).unwrap(), "text");
        assert_eq!(fs::read_link(to.join("a/link")).unwrap().to_str(), Some("../../etc/passwd"));
        let mtime = |path: &Utf8Path| fs::symlink_metadata(path).unwrap().mtime_nsec();
        assert_eq!(mtime(&to.join("a/link")), mtime(&from.join("a/link")));
    }
}

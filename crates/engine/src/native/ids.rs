//! Files of an instance that were made in another range of ids.
//!
//! Ranges are claimed anew after a reboot, and an environment whose former one was taken gets
//! another. What its instances wrote to their root file systems is on disk with the ids of the
//! former one, and would be out of their reach.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::Path;

use super::plot::UID_COUNT;

/// Gives everything below `upper` the ids of the range from `uid_base` on. The directory itself
/// comes last: as long as it is not done, the next start goes on with it.
pub(crate) fn shift(upper: &Path, uid_base: u32) -> io::Result<()> {
    let former = fs::symlink_metadata(upper)?.uid() / UID_COUNT * UID_COUNT;
    if former == uid_base || former == 0 {
        return Ok(());
    }
    let mut open = vec![upper.to_owned()];
    let mut all = Vec::new();
    while let Some(path) = open.pop() {
        if fs::symlink_metadata(&path)?.is_dir() {
            for entry in fs::read_dir(&path)? {
                open.push(entry?.path());
            }
        }
        all.push(path);
    }
    let moved = |id: u32| match id.checked_sub(former).filter(|rest| *rest < UID_COUNT) {
        Some(rest) => uid_base + rest,
        None => id,
    };
    for path in all.iter().rev() {
        let meta = fs::symlink_metadata(path)?;
        lchown(path, Some(moved(meta.uid())), Some(moved(meta.gid())))?;
        // The kernel takes set-uid bits away with the owner.
        if meta.is_file() {
            fs::set_permissions(path, fs::Permissions::from_mode(meta.mode() & 0o7777))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_moves_once_and_keeps_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let upper = dir.path().join("upper");
        let base = 10 * UID_COUNT;
        fs::create_dir_all(upper.join("a")).unwrap();
        fs::write(upper.join("a/program"), "x").unwrap();
        std::os::unix::fs::symlink("/nowhere", upper.join("link")).unwrap();
        for path in ["", "a", "a/program", "link"] {
            lchown(upper.join(path), Some(base + 7), Some(base)).unwrap();
        }
        let mode = fs::Permissions::from_mode(0o4755);
        fs::set_permissions(upper.join("a/program"), mode).unwrap();
        for _ in 0..2 {
            shift(&upper, 20 * UID_COUNT).unwrap();
            for path in ["", "a", "a/program", "link"] {
                let meta = fs::symlink_metadata(upper.join(path)).unwrap();
                assert_eq!((meta.uid(), meta.gid()), (20 * UID_COUNT + 7, 20 * UID_COUNT));
            }
        }
        assert_eq!(fs::metadata(upper.join("a/program")).unwrap().mode() & 0o7777, 0o4755);
    }
}

//! Whether what lies on disk is still what was put there.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use brickyard_core::Digest;
use sha2::{Digest as _, Sha256};

use crate::compression::finish;

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 1 << 16;

/// Whether a file has the content that its digest says.
pub(crate) fn holds(file: &camino::Utf8Path, digest: &Digest) -> bool {
    let hash = || -> io::Result<Digest> {
        let mut hash = Sha256::new();
        io::copy(&mut File::open(file)?, &mut hash)?;
        Ok(finish(hash))
    };
    hash().is_ok_and(|found| found == *digest)
}

/// The first path in which two unpacked layers differ. No link is followed.
pub(crate) fn difference(one: &Path, other: &Path) -> io::Result<Option<String>> {
    let mut open = vec![PathBuf::new()];
    while let Some(path) = open.pop() {
        let shown = || Some(path.to_string_lossy().into_owned());
        let (a, b) = (one.join(&path), other.join(&path));
        let (Ok(in_one), Ok(in_other)) = (fs::symlink_metadata(&a), fs::symlink_metadata(&b))
        else {
            return Ok(shown());
        };
        if shape(&in_one) != shape(&in_other) {
            return Ok(shown());
        }
        let differs = match in_one.file_type() {
            kind if kind.is_dir() => {
                let names = names(&a)?;
                let differs = names != self::names(&b)?;
                open.extend(names.iter().map(|name| path.join(name)));
                differs
            }
            kind if kind.is_symlink() => fs::read_link(&a)? != fs::read_link(&b)?,
            kind if kind.is_file() => !is_same(&a, &b)?,
            _ => false,
        };
        if differs {
            return Ok(shown());
        }
    }
    Ok(None)
}

/// Mode, owner, and what is fixed of a file's size: a directory's is the file system's affair.
fn shape(meta: &Metadata) -> (u32, u32, u32, u64, u64) {
    let size = if meta.is_dir() { 0 } else { meta.len() };
    (meta.mode(), meta.uid(), meta.gid(), meta.rdev(), size)
}

fn names(directory: &Path) -> io::Result<Vec<OsString>> {
    let entries = fs::read_dir(directory)?;
    let names = entries.map(|entry| entry.map(|entry| entry.file_name()));
    let mut names = names.collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    let (mut a, mut b) = (vec![0; BUFFER_BYTES], vec![0; BUFFER_BYTES]);
    loop {
        let count = one.read(&mut a)?;
        if count == 0 {
            return Ok(other.read(&mut b)? == 0);
        }
        if other.read_exact(&mut b[..count]).is_err() || a[..count] != b[..count] {
            return Ok(false);
        }
    }
}

//! The store's directories, its lock, and writes that are complete or absent.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::sync::atomic::{AtomicU64, Ordering};

use brickyard_core::Digest;
use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::FlockOperation;

use crate::reference;
use crate::{Error, Result};

/// Numbers the temporary files of this process.
static TEMPORARY: AtomicU64 = AtomicU64::new(0);

/// Where things are.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    root: Utf8PathBuf,
}

/// A held lock; dropping it lets go.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// How the name of a damaged layer goes on that was set aside.
pub(crate) const ASIDE: &str = ".damaged";

impl Disk {
    /// Makes the directories, and takes away what interrupted writers left behind.
    pub(crate) fn open(root: &Utf8Path) -> Result<Self> {
        let disk = Self { root: root.to_owned() };
        // Layers hold set-uid programs of strangers, which no other user may reach. What lies above
        // the store may be walked through, as other parts of a yard need that.
        let inner = ["blobs", "blobs/sha256", "refs", "layers", "tmp"];
        let inner = inner.iter().map(|name| (root.join(name), 0o700));
        for (path, mode) in std::iter::once((root.to_owned(), 0o711)).chain(inner) {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(mode)
                .create(&path)
                .map_err(Error::io("make", &path))?;
        }
        if let Some(_lock) = disk.try_lock_exclusive()? {
            disk.clear_temporary()?;
        }
        Ok(disk)
    }

    pub(crate) fn blob(&self, digest: &Digest) -> Utf8PathBuf {
        self.blobs().join(digest.hex())
    }

    pub(crate) fn blobs(&self) -> Utf8PathBuf {
        self.root.join("blobs/sha256")
    }

    pub(crate) fn layer(&self, diff_id: &Digest) -> Utf8PathBuf {
        self.layers().join(diff_id.hex())
    }

    pub(crate) fn layers(&self) -> Utf8PathBuf {
        self.root.join("layers")
    }

    pub(crate) fn refs(&self) -> Utf8PathBuf {
        self.root.join("refs")
    }

    pub(crate) fn reference(&self, name: &str) -> Utf8PathBuf {
        self.refs().join(reference::file_name(name))
    }

    /// A path in the temporary directory that nobody else uses.
    pub(crate) fn temporary(&self) -> Utf8PathBuf {
        let number = TEMPORARY.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", std::process::id());
        self.root.join("tmp").join(name)
    }

    fn lock_file(&self) -> Result<File> {
        let path = self.root.join("lock");
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(Error::io("open", path))
    }

    fn lock(&self, operation: FlockOperation) -> Result<Option<Lock>> {
        let file = self.lock_file()?;
        loop {
            match rustix::fs::flock(&file, operation) {
                Ok(()) => return Ok(Some(Lock { _file: file })),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
                Err(err) => return Err(Error::io("lock", self.root.join("lock"))(err.into())),
            }
        }
    }

    /// Keeps garbage collection away while something is added. Several may hold it.
    pub(crate) fn lock_shared(&self) -> Result<Lock> {
        let lock = self.lock(FlockOperation::LockShared)?;
        Ok(lock.expect("a lock that waits is held in the end"))
    }

    /// Keeps everybody else away.
    pub(crate) fn lock_exclusive(&self) -> Result<Lock> {
        let lock = self.lock(FlockOperation::LockExclusive)?;
        Ok(lock.expect("a lock that waits is held in the end"))
    }

    fn try_lock_exclusive(&self) -> Result<Option<Lock>> {
        self.lock(FlockOperation::NonBlockingLockExclusive)
    }

    fn clear_temporary(&self) -> Result<()> {
        let path = self.root.join("tmp");
        for entry in fs::read_dir(&path).map_err(Error::io("list", &path))? {
            let entry = entry.map_err(Error::io("list", &path))?;
            remove_all(&entry.path()).map_err(Error::io("clear", &path))?;
        }
        Ok(())
    }

    /// Writes a small file so that it is either there, whole and on disk, or as it was before.
    pub(crate) fn write(&self, path: &Utf8Path, bytes: &[u8]) -> Result<()> {
        let temporary = self.temporary();
        let written = File::create(&temporary).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        written.map_err(Error::io("write", &temporary))?;
        self.publish(&temporary, path)
    }

    /// Renames what is complete and on disk into place.
    pub(crate) fn publish(&self, temporary: &Utf8Path, path: &Utf8Path) -> Result<()> {
        fs::rename(temporary, path).map_err(Error::io("write", path))?;
        sync_directory(path.parent().unwrap_or(&self.root))
    }

    /// Removes something so that it is either there as a whole or gone: half a layer under its name
    /// would pass for a whole one.
    pub(crate) fn remove(&self, path: &Utf8Path) -> Result<()> {
        let doomed = self.temporary();
        fs::rename(path, &doomed).map_err(Error::io("remove", path))?;
        remove_all(doomed.as_std_path()).map_err(Error::io("remove", path))
    }

    /// Brings everything written so far to the disk.
    pub(crate) fn sync(&self) -> Result<()> {
        let root = File::open(&self.root).map_err(Error::io("open", &self.root))?;
        rustix::fs::syncfs(root).map_err(|err| Error::io("sync", &self.root)(err.into()))
    }
}

fn sync_directory(path: &Utf8Path) -> Result<()> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(Error::io("sync", path))
}

/// Removes a file or a whole directory; what is already gone is fine.
pub(crate) fn remove_all(path: &std::path::Path) -> io::Result<()> {
    let result = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(err) => Err(err),
    };
    match result {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// A temporary path that is removed when it is dropped, unless it was renamed away before.
pub(crate) struct Temporary(pub(crate) Utf8PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // What cannot be removed now is removed when the store is opened next.
        drop(remove_all(self.0.as_std_path()));
    }
}

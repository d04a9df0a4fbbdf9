//! Copying between instances and the outside, as archives over a pipe.
//!
//! A freshly exec'd process joins the instance's user and mount namespaces and walks or unpacks
//! there: the instance's root is its root, so every link, absolute or with `..`, resolves inside
//! and nothing leads out. It is root inside and nobody outside. A paused instance can be copied
//! from and to as well.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use brickyard_sys::namespace::{Join, enter};
use brickyard_sys::process;
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::Native;
use super::inside::Target;
use super::rootfs::context;
use crate::{Error, InstanceId};

/// What is at a path inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PathKind {
    /// Nothing, in a directory that exists.
    Missing,
    /// Neither it nor its directory.
    NoParent,
    /// A directory, or a link to one.
    Directory,
    /// Anything else.
    Other,
}

/// One step of a copy, read from descriptor 3.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CopyJob {
    target: Target,
    path: Utf8PathBuf,
    step: CopyStep,
}

/// What is done there.
#[derive(Debug, Serialize, Deserialize)]
enum CopyStep {
    /// Say what the path is.
    Look,
    /// Write an archive of it to standard output, under this name; the path's own kind of link is
    /// followed first if that is asked for.
    Read { name: String, follow: bool },
    /// Unpack the archive from standard input into the directory.
    Write { keep_owners: bool },
}

impl Native {
    /// Says what is at a path of a running instance.
    ///
    /// # Errors
    /// When the instance does not run.
    pub async fn look_at(&self, id: &InstanceId, path: &Utf8Path) -> Result<PathKind, Error> {
        let mut command = self.copy_helper(id, path, CopyStep::Look)?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = tokio::process::Command::from(command).kill_on_drop(true).output().await;
        let output = output.map_err(Error::io("start a worker"))?;
        serde_json::from_slice(&output.stdout).map_err(|_| Error::Inside {
            id: id.clone(),
            reason: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }

    /// A command that writes an archive of a path inside to its standard output: the path's entry
    /// has this name, `.` stands for what is in a directory. What went wrong it says on standard
    /// error, and ends with another code than 0.
    ///
    /// # Errors
    /// When the instance does not run.
    pub fn copy_out(
        &self,
        id: &InstanceId,
        path: &Utf8Path,
        name: &str,
        follow: bool,
    ) -> Result<Command, Error> {
        self.copy_helper(id, path, CopyStep::Read { name: name.to_owned(), follow })
    }

    /// A command that unpacks the archive from its standard input into a directory inside. All of
    /// it belongs to root inside, unless the archive's owners are kept.
    ///
    /// # Errors
    /// When the instance does not run.
    pub fn copy_in(
        &self,
        id: &InstanceId,
        directory: &Utf8Path,
        keep_owners: bool,
    ) -> Result<Command, Error> {
        self.copy_helper(id, directory, CopyStep::Write { keep_owners })
    }

    fn copy_helper(
        &self,
        id: &InstanceId,
        path: &Utf8Path,
        step: CopyStep,
    ) -> Result<Command, Error> {
        // As Docker has it, paths are seen from the root, whatever the working directory is.
        let job = CopyJob { target: self.target(id)?, path: Utf8Path::new("/").join(path), step };
        self.helper("__copy", &job, &[], Vec::new())
    }
}

/// Entry of the hidden `__copy` command.
pub fn copy_main() -> i32 {
    match super::read_job::<CopyJob>(3).and_then(|(job, _)| copy(&job)) {
        Ok(()) => 0,
        Err(err) => {
            let _ = writeln!(io::stderr(), "{err}");
            1
        }
    }
}

fn copy(job: &CopyJob) -> io::Result<()> {
    let pidfd = job.target.open()?;
    enter(&pidfd, Join::Files).map_err(context("join the instance's namespaces"))?;
    process::become_user(0, 0, &[])?;
    process::close_to_others()?;
    let _ = rustix::process::umask(rustix::fs::Mode::empty());
    let path = job.path.as_std_path();
    match &job.step {
        CopyStep::Look => {
            serde_json::to_writer(io::stdout(), &kind_of(path)).map_err(io::Error::other)
        }
        CopyStep::Read { name, follow } => {
            let found = if *follow { fs::canonicalize(path) } else { Ok(path.to_owned()) };
            let found = found.map_err(context(format!("open `{}`", job.path)))?;
            pack(&found, name, io::stdout().lock())
        }
        CopyStep::Write { keep_owners } => unpack(path, *keep_owners),
    }
}

fn kind_of(path: &Path) -> PathKind {
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => PathKind::Directory,
        Ok(_) => PathKind::Other,
        // A link that leads nowhere can be copied, too.
        Err(_) if fs::symlink_metadata(path).is_ok() => PathKind::Other,
        Err(_) => match path.parent().is_some_and(Path::is_dir) {
            true => PathKind::Missing,
            false => PathKind::NoParent,
        },
    }
}

/// Writes an archive of a path, with all below it, under a name of its own. Owners, modes and
/// links are kept as they are; sockets are left out.
///
/// # Errors
/// What could not be read, with its path.
pub fn pack(path: &Path, name: &str, to: impl Write) -> io::Result<()> {
    let mut archive = tar::Builder::new(to);
    archive.follow_symlinks(false);
    let meta = fs::symlink_metadata(path).map_err(context(format!("open `{}`", path.display())))?;
    let mut open = vec![(path.to_owned(), PathBuf::from(name), meta)];
    while let Some((path, name, meta)) = open.pop() {
        let failed = || context(format!("read `{}`", path.display()));
        append(&mut archive, &path, &name, &meta).map_err(failed())?;
        if meta.is_dir() {
            let mut below = Vec::new();
            for entry in fs::read_dir(&path).map_err(failed())? {
                let entry = entry.map_err(failed())?;
                match entry.metadata() {
                    Ok(meta) => below.push((entry.path(), name.join(entry.file_name()), meta)),
                    // It has just gone.
                    Err(err) if err.kind() == ErrorKind::NotFound => {}
                    Err(err) => return Err(failed()(err)),
                }
            }
            below.sort_by(|(a, ..), (b, ..)| b.cmp(a));
            open.extend(below);
        }
    }
    archive.into_inner()?.flush()
}

fn append(
    archive: &mut tar::Builder<impl Write>,
    path: &Path,
    name: &Path,
    meta: &Metadata,
) -> io::Result<()> {
    let kind = meta.file_type();
    if kind.is_socket() {
        return Ok(());
    }
    let mut header = tar::Header::new_gnu();
    header.set_metadata(meta);
    if kind.is_file() {
        // A file that grows meanwhile is cut, one that shrinks is filled up: the archive holds.
        let size = meta.size();
        let contents = File::open(path)?.chain(io::repeat(0)).take(size);
        header.set_size(size);
        return archive.append_data(&mut header, name, contents);
    }
    header.set_size(0);
    if kind.is_symlink() {
        return archive.append_link(&mut header, name, fs::read_link(path)?);
    }
    if kind.is_char_device() || kind.is_block_device() {
        let device = meta.rdev();
        header.set_device_major(rustix::fs::major(device))?;
        header.set_device_minor(rustix::fs::minor(device))?;
    }
    archive.append_data(&mut header, name, io::empty())
}

fn unpack(directory: &Path, keep_owners: bool) -> io::Result<()> {
    let failed = |err| context(format!("write to `{}`", directory.display()))(err);
    if !directory.is_dir() {
        return Err(failed(ErrorKind::NotADirectory.into()));
    }
    let mut archive = tar::Archive::new(io::stdin().lock());
    archive.set_preserve_permissions(true);
    archive.set_preserve_ownerships(keep_owners);
    archive.set_overwrite(true);
    archive.unpack(directory).map_err(failed)?;
    // What comes after the archive's end is taken, too, so that nobody writes into a closed pipe.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map(drop)
}

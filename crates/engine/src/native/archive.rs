//! Copying between instances and the outside, as archives over a pipe.
//!
//! A freshly exec'd process joins the instance's user and mount namespaces and walks or unpacks
//! there: the instance's root is its root, so every link, absolute or with `..`, resolves inside
//! and nothing leads out. It is root inside and nobody outside. A paused instance can be copied
//! from and to as well; of one that does not run, the process mounts the file system for itself.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use brickyard_sys::namespace::{Join, enter, enter_user, private_mounts, user_and_network};
use brickyard_sys::process;
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::inside::Target;
use super::paths::Paths;
use super::plot::UID_COUNT;
use super::rootfs::{self, context};
use super::{Native, read_json};
use crate::{Error, InstanceId, KnownState, StartRequest};

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
    tree: Tree,
    path: Utf8PathBuf,
    step: CopyStep,
}

/// Where the instance's files are.
#[derive(Debug, Serialize, Deserialize)]
enum Tree {
    /// As its processes see them.
    Running(Target),
    /// On disk.
    Stopped {
        /// The yard's root.
        root: Utf8PathBuf,
        /// Which instance.
        id: InstanceId,
        /// First id of its range on the host.
        uid_base: u32,
    },
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
    /// Says what is at a path of an instance.
    ///
    /// # Errors
    /// When there is no such instance, or it has nothing on disk that could be mounted.
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
    /// When there is no such instance.
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
    /// When there is no such instance.
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
        let job = CopyJob { tree: self.tree(id)?, path: Utf8Path::new("/").join(path), step };
        self.helper("__copy", &job, &[], Vec::new())
    }

    fn tree(&self, id: &InstanceId) -> Result<Tree, Error> {
        if matches!(self.state_of(id), KnownState::Running { .. } | KnownState::Paused { .. }) {
            return self.target(id).map(Tree::Running);
        }
        let facts = self.facts(&id.environment);
        let facts = facts.ok_or_else(|| Error::Unknown { id: id.clone() })?;
        let root = self.paths.root().to_owned();
        Ok(Tree::Stopped { root, id: id.clone(), uid_base: facts.uid_base })
    }
}

impl Tree {
    /// Makes the instance's root this process's, and its ids the only ones.
    fn enter(&self) -> io::Result<()> {
        match self {
            Self::Running(target) => {
                let pidfd = target.open()?;
                enter(&pidfd, Join::Files).map_err(context("join the instance's namespaces"))?;
            }
            Self::Stopped { root, id, uid_base } => {
                let paths = Paths::new(root);
                let instance = paths.instance(id);
                let request: Option<StartRequest> = read_json(&instance.request());
                let gone = || io::Error::new(ErrorKind::NotFound, format!("{id} has no files"));
                let request = request.ok_or_else(gone)?;
                private_mounts().map_err(context("make a mount namespace"))?;
                let namespaces = user_and_network(*uid_base, UID_COUNT)
                    .map_err(context("make a user namespace"))?;
                let user = namespaces.user.as_fd();
                let rootfs = rootfs::mount(&paths, &instance, &request, user, *uid_base)?;
                rustix::process::fchdir(&rootfs.root)?;
                rustix::process::chroot(".")?;
                enter_user(user)?;
            }
        }
        process::become_user(0, 0, &[])
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
    job.tree.enter()?;
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

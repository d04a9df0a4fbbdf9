//! The root file system of a generation: idmapped layers under an overlay, volumes and binds
//! idmapped into it, first files written. All of it is mounted in the worker's mount namespace
//! alone, so that a dead worker leaves no mount behind.

use std::ffi::CString;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::chown;

use brickyard_core::spec::{Mount, MountKind};
use brickyard_sys::mount::{Attributes, attach, clone_tree, open_within, set_attributes};
use brickyard_sys::namespace::enter_user;
use brickyard_sys::process::{become_user, in_child};
use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use super::bundle::is_shared_memory;
use super::paths::{InstancePaths, Paths};
use super::{copy, inside};
use crate::{FileWrite, StartRequest};

/// The kernel reads one page of a mount's options, with the zero at their end.
const MOUNT_OPTIONS_MAX: usize = 4095;
/// How a directory is opened that is only stood in.
const DIR_FLAGS: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A mounted root file system.
pub(crate) struct Rootfs {
    /// Its top directory.
    pub(crate) root: OwnedFd,
    /// First id of the instance on the host.
    uid_base: u32,
    /// What may not happen on the way to a path, beside leading out.
    limits: ResolveFlags,
}

/// Mounts layers, writable part, volumes, binds and memory of `request`.
pub(crate) fn mount(
    paths: &Paths,
    instance: &InstancePaths,
    request: &StartRequest,
    user_namespace: BorrowedFd<'_>,
    uid_base: u32,
) -> io::Result<Rootfs> {
    overlay(paths, instance, request, user_namespace, uid_base)
        .map_err(context("mount the root file system"))?;
    let root = open_dir(&instance.rootfs())?;
    let rootfs = Rootfs { root, uid_base, limits: ResolveFlags::empty() };
    for mount in request.spec.mounts.iter().filter(|mount| !is_shared_memory(mount)) {
        rootfs
            .mount_inside(paths, request, mount, user_namespace)
            .map_err(context(format!("mount `{}`", mount.target)))?;
    }
    Ok(rootfs)
}

/// Layers lie beside the mount point as `0`, `1`, ... in a small memory file system, which also has
/// what the runtime needs for a moment: a start makes few files on disk. Overlay takes mapped layers by path from Linux 5.19 on, by descriptor only from
/// 6.13 on; and the short relative names are all that an instance can read of them.
fn overlay(
    paths: &Paths,
    instance: &InstancePaths,
    request: &StartRequest,
    user_namespace: BorrowedFd<'_>,
    uid_base: u32,
) -> io::Result<()> {
    for dir in [instance.upper(), instance.work()] {
        fs::create_dir_all(&dir)?;
        super::ids::shift(dir.as_std_path(), uid_base).map_err(context("take over its files"))?;
        chown(&dir, Some(uid_base), Some(uid_base))?;
    }
    let shelf = instance.shelf();
    fs::create_dir_all(&shelf)?;
    let mut layers: Vec<Utf8PathBuf> = request.layers.iter().rev().cloned().collect();
    if layers.is_empty() {
        // An image from scratch without files: overlay wants one layer all the same.
        let empty = paths.root().join("empty");
        fs::create_dir_all(&empty)?;
        layers.push(empty);
    }
    attach(memory(&[("mode", "0711".to_owned())])?, open_dir(&shelf)?)?;
    let shelf = open_dir(&shelf)?;
    let target = instance.rootfs();
    fs::create_dir(&target)?;
    for (number, layer) in layers.iter().enumerate() {
        let name = number.to_string();
        rustix::fs::mkdirat(&shelf, &name, Mode::from_raw_mode(0o711))?;
        let tree = clone_tree(CWD, layer.as_std_path(), false)
            .map_err(context(format!("open layer `{layer}`")))?;
        let attributes =
            Attributes { read_only: true, idmap: Some(user_namespace), ..Attributes::default() };
        set_attributes(&tree, attributes).map_err(context("map the layer's ids"))?;
        let place = rustix::fs::openat(&shelf, &name, DIR_FLAGS, Mode::empty())?;
        attach(tree, place)?;
    }
    let options = overlay_options(layers.len())?;
    let home = rustix::fs::openat(CWD, ".", DIR_FLAGS, Mode::empty())?;
    rustix::process::fchdir(&shelf)?;
    // An image may bring device nodes, and no cgroup of the unified layout keeps them shut.
    let flags = rustix::mount::MountFlags::NODEV;
    let mounted =
        rustix::mount::mount("overlay", target.as_std_path(), "overlay", flags, &*options);
    rustix::process::fchdir(&home)?;
    Ok(mounted?)
}

/// Options of an overlay as seen from the memory file system with its layers.
fn overlay_options(layer_count: usize) -> io::Result<CString> {
    let names: Vec<String> = (0..layer_count).map(|number| number.to_string()).collect();
    let options = format!("lowerdir={},upperdir=../upper,workdir=../work", names.join(":"));
    if options.len() > MOUNT_OPTIONS_MAX {
        return Err(io::Error::other(format!("an image of {layer_count} layers has too many")));
    }
    Ok(CString::new(options)?)
}

/// A detached file system in memory.
fn memory(options: &[(&str, String)]) -> io::Result<OwnedFd> {
    let filesystem = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        rustix::mount::fsconfig_set_string(filesystem.as_fd(), *key, value.as_str())?;
    }
    rustix::mount::fsconfig_create(filesystem.as_fd())?;
    Ok(rustix::mount::fsmount(
        filesystem.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )?)
}

fn open_dir(path: &Utf8Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(CWD, path.as_std_path(), DIR_FLAGS, Mode::empty())?)
}

/// Wraps an error with what was tried.
pub(crate) fn context(action: impl Into<String>) -> impl FnOnce(io::Error) -> io::Error {
    let action = action.into();
    move |err| io::Error::new(err.kind(), format!("failed to {action}: {err}"))
}

impl Rootfs {
    /// Opens a path as the instance will see it: symlinks resolve inside, nothing leads out.
    fn open(&self, path: &Utf8Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | self.limits;
        Ok(open_within(&self.root, path.as_std_path(), flags | OFlags::CLOEXEC, mode, resolve)?)
    }

    /// Opens a directory inside, making what is missing of it.
    pub(crate) fn ensure_dir(&self, path: &Utf8Path) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let mut whole = Utf8PathBuf::from("/");
        let mut parent = self.open(&whole, flags, Mode::empty())?;
        for part in path.components() {
            let name = match part {
                Utf8Component::RootDir | Utf8Component::CurDir => continue,
                Utf8Component::Normal(name) => name,
                Utf8Component::ParentDir | Utf8Component::Prefix(_) => {
                    return Err(io::Error::new(
                        ErrorKind::InvalidInput,
                        format!("`{path}` must not contain `..`"),
                    ));
                }
            };
            whole.push(name);
            parent = match self.open(&whole, flags, Mode::empty()) {
                Err(err) if err.kind() == ErrorKind::NotFound => {
                    self.may_make_in(&parent)?;
                    rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))?;
                    self.give(&parent, name, 0, 0)?;
                    self.open(&whole, flags, Mode::empty())?
                }
                other => other.map_err(context(format!("open `{whole}`")))?,
            };
        }
        Ok(parent)
    }

    /// Refuses to make anything with the machine's rights on another mount than the image's.
    fn may_make_in(&self, parent: &OwnedFd) -> io::Result<()> {
        match self.uid_base == 0 || inside::mount_id(parent)? == inside::mount_id(&self.root)? {
            true => Ok(()),
            false => Err(ErrorKind::CrossesDevices.into()),
        }
    }

    /// Opens a directory inside; what is missing of it on a mount, the instance's own root makes.
    pub(crate) fn ensure_dir_anywhere(
        &self,
        path: &Utf8Path,
        user_namespace: BorrowedFd<'_>,
    ) -> io::Result<OwnedFd> {
        match self.ensure_dir(path) {
            Err(err) if err.kind() == ErrorKind::CrossesDevices => {
                self.as_its_root(user_namespace, |within| within.ensure_dir(path).map(drop))?;
                self.ensure_dir(path)
            }
            other => other,
        }
    }

    /// Works in a child that has nobody's rights but those of the instance's root.
    fn as_its_root(
        &self,
        user_namespace: BorrowedFd<'_>,
        work: impl FnOnce(&Self) -> io::Result<()>,
    ) -> io::Result<()> {
        let root = self.root.try_clone()?;
        let within = Self { root, uid_base: 0, limits: ResolveFlags::empty() };
        in_child(|| {
            enter_user(user_namespace)?;
            become_user(0, 0, &[])?;
            work(&within)
        })
    }

    /// Sets the owner of `name` in `dir`, in ids as the instance counts them.
    fn give(&self, dir: impl AsFd, name: &str, uid: u32, gid: u32) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(self.uid_base + uid), Gid::from_raw(self.uid_base + gid));
        Ok(rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Writes files as the instance's own root: nobody else has ids on a volume, whose ids are mapped
    /// for the instance alone.
    pub(crate) fn write_inside(
        &self,
        files: &[&FileWrite],
        user_namespace: BorrowedFd<'_>,
    ) -> io::Result<()> {
        self.as_its_root(user_namespace, |within| {
            files.iter().try_for_each(|file| {
                within.write(file).map_err(context(format!("write `{}`", file.dest)))
            })
        })
    }

    /// Writes a file with the machine's rights and makes its directories; false when it lies on
    /// another mount, where only the instance's own root may write: links of the image's may lead to
    /// a volume or to a directory of the host's.
    pub(crate) fn write_plain(&self, file: &FileWrite) -> io::Result<bool> {
        let plain = self.on_one_mount()?;
        match plain.write(file) {
            Ok(()) => Ok(true),
            Err(err) if err.kind() == ErrorKind::CrossesDevices => Ok(false),
            Err(err) => Err(err),
        }
    }

    /// The same root, whose paths end where another mount begins.
    fn on_one_mount(&self) -> io::Result<Self> {
        let root = self.root.try_clone()?;
        Ok(Self { root, uid_base: self.uid_base, limits: ResolveFlags::NO_XDEV })
    }

    /// Writes a file and makes its directories.
    pub(crate) fn write(&self, file: &FileWrite) -> io::Result<()> {
        let (parent, name) = match (file.dest.parent(), file.dest.file_name()) {
            (Some(parent), Some(name)) => (parent, name),
            _ => return Err(io::Error::other(format!("`{}` is no file", file.dest))),
        };
        let dir = self.ensure_dir(parent)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        // A former run may have left what was staged for it.
        inside::sweep_staged(&dir, name, None)?;
        let temporary = inside::staged_prefix(name);
        let mode = Mode::from_raw_mode(file.mode);
        let fd = rustix::fs::openat(&dir, &*temporary, flags, mode)?;
        let mut opened = fs::File::from(fd);
        opened.write_all(&file.contents)?;
        rustix::fs::fchmod(&opened, mode)?;
        self.give(&dir, &temporary, file.uid, file.gid)?;
        Ok(rustix::fs::renameat(&dir, &*temporary, &dir, name)?)
    }

    fn mount_inside(
        &self,
        paths: &Paths,
        request: &StartRequest,
        mount: &Mount,
        user_namespace: BorrowedFd<'_>,
    ) -> io::Result<()> {
        for reserved in ["/proc", "/sys", "/dev"] {
            if mount.target.starts_with(reserved) {
                return Err(io::Error::other(format!("nothing can be mounted under {reserved}")));
            }
        }
        let source = match &mount.kind {
            MountKind::Tmpfs { size_bytes, mode } => {
                let mut options = vec![
                    ("mode", format!("{:o}", mode.unwrap_or(0o1777))),
                    ("uid", self.uid_base.to_string()),
                    ("gid", self.uid_base.to_string()),
                ];
                options.extend(size_bytes.map(|size| ("size", size.to_string())));
                let tree = memory(&options)?;
                set_attributes(
                    &tree,
                    Attributes {
                        read_only: mount.read_only,
                        no_suid: true,
                        no_dev: true,
                        ..Attributes::default()
                    },
                )?;
                let target = self.ensure_dir_anywhere(&mount.target, user_namespace)?;
                return attach(tree, target);
            }
            MountKind::Volume { name } => {
                let path = paths.volume(&request.id.environment, name);
                self.ensure_volume(&path, &mount.target)?;
                path
            }
            MountKind::Bind { source, create } => {
                if *create && !source.exists() {
                    fs::create_dir_all(source)?;
                }
                source.clone()
            }
        };
        let tree = clone_tree(CWD, source.as_std_path(), true)
            .map_err(context(format!("open `{source}`")))?;
        // Other mounts below the source come along. They are as read-only as it is; their ids stay
        // unmapped, as not every file system's can be mapped: inside they are nobody's.
        let everywhere = Attributes {
            read_only: mount.read_only,
            no_dev: true,
            recursive: true,
            ..Attributes::default()
        };
        set_attributes(&tree, everywhere).map_err(context(format!("restrict `{source}`")))?;
        let mapped = Attributes { idmap: Some(user_namespace), ..Attributes::default() };
        set_attributes(&tree, mapped).map_err(context(format!("map the ids of `{source}`")))?;
        let target = if source.is_dir() {
            self.ensure_dir_anywhere(&mount.target, user_namespace)?
        } else {
            self.ensure_file(&mount.target, user_namespace)?
        };
        attach(tree, target)
    }

    /// Makes a named volume on first use, with what the image has at its place: contents, owner and
    /// mode, so that software that does not run as root can write to it.
    fn ensure_volume(&self, path: &Utf8Path, target: &Utf8Path) -> io::Result<()> {
        if path.exists() {
            return Ok(());
        }
        let parent = path.parent().unwrap_or(path);
        fs::create_dir_all(parent)?;
        // Instances that start together make it once between them.
        let lock = fs::File::open(parent)?;
        lock.lock()?;
        if path.exists() {
            return Ok(());
        }
        let name = format!(".{}.new", path.file_name().unwrap_or_default());
        let staged = parent.join(&name);
        match fs::remove_dir_all(&staged) {
            Err(err) if err.kind() != ErrorKind::NotFound => return Err(err),
            _ => fs::create_dir(&staged)?,
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        // What the image has there, never what a link of its leads to on another mount.
        if let Ok(image_dir) = self.on_one_mount()?.open(target, flags, Mode::empty()) {
            let inside = |id: u32| id.saturating_sub(self.uid_base);
            copy::contents(&image_dir, &copy::open(&staged)?, &inside)
                .map_err(context(format!("copy the image's `{target}` into the volume")))?;
            let stat = rustix::fs::fstat(&image_dir)?;
            copy::give(copy::open(parent)?, &CString::new(name)?, &stat, &inside)?;
        }
        fs::rename(&staged, path)
    }

    fn ensure_file(&self, path: &Utf8Path, user_namespace: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        match self.open(path, OFlags::PATH, Mode::empty()) {
            Err(err) if err.kind() == ErrorKind::NotFound => {
                let file = FileWrite {
                    dest: path.to_owned(),
                    contents: Vec::new(),
                    mode: 0o644,
                    uid: 0,
                    gid: 0,
                };
                if !self.write_plain(&file)? {
                    self.write_inside(&[&file], user_namespace)?;
                }
                self.open(path, OFlags::PATH, Mode::empty())
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_named_by_number_and_fit_into_a_page() {
        let options = overlay_options(2).unwrap();
        assert_eq!(options.to_str(), Ok("lowerdir=0:1,upperdir=../upper,workdir=../work"));
        // Docker's limit is 127 layers.
        overlay_options(500).unwrap();
        overlay_options(5000).unwrap_err();
    }
}

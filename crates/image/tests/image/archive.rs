//! Archives made by hand, entry by entry, also such as no tool would write.

use std::io::Write;

use brickyard_image::{Image, Result, Store};
use camino::{Utf8Path, Utf8PathBuf};
use tar::{Builder, EntryType, Header};

/// A tar archive in the making.
pub(crate) struct Tar(Builder<Vec<u8>>);

impl Tar {
    pub(crate) fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    /// Adds an entry. The path goes in as it is, `..` and all.
    pub(crate) fn entry(self, kind: EntryType, path: &str, link: &str, content: &[u8]) -> Self {
        self.owned(kind, path, link, content, (0o644, 0, 0))
    }

    pub(crate) fn owned(
        mut self,
        kind: EntryType,
        path: &str,
        link: &str,
        content: &[u8],
        (mode, uid, gid): (u32, u64, u64),
    ) -> Self {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(uid);
        header.set_gid(gid);
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        if kind.is_character_special() || kind.is_block_special() {
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
        }
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    pub(crate) fn file(self, path: &str, content: &str) -> Self {
        self.entry(EntryType::Regular, path, "", content.as_bytes())
    }

    pub(crate) fn directory(self, path: &str) -> Self {
        self.owned(EntryType::Directory, path, "", b"", (0o755, 0, 0))
    }

    pub(crate) fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, path, target, b"")
    }

    pub(crate) fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Link, path, target, b"")
    }

    /// A pax record for the next entry.
    pub(crate) fn pax(mut self, key: &str, value: &[u8]) -> Self {
        self.0.append_pax_extensions([(key, value)]).unwrap();
        self
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A store in a directory of its own that goes away with it.
pub(crate) struct Yard {
    pub(crate) store: Store,
    directory: tempfile::TempDir,
}

impl Yard {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(Utf8Path::from_path(directory.path()).unwrap()).unwrap();
        Self { store, directory }
    }

    pub(crate) fn root(&self) -> &Utf8Path {
        Utf8Path::from_path(self.directory.path()).unwrap()
    }

    pub(crate) fn import(&self, archive: &[u8]) -> Result<Image> {
        self.store.import_rootfs("test", archive, &|_| {})
    }

    /// Unpacks an archive and returns its directory.
    pub(crate) fn unpacked(&self, tar: Tar) -> Utf8PathBuf {
        self.import(&tar.bytes()).unwrap().layers[0].clone()
    }

    /// Everything below the store that holds content.
    pub(crate) fn content(&self) -> Vec<String> {
        let mut found = Vec::new();
        for directory in ["blobs/sha256", "layers", "refs", "tmp"] {
            for entry in self.root().join(directory).read_dir_utf8().unwrap() {
                found.push(format!("{directory}/{}", entry.unwrap().file_name()));
            }
        }
        found
    }
}

//! A layer's archive, the same bytes for the same files: sorted, owners as asked, times kept.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use brickyard_core::Digest;

/// What a layer consists of.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// By destination, without a leading slash; parents sort before their children.
    pub(crate) entries: BTreeMap<String, Planned>,
    /// Archives that are unpacked below a destination.
    pub(crate) archives: Vec<(Utf8PathBuf, String)>,
    /// Owner of everything; absent means that of each planned entry or of the archive.
    pub(crate) owner: Option<(u64, u64)>,
    /// Mode of everything that is copied.
    pub(crate) mode: Option<u32>,
}

/// One entry.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) content: Content,
    pub(crate) mode: u32,
    pub(crate) owner: (u64, u64),
    pub(crate) mtime_s: u64,
}

/// What an entry is.
#[derive(Debug)]
pub(crate) enum Content {
    Directory,
    Symlink(String),
    File { path: Utf8PathBuf, size_bytes: u64, capability: Option<Vec<u8>> },
}

impl Plan {
    /// The latest time of any entry that is known without reading archives.
    pub(crate) fn newest_s(&self) -> u64 {
        self.entries.values().map(|entry| entry.mtime_s).max().unwrap_or(0)
    }

    /// The digest of the archive, without keeping it.
    pub(crate) fn digest(&self) -> io::Result<Digest> {
        let hash = self.write(Sha256::new())?;
        Ok(Digest::from_bytes(hash.finalize().into()))
    }

    /// Writes the archive.
    pub(crate) fn write<W: Write>(&self, writer: W) -> io::Result<W> {
        let mut builder = Builder::new(writer);
        builder.sparse(false);
        for (path, entry) in &self.entries {
            entry.append(&mut builder, path)?;
        }
        for (archive, dest) in &self.archives {
            self.append_archive(&mut builder, archive, dest)?;
        }
        builder.into_inner()
    }

    /// Copies the entries of an archive, moved below `dest`.
    fn append_archive<W: Write>(
        &self,
        builder: &mut Builder<W>,
        archive: &Utf8Path,
        dest: &str,
    ) -> io::Result<()> {
        let mut archive = tar::Archive::new(open_archive(archive)?);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let kind = entry.header().entry_type();
            if kind == EntryType::XGlobalHeader {
                continue;
            }
            let mut header = entry.header().clone();
            if let Some((uid, gid)) = self.owner {
                header.set_uid(uid);
                header.set_gid(gid);
            }
            if let Some(mode) = self.mode {
                header.set_mode(mode);
            }
            let path = below(dest, &entry.path_bytes())?;
            let link = entry.link_name_bytes().map(std::borrow::Cow::into_owned);
            let mut kept = Vec::new();
            if let Some(extensions) = entry.pax_extensions()? {
                for extension in extensions {
                    let extension = extension?;
                    let key = extension.key().unwrap_or_default().to_owned();
                    if key.starts_with("SCHILY.xattr.") {
                        kept.push((key, extension.value_bytes().to_vec()));
                    }
                }
            }
            let kept = kept.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
            builder.append_pax_extensions(kept)?;
            let size = entry.size();
            header.set_size(size);
            match (kind, link) {
                (EntryType::Symlink, Some(link)) => {
                    let link = std::str::from_utf8(&link).map_err(io::Error::other)?;
                    builder.append_link(&mut header, path, link)?;
                }
                (EntryType::Link, Some(link)) => {
                    let link = below(dest, &link)?;
                    builder.append_link(&mut header, path, link)?;
                }
                _ => builder.append_data(&mut header, path, entry.by_ref().take(size))?,
            }
        }
        Ok(())
    }
}

/// A path of an archive below a destination.
fn below(dest: &str, raw: &[u8]) -> io::Result<String> {
    let text = std::str::from_utf8(raw).map_err(io::Error::other)?;
    let parts: Vec<&str> =
        text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return Err(io::Error::other(format!("`{text}` contains `..`")));
    }
    Ok(match (dest, parts.join("/").as_str()) {
        ("", "") => "./".to_owned(),
        ("", path) => path.to_owned(),
        (dest, "") => dest.to_owned(),
        (dest, path) => format!("{dest}/{path}"),
    })
}

impl Planned {
    fn append<W: Write>(&self, builder: &mut Builder<W>, path: &str) -> io::Result<()> {
        let mut header = Header::new_ustar();
        header.set_mode(self.mode);
        header.set_uid(self.owner.0);
        header.set_gid(self.owner.1);
        header.set_mtime(self.mtime_s);
        header.set_size(0);
        match &self.content {
            Content::Directory => {
                header.set_entry_type(EntryType::Directory);
                let path = if path.is_empty() { "./".to_owned() } else { format!("{path}/") };
                builder.append_data(&mut header, path, io::empty())
            }
            Content::Symlink(target) => {
                header.set_entry_type(EntryType::Symlink);
                builder.append_link(&mut header, path, target)
            }
            Content::File { path: real, size_bytes, capability } => {
                if let Some(capability) = capability {
                    let key = "SCHILY.xattr.security.capability";
                    builder.append_pax_extensions([(key, capability.as_slice())])?;
                }
                header.set_entry_type(EntryType::Regular);
                header.set_size(*size_bytes);
                let mut file = File::open(real)?;
                let mut counted = Counted { inner: (&mut file).take(*size_bytes), count: 0 };
                builder.append_data(&mut header, path, &mut counted)?;
                if counted.count != *size_bytes {
                    let message = format!("`{real}` became shorter while it was read");
                    return Err(io::Error::other(message));
                }
                Ok(())
            }
        }
    }

    /// A planned directory with the attributes of one that exists.
    pub(crate) fn directory_like(metadata: &std::fs::Metadata) -> Self {
        Self {
            content: Content::Directory,
            mode: metadata.mode() & 0o7777,
            owner: (u64::from(metadata.uid()), u64::from(metadata.gid())),
            mtime_s: mtime_s(metadata),
        }
    }
}

/// A file's time in whole seconds, as the archive has it.
pub(crate) fn mtime_s(metadata: &std::fs::Metadata) -> u64 {
    u64::try_from(metadata.mtime()).unwrap_or(0)
}

struct Counted<R> {
    inner: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.count += length as u64;
        Ok(length)
    }
}

/// What kind of archive a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packed {
    /// None that ADD would unpack.
    No,
    /// One that can be unpacked.
    Yes,
    /// Compressed in a way that cannot be read.
    Unsupported(&'static str),
}

/// Looks at the beginning of a file.
pub(crate) fn packed(path: &Utf8Path) -> io::Result<Packed> {
    let start = crate::tree::beginning(path)?;
    let is_tar = |start: &[u8]| start.get(257..262) == Some(b"ustar");
    Ok(match start.as_slice() {
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Packed::Unsupported("xz"),
        [b'B', b'Z', b'h', ..] => Packed::Unsupported("bzip2"),
        [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let mut inner = Vec::new();
            let read = open_archive(path)?.take(512).read_to_end(&mut inner);
            match read.is_ok() && is_tar(&inner) {
                true => Packed::Yes,
                false => Packed::No,
            }
        }
        start if is_tar(start) => Packed::Yes,
        _ => Packed::No,
    })
}

fn open_archive(path: &Utf8Path) -> io::Result<Box<dyn Read>> {
    let start = crate::tree::beginning(path)?;
    let file = io::BufReader::new(File::open(path)?);
    Ok(match start.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::stream::read::Decoder::with_buffer(file)?),
        _ => Box::new(file),
    })
}

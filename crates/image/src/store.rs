//! Finding, listing and removing images.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};

use brickyard_core::Digest;
use brickyard_core::diagnostic::nearest;
use camino::{Utf8Path, Utf8PathBuf};
use oci_spec::image::ImageManifest;
use serde::{Deserialize, Serialize};

use crate::compare::holds;
use crate::disk::{ASIDE, Disk};
use crate::{ContainerConfig, Error, ImageConfig, Layer, Result, Writer, reference};

/// Shortest beginning of a digest that is taken for one.
const PREFIX_LENGTH_MIN: usize = 4;

/// Images in a directory.
#[derive(Debug, Clone)]
pub struct Store {
    disk: Disk,
}

/// One image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its name with a tag; its digest when it has no name (any more).
    pub name: String,
    /// Digest of its manifest.
    pub digest: Digest,
    /// Defaults of its containers.
    pub config: ContainerConfig,
    /// Processor architecture in Go's words.
    pub architecture: String,
    /// Directories of its layers, bottom first, owners as in the archives.
    pub layers: Vec<Utf8PathBuf>,
    /// The layers as blobs, bottom first.
    pub layer_blobs: Vec<Layer>,
    /// Size of its layers as they were given.
    pub size_bytes: u64,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: u64,
}

/// What a file in `refs` says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reference {
    pub(crate) name: String,
    pub(crate) manifest: Digest,
}

impl Store {
    /// Opens the store in a directory, and makes it where it is missing.
    ///
    /// # Errors
    /// When the directory cannot be made or written.
    pub fn open(root: &Utf8Path) -> Result<Self> {
        let disk = Disk::open(root)?;
        Ok(Self { disk })
    }

    /// Starts adding layers and images.
    ///
    /// # Errors
    /// When the store's lock cannot be taken.
    pub fn writer(&self) -> Result<Writer<'_>> {
        Writer::new(&self.disk)
    }

    /// Adds a root file system (a tar archive: plain, gzip or zstd) as an image. The same archive
    /// gives the same image again.
    ///
    /// # Errors
    /// When the archive is damaged, asks for too much or reaches outside. Nothing of it stays.
    pub fn import_rootfs(
        &self,
        name: &str,
        archive: impl Read,
        progress: &dyn Fn(u64),
    ) -> Result<Image> {
        self.writer()?.import(name, archive, progress)
    }

    /// An image by its name or by the beginning of its digest.
    ///
    /// # Errors
    /// When the beginning fits several images, or the store is damaged.
    pub fn get(&self, name: &str) -> Result<Option<Image>> {
        if let Ok(name) = reference::normalise(name)
            && let Some(reference) = self.read_reference(&self.disk.reference(&name))?
        {
            return load_image(&self.disk, &reference.name, &reference.manifest).map(Some);
        }
        let hex = name.strip_prefix("sha256:").unwrap_or(name);
        if hex.len() < PREFIX_LENGTH_MIN || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(None);
        }
        if let Ok(digest) = format!("sha256:{hex}").parse() {
            return self.get_by_digest(&digest);
        }
        let references = self.references()?;
        let fitting =
            references.iter().filter(|reference| reference.manifest.hex().starts_with(hex));
        let digests: BTreeSet<Digest> = fitting.map(|reference| reference.manifest).collect();
        match (digests.first(), digests.len()) {
            (Some(digest), 1) => self.get_by_digest(digest),
            (None, _) => Ok(None),
            (_, count) => Err(Error::Ambiguous { prefix: name.to_owned(), count }),
        }
    }

    /// As [`get`](Self::get), and an error with the nearest name when there is none.
    ///
    /// # Errors
    /// When there is no such image, too.
    pub fn require(&self, name: &str) -> Result<Image> {
        if let Some(image) = self.get(name)? {
            return Ok(image);
        }
        let references = self.references()?;
        let names: Vec<&str> = references.iter().map(|known| known.name.as_str()).collect();
        let short = |known: &&str| known.strip_suffix(":latest").map(str::to_owned);
        let shorts: Vec<String> = names.iter().filter_map(short).collect();
        let all = names.iter().copied().chain(shorts.iter().map(String::as_str));
        Err(Error::NotFound {
            name: name.to_owned(),
            nearest: nearest(name, all).map(str::to_owned),
        })
    }

    /// The image with this manifest, whether it has a name or not.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn get_by_digest(&self, digest: &Digest) -> Result<Option<Image>> {
        if !self.disk.blob(digest).is_file() {
            return Ok(None);
        }
        // A name that cannot be read does not make others unusable.
        let references = self.references().unwrap_or_default();
        let named = references.into_iter().find(|known| known.manifest == *digest);
        let name = named.map_or_else(|| digest.to_string(), |known| known.name);
        load_image(&self.disk, &name, digest).map(Some)
    }

    /// All images that have a name, by name.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn list(&self) -> Result<Vec<Image>> {
        self.references()?
            .iter()
            .map(|known| load_image(&self.disk, &known.name, &known.manifest))
            .collect()
    }

    /// Reads everything of an image and says what is not as it was put there.
    ///
    /// # Errors
    /// When there is no such image, or the disk fails.
    pub fn verify(&self, name: &str) -> Result<Vec<String>> {
        let image = self.require(name)?;
        let writer = self.writer()?;
        let found = image.layer_blobs.iter().map(|layer| writer.verify_layer(layer));
        found.filter_map(Result::transpose).collect()
    }

    /// Takes a name away, and everything that no name and none of the manifests in `pinned` needs
    /// any more. Returns whether there was such a name. It waits until nobody writes, so who calls
    /// it must not hold a [`Writer`].
    ///
    /// # Errors
    /// When the disk fails.
    pub fn remove(&self, name: &str, pinned: &BTreeSet<Digest>) -> Result<bool> {
        let path = self.disk.reference(&reference::normalise(name)?);
        let _lock = self.disk.lock_exclusive()?;
        match fs::remove_file(&path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other.map_err(Error::io("remove", &path))?,
        }
        self.sweep(pinned)?;
        Ok(true)
    }

    /// Removes everything that no name and none of the manifests in `pinned` needs. It waits until
    /// nobody writes, so who calls it must not hold a [`Writer`].
    ///
    /// # Errors
    /// When the disk fails.
    pub fn prune(&self, pinned: &BTreeSet<Digest>) -> Result<()> {
        let _lock = self.disk.lock_exclusive()?;
        self.sweep(pinned)
    }

    fn sweep(&self, pinned: &BTreeSet<Digest>) -> Result<()> {
        let mut blobs = BTreeSet::new();
        let mut layers = BTreeSet::new();
        let named = self.references()?.into_iter().map(|known| known.manifest);
        for digest in named.chain(pinned.iter().copied()) {
            if !self.disk.blob(&digest).is_file() {
                continue;
            }
            let (manifest, config) = read_manifest(&self.disk, &digest)?;
            blobs.insert(digest.hex());
            blobs.insert(manifest.config().digest().digest().to_owned());
            let digests = manifest.layers().iter().map(|layer| layer.digest().digest());
            blobs.extend(digests.map(str::to_owned));
            layers.extend(config.rootfs.diff_ids.iter().map(Digest::hex));
        }
        self.remove_others(&self.disk.blobs(), &blobs)?;
        self.remove_others(&self.disk.layers(), &layers)
    }

    fn remove_others(&self, directory: &Utf8Path, kept: &BTreeSet<String>) -> Result<()> {
        let listing = Error::io("list", directory);
        for entry in directory.read_dir_utf8().map_err(listing)? {
            let entry = entry.map_err(Error::io("list", directory))?;
            // What was damaged and set aside may be in use as long as its successor.
            let name = entry.file_name();
            if !kept.contains(name.strip_suffix(ASIDE).unwrap_or(name)) {
                self.disk.remove(entry.path())?;
            }
        }
        Ok(())
    }

    fn references(&self) -> Result<Vec<Reference>> {
        let directory = self.disk.refs();
        let mut references = Vec::new();
        let entries = fs::read_dir(&directory).map_err(Error::io("list", &directory))?;
        for entry in entries {
            let entry = entry.map_err(Error::io("list", &directory))?;
            let Ok(path) = Utf8PathBuf::from_path_buf(entry.path()) else {
                continue;
            };
            references.extend(self.read_reference(&path)?);
        }
        references.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(references)
    }

    fn read_reference(&self, path: &Utf8Path) -> Result<Option<Reference>> {
        match fs::read(path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(err) => Err(Error::io("read", path)(err)),
            Ok(bytes) => parse(&bytes, path).map(Some),
        }
    }
}

fn parse<T: for<'de> Deserialize<'de>>(bytes: &[u8], path: &Utf8Path) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|err| Error::Damaged { reason: format!("`{path}` cannot be read: {err}") })
}

fn read_manifest(disk: &Disk, digest: &Digest) -> Result<(ImageManifest, ImageConfig)> {
    let manifest: ImageManifest = read_json(disk, digest)?;
    let config = manifest.config().digest().to_string();
    let config = config.parse().map_err(|_| Error::Damaged {
        reason: format!("the manifest {digest} has a configuration that is not sha256"),
    })?;
    let config = read_json(disk, &config)?;
    Ok((manifest, config))
}

fn read_json<T: for<'de> Deserialize<'de>>(disk: &Disk, digest: &Digest) -> Result<T> {
    let path = disk.blob(digest);
    if !holds(&path, digest) {
        let reason = format!("`{path}` is not there as its name says");
        return Err(Error::Damaged { reason });
    }
    let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
    parse(&bytes, &path)
}

/// An image with everything that is known about it.
pub(crate) fn load_image(disk: &Disk, name: &str, digest: &Digest) -> Result<Image> {
    let (manifest, config) = read_manifest(disk, digest).map_err(|err| match err {
        Error::Damaged { reason } => {
            Error::Damaged { reason: format!("image `{name}` ({}): {reason}", digest.short()) }
        }
        other => other,
    })?;
    let diff_ids = &config.rootfs.diff_ids;
    if diff_ids.len() != manifest.layers().len() {
        return Err(Error::Damaged {
            reason: format!("manifest and configuration of `{name}` have other layers"),
        });
    }
    let mut layer_blobs = Vec::new();
    for (layer, diff_id) in manifest.layers().iter().zip(diff_ids) {
        let blob =
            layer.digest().to_string().parse().map_err(|_| Error::Damaged {
                reason: format!("a layer of `{name}` is not sha256"),
            })?;
        layer_blobs.push(Layer {
            blob,
            diff_id: *diff_id,
            size_bytes: layer.size(),
            media_type: layer.media_type().to_string(),
            newest_s: 0,
        });
    }
    Ok(Image {
        name: name.to_owned(),
        digest: *digest,
        created_ms: config.created_ms(),
        layers: diff_ids.iter().map(|diff_id| disk.layer(diff_id)).collect(),
        size_bytes: layer_blobs.iter().map(|layer| layer.size_bytes).sum(),
        layer_blobs,
        architecture: config.architecture,
        config: config.config,
    })
}

//! Adding layers and images.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;

use brickyard_core::Digest;
use camino::{Utf8Path, Utf8PathBuf};
use oci_spec::image::{Descriptor, ImageManifestBuilder, MediaType};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::compare::{difference, holds};
use crate::compression::{Compression, Hashing, Tee, finish};
use crate::config::{ImageConfig, rfc3339};
use crate::disk::{ASIDE, Disk, Lock, Temporary};
use crate::layer::{self, LIMITS, Limits, Unpacked};
use crate::store::{Image, Reference, load_image};
use crate::{ContainerConfig, Error, Result, reference};

/// A layer that is in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Digest of the archive as it was given.
    pub blob: Digest,
    /// Digest of the uncompressed archive.
    pub diff_id: Digest,
    /// Size of the archive as it was given.
    pub size_bytes: u64,
    /// OCI's media type of the archive.
    pub media_type: String,
    /// Latest modification time of any file in it, in seconds since the Unix epoch; 0 when it is
    /// not known.
    pub newest_s: u64,
}

/// Adds things. While it lives, nothing is removed from the store as garbage, so layers may be
/// added before the image that they are for.
pub struct Writer<'a> {
    disk: &'a Disk,
    limits: Limits,
    _lock: Lock,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(disk: &'a Disk) -> Result<Self> {
        Ok(Self { disk, limits: LIMITS, _lock: disk.lock_shared()? })
    }

    /// The same with other limits.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Adds a layer from an archive: plain, gzip or zstd. `progress` hears how many bytes have
    /// been read. With `expected`, content with another digest is refused.
    ///
    /// # Errors
    /// When the archive is damaged, asks for too much or reaches outside. Nothing of it stays.
    pub fn put_layer(
        &self,
        archive: impl Read,
        expected: Option<&Digest>,
        progress: &dyn Fn(u64),
    ) -> Result<Layer> {
        let blob = Temporary(self.disk.temporary());
        let directory = Temporary(self.disk.temporary());
        let layer = self.unpack(archive, &blob.0, &directory.0, progress)?;
        if let Some(expected) = expected.filter(|expected| **expected != layer.blob) {
            return Err(Error::Mismatch { expected: *expected, found: layer.blob });
        }
        // What came before and was damaged since is made good.
        let kept = self.disk.layer(&layer.diff_id);
        let compare = || difference(directory.0.as_std_path(), kept.as_std_path());
        let is_unpacked = kept.is_dir() && compare().is_ok_and(|found| found.is_none());
        let has_blob = holds(&self.disk.blob(&layer.blob), &layer.blob);
        if is_unpacked && has_blob {
            return Ok(layer);
        }
        self.disk.sync()?;
        if !is_unpacked {
            self.set_aside(&kept)?;
            self.publish_directory(&directory.0, &kept)?;
        }
        if !has_blob {
            self.disk.publish(&blob.0, &self.disk.blob(&layer.blob))?;
        }
        Ok(layer)
    }

    /// The layer of an uncompressed archive with this digest, when it is in the store already, so
    /// that who can compute the digest first need not write the archive.
    #[must_use]
    pub fn find_plain_layer(&self, digest: &Digest) -> Option<Layer> {
        let size_bytes = fs::metadata(self.disk.blob(digest)).ok()?.len();
        self.disk.layer(digest).is_dir().then(|| Layer {
            blob: *digest,
            diff_id: *digest,
            size_bytes,
            media_type: MediaType::ImageLayer.to_string(),
            newest_s: 0,
        })
    }

    /// Where a layer is unpacked.
    #[must_use]
    pub fn layer_directory(&self, layer: &Layer) -> Utf8PathBuf {
        self.disk.layer(&layer.diff_id)
    }

    /// Takes a damaged layer out of the way. What runs goes on from it.
    fn set_aside(&self, kept: &Utf8Path) -> Result<()> {
        let aside = Utf8PathBuf::from(format!("{kept}{ASIDE}"));
        match fs::rename(kept, &aside) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
            // There is one already, which may be in use, too.
            Err(err) if err.kind() == io::ErrorKind::DirectoryNotEmpty => self.disk.remove(kept),
            other => other.map_err(Error::io("rename", kept)),
        }
    }

    /// Renames a layer into place; one that came first is the same.
    fn publish_directory(&self, from: &Utf8Path, to: &Utf8Path) -> Result<()> {
        match self.disk.publish(from, to) {
            Err(_) if to.is_dir() => Ok(()),
            other => other,
        }
    }

    /// What is damaged of a layer that is in the store.
    pub(crate) fn verify_layer(&self, layer: &Layer) -> Result<Option<String>> {
        let (blob, diff_id) = (self.disk.blob(&layer.blob), &layer.diff_id);
        if !holds(&blob, &layer.blob) {
            return Ok(Some(format!("`{blob}` is not there as its name says")));
        }
        let kept = self.disk.layer(diff_id);
        let (copy, directory) =
            (Temporary(self.disk.temporary()), Temporary(self.disk.temporary()));
        let archive = File::open(&blob).map_err(Error::io("read", &blob))?;
        self.unpack(archive, &copy.0, &directory.0, &|_| {})?;
        let found = difference(directory.0.as_std_path(), kept.as_std_path());
        let found = found.map_err(Error::io("read", &kept))?;
        Ok(found.map(|path| format!("`/{path}` of layer {diff_id} is not as it was unpacked")))
    }

    /// One pass: store, hash, decompress, hash, unpack.
    fn unpack(
        &self,
        archive: impl Read,
        blob: &Utf8Path,
        directory: &Utf8Path,
        progress: &dyn Fn(u64),
    ) -> Result<Layer> {
        fs::DirBuilder::new()
            .mode(0o755)
            .create(directory)
            .map_err(Error::io("make", directory))?;
        let root = layer::open_root(directory).map_err(Error::io("open", directory))?;
        rustix::fs::fchmod(&root, rustix::fs::Mode::from_raw_mode(0o755))
            .map_err(|err| Error::io("change", directory)(err.into()))?;
        let mut tee = Tee {
            reader: archive,
            writer: File::create(blob).map_err(Error::io("write", blob))?,
            hash: Sha256::new(),
            count: 0,
            progress,
        };
        let mut buffered = BufReader::with_capacity(1 << 17, &mut tee);
        let start = buffered.fill_buf().map_err(broken)?;
        let compression = Compression::detect(start);
        let (diff_id, unpacked) = self.unpack_stream(compression, &mut buffered, root)?;
        // What follows the compressed stream belongs to the blob's digest.
        io::copy(&mut buffered, &mut io::sink()).map_err(broken)?;
        drop(buffered);
        Ok(Layer {
            blob: finish(tee.hash),
            diff_id,
            size_bytes: tee.count,
            media_type: compression.media_type().to_string(),
            newest_s: unpacked.newest_s,
        })
    }

    fn unpack_stream(
        &self,
        compression: Compression,
        buffered: impl BufRead,
        root: OwnedFd,
    ) -> Result<(Digest, Unpacked)> {
        let mut hashing = Hashing {
            reader: compression.decode(buffered).map_err(broken)?,
            hash: Sha256::new(),
            count: 0,
            count_max: self.limits.size_bytes_max,
            zeros_at_end: 0,
        };
        let unpacked = layer::unpack(&mut hashing, root, &self.limits)?;
        // What follows the last entry belongs to the digest too.
        io::copy(&mut hashing, &mut io::sink()).map_err(broken)?;
        if hashing.zeros_at_end < 512 {
            let reason = "it is not a whole tar archive: the end is missing".to_owned();
            return Err(Error::Archive { reason });
        }
        Ok((finish(hashing.hash), unpacked))
    }

    /// Adds an image of layers that are in the store, bottom first, under a name. The same
    /// configuration and layers always give the same digest.
    ///
    /// # Errors
    /// When the name is none, a layer is missing, or the disk fails.
    pub fn put_image(
        &self,
        name: &str,
        mut config: ImageConfig,
        layers: &[Layer],
    ) -> Result<Image> {
        let name = reference::normalise(name)?;
        for layer in layers {
            if !self.disk.layer(&layer.diff_id).is_dir() {
                let reason = format!("the layer {} is missing", layer.diff_id);
                return Err(Error::Damaged { reason });
            }
        }
        config.rootfs.diff_ids = layers.iter().map(|layer| layer.diff_id).collect();
        let bytes = serde_json::to_vec(&config).expect("our own types are always valid JSON");
        let config_digest = self.put_blob(&bytes)?;
        let manifest = ImageManifestBuilder::default()
            .schema_version(2_u32)
            .media_type(MediaType::ImageManifest)
            .config(descriptor(MediaType::ImageConfig, bytes.len() as u64, &config_digest))
            .layers(layers.iter().map(layer_descriptor).collect::<Vec<_>>())
            .build()
            .expect("all required fields are given");
        let bytes = serde_json::to_vec(&manifest).expect("a manifest is always valid JSON");
        let digest = self.put_blob(&bytes)?;
        let reference = Reference { name: name.clone(), manifest: digest };
        let text = serde_json::to_vec(&reference).expect("our own types are always valid JSON");
        let path = self.disk.reference(&name);
        if fs::read(&path).ok().as_deref() != Some(&text) {
            self.disk.write(&path, &text)?;
        }
        load_image(self.disk, &name, &digest)
    }

    /// Adds a root file system as an image with one layer and no defaults.
    pub(crate) fn import(
        &self,
        name: &str,
        archive: impl Read,
        progress: &dyn Fn(u64),
    ) -> Result<Image> {
        reference::normalise(name)?;
        let layer = self.put_layer(archive, None, progress)?;
        let config = ImageConfig {
            created: Some(rfc3339(layer.newest_s)),
            ..ImageConfig::new(ContainerConfig::default())
        };
        self.put_image(name, config, &[layer])
    }

    fn put_blob(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        let path = self.disk.blob(&digest);
        if !holds(&path, &digest) {
            self.disk.write(&path, bytes)?;
        }
        Ok(digest)
    }
}

fn broken(err: io::Error) -> Error {
    Error::Archive { reason: err.to_string() }
}

fn descriptor(kind: MediaType, size_bytes: u64, digest: &Digest) -> Descriptor {
    let digest: oci_spec::image::Digest =
        digest.to_string().parse().expect("our digests are OCI's digests");
    Descriptor::new(kind, size_bytes, digest)
}

fn layer_descriptor(layer: &Layer) -> Descriptor {
    let kind = MediaType::from(layer.media_type.as_str());
    descriptor(kind, layer.size_bytes, &layer.blob)
}

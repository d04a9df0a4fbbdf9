//! Streams: compression by magic number, hashing and counting on the way.

use std::io::{self, BufRead, Read, Write};

use brickyard_core::Digest;
use sha2::{Digest as _, Sha256};

/// How an archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// Looks at the beginning of a stream.
    pub(crate) fn detect(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// OCI's media type of a layer.
    pub(crate) fn media_type(self) -> oci_spec::image::MediaType {
        use oci_spec::image::MediaType;
        match self {
            Self::None => MediaType::ImageLayer,
            Self::Gzip => MediaType::ImageLayerGzip,
            Self::Zstd => MediaType::ImageLayerZstd,
        }
    }

    /// The uncompressed stream. Several members or frames in a row are one stream.
    pub(crate) fn decode<'a>(self, reader: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Self::None => Box::new(reader),
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(reader)?),
        })
    }
}

/// Copies what is read to a writer, hashes it and tells how much it was.
pub(crate) struct Tee<'a, R, W> {
    pub(crate) reader: R,
    pub(crate) writer: W,
    pub(crate) hash: Sha256,
    pub(crate) count: u64,
    pub(crate) progress: &'a dyn Fn(u64),
}

impl<R: Read, W: Write> Read for Tee<'_, R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(buffer)?;
        self.writer.write_all(&buffer[..length])?;
        self.hash.update(&buffer[..length]);
        self.count += length as u64;
        (self.progress)(self.count);
        Ok(length)
    }
}

/// Hashes what is read, up to a limit, and remembers how many zeros it ends with.
pub(crate) struct Hashing<R> {
    pub(crate) reader: R,
    pub(crate) hash: Sha256,
    pub(crate) count: u64,
    pub(crate) count_max: u64,
    pub(crate) zeros_at_end: u64,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(buffer)?;
        let data = &buffer[..length];
        self.hash.update(data);
        self.count += length as u64;
        if self.count > self.count_max {
            let message = format!("it unpacks to more than {} bytes", self.count_max);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        let zeros = data.iter().rev().take_while(|byte| **byte == 0).count();
        self.zeros_at_end = match zeros == length {
            true => self.zeros_at_end + zeros as u64,
            false => zeros as u64,
        };
        Ok(length)
    }
}

/// A finished hash as a digest.
pub(crate) fn finish(hash: Sha256) -> Digest {
    Digest::from_bytes(hash.finalize().into())
}

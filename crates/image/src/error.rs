//! What can go wrong with images.

use std::io;

use brickyard_core::Digest;
use camino::Utf8PathBuf;

/// Why something about an image failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system said no.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was tried, as in "read".
        action: &'static str,
        /// Where.
        path: Utf8PathBuf,
        /// What it said.
        #[source]
        err: io::Error,
    },
    /// The text is no image name.
    #[error("`{name}` is not an image name: {rule}")]
    Name {
        /// The text.
        name: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// There is no such image.
    #[error("there is no image `{name}`")]
    NotFound {
        /// What was asked for.
        name: String,
        /// The name that was most likely meant.
        nearest: Option<String>,
    },
    /// The beginning of a digest fits several images.
    #[error("`{prefix}` is the beginning of {count} digests")]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// How many it fits.
        count: usize,
    },
    /// Content is not what its digest says.
    #[error("the content has the digest {found} and should have {expected}")]
    Mismatch {
        /// The digest that was asked for.
        expected: Digest,
        /// The digest that the content has.
        found: Digest,
    },
    /// Something that should be in the store is missing or unreadable.
    #[error("the image store is damaged: {reason}")]
    Damaged {
        /// What is wrong.
        reason: String,
    },
    /// The archive as a whole cannot be read.
    #[error("cannot read the archive: {reason}")]
    Archive {
        /// What is wrong.
        reason: String,
    },
    /// One entry of an archive cannot be unpacked.
    #[error("cannot unpack `{entry}`: {reason}")]
    Entry {
        /// Its path in the archive.
        entry: String,
        /// What is wrong.
        reason: String,
    },
}

impl Error {
    /// Wraps what the file system said.
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<Utf8PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |err| Self::Io { action, path, err }
    }

    /// What the user may do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { nearest: Some(name), .. } => {
                Some(format!("an image named `{name}` exists; did you mean that?"))
            }
            Self::NotFound { nearest: None, .. } => {
                Some("`brickyard image ls` shows all images".to_owned())
            }
            Self::Ambiguous { .. } => Some("write more digits".to_owned()),
            Self::Damaged { .. } => Some(
                "`brickyard image import` or `brickyard build` once more makes an image whole again"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

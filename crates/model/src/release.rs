//! A release: a model and the digests of its images, frozen.

use std::collections::BTreeMap;

use brickyard_core::{Digest, ServiceName};
use serde::{Deserialize, Serialize};

use crate::types::System;

/// What a deploy brings an environment to. It never changes; its name is its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The model, templates included.
    pub system: System,
    /// Manifest digest of every service's image.
    pub images: BTreeMap<ServiceName, Digest>,
}

impl Release {
    /// Its content address.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of_json(self)
    }
}

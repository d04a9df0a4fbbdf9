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

    /// This release, with everything of a former one that it does not name left as it is.
    #[must_use]
    pub fn over(mut self, former: &Self) -> Self {
        let (system, before) = (&mut self.system, &former.system);
        for (name, service) in &before.services {
            if !system.services.contains_key(name) {
                system.services.insert(name.clone(), service.clone());
                self.images.extend(former.images.get_key_value(name).map(|(n, i)| (n.clone(), *i)));
            }
        }
        for volume in &before.volumes {
            if !system.volumes.contains(volume) {
                system.volumes.push(volume.clone());
            }
        }
        for (key, value) in &before.config {
            system.config.entry(key.clone()).or_insert_with(|| value.clone());
        }
        for (name, endpoints) in &before.external {
            system.external.entry(name.clone()).or_insert_with(|| endpoints.clone());
        }
        self
    }
}

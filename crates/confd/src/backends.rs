//! The backends of a run: the command line's, and those that resources have of their own.

use std::collections::{BTreeMap, BTreeSet};

use brickyard_source::Config;

use crate::resource::Resource;
use crate::settings::Settings;

/// What a resource says of its own backend.
type Own = Option<BTreeMap<String, Vec<String>>>;

/// Backends by number, each with all that is read of it.
#[derive(Debug, Default)]
pub(crate) struct Backends {
    numbers: BTreeMap<Own, usize>,
    all: Vec<(Config, BTreeSet<String>)>,
}

impl Backends {
    /// The number of a resource's backend, of which its keys are read.
    pub(crate) fn number(
        &mut self,
        resource: &Resource,
        settings: &Settings,
    ) -> Result<usize, String> {
        let own = &resource.backend;
        let number = match self.numbers.get(own) {
            Some(number) => *number,
            None => {
                let config = settings.source(own.as_ref()).map_err(|text| {
                    format!("Cannot process template resource {}: {text}", resource.path)
                })?;
                let known = self.all.iter().position(|(known, _)| *known == config);
                let number = known.unwrap_or(self.all.len());
                if number == self.all.len() {
                    self.all.push((config, BTreeSet::new()));
                }
                self.numbers.insert(own.clone(), number);
                number
            }
        };
        if let Some((_, all)) = self.all.get_mut(number) {
            all.extend(resource.keys.iter().cloned());
        }
        Ok(number)
    }

    /// All of them, in the order of their numbers.
    pub(crate) fn into_all(self) -> impl Iterator<Item = (Config, Vec<String>)> {
        self.all.into_iter().map(|(config, paths)| (config, paths.into_iter().collect()))
    }
}

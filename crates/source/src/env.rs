//! Environment variables as keys, the way confd maps them.
//!
//! The path `/db/host` is the variable `DB_HOST`, and covers every variable whose name begins so;
//! in the name of a key each `_` is a `/` again, so a key with an underscore cannot be named. Where
//! it is asked for, `__` stands for an underscore of the key.

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Config, Entries, Result, Source, Watching};

/// Environment variables, as they were when this was made.
#[derive(Debug)]
pub struct Environment {
    /// Sorted by name.
    variables: Vec<(String, Bytes)>,
    double_underscore: bool,
}

impl Environment {
    /// The variables of a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let variables = config.environment.iter();
        Self {
            variables: variables
                .map(|(name, value)| (name.clone(), Bytes::copy_from_slice(value.as_bytes())))
                .collect(),
            double_underscore: config.double_underscore,
        }
    }

    /// How the names of the variables begin that a path covers.
    fn name(&self, path: &str) -> String {
        let path = path.strip_prefix('/').unwrap_or(path);
        let path = if self.double_underscore { path.replace('_', "__") } else { path.to_owned() };
        path.replace('/', "_").to_uppercase()
    }

    fn key(&self, name: &str) -> String {
        let name = name.to_lowercase();
        if !self.double_underscore {
            return format!("/{}", name.replace('_', "/"));
        }
        let parts: Vec<String> = name.split("__").map(|part| part.replace('_', "/")).collect();
        format!("/{}", parts.join("_"))
    }

    /// All variables that the paths cover.
    #[must_use]
    pub fn entries(&self, paths: &[String]) -> Entries {
        let names: Vec<String> = paths.iter().map(|path| self.name(path)).collect();
        let covered =
            self.variables.iter().filter(|(name, _)| names.iter().any(|n| name.starts_with(n)));
        covered.map(|(name, value)| (self.key(name), value.clone())).collect()
    }
}

#[async_trait]
impl Source for Environment {
    fn name(&self) -> &'static str {
        "env"
    }

    async fn read(&self, paths: &[String]) -> Result<Entries> {
        Ok(self.entries(paths))
    }

    async fn watch(&self, _: &[String]) -> Result<Watching> {
        Ok(Watching::Poll("variables of a process do not change".to_owned()))
    }
}

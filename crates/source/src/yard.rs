//! The configuration and registry of a yard's environment, from the agent that runs it.
//!
//! The agent tells the whole of it each time something changes: it is small, and nothing can be
//! missed.

use async_trait::async_trait;
use brickyard_api::{Client, ClientError, DataView, EnvironmentView, Lines};
use camino::Utf8PathBuf;

use crate::paths::Paths;
use crate::{Backend, Config, Entries, Error, Result, Source, Update, Watch, Watching};

/// An environment that an agent on this machine runs.
#[derive(Debug, Clone)]
pub struct Yard {
    client: Client,
    root: Utf8PathBuf,
    /// `SYSTEM/ENVIRONMENT` or `ENVIRONMENT`; where nobody says, the only one that runs.
    name: String,
}

impl Yard {
    /// The yard at the first node, its directory. Nothing is asked yet.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let root = match config.variable("BRICKYARD_ROOT") {
            Some(root) if config.nodes == Backend::Brickyard.default_nodes() => root,
            _ => config.nodes.first().map_or("", String::as_str),
        };
        let root = Utf8PathBuf::from(root);
        Self { client: Client::new(&root), root, name: config.yard.clone() }
    }

    /// What went wrong, as a source says it.
    fn error(&self, err: &ClientError) -> Error {
        let (node, reason) = (self.root.to_string(), err.to_string());
        match err {
            // One that is not up yet may be soon.
            ClientError::Refused { status: 404, .. }
            | ClientError::NoAgent { .. }
            | ClientError::Broken(_) => Error::Unavailable { node, reason },
            ClientError::Refused { .. } => Error::Refused { node, reason },
        }
    }

    /// Where the environment's data is.
    async fn path(&self) -> Result<String> {
        let place = |system: &str, environment: &str| {
            format!("/v1/environments/{system}/{environment}/data")
        };
        let name = self.name.trim_matches('/');
        if let Some((system, environment)) = name.split_once('/') {
            return Ok(place(system, environment));
        }
        let running: Vec<EnvironmentView> =
            self.client.get("/v1/environments").await.map_err(|err| self.error(&err))?;
        let found: Vec<&EnvironmentView> =
            running.iter().filter(|view| name.is_empty() || view.environment == name).collect();
        let unavailable =
            |reason: String| Error::Unavailable { node: self.root.to_string(), reason };
        match (&*found, name) {
            ([one], _) => Ok(place(&one.system, &one.environment)),
            ([], "") => Err(unavailable("nothing runs in this yard".to_owned())),
            ([], name) => Err(unavailable(format!("no environment `{name}` runs in this yard"))),
            (several, _) => {
                let names: Vec<String> = several
                    .iter()
                    .map(|view| format!("{}/{}", view.system, view.environment))
                    .collect();
                Err(Error::Config {
                    message: format!("several environments run: {}", names.join(", ")),
                    hint: Some("name one with -yard SYSTEM/ENVIRONMENT".to_owned()),
                })
            }
        }
    }
}

/// What the paths cover of an environment's data.
fn entries(data: DataView, paths: &Paths) -> Entries {
    let all = data.config.into_iter().chain(data.registry);
    let covered = all.filter(|(key, _)| paths.cover(key));
    covered.map(|(key, value)| (key, value.into())).collect()
}

#[async_trait]
impl Source for Yard {
    fn name(&self) -> &'static str {
        "brickyard"
    }

    async fn read(&self, paths: &[String]) -> Result<Entries> {
        let data = self.client.get(&self.path().await?).await;
        Ok(entries(data.map_err(|err| self.error(&err))?, &Paths::new(paths)))
    }

    async fn watch(&self, paths: &[String]) -> Result<Watching> {
        let path = format!("{}?follow=true", self.path().await?);
        let lines = self.client.follow::<()>(&path, None).await;
        let lines = lines.map_err(|err| self.error(&err))?;
        let paths = Paths::new(paths);
        Ok(Watching::Watch(Box::new(YardWatch { yard: self.clone(), paths, lines, last: None })))
    }
}

struct YardWatch {
    yard: Yard,
    paths: Paths,
    lines: Lines,
    last: Option<Entries>,
}

#[async_trait]
impl Watch for YardWatch {
    async fn next(&mut self) -> Result<Update> {
        loop {
            // Cancel safe: what has come of a line is kept.
            let data = self.lines.next::<DataView>().await.map_err(|err| self.yard.error(&err))?;
            let Some(data) = data else {
                let reason = "the environment is gone, or its agent".to_owned();
                return Err(Error::Unavailable { node: self.yard.root.to_string(), reason });
            };
            let entries = entries(data, &self.paths);
            // Of what changes, other paths may be all.
            if self.last.as_ref() != Some(&entries) {
                self.last = Some(entries.clone());
                return Ok(Update::All(entries));
            }
        }
    }
}

//! The fake: keys in memory, and failures on request.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Notify;

use crate::{Entries, Error, Result, Source, Update, Watch, Watching, covers};

/// Keys in memory; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    entries: Entries,
    /// Every change there was, in order.
    history: Vec<(String, Option<Bytes>)>,
    /// Counts failures: watches that began before one have failed.
    failures: u64,
    is_away: bool,
}

impl Memory {
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let done = work(&mut state);
        drop(state);
        self.shared.changed.notify_waiters();
        done
    }

    /// Sets a key.
    pub fn set(&self, key: &str, value: impl Into<Bytes>) {
        let value = value.into();
        self.with(|state| {
            state.entries.insert(key.to_owned(), value.clone());
            state.history.push((key.to_owned(), Some(value)));
        });
    }

    /// Removes a key.
    pub fn remove(&self, key: &str) {
        self.with(|state| {
            if state.entries.remove(key).is_some() {
                state.history.push((key.to_owned(), None));
            }
        });
    }

    /// Ends all watches, and answers nobody until [`Memory::come_back`].
    pub fn go_away(&self) {
        self.with(|state| {
            state.is_away = true;
            state.failures += 1;
        });
    }

    /// Answers again.
    pub fn come_back(&self) {
        self.with(|state| state.is_away = false);
    }
}

fn away() -> Error {
    Error::Unavailable { node: "memory".to_owned(), reason: "it is away".to_owned() }
}

fn covered(paths: &[String], key: &str) -> bool {
    paths.iter().any(|path| covers(path, key))
}

fn all(state: &State, paths: &[String]) -> Entries {
    let entries = state.entries.iter().filter(|(key, _)| covered(paths, key));
    entries.map(|(key, value)| (key.clone(), value.clone())).collect()
}

#[async_trait]
impl Source for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    async fn read(&self, paths: &[String]) -> Result<Entries> {
        self.with(|state| if state.is_away { Err(away()) } else { Ok(all(state, paths)) })
    }

    async fn watch(&self, paths: &[String]) -> Result<Watching> {
        let begun = self.with(|state| match state.is_away {
            true => Err(away()),
            false => Ok((all(state, paths), state.history.len(), state.failures)),
        });
        let (first, seen, failures) = begun?;
        let paths = paths.to_vec();
        Ok(Watching::Watch(Box::new(MemoryWatch {
            source: self.clone(),
            paths,
            first: Some(first),
            seen,
            failures,
        })))
    }
}

struct MemoryWatch {
    source: Memory,
    paths: Vec<String>,
    first: Option<Entries>,
    seen: usize,
    failures: u64,
}

#[async_trait]
impl Watch for MemoryWatch {
    async fn next(&mut self) -> Result<Update> {
        if let Some(first) = self.first.take() {
            return Ok(Update::All(first));
        }
        let shared = Arc::clone(&self.source.shared);
        loop {
            let mut changed = std::pin::pin!(shared.changed.notified());
            changed.as_mut().enable();
            let more = {
                let state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
                if state.failures != self.failures {
                    return Err(away());
                }
                let more: Vec<_> = state.history[self.seen..]
                    .iter()
                    .filter(|(key, _)| covered(&self.paths, key))
                    .cloned()
                    .collect();
                self.seen = state.history.len();
                more
            };
            if !more.is_empty() {
                return Ok(Update::Some(more));
            }
            changed.await;
        }
    }
}

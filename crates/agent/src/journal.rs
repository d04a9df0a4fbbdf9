//! The journal: what happened, written in the same transaction as what it changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use brickyard_core::clock::Clock;
use brickyard_core::{Address, Event, EventKind};
use brickyard_store::{Outcome, Store, Txn};
use tokio::sync::{Mutex, watch};

use crate::keys;

/// Events kept; older ones are dropped as new ones come.
const EVENTS_MAX: u64 = 10_000;

/// An event that has no place in the journal yet.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) kind: EventKind,
    pub(crate) address: Option<Address>,
    pub(crate) details: BTreeMap<String, String>,
}

impl Draft {
    pub(crate) fn new(kind: EventKind, address: Address) -> Self {
        Self { kind, address: Some(address), details: BTreeMap::new() }
    }

    pub(crate) fn yard(kind: EventKind) -> Self {
        Self { kind, address: None, details: BTreeMap::new() }
    }

    pub(crate) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.details.insert(name.to_owned(), value.to_string());
        self
    }
}

/// Gives events their cursors. One commit at a time, so that cursors are seen in their order.
pub(crate) struct Journal {
    pen: Arc<Pen>,
}

/// What writes; it outlives a caller that does not wait for its answer.
struct Pen {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    next: Mutex<u64>,
    broken: watch::Sender<Option<brickyard_store::Error>>,
}

impl Journal {
    /// Goes on after the newest event.
    pub(crate) async fn open(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, brickyard_store::Error> {
        let newest = store.range(keys::JOURNAL).await?;
        let last = newest
            .entries
            .last()
            .and_then(|entry| entry.key.strip_prefix(keys::JOURNAL)?.parse::<u64>().ok());
        let next = Mutex::new(last.map_or(1, |cursor| cursor + 1));
        let broken = watch::channel(None).0;
        Ok(Self { pen: Arc::new(Pen { store, clock, next, broken }) })
    }

    /// Resolves when the store takes no more writes, as after a full disk: only opening it anew
    /// helps.
    pub(crate) async fn broken(&self) -> brickyard_store::Error {
        let mut broken = self.pen.broken.subscribe();
        match broken.wait_for(Option::is_some).await.map(|found| found.clone()) {
            Ok(Some(error)) => error,
            // The sender lives as long as this does.
            _ => std::future::pending().await,
        }
    }

    /// Writes one event by itself.
    pub(crate) async fn note(&self, event: Draft) -> Result<(), brickyard_store::Error> {
        self.commit(Txn::new(), vec![event]).await.map(drop)
    }

    /// The number that the next event gets.
    pub(crate) async fn cursor(&self) -> u64 {
        *self.pen.next.lock().await
    }

    /// Commits a transaction with its events. A caller that is dropped meanwhile, as when the agent
    /// ends, stops nothing: a transaction may be on disk already, and the next event must not get
    /// the cursor of one of its.
    pub(crate) async fn commit(
        &self,
        txn: Txn,
        events: Vec<Draft>,
    ) -> Result<Outcome, brickyard_store::Error> {
        let pen = Arc::clone(&self.pen);
        match tokio::spawn(async move { pen.commit(txn, events).await }).await {
            Ok(done) => done,
            Err(err) => match err.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime ends, and whoever asked with it.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

impl Pen {
    async fn commit(
        &self,
        mut txn: Txn,
        events: Vec<Draft>,
    ) -> Result<Outcome, brickyard_store::Error> {
        let mut next = self.next.lock().await;
        let mut cursor = *next;
        for draft in events {
            let event = Event {
                cursor,
                time_ms: self.clock.now_ms(),
                kind: draft.kind,
                address: draft.address,
                details: draft.details,
            };
            let value = serde_json::to_vec(&event).unwrap_or_default();
            txn = txn.put(keys::event(cursor), value);
            if let Some(old) = cursor.checked_sub(EVENTS_MAX) {
                txn = txn.delete(keys::event(old));
            }
            cursor += 1;
        }
        let outcome = self.store.txn(txn).await.inspect_err(|error| {
            if error.is_fatal() {
                self.broken.send_replace(Some(error.clone()));
            }
        })?;
        if matches!(outcome, Outcome::Committed { .. }) {
            *next = cursor;
        }
        Ok(outcome)
    }
}

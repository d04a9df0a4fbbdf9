//! What is open, made equal to the snapshot.
//!
//! [`State::reconcile`] is level-triggered: it closes what is not wanted, tells running parts what
//! changed and opens what is missing. It runs for every snapshot and once a second, so what could
//! not be opened heals by itself and a namespace that was made anew is found.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};

use camino::Utf8PathBuf;

use crate::dns::ServedZone;
use crate::listen::Published;
use crate::{Listener, Problem, Snapshot, Zone};

type ZoneKey = (Utf8PathBuf, Ipv4Addr);

/// Everything that the front has open.
#[derive(Default)]
pub(crate) struct State {
    snapshot: Snapshot,
    listeners: BTreeMap<SocketAddr, Published>,
    zones: BTreeMap<ZoneKey, ServedZone>,
    problems: Vec<Problem>,
}

impl State {
    /// Brings a snapshot into force.
    pub(crate) async fn apply(&mut self, snapshot: Snapshot) {
        self.snapshot = snapshot;
        self.reconcile().await;
    }

    /// The snapshot in force.
    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// What of it could not be brought about.
    pub(crate) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Closes everything.
    pub(crate) async fn close(&mut self) {
        self.apply(Snapshot::default()).await;
    }

    /// Makes what is open equal to the snapshot.
    pub(crate) async fn reconcile(&mut self) {
        self.problems.clear();
        self.close_unwanted().await;
        let snapshot = std::mem::take(&mut self.snapshot);
        let mut owners: BTreeMap<SocketAddr, &str> = BTreeMap::new();
        for listener in &snapshot.listeners {
            match owners.get(&listener.listen) {
                None => {
                    owners.insert(listener.listen, &listener.owner);
                    self.publish(listener);
                }
                Some(owner) => self.problems.push(Problem {
                    owner: listener.owner.clone(),
                    text: format!("{} is published by `{owner}` already", listener.listen),
                    taken: None,
                }),
            }
        }
        for zone in &snapshot.zones {
            self.serve(zone).await;
        }
        self.snapshot = snapshot;
    }

    /// Closing comes first: what is opened next may want the same address.
    async fn close_unwanted(&mut self) {
        let wanted: BTreeSet<SocketAddr> =
            self.snapshot.listeners.iter().map(|listener| listener.listen).collect();
        let gone: Vec<SocketAddr> =
            self.listeners.keys().filter(|listen| !wanted.contains(listen)).copied().collect();
        for listen in gone {
            if let Some(published) = self.listeners.remove(&listen) {
                published.close().await;
            }
        }
        let wanted: BTreeSet<ZoneKey> = self.snapshot.zones.iter().map(key_of).collect();
        let is_kept = |key: &ZoneKey, zone: &ServedZone| wanted.contains(key) && zone.is_current();
        let gone: Vec<ZoneKey> = self
            .zones
            .iter()
            .filter(|(key, zone)| !is_kept(key, zone))
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            if let Some(zone) = self.zones.remove(&key) {
                zone.close().await;
            }
        }
    }

    fn publish(&mut self, listener: &Listener) {
        if let Some(published) = self.listeners.get(&listener.listen) {
            published.set_backends(&listener.backends);
            return;
        }
        match Published::open(listener.listen, &listener.backends) {
            Ok(published) => {
                self.listeners.insert(listener.listen, published);
            }
            Err(err) => self.problems.push(Problem {
                owner: listener.owner.clone(),
                text: format!("cannot listen on {}: {err}", listener.listen),
                taken: (err.kind() == ErrorKind::AddrInUse).then_some(listener.listen),
            }),
        }
    }

    async fn serve(&mut self, zone: &Zone) {
        let key = key_of(zone);
        if let Some(served) = self.zones.get(&key) {
            served.set_names(&zone.names);
            return;
        }
        match ServedZone::open(zone).await {
            Ok(served) => {
                self.zones.insert(key, served);
            }
            Err(err) => self.problems.push(Problem {
                owner: zone.owner.clone(),
                text: format!(
                    "cannot serve names on {} in `{}`: {err}",
                    zone.listen, zone.namespace
                ),
                taken: None,
            }),
        }
    }
}

fn key_of(zone: &Zone) -> ZoneKey {
    (zone.namespace.clone(), zone.listen)
}

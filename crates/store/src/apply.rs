//! What a transaction does, decided once for all embedded stores.
//!
//! [`apply`] checks everything before it changes anything, so a request that is refused leaves
//! the tables and the leases as they were.

use crate::error::Error;
use crate::lease::{LeaseId, Leases};
use crate::types::{Batch, Change, Compare, KeyValue, Operation, Outcome, Revision, Txn};

/// The keys of a store, as a transaction sees and changes them.
pub(crate) trait Tables {
    fn get(&self, key: &str) -> Result<Option<KeyValue>, Error>;
    /// The keys under a prefix, in order.
    fn keys(&self, prefix: &str) -> Result<Vec<String>, Error>;
    fn put(&mut self, entry: &KeyValue) -> Result<(), Error>;
    /// Deletes a key; the entry that was there is given back.
    fn delete(&mut self, key: &str) -> Result<Option<KeyValue>, Error>;
}

/// Carries out a transaction on top of `revision`.
///
/// The batch is there when something changed; its revision is then `revision + 1`.
pub(crate) fn apply(
    tables: &mut impl Tables,
    leases: &mut Leases,
    revision: Revision,
    txn: &Txn,
) -> Result<(Outcome, Option<Batch>), Error> {
    for compare in &txn.compares {
        if !holds(tables, compare)? {
            return Ok((Outcome::Conflict { revision }, None));
        }
    }
    for operation in &txn.operations {
        if let Operation::Put { lease: Some(lease), .. } = operation {
            leases.check(*lease)?;
        }
    }
    let mut step = Step { tables, leases, revision: revision + 1, changes: Vec::new() };
    for operation in &txn.operations {
        step.operation(operation)?;
    }
    let changes = step.changes;
    Ok(finish(revision, changes))
}

/// Ends a lease on top of `revision`, and deletes its keys.
pub(crate) fn revoke(
    tables: &mut impl Tables,
    leases: &mut Leases,
    revision: Revision,
    lease: LeaseId,
) -> Result<Option<Batch>, Error> {
    let keys = leases.remove(lease)?;
    let mut step = Step { tables, leases, revision: revision + 1, changes: Vec::new() };
    for key in &keys {
        step.delete(key)?;
    }
    let changes = step.changes;
    Ok(finish(revision, changes).1)
}

fn finish(revision: Revision, changes: Vec<Change>) -> (Outcome, Option<Batch>) {
    if changes.is_empty() {
        return (Outcome::Committed { revision }, None);
    }
    let revision = revision + 1;
    (Outcome::Committed { revision }, Some(Batch { revision, changes }))
}

fn holds(tables: &impl Tables, compare: &Compare) -> Result<bool, Error> {
    let found = tables.get(compare.key())?;
    Ok(match compare {
        Compare::Absent { .. } => found.is_none(),
        Compare::Exists { .. } => found.is_some(),
        Compare::ModRevision { revision, .. } => {
            found.map_or(0, |entry| entry.mod_revision) == *revision
        }
    })
}

/// One transaction under way.
struct Step<'a, T> {
    tables: &'a mut T,
    leases: &'a mut Leases,
    revision: Revision,
    changes: Vec<Change>,
}

impl<T: Tables> Step<'_, T> {
    fn operation(&mut self, operation: &Operation) -> Result<(), Error> {
        match operation {
            Operation::Put { key, value, lease } => {
                let old = self.tables.get(key)?;
                let entry = KeyValue {
                    key: key.clone(),
                    value: value.clone(),
                    create_revision: old.as_ref().map_or(self.revision, |old| old.create_revision),
                    mod_revision: self.revision,
                    lease: *lease,
                };
                self.tables.put(&entry)?;
                self.leases.attach(key, old.and_then(|old| old.lease), *lease);
                self.changes.push(Change::Put(entry));
                Ok(())
            }
            Operation::Delete { key } => self.delete(key),
            Operation::DeletePrefix { prefix } => {
                let keys = self.tables.keys(prefix)?;
                keys.iter().try_for_each(|key| self.delete(key))
            }
        }
    }

    fn delete(&mut self, key: &str) -> Result<(), Error> {
        if let Some(old) = self.tables.delete(key)? {
            self.leases.attach(key, old.lease, None);
            self.changes.push(Change::Delete { key: key.to_owned() });
        }
        Ok(())
    }
}

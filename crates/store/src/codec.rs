//! The bytes on disk: entries of the key table and of the log.
//!
//! Entry: create revision, modify revision, lease (0 for none), each 8 bytes little endian, then
//! the value. Log record: for each change a tag (0 delete, 1 put), the key's length in 4 bytes and
//! the key; a put goes on with create revision, lease, the value's length in 4 bytes and the value.
//! The modify revision of a logged put is the log's key.

use bytes::Bytes;

use crate::error::Error;
use crate::lease::LeaseId;
use crate::types::{Batch, Change, KeyValue, Revision};

const TAG_DELETE: u8 = 0;
const TAG_PUT: u8 = 1;

pub(crate) fn encode_entry(entry: &KeyValue) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(24 + entry.value.len());
    bytes.extend(entry.create_revision.to_le_bytes());
    bytes.extend(entry.mod_revision.to_le_bytes());
    bytes.extend(lease_number(entry.lease).to_le_bytes());
    bytes.extend(&entry.value);
    bytes
}

pub(crate) fn decode_entry(key: &str, bytes: &[u8]) -> Result<KeyValue, Error> {
    let mut reader = Reader(bytes);
    Ok(KeyValue {
        key: key.to_owned(),
        create_revision: reader.number()?,
        mod_revision: reader.number()?,
        lease: reader.lease()?,
        value: Bytes::copy_from_slice(reader.0),
    })
}

pub(crate) fn encode_batch(batch: &Batch) -> Vec<u8> {
    let mut bytes = Vec::new();
    for change in &batch.changes {
        match change {
            Change::Delete { key } => {
                bytes.push(TAG_DELETE);
                push_text(&mut bytes, key.as_bytes());
            }
            Change::Put(entry) => {
                bytes.push(TAG_PUT);
                push_text(&mut bytes, entry.key.as_bytes());
                bytes.extend(entry.create_revision.to_le_bytes());
                bytes.extend(lease_number(entry.lease).to_le_bytes());
                push_text(&mut bytes, &entry.value);
            }
        }
    }
    bytes
}

pub(crate) fn decode_batch(revision: Revision, bytes: &[u8]) -> Result<Batch, Error> {
    let mut reader = Reader(bytes);
    let mut changes = Vec::new();
    while !reader.0.is_empty() {
        let tag = reader.take(1)?[0];
        let key = reader.text()?;
        let key = String::from_utf8(key.to_vec()).map_err(|_| damaged("a key is not UTF-8"))?;
        changes.push(match tag {
            TAG_DELETE => Change::Delete { key },
            TAG_PUT => Change::Put(KeyValue {
                key,
                create_revision: reader.number()?,
                mod_revision: revision,
                lease: reader.lease()?,
                value: Bytes::copy_from_slice(reader.text()?),
            }),
            _ => return Err(damaged("a log record has an unknown tag")),
        });
    }
    Ok(Batch { revision, changes })
}

fn lease_number(lease: Option<LeaseId>) -> i64 {
    lease.map_or(0, |lease| lease.0)
}

fn push_text(bytes: &mut Vec<u8>, text: &[u8]) {
    // A transaction is at most 1.5 MiB, so a part of it fits.
    let length = u32::try_from(text.len()).expect("keys and values are shorter than 4 GiB");
    bytes.extend(length.to_le_bytes());
    bytes.extend(text);
}

fn damaged(reason: &str) -> Error {
    Error::Corrupted { reason: reason.to_owned() }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (head, rest) =
            self.0.split_at_checked(count).ok_or_else(|| damaged("a record is cut short"))?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let head = self.take(N)?;
        head.try_into().map_err(|_| damaged("a record is cut short"))
    }

    fn number(&mut self) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn lease(&mut self) -> Result<Option<LeaseId>, Error> {
        let number = i64::from_le_bytes(self.array()?);
        Ok((number != 0).then_some(LeaseId(number)))
    }

    fn text(&mut self) -> Result<&'a [u8], Error> {
        let length = u32::from_le_bytes(self.array()?);
        self.take(usize::try_from(length).map_err(|_| damaged("a record is cut short"))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> KeyValue {
        KeyValue {
            key: "/ä".to_owned(),
            value: Bytes::from_static(b"\0\xff"),
            create_revision: 3,
            mod_revision: 9,
            lease: Some(LeaseId(7)),
        }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let batch = Batch {
            revision: 9,
            changes: vec![Change::Put(entry()), Change::Delete { key: "/b".to_owned() }],
        };
        assert_eq!(decode_batch(9, &encode_batch(&batch)).unwrap(), batch);
        assert_eq!(decode_entry("/ä", &encode_entry(&entry())).unwrap(), entry());
    }

    #[test]
    fn cut_records_are_damage_and_not_a_panic() {
        let batch = Batch { revision: 9, changes: vec![Change::Put(entry())] };
        let bytes = encode_batch(&batch);
        for length in 1..bytes.len() {
            let error = decode_batch(9, &bytes[..length]).unwrap_err();
            assert!(matches!(error, Error::Corrupted { .. }), "{length}: {error}");
        }
    }
}

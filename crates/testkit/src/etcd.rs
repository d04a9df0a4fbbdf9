//! A real etcd, and its own JSON gateway as another way in than the one that is tested.

use std::ops::{Deref, DerefMut};

use serde_json::{Value, json};

use crate::net::post;
use crate::server::Server;
use crate::wait::{DEADLINE, wait_for};

/// An etcd, alone in its cluster.
#[derive(Debug)]
pub struct Etcd(Server);

impl Etcd {
    /// Starts one.
    ///
    /// # Panics
    /// When it is not installed, or does not answer.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with("http", &[])
    }

    /// Starts one whose clients come with `http` or `https`, with more flags.
    ///
    /// # Panics
    /// When it is not installed, or does not answer.
    #[must_use]
    pub fn start_with(scheme: &str, more: &[&str]) -> Self {
        Self(Server::start("etcd", "etcd-server", 2, |directory, ports| {
            let client = format!("{scheme}://127.0.0.1:{}", ports[0]);
            let peer = format!("http://127.0.0.1:{}", ports[1]);
            let flags = [
                ("data-dir", directory.to_string()),
                ("listen-client-urls", client.clone()),
                ("advertise-client-urls", client),
                ("listen-peer-urls", peer.clone()),
                ("initial-advertise-peer-urls", peer.clone()),
                ("initial-cluster", format!("default={peer}")),
            ];
            let more = more.iter().map(ToString::to_string);
            let flags = flags.into_iter().flat_map(|(name, value)| [format!("--{name}"), value]);
            flags.chain(more).collect()
        }))
    }

    /// Sets a key.
    pub fn put(&self, key: &str, value: impl AsRef<[u8]>) {
        let body = json!({"key": base64(key.as_bytes()), "value": base64(value.as_ref())});
        let _ = self.ask("kv/put", &body);
    }

    /// Removes a key.
    pub fn delete(&self, key: &str) {
        let _ = self.ask("kv/deleterange", &json!({"key": base64(key.as_bytes())}));
    }

    /// Forgets all history.
    ///
    /// # Panics
    /// When it says no.
    pub fn compact(&self) {
        let answer = self.ask("kv/range", &json!({"key": base64(b"/"), "count_only": true}));
        let revision = &answer["header"]["revision"];
        assert!(revision.is_string(), "{answer}");
        let _ = self.ask("kv/compaction", &json!({"revision": revision}));
    }

    /// Asks its JSON gateway for `/v3/WHAT`. Just after its start it may not answer yet.
    ///
    /// # Panics
    /// When it says no.
    #[must_use]
    pub fn ask(&self, what: &str, body: &Value) -> Value {
        wait_for("etcd answers", DEADLINE, || {
            let (status, answer) =
                post(self.port(), &format!("/v3/{what}"), &body.to_string()).ok()?;
            assert!(matches!(status, 200 | 503), "{status}: {answer}");
            (status == 200).then(|| serde_json::from_str(&answer).expect("it is JSON"))
        })
    }
}

impl Deref for Etcd {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.0
    }
}

impl DerefMut for Etcd {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.0
    }
}

/// Bytes as the gateway spells them.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut group = [0; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let number = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for at in 0..4 {
            let digit = DIGITS[(number >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

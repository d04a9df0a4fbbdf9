//! What the contract is held against: a source, and a way to change what it reads.

use std::process::Command;
use std::sync::Arc;

use async_trait::async_trait;
use brickyard_source::{Backend, Config, Memory, Source, connect};
use brickyard_testkit::Server;

/// A source with its other side.
#[async_trait]
pub(crate) trait Subject: Send {
    /// A new connection.
    async fn source(&self) -> Arc<dyn Source>;
    /// Sets a key from outside.
    async fn set(&self, key: &str, value: &[u8]);
    /// Removes a key from outside.
    async fn remove(&self, key: &str);
    /// Ends the server.
    async fn go_away(&mut self);
    /// Starts it again.
    async fn come_back(&mut self);
}

pub(crate) struct InMemory(pub(crate) Memory);

#[async_trait]
impl Subject for InMemory {
    async fn source(&self) -> Arc<dyn Source> {
        Arc::new(self.0.clone())
    }

    async fn set(&self, key: &str, value: &[u8]) {
        self.0.set(key, value.to_vec());
    }

    async fn remove(&self, key: &str) {
        self.0.remove(key);
    }

    async fn go_away(&mut self) {
        self.0.go_away();
    }

    async fn come_back(&mut self) {
        self.0.come_back();
    }
}

pub(crate) struct InEtcd(pub(crate) Server);

impl InEtcd {
    /// etcd's own JSON gateway: another way in than the one that is tested.
    fn ask(&self, path: &str, body: &str) {
        let url = format!("http://{}/v3/kv/{path}", self.0.address());
        let mut command = Command::new("curl");
        command.args([
            "-sS",
            "--fail",
            "--retry",
            "20",
            "--retry-all-errors",
            "--retry-delay",
            "0",
        ]);
        let output = command.args(["-d", body, &url]).output().expect("curl is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Base64, which the gateway wants.
fn base64(bytes: &[u8]) -> String {
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

#[async_trait]
impl Subject for InEtcd {
    async fn source(&self) -> Arc<dyn Source> {
        let mut config = Config::new(Backend::Etcd);
        config.nodes = vec![self.0.address()];
        connect(&config).await.expect("etcd runs")
    }

    async fn set(&self, key: &str, value: &[u8]) {
        let (key, value) = (base64(key.as_bytes()), base64(value));
        self.ask("put", &format!(r#"{{"key":"{key}","value":"{value}"}}"#));
    }

    async fn remove(&self, key: &str) {
        self.ask("deleterange", &format!(r#"{{"key":"{}"}}"#, base64(key.as_bytes())));
    }

    async fn go_away(&mut self) {
        self.0.kill();
    }

    async fn come_back(&mut self) {
        self.0.start_again();
    }
}

//! What the contract is held against: a source, and a way to change what it reads.

use std::sync::Arc;

use async_trait::async_trait;
use brickyard_source::{Backend, Config, Memory, Source, connect};
use brickyard_testkit::Etcd;

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

pub(crate) struct InEtcd(pub(crate) Etcd);

#[async_trait]
impl Subject for InEtcd {
    async fn source(&self) -> Arc<dyn Source> {
        let mut config = Config::new(Backend::Etcd);
        config.nodes = vec![self.0.address()];
        connect(&config).await.expect("etcd runs")
    }

    async fn set(&self, key: &str, value: &[u8]) {
        self.0.put(key, value);
    }

    async fn remove(&self, key: &str) {
        self.0.delete(key);
    }

    async fn go_away(&mut self) {
        self.0.kill();
    }

    async fn come_back(&mut self) {
        self.0.start_again();
    }
}

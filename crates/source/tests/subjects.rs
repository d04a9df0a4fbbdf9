//! What the contract is held against: a source, and a way to change what it reads.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;

use async_trait::async_trait;
use brickyard_source::{Backend, Config, Memory, Source, connect};
use brickyard_testkit::{DEADLINE, Etcd, Server, wait_for};

/// A source with its other side.
#[async_trait]
pub(crate) trait Subject: Send {
    /// A new connection.
    async fn source(&self) -> Arc<dyn Source>;
    /// Sets a key from outside.
    async fn set(&self, key: &str, value: &[u8]);
    /// Removes a key from outside.
    async fn remove(&self, key: &str);
    /// Whether a directory of keys may be a key itself.
    fn has_inner_values(&self) -> bool {
        true
    }
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

/// A Redis that tells of changes; keys are set through its own protocol, written by hand.
pub(crate) struct InRedis(pub(crate) Server, pub(crate) &'static str);

pub(crate) fn redis_server() -> Server {
    Server::start("redis-server", "redis-server", 1, |directory, ports| {
        let flags = [
            ("port", ports[0].to_string()),
            ("bind", "127.0.0.1".to_owned()),
            ("dir", directory.to_string()),
            ("appendonly", "yes".to_owned()),
            ("notify-keyspace-events", "KEA".to_owned()),
        ];
        flags.into_iter().flat_map(|(name, value)| [format!("--{name}"), value]).collect()
    })
}

/// Sends a command, and returns the first line of the answer.
pub(crate) fn redis(server: &Server, words: &[&[u8]]) -> String {
    let mut request = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        request.extend_from_slice(word);
        request.extend_from_slice(b"\r\n");
    }
    // One that has just started may still be loading.
    wait_for("redis answers", DEADLINE, || {
        let mut stream = TcpStream::connect(server.address()).ok()?;
        stream.write_all(&request).ok()?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).ok()?;
        (!line.starts_with("-LOADING")).then_some(line)
    })
}

impl InRedis {
    fn name(&self, key: &str) -> Vec<u8> {
        match self.1 {
            "/" => key.to_owned().into_bytes(),
            separator => key.trim_start_matches('/').replace('/', separator).into_bytes(),
        }
    }
}

#[async_trait]
impl Subject for InRedis {
    async fn source(&self) -> Arc<dyn Source> {
        let mut config = Config::new(Backend::Redis);
        config.nodes = vec![self.0.address()];
        config.separator = self.1.to_owned();
        connect(&config).await.expect("it is an address")
    }

    async fn set(&self, key: &str, value: &[u8]) {
        assert_eq!(redis(&self.0, &[b"SET", &self.name(key), value]), "+OK\r\n");
    }

    async fn remove(&self, key: &str) {
        assert_eq!(redis(&self.0, &[b"DEL", &self.name(key)]), ":1\r\n");
    }

    async fn go_away(&mut self) {
        self.0.kill();
    }

    async fn come_back(&mut self) {
        self.0.start_again();
    }
}

pub(crate) struct InZooKeeper(pub(crate) Server);

pub(crate) fn zookeeper_server() -> Server {
    Server::start("java", "zookeeper", 1, |directory, ports| {
        let file = directory.join("zoo.cfg");
        let settings = format!(
            "tickTime=500\ndataDir={directory}/data\nclientPort={}\nclientPortAddress=127.0.0.1\n\
             admin.enableServer=false\n",
            ports[0]
        );
        std::fs::write(&file, settings).expect("it is new");
        let classes = "/usr/share/java/*";
        let main = "org.apache.zookeeper.server.quorum.QuorumPeerMain";
        ["-Xmx64m", "-cp", classes, main, file.as_str()].map(str::to_owned).to_vec()
    })
}

impl InZooKeeper {
    async fn client(&self) -> zookeeper_client::Client {
        let connecting = async {
            loop {
                // One that has just started refuses at first.
                match zookeeper_client::Client::connect(&self.0.address()).await {
                    Ok(client) => return client,
                    Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
                }
            }
        };
        tokio::time::timeout(DEADLINE, connecting).await.expect("zookeeper answers")
    }
}

#[async_trait]
impl Subject for InZooKeeper {
    async fn source(&self) -> Arc<dyn Source> {
        drop(self.client().await);
        let mut config = Config::new(Backend::Zookeeper);
        config.nodes = vec![self.0.address()];
        connect(&config).await.expect("it is an address")
    }

    async fn set(&self, key: &str, value: &[u8]) {
        use zookeeper_client::{Acls, CreateMode, Error};
        let client = self.client().await;
        let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
        if let Some((above, _)) = key.rsplit_once('/').filter(|(above, _)| !above.is_empty()) {
            client.mkdir(above, &options).await.expect("it can be made");
        }
        match client.create(key, value, &options).await {
            Ok(_) => {}
            Err(Error::NodeExists) => {
                let _ = client.set_data(key, value, None).await.expect("it is there");
            }
            Err(err) => panic!("{err}"),
        }
    }

    async fn remove(&self, key: &str) {
        self.client().await.delete(key, None).await.expect("it is there");
    }

    fn has_inner_values(&self) -> bool {
        false
    }

    async fn go_away(&mut self) {
        self.0.kill();
    }

    async fn come_back(&mut self) {
        self.0.start_again();
    }
}

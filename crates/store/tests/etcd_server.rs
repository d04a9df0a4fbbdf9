//! A real etcd on free loopback ports, gone with its value.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use brickyard_store::{Etcd, EtcdConfig};

/// One etcd process with its directory.
pub(crate) struct EtcdServer {
    child: Child,
    client: String,
    peer: String,
    directory: tempfile::TempDir,
}

impl EtcdServer {
    /// Starts it and waits until it answers.
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        // Both listeners live until both ports are known, so that they differ.
        let ports = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let [client, peer] =
            ports.each_ref().map(|port| format!("http://{}", port.local_addr().unwrap()));
        drop(ports);
        let mut server =
            Self { child: spawn(directory.path(), &client, &peer), client, peer, directory };
        server.wait().await;
        server
    }

    /// Kills it and starts it again on what it had written.
    pub(crate) async fn restart(&mut self) {
        self.stop();
        self.child = spawn(self.directory.path(), &self.client, &self.peer);
        self.wait().await;
    }

    fn stop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    async fn wait(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let mut config = EtcdConfig::new([self.endpoint()]);
            config.timeout = Duration::from_millis(500);
            match Etcd::connect(config).await {
                Ok(_) => return,
                Err(error) => {
                    assert!(error.is_retryable(), "{error}");
                    assert!(Instant::now() < deadline, "etcd does not answer: {error}");
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.client
    }
}

impl Drop for EtcdServer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn(directory: &Path, client: &str, peer: &str) -> Child {
    let child = Command::new("etcd")
        .arg("--data-dir")
        .arg(directory)
        .args(["--listen-client-urls", client, "--advertise-client-urls", client])
        .args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer])
        .args(["--initial-cluster", &format!("default={peer}")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    child.unwrap_or_else(|error| {
        panic!("this test needs a real etcd ({error}): apt-get install etcd-server")
    })
}

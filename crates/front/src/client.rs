//! The agent's end of the front's socket: one JSON line there, one back, for each snapshot.

use std::io;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::{Ack, SOCKET, Snapshot};

/// How long the front may take to bring a snapshot into force.
const ACK_DEADLINE: Duration = Duration::from_secs(10);

/// Why a snapshot could not be told.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No front listens.
    #[error("no front runs")]
    NoFront(#[source] io::Error),
    /// It did not answer.
    #[error("the front did not acknowledge: {0}")]
    NoAck(String),
}

/// Talks to the front of one yard.
#[derive(Debug, Clone)]
pub struct Client {
    socket: Utf8PathBuf,
}

impl Client {
    /// The client of the yard at `root`. Nothing is opened yet.
    #[must_use]
    pub fn new(root: &Utf8Path) -> Self {
        Self { socket: root.join(SOCKET) }
    }

    /// Tells the front a snapshot and waits until it is in force.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn publish(&self, snapshot: &Snapshot) -> Result<Ack, ClientError> {
        let mut stream = UnixStream::connect(&self.socket).await.map_err(ClientError::NoFront)?;
        let exchange = async {
            let mut line = serde_json::to_vec(snapshot).map_err(io::Error::other)?;
            line.push(b'\n');
            stream.write_all(&line).await?;
            let mut answer = String::new();
            BufReader::new(stream).read_line(&mut answer).await?;
            serde_json::from_str(&answer).map_err(io::Error::other)
        };
        match tokio::time::timeout(ACK_DEADLINE, exchange).await {
            Ok(ack) => ack.map_err(|err: io::Error| ClientError::NoAck(err.to_string())),
            Err(_) => Err(ClientError::NoAck("it took too long".to_owned())),
        }
    }
}

//! The client of the agent's socket.

use std::io;

use bytes::Bytes;
use camino::{Utf8Path, Utf8PathBuf};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No agent listens.
    #[error("no agent runs in this yard (`{socket}`)")]
    NoAgent {
        /// The socket.
        socket: Utf8PathBuf,
        /// The system's answer.
        #[source]
        err: io::Error,
    },
    /// The agent said no.
    #[error("{message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// The connection broke.
    #[error("the connection to the agent broke: {0}")]
    Broken(String),
}

/// Talks to one agent; each call is a connection of its own.
#[derive(Debug, Clone)]
pub struct Client {
    socket: Utf8PathBuf,
}

impl Client {
    /// The client of the yard at `root`. Nothing is opened yet.
    #[must_use]
    pub fn new(root: &Utf8Path) -> Self {
        Self { socket: root.join(crate::SOCKET) }
    }

    /// Gets a value.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let response = self.send(Method::GET, path, Bytes::new()).await?;
        decode(&collect(response).await?)
    }

    /// Posts a value and gets one.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let response = self.send(Method::POST, path, encode(body)?).await?;
        decode(&collect(response).await?)
    }

    /// Posts a value and follows the answer line by line.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn follow<T>(&self, path: &str, body: Option<&T>) -> Result<Lines, ClientError>
    where
        T: Serialize,
    {
        let (method, body) = match body {
            Some(body) => (Method::POST, encode(body)?),
            None => (Method::GET, Bytes::new()),
        };
        let response = self.send(method, path, body).await?;
        Ok(Lines { body: response.into_body(), buffer: Vec::new() })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, ClientError> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|err| ClientError::NoAgent { socket: self.socket.clone(), err })?;
        let broken = |err: hyper::Error| ClientError::Broken(err.to_string());
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // The connection ends with the response; nothing else is to be done for it.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "agent")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|err| ClientError::Broken(err.to_string()))?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = collect(response).await?;
        let message = String::from_utf8_lossy(&text).into_owned();
        Err(ClientError::Refused { status: status.as_u16(), message })
    }
}

fn encode(body: &impl Serialize) -> Result<Bytes, ClientError> {
    serde_json::to_vec(body).map(Bytes::from).map_err(|err| ClientError::Broken(err.to_string()))
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(bytes)
        .map_err(|err| ClientError::Broken(format!("unexpected answer: {err}")))
}

async fn collect(response: Response<Incoming>) -> Result<Bytes, ClientError> {
    let body = response.into_body().collect().await;
    Ok(body.map_err(|err| ClientError::Broken(err.to_string()))?.to_bytes())
}

/// A stream of JSON objects, one a line.
#[derive(Debug)]
pub struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Lines {
    /// The next object; `None` at the end.
    ///
    /// # Errors
    /// When the connection breaks or a line is not what was expected.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return decode(&line).map(Some);
            }
            match self.body.frame().await {
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(ClientError::Broken("it ended in the middle".to_owned())),
                Some(Err(err)) => return Err(ClientError::Broken(err.to_string())),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}

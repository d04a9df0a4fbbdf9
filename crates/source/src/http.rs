//! HTTP for the sources whose servers speak it, with what goes wrong said plainly.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode, header::HeaderMap};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;

use crate::error::within;
use crate::tls::{self, plain};
use crate::{Config, Error, Result};

/// Longest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A server's answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Servers that are alike, of which one is asked again and again until it fails.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// `SCHEME://HOST:PORT` each.
    nodes: Vec<String>,
    /// Which of them is asked.
    current: Arc<AtomicUsize>,
    /// Sent with every request.
    headers: Vec<(&'static str, String)>,
}

impl Http {
    /// The servers of a configuration, which may say their scheme. Nothing is asked yet.
    pub(crate) fn new(config: &Config) -> Result<Self> {
        let node = |node: &String| match node.contains("://") {
            true => node.trim_end_matches('/').to_owned(),
            false => format!("{}://{node}", config.scheme),
        };
        let nodes: Vec<String> = config.nodes.iter().map(node).collect();
        let tls = tls::client(&config.tls)?;
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        let client = Client::builder(TokioExecutor::new()).build(connector.build());
        let mut headers = Vec::new();
        if config.login.basic {
            let who = format!("{}:{}", config.login.username, config.login.password);
            headers.push(("authorization", format!("Basic {}", encoded(who.as_bytes()))));
        }
        Ok(Self { client, nodes, current: Arc::default(), headers })
    }

    /// The same server, with another header in every request.
    pub(crate) fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The server that is asked.
    pub(crate) fn node(&self) -> &str {
        let current = self.current.load(Ordering::Relaxed);
        self.nodes.get(current % self.nodes.len().max(1)).map_or("", String::as_str)
    }

    /// Asks for a path, which begins with a slash and is escaped already.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
        timeout: Duration,
    ) -> Result<Answer> {
        let node = self.node();
        let bad = |why: String| Error::Config {
            message: format!("`{node}{path}` cannot be asked for: {why}"),
            hint: None,
        };
        let method = Method::from_bytes(method.as_bytes()).map_err(|err| bad(err.to_string()))?;
        let mut request = Request::builder().method(method).uri(format!("{node}{path}"));
        let own = self.headers.iter().map(|(name, value)| (*name, value.as_str()));
        for (name, value) in own.chain(headers.iter().copied()) {
            request = request.header(name, value);
        }
        let body = Full::new(Bytes::from(body.unwrap_or_default()));
        let request = request.body(body).map_err(|err| bad(err.to_string()))?;
        let unavailable = |reason: String| Error::Unavailable { node: node.to_owned(), reason };
        let asking = async {
            let answer = self.client.request(request).await;
            let answer = answer.map_err(|err| unavailable(plain(&err)))?;
            let (head, body) = answer.into_parts();
            let body = http_body_util::Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|err| unavailable(err.to_string()))?.to_bytes();
            Ok(Answer { status: head.status, headers: head.headers, body })
        };
        let answer = within(timeout, node, asking).await;
        if answer.is_err() {
            // Who asks again asks the next one.
            self.current.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }

    /// What an answer that is none of the good ones means.
    pub(crate) fn refusal(&self, answer: &Answer) -> Error {
        let said = String::from_utf8_lossy(&answer.body);
        let said: String = said.trim().chars().take(200).collect();
        let reason = match said.is_empty() {
            true => answer.status.to_string(),
            false => format!("{}: {said}", answer.status),
        };
        let node = self.node().to_owned();
        match answer.status.is_server_error() || answer.status == StatusCode::TOO_MANY_REQUESTS {
            true => Error::Unavailable { node, reason },
            false => Error::Refused { node, reason },
        }
    }
}

/// Bytes in base64.
pub(crate) fn encoded(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// What base64 stands for.
pub(crate) fn decoded(text: &str) -> Option<Vec<u8>> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

/// A path whose parts hold any bytes, as URLs spell it.
pub(crate) fn escaped(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                text.push(char::from(byte));
            }
            byte => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

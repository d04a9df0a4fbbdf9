//! HTTP for the sources whose servers speak it, with what goes wrong said plainly.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use camino::Utf8Path;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode, header::HeaderMap};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::{Config, Error, Result, Tls};

/// Longest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A server's answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// One server that is asked again and again.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// `SCHEME://HOST:PORT`.
    pub(crate) node: String,
    /// Sent with every request.
    headers: Vec<(&'static str, String)>,
}

impl Http {
    /// The server of a node, which may say its scheme. Nothing is asked yet.
    pub(crate) fn new(node: &str, config: &Config) -> Result<Self> {
        let node = match node.contains("://") {
            true => node.trim_end_matches('/').to_owned(),
            false => format!("{}://{node}", config.scheme),
        };
        let tls = tls(&config.tls)?;
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        let client = Client::builder(TokioExecutor::new()).build(connector.build());
        let mut headers = Vec::new();
        if config.login.basic {
            let who = format!("{}:{}", config.login.username, config.login.password);
            headers.push(("authorization", format!("Basic {}", encoded(who.as_bytes()))));
        }
        Ok(Self { client, node, headers })
    }

    /// The same server, with another header in every request.
    pub(crate) fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
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
        let bad = |why: String| Error::Config {
            message: format!("`{}{path}` cannot be asked for: {why}", self.node),
            hint: None,
        };
        let method = Method::from_bytes(method.as_bytes()).map_err(|err| bad(err.to_string()))?;
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.node));
        let own = self.headers.iter().map(|(name, value)| (*name, value.as_str()));
        for (name, value) in own.chain(headers.iter().copied()) {
            request = request.header(name, value);
        }
        let body = Full::new(Bytes::from(body.unwrap_or_default()));
        let request = request.body(body).map_err(|err| bad(err.to_string()))?;
        let unavailable = |reason: String| Error::Unavailable { node: self.node.clone(), reason };
        let asking = async {
            let answer = self.client.request(request).await;
            let answer = answer.map_err(|err| unavailable(plain(&err)))?;
            let (head, body) = answer.into_parts();
            let body = http_body_util::Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|err| unavailable(err.to_string()))?.to_bytes();
            Ok(Answer { status: head.status, headers: head.headers, body })
        };
        match tokio::time::timeout(timeout, Box::pin(asking)).await {
            Ok(answer) => answer,
            Err(_) => Err(unavailable(format!("no answer within {timeout:?}"))),
        }
    }

    /// What an answer that is none of the good ones means.
    pub(crate) fn refusal(&self, answer: &Answer) -> Error {
        let said = String::from_utf8_lossy(&answer.body);
        let said: String = said.trim().chars().take(200).collect();
        let reason = match said.is_empty() {
            true => answer.status.to_string(),
            false => format!("{}: {said}", answer.status),
        };
        let node = self.node.clone();
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

/// What went wrong, with all below it, and in plain words where it is about certificates.
fn plain(err: &hyper_util::client::legacy::Error) -> String {
    let mut text = String::new();
    let mut below = err.source();
    while let Some(err) = below {
        text = err.to_string();
        below = err.source();
    }
    let known = [
        ("UnknownIssuer", "nobody whom we trust vouches for its certificate"),
        ("NotValidForName", "its certificate is for another name"),
        ("certificate not valid for name", "its certificate is for another name"),
        ("Expired", "its certificate has expired"),
        ("certificate expired", "its certificate has expired"),
        ("CertificateRequired", "it wants a certificate of us"),
    ];
    let found = known.iter().find(|(word, _)| text.contains(word));
    match found {
        Some((_, plain)) => format!("{plain} ({text})"),
        None if text.is_empty() => err.to_string(),
        None => text,
    }
}

fn read<T>(path: &Utf8Path, found: Result<T, rustls::pki_types::pem::Error>) -> Result<T> {
    found.map_err(|err| Error::Config {
        message: format!("cannot read `{path}`: {err}"),
        hint: Some("it must be in PEM".to_owned()),
    })
}

fn tls(tls: &Tls) -> Result<ClientConfig> {
    let bad = |err: rustls::Error| Error::Config { message: err.to_string(), hint: None };
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(bad)?;
    let builder = if tls.insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
    } else {
        let mut roots = RootCertStore::empty();
        match &tls.authorities {
            Some(path) => {
                for found in read(path, CertificateDer::pem_file_iter(path))? {
                    roots.add(read(path, found)?).map_err(bad)?;
                }
            }
            None => {
                let native = rustls_native_certs::load_native_certs().certs;
                let _ = roots.add_parsable_certificates(native);
            }
        }
        builder.with_root_certificates(roots)
    };
    match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => {
            let chain = read(certificate, CertificateDer::pem_file_iter(certificate))?;
            let chain: Result<Vec<_>> = chain.map(|found| read(certificate, found)).collect();
            let key = read(key, PrivateKeyDer::from_pem_file(key))?;
            builder.with_client_auth_cert(chain?, key).map_err(bad)
        }
        (None, None) => Ok(builder.with_no_client_auth()),
        _ => Err(Error::Config {
            message: "a client's certificate and its key go together".to_owned(),
            hint: Some("give both -client-cert and -client-key".to_owned()),
        }),
    }
}

/// Believes every certificate, as `-client-insecure` asks for.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

//! A small HTTP server that stands in for others: it answers what its handler says, one thread for
//! each connection, and can go away and come back on the same port.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use brickyard_testkit::{Claim, claim_port};
use camino::Utf8Path;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

/// What was asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// Status, headers and body.
pub(crate) type Answered = (u16, Vec<(&'static str, String)>, String);

/// How it speaks TLS, where it does.
type Secured = Option<Arc<ServerConfig>>;
type Handler = dyn Fn(&Asked) -> Answered + Send + Sync;

pub(crate) struct StandIn {
    claim: Claim,
    handler: Arc<Handler>,
    secured: Secured,
    open: Arc<Mutex<Vec<TcpStream>>>,
    stop: Arc<AtomicBool>,
}

impl StandIn {
    pub(crate) fn start(handler: impl Fn(&Asked) -> Answered + Send + Sync + 'static) -> Self {
        Self::begin(Arc::new(handler), None)
    }

    /// With a certificate and its key; clients need one of an authority where it is given.
    pub(crate) fn start_secured(
        handler: impl Fn(&Asked) -> Answered + Send + Sync + 'static,
        certificate: &Utf8Path,
        key: &Utf8Path,
        clients: Option<&Utf8Path>,
    ) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().expect("ring has them");
        let certificates = |file: &Utf8Path| {
            let found = CertificateDer::pem_file_iter(file).expect("it is there");
            found.map(|found| found.expect("it is PEM")).collect::<Vec<_>>()
        };
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(certificates(clients));
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().expect("it has roots"))
            }
        };
        let key = PrivateKeyDer::from_pem_file(key).expect("it is PEM");
        let secured = builder.with_single_cert(certificates(certificate), key);
        Self::begin(Arc::new(handler), Some(Arc::new(secured.expect("they belong together"))))
    }

    fn begin(handler: Arc<Handler>, secured: Secured) -> Self {
        let mut stand_in = Self {
            claim: claim_port(),
            handler,
            secured,
            open: Arc::default(),
            stop: Arc::default(),
        };
        stand_in.come_back();
        stand_in
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.claim.port)
    }

    pub(crate) fn go_away(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // It wakes from its wait by this.
        let _ = TcpStream::connect(self.address());
        let open = std::mem::take(&mut *self.open.lock().expect("nobody panics with it"));
        open.iter().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
    }

    pub(crate) fn come_back(&mut self) {
        let listener = TcpListener::bind(self.address()).expect("the port is ours");
        let (handler, open) = (Arc::clone(&self.handler), Arc::clone(&self.open));
        let secured = self.secured.clone();
        self.stop = Arc::default();
        let stop = Arc::clone(&self.stop);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let kept = stream.try_clone().expect("it can be shared");
                open.lock().expect("nobody panics with it").push(kept);
                let (handler, secured) = (Arc::clone(&handler), secured.clone());
                std::thread::spawn(move || {
                    let _ = match secured {
                        None => serve(&stream, &*handler),
                        Some(secured) => {
                            let side = ServerConnection::new(secured).expect("it is configured");
                            let mut stream = StreamOwned::new(side, &stream);
                            let served = serve(&mut stream, &*handler);
                            stream.conn.send_close_notify();
                            let _ = stream.flush();
                            served
                        }
                    };
                    let _ = stream.shutdown(Shutdown::Both);
                });
            }
        });
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.go_away();
    }
}

fn serve(mut stream: impl Read + Write, handler: &Handler) -> std::io::Result<()> {
    let mut reader = BufReader::new(&mut stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let mut asked = Asked { method: words.next().unwrap_or_default(), ..Asked::default() };
    let target = words.next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    asked.path = unescaped(path);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        asked.query.insert(name.to_owned(), unescaped(value));
    }
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        asked.headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = asked.headers.get("content-length").and_then(|text| text.parse().ok());
    asked.body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut asked.body)?;
    let (status, headers, body) = handler(&asked);
    let mut answer = format!("HTTP/1.1 {status} Said\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        answer.push_str(&format!("{name}: {value}\r\n"));
    }
    answer.push_str("Connection: close\r\n\r\n");
    stream.write_all(answer.as_bytes())?;
    stream.write_all(body.as_bytes())
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits: String = rest.by_ref().take(2).map(char::from).collect();
                bytes.push(u8::from_str_radix(&digits, 16).expect("two digits follow"));
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).expect("it is UTF-8")
}

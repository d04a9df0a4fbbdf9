//! A small HTTP server that stands in for others: it answers what its handler says, one thread for
//! each connection, and can go away and come back on the same port.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use brickyard_testkit::{Claim, claim_port};

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

type Handler = dyn Fn(&Asked) -> Answered + Send + Sync;

pub(crate) struct StandIn {
    claim: Claim,
    handler: Arc<Handler>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    stop: Arc<AtomicBool>,
}

impl StandIn {
    pub(crate) fn start(handler: impl Fn(&Asked) -> Answered + Send + Sync + 'static) -> Self {
        let mut stand_in = Self {
            claim: claim_port(),
            handler: Arc::new(handler),
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
                let handler = Arc::clone(&handler);
                std::thread::spawn(move || {
                    let _ = serve(&stream, &*handler);
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

fn serve(stream: &TcpStream, handler: &Handler) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
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
    let mut stream = stream;
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

//! Metrics and health over HTTP.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Duration, timeout};

use crate::context::Context;

/// How long a caller may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest request that is read.
const REQUEST_BYTES_MAX: usize = 8192;

/// Answers callers one after the other, for as long as the future is polled; why it cannot.
pub(crate) async fn serve(context: &Context, address: SocketAddr) -> String {
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(err) => return format!("cannot listen on {address}: {err}"),
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(timeout(CALL_TIMEOUT, answer(stream, context)).await),
            // What this is about, as too many open files, may pass.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn answer(mut stream: TcpStream, context: &Context) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < REQUEST_BYTES_MAX {
        match stream.read(&mut buffer).await? {
            0 => break,
            count => request.extend_from_slice(&buffer[..count]),
        }
    }
    let text = String::from_utf8_lossy(&request);
    let mut words = text.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = path.split('?').next().unwrap_or_default();
    let (status, kind, body) = match (method, path) {
        ("GET" | "HEAD", "/metrics") => {
            ("200 OK", "text/plain; version=0.0.4", context.status.metrics())
        }
        // It runs, which is all that is asked.
        ("GET" | "HEAD", "/health") => ("200 OK", "text/plain", "ok\n".to_owned()),
        ("GET" | "HEAD", "/ready" | "/ready/detailed") => {
            let (is_ready, state) = context.status.health();
            let status = if is_ready { "200 OK" } else { "503 Service Unavailable" };
            (status, "application/json", format!("{state}\n"))
        }
        ("GET" | "HEAD", _) => ("404 Not Found", "text/plain", "not found\n".to_owned()),
        _ => ("405 Method Not Allowed", "text/plain", "only GET\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    if method != "HEAD" {
        stream.write_all(body.as_bytes()).await?;
    }
    stream.shutdown().await
}

//! Health checks: one task for each generation that has any.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use brickyard_core::spec::{Probe, ProbeKind};
use brickyard_engine::{Engine, ExecRequest, InstanceId};
use brickyard_plan::Health;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until, timeout};

use crate::environment::Message;
use crate::pauses;

/// After how long a check of an endpoint that fails is repeated.
const REPEAT_MS: u64 = 1_000;
/// What `interval` may be at most, in effect.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 3600);
/// From which on a pause may end a second later, together with others.
const LONG_PAUSE: Duration = Duration::from_secs(5);

/// What is probed.
pub(crate) struct Subject {
    pub(crate) id: InstanceId,
    pub(crate) address: Ipv4Addr,
    pub(crate) probes: Vec<Probe>,
}

/// Probes until dropped and reports every change; after `again` it reports anew.
pub(crate) async fn watch(
    engine: Arc<dyn Engine>,
    subject: Subject,
    again: Arc<Notify>,
    reports: mpsc::Sender<Message>,
) {
    let start = Instant::now();
    let mut failures = vec![0_u32; subject.probes.len()];
    let mut passed = vec![false; subject.probes.len()];
    let mut told = None;
    loop {
        let mut pause = LONGEST_PAUSE;
        for (at, probe) in subject.probes.iter().enumerate() {
            let well = run(&engine, &subject, probe).await;
            let in_start_period =
                start.elapsed() < Duration::from_millis(probe.start_period_ms) && !passed[at];
            if well {
                passed[at] = true;
                failures[at] = 0;
            } else if !in_start_period {
                failures[at] += 1;
            }
            let quick = !passed[at] && (in_start_period || failures[at] < probe.retries.max(1));
            let interval_ms = match quick {
                true if probe.start_interval_ms > 0 => {
                    probe.start_interval_ms.min(probe.interval_ms)
                }
                _ if failures[at] > 0 && probe.kind.is_repeated_soon() => {
                    probe.interval_ms.min(REPEAT_MS)
                }
                _ => probe.interval_ms,
            };
            pause = pause.min(Duration::from_millis(interval_ms.max(10)));
        }
        let failed = subject.probes.iter().zip(&failures).any(|(p, f)| *f >= p.retries.max(1));
        let health = match failed {
            true => Some(Health::Unhealthy),
            false if passed.iter().all(|passed| *passed) => {
                failures.iter().all(|count| *count == 0).then_some(Health::Healthy)
            }
            false => None,
        };
        if health.is_some() && health != told {
            told = health;
            let health = health.unwrap_or(Health::Starting);
            let message = Message::Health { id: subject.id.clone(), health };
            if reports.send(message).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = sleep_until(end_of(pause)) => {}
            () = again.notified() => told = None,
        }
    }
}

fn end_of(pause: Duration) -> Instant {
    match pause >= LONG_PAUSE {
        true => pauses::shared_end(pause, Duration::from_secs(1)),
        false => Instant::now() + pause,
    }
}

async fn run(engine: &Arc<dyn Engine>, subject: &Subject, probe: &Probe) -> bool {
    let limit = Duration::from_millis(probe.timeout_ms.max(1));
    let work = async {
        match &probe.kind {
            ProbeKind::Exec { argv } => {
                let request = ExecRequest::of(argv);
                engine.exec(&subject.id, &request).await.is_ok_and(|output| output.code == 0)
            }
            ProbeKind::Tcp { port } => accepts(subject.address, *port).await,
            ProbeKind::Http { port, path } => {
                http_status(SocketAddr::from((subject.address, *port)), path)
                    .await
                    .is_some_and(|status| (200..400).contains(&status))
            }
        }
    };
    timeout(limit, work).await.unwrap_or(false)
}

/// Whether a connection is accepted. An instance on this machine has answered when the call returns;
/// what has not goes through the event loop, which costs twice as much.
async fn accepts(address: Ipv4Addr, port: u16) -> bool {
    let at = SocketAddr::from((address, port));
    match answer_at_once(at) {
        Some(accepted) => accepted,
        None => TcpStream::connect(at).await.is_ok(),
    }
}

/// Tries to connect without waiting; nothing when there is no answer yet.
fn answer_at_once(at: SocketAddr) -> Option<bool> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).ok()?;
    match connect(&socket, &at) {
        Ok(()) => return Some(true),
        Err(rustix::io::Errno::INPROGRESS) => {}
        Err(_) => return Some(false),
    }
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    match poll(&mut [PollFd::new(&socket, PollFlags::OUT)], Some(&now)) {
        Ok(1) => Some(matches!(sockopt::socket_error(&socket), Ok(Ok(())))),
        _ => None,
    }
}

/// Status of a GET; one request on a connection of its own, of whose answer only the first line
/// is of interest.
async fn http_status(at: SocketAddr, path: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(at).await.ok()?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {at}\r\nUser-Agent: brickyard\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    let mut buffer = [0; 512];
    while !answer.contains(&b'\n') && answer.len() < 4096 {
        match stream.read(&mut buffer).await.ok()? {
            0 => break,
            count => answer.extend_from_slice(&buffer[..count]),
        }
    }
    let line = answer.split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?;
    line.strip_prefix("HTTP/")?.split_whitespace().nth(1)?.parse().ok()
}

//! Starts containers with the native engine and tells how long it took, for `make bench`.
//!
//! `starts BINARY ROOT LAYER` opens an environment under `ROOT`, then answers each line of its
//! standard input with a line of JSON, so that a caller can take turns with another runtime:
//!
//! - `once NETWORK` runs a container whose program ends at once, and removes it;
//! - `many COUNT PARALLEL NETWORK PAUSE_MS` does that `COUNT` times, `PARALLEL` at a time, each
//!   with a pause before it.
//!
//! `NETWORK` is `none` or `bridge`.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use brickyard_core::spec::{InstanceSpec, Limits, Stop};
use brickyard_core::{Digest, Generation, Slot};
use brickyard_engine::native::Native;
use brickyard_engine::{Engine, EnvironmentKey, InstanceId, StartRequest};
use camino::Utf8PathBuf;

type Failure = Box<dyn std::error::Error + Send + Sync>;

struct Speed {
    engine: Native,
    key: EnvironmentKey,
    addresses: Vec<Ipv4Addr>,
    layer: Utf8PathBuf,
    count: AtomicU64,
}

/// Milliseconds of one container.
struct Times {
    /// Until its program was running.
    started: f64,
    /// Until its end was known.
    exited: f64,
    /// Until nothing was left of it.
    removed: f64,
}

impl Speed {
    fn request(&self, network: bool) -> StartRequest {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let at = usize::try_from(number).unwrap_or(0) % self.addresses.len();
        StartRequest {
            id: InstanceId {
                environment: self.key.clone(),
                service: "speed".parse().expect("a name"),
                slot: Slot(1),
                generation: Generation(number + 1),
            },
            spec: InstanceSpec {
                image: Digest::of("speed"),
                argv: vec!["/bin/busybox".to_owned(), "true".to_owned()],
                environment: BTreeMap::new(),
                working_dir: "/".into(),
                user: String::new(),
                hostname: String::new(),
                mounts: Vec::new(),
                read_only: false,
                cap_add: Vec::new(),
                cap_drop: Vec::new(),
                limits: Limits { memory_bytes: None, cpu_millis: None, pids_max: 64 },
                stop: Stop { signal: "KILL".to_owned(), grace_ms: 1000 },
                labels: BTreeMap::new(),
            },
            layers: vec![self.layer.clone()],
            address: network.then(|| self.addresses[at]),
            files: Vec::new(),
            hostname: "speed".to_owned(),
        }
    }

    async fn once(&self, network: bool) -> Result<Times, Failure> {
        let request = self.request(network);
        let begun = Instant::now();
        let passed = || begun.elapsed().as_secs_f64() * 1000.0;
        self.engine.start(&request).await?;
        let started = passed();
        let exit = self.engine.wait(&request.id).await?;
        let exited = passed();
        self.engine.remove(&request.id).await?;
        match exit.code {
            0 => Ok(Times { started, exited, removed: passed() }),
            code => Err(format!("exit code {code}").into()),
        }
    }
}

async fn many(
    speed: &Arc<Speed>,
    count: u64,
    parallel: u64,
    network: bool,
    pause: Duration,
) -> Result<String, Failure> {
    let begun = Instant::now();
    let left = Arc::new(AtomicU64::new(count));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..parallel {
        let (speed, left) = (Arc::clone(speed), Arc::clone(&left));
        tasks.spawn(async move {
            let take = |left: u64| left.checked_sub(1);
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                tokio::time::sleep(pause).await;
                speed.once(network).await?;
            }
            Ok::<(), Failure>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let known = speed.engine.list().await?.len();
    Ok(serde_json::json!({"seconds": seconds, "left": known}).to_string())
}

async fn answer(speed: &Arc<Speed>, line: &str) -> Result<String, Failure> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        ["once", network] => {
            let times = speed.once(network == "bridge").await?;
            let Times { started, exited, removed } = times;
            Ok(serde_json::json!({"started": started, "exited": exited, "removed": removed})
                .to_string())
        }
        ["many", count, parallel, network, pause] => {
            let pause = Duration::from_millis(pause.parse()?);
            many(speed, count.parse()?, parallel.parse()?, network == "bridge", pause).await
        }
        _ => Err(format!("`{line}` is not understood").into()),
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<Utf8PathBuf> = std::env::args().skip(1).map(Utf8PathBuf::from).collect();
    let [binary, root, layer] = &arguments[..] else {
        return Err("usage: starts BINARY ROOT LAYER".into());
    };
    let engine = Native::open(root, binary)?;
    let key = EnvironmentKey { system: "speed".parse()?, environment: "dev".parse()? };
    let facts = engine.open_environment(&key).await?;
    let speed = Arc::new(Speed {
        engine,
        key,
        addresses: facts.addresses().collect(),
        layer: layer.clone(),
        count: AtomicU64::new(0),
    });
    for line in std::io::stdin().lock().lines() {
        let answer = answer(&speed, &line?).await?;
        writeln!(std::io::stdout(), "{answer}")?;
    }
    speed.engine.close_environment(&speed.key).await?;
    Ok(speed.engine.close()?)
}

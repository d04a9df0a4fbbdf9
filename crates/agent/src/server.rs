//! The API: HTTP on a unix socket that only root may open.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use brickyard_api::{
    AgentView, Command, DataView, EnvironmentView, FailureKind, PlanRequest, Progress, Reason,
    RenderRequest,
};
use brickyard_core::Event;
use brickyard_engine::EnvironmentKey;
use brickyard_front::Problem;
use brickyard_store::{Change, Watch};
use camino::Utf8Path;
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;
use tokio::sync::{Mutex, Notify, mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;

use crate::environment::{self, Failure, Handle, Message, Status};
use crate::keys;
use crate::tasks::OnCancel;
use crate::yard::Yard;

/// Lines of an answer that may wait for a slow reader.
const STREAM_LENGTH: usize = 256;
/// How long an agent that ends by itself waits for a next command.
const LINGER: Duration = Duration::from_millis(300);
/// How often a caller is told that nothing has changed: its connection is known to be alive.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// The server; clones share their state.
#[derive(Clone)]
pub(crate) struct Server {
    yard: Arc<Yard>,
    environments: Arc<Mutex<BTreeMap<EnvironmentKey, Handle>>>,
    /// Environments that could not be taken up: each is tried again when it is asked for.
    failed: Arc<Mutex<BTreeSet<EnvironmentKey>>>,
    until_empty: bool,
    changed: Arc<Notify>,
    stop: Arc<Notify>,
}

impl Server {
    pub(crate) fn new(yard: Arc<Yard>, until_empty: bool) -> Self {
        Self {
            yard,
            environments: Arc::default(),
            failed: Arc::default(),
            until_empty,
            changed: Arc::new(Notify::new()),
            stop: Arc::new(Notify::new()),
        }
    }

    /// The handle of an environment, whose task is started if there is none.
    pub(crate) async fn open(&self, key: &EnvironmentKey) -> Result<Handle, String> {
        let mut all = self.environments.lock().await;
        if let Some(handle) = all.get(key).filter(|handle| !handle.messages.is_closed()) {
            return Ok(handle.clone());
        }
        let handle = environment::spawn(Arc::clone(&self.yard), key.clone()).await;
        let mut failed = self.failed.lock().await;
        match &handle {
            Ok(_) => failed.remove(key),
            Err(_) => failed.insert(key.clone()),
        };
        let handle = handle?;
        all.insert(key.clone(), handle.clone());
        Ok(handle)
    }

    async fn existing(&self, key: &EnvironmentKey) -> Option<Handle> {
        let all = self.environments.lock().await;
        all.get(key).filter(|handle| !handle.messages.is_closed()).cloned()
    }

    async fn handles(&self) -> Vec<Handle> {
        let mut all = self.environments.lock().await;
        all.retain(|_, handle| !handle.messages.is_closed());
        all.values().cloned().collect()
    }

    /// Resolves when the agent should end by itself, or was told to.
    pub(crate) async fn emptied(&self) {
        loop {
            tokio::select! {
                () = self.stop.notified() => return,
                () = self.changed.notified(), if self.until_empty => {}
            }
            tokio::time::sleep(LINGER).await;
            let wanted =
                self.handles().await.iter().any(|handle| handle.status.borrow().view.is_some());
            if !wanted {
                return;
            }
        }
    }

    /// Starts to listen; the future serves.
    pub(crate) async fn serve(
        &self,
        socket: &Utf8Path,
    ) -> std::io::Result<impl Future<Output = ()> + use<>> {
        let _ = std::fs::remove_file(socket);
        let listener = UnixListener::bind(socket)?;
        std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
        let environment = "/v1/environments/{system}/{environment}";
        let router = Router::new()
            .route("/v1/agent", get(agent))
            .route("/v1/agent/stop", post(stop))
            .route("/v1/environments", get(list))
            .route(environment, get(show))
            .route(&format!("{environment}/data"), get(data))
            .route(&format!("{environment}/files/{{service}}"), get(files))
            .route(&format!("{environment}/plan"), post(plan))
            .route(&format!("{environment}/render"), post(render))
            .route(&format!("{environment}/commands"), post(command))
            .route("/v1/events", get(events))
            .route("/v1/images/pinned", get(pinned))
            .with_state(self.clone());
        Ok(async move {
            if let Err(err) = axum::serve(listener, router).await {
                tracing::error!("the API ended: {err}");
            }
        })
    }
}

type Key = Path<(String, String)>;

/// An answer that is no success: status and words.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, self.1).into_response()
    }
}

fn internal(text: impl ToString) -> Refusal {
    Refusal(StatusCode::INTERNAL_SERVER_ERROR, text.to_string())
}

fn parse_key(Path((system, environment)): Key) -> Result<EnvironmentKey, Refusal> {
    let bad = |err: brickyard_core::NameError| Refusal(StatusCode::BAD_REQUEST, err.to_string());
    Ok(EnvironmentKey {
        system: system.parse().map_err(bad)?,
        environment: environment.parse().map_err(bad)?,
    })
}

fn not_found(key: &EnvironmentKey) -> Refusal {
    let text = format!("nothing runs in /{}/{}", key.system, key.environment);
    Refusal(StatusCode::NOT_FOUND, text)
}

async fn agent(State(server): State<Server>) -> Json<AgentView> {
    Json(AgentView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        until_empty: server.until_empty,
    })
}

async fn stop(State(server): State<Server>) -> Json<bool> {
    server.stop.notify_one();
    Json(true)
}

async fn list(State(server): State<Server>) -> Json<Vec<EnvironmentView>> {
    let handles = server.handles().await;
    Json(handles.iter().filter_map(|handle| handle.status.borrow().view.clone()).collect())
}

/// Digests of images that releases need.
async fn pinned(State(server): State<Server>) -> Json<Vec<String>> {
    let mut digests = Vec::new();
    for handle in server.handles().await {
        digests.extend(handle.status.borrow().images.iter().map(ToString::to_string));
    }
    Json(digests)
}

/// The task of an environment that there is.
async fn handle_of(server: &Server, key: &EnvironmentKey) -> Result<Handle, Refusal> {
    let failed = server.failed.lock().await.contains(key);
    let handle = match failed {
        true => server.open(key).await.map_err(internal)?,
        false => server.existing(key).await.ok_or_else(|| not_found(key))?,
    };
    let is_there = handle.status.borrow().view.is_some();
    if is_there { Ok(handle) } else { Err(not_found(key)) }
}

async fn show(State(server): State<Server>, key: Key) -> Result<Json<EnvironmentView>, Refusal> {
    let key = parse_key(key)?;
    let handle = handle_of(&server, &key).await?;
    let view = handle.status.borrow().view.clone();
    view.map(Json).ok_or_else(|| internal("the environment has just gone"))
}

/// Whether to go on as it changes.
#[derive(Debug, Deserialize)]
struct DataQuery {
    #[serde(default)]
    follow: bool,
}

/// An environment's data; who follows is told the whole of it each time that it changes.
async fn data(
    State(server): State<Server>,
    key: Key,
    Query(query): Query<DataQuery>,
) -> Result<Response, Refusal> {
    let key = parse_key(key)?;
    let handle = handle_of(&server, &key).await?;
    let first = handle.status.borrow().data.clone();
    if !query.follow {
        return Ok(Json(first).into_response());
    }
    // Whoever reads slowly misses what is between, and never the last.
    let (lines, stream) = mpsc::channel(1);
    let status = handle.status.clone();
    server.yard.tasks.clone().spawn(format!("data of {key}"), OnCancel::Drop, async move {
        follow_data(status, &lines, first).await;
    });
    Ok(Response::new(Body::from_stream(ReceiverStream::new(stream))))
}

async fn follow_data(
    mut status: watch::Receiver<Status>,
    lines: &mpsc::Sender<Result<Bytes, std::io::Error>>,
    first: DataView,
) {
    let mut told = first;
    let mut sent = send(lines, &told).await;
    while sent.is_ok() {
        tokio::select! {
            changed = status.changed() => if changed.is_err() { return },
            () = lines.closed() => return,
        }
        let now = {
            let status = status.borrow_and_update();
            // One that is gone has no data any more; the stream's end says so.
            if status.gone || status.view.is_none() {
                return;
            }
            (status.data != told).then(|| status.data.clone())
        };
        if let Some(data) = now {
            sent = send(lines, &data).await;
            told = data;
        }
    }
}

async fn plan(
    State(server): State<Server>,
    key: Key,
    Json(request): Json<PlanRequest>,
) -> Result<Response, Refusal> {
    let release = Box::new(request.release);
    ask(&server, &parse_key(key)?, |answer| Message::Plan { release, answer }).await
}

async fn render(
    State(server): State<Server>,
    key: Key,
    Json(request): Json<RenderRequest>,
) -> Result<Response, Refusal> {
    ask(&server, &parse_key(key)?, |answer| Message::Render { request: Box::new(request), answer })
        .await
}

async fn files(
    State(server): State<Server>,
    Path((system, environment, service)): Path<(String, String, String)>,
) -> Result<Response, Refusal> {
    let service = service.parse().map_err(|err: brickyard_core::NameError| {
        Refusal(StatusCode::BAD_REQUEST, err.to_string())
    })?;
    let key = parse_key(Path((system, environment)))?;
    handle_of(&server, &key).await?;
    ask(&server, &key, |answer| Message::Files { service, answer }).await
}

/// Asks an environment's task something that changes nothing.
async fn ask<T: Serialize>(
    server: &Server,
    key: &EnvironmentKey,
    message: impl FnOnce(oneshot::Sender<Result<T, Failure>>) -> Message,
) -> Result<Response, Refusal> {
    let handle = server.open(key).await.map_err(internal)?;
    let (answer, answered) = oneshot::channel();
    let gone = || internal("the environment's task has ended");
    handle.messages.send(message(answer)).await.map_err(|_| gone())?;
    let made = answered.await.map_err(|_| gone())?;
    server.changed.notify_one();
    match made {
        Ok(view) => Ok(Json(view).into_response()),
        Err(failure) => {
            let texts: Vec<String> =
                failure.reasons.into_iter().map(|reason| reason.text).collect();
            let status = match failure.kind {
                FailureKind::NotFound => StatusCode::NOT_FOUND,
                _ => StatusCode::UNPROCESSABLE_ENTITY,
            };
            Err(Refusal(status, texts.join("\n")))
        }
    }
}

/// Carries a command out and tells how it goes. The work is a task of its own: a caller that goes
/// away stops nothing.
async fn command(State(server): State<Server>, key: Key, body: Bytes) -> Result<Response, Refusal> {
    let key = parse_key(key)?;
    let command: Command = serde_json::from_slice(&body)
        .map_err(|err| Refusal(StatusCode::BAD_REQUEST, err.to_string()))?;
    let (lines, stream) = mpsc::channel(STREAM_LENGTH);
    let tasks = server.yard.tasks.clone();
    tasks.spawn(format!("command for {key}"), OnCancel::Drop, async move {
        let last = match follow(&server, &key, command, &lines).await {
            Ok(progress) => progress,
            Err(failure) => Progress::Failed { kind: failure.kind, reasons: failure.reasons },
        };
        let _ = send(&lines, &last).await;
        server.changed.notify_one();
    });
    let stream = ReceiverStream::new(stream);
    Ok(Response::new(Body::from_stream(stream)))
}

async fn send(
    lines: &mpsc::Sender<Result<Bytes, std::io::Error>>,
    value: &impl Serialize,
) -> Result<(), ()> {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    lines.send(Ok(Bytes::from(line))).await.map_err(drop)
}

async fn follow(
    server: &Server,
    key: &EnvironmentKey,
    command: Command,
    lines: &mpsc::Sender<Result<Bytes, std::io::Error>>,
) -> Result<Progress, Failure> {
    let failed = |text: &str| Failure::of(FailureKind::Internal, key, text);
    let gone = || failed("the environment's task has ended");
    // A change of data is done when what follows from it is done: what was not well before it
    // need not get well.
    let is_data = matches!(command, Command::Config { .. } | Command::Register { .. });
    let mut tries = 0;
    let (handle, mut before, accepted) = loop {
        let handle = server.open(key).await.map_err(|text| failed(&text))?;
        let before = handle.status.borrow().failed.clone();
        let (answer, answered) = oneshot::channel();
        let message = Message::Command { command: command.clone(), answer };
        let sent = handle.messages.send(message).await.is_ok();
        match answered.await {
            Ok(answer) if sent => break (handle, before, answer?),
            // The task was just ending, as after `down`: what was not answered was not written.
            _ if tries < 3 => tries += 1,
            _ => return Err(gone()),
        }
    };
    let _ = send(lines, &Progress::Accepted { revision: accepted.revision }).await;
    let mut status = handle.status.clone();
    let mut told = Vec::new();
    loop {
        let now = status.borrow_and_update().clone();
        if now.sequence >= accepted.sequence {
            let instances = now.view.map(|view| view.instances).unwrap_or_default();
            let mut failed = now.failed;
            // What has got well meanwhile and fails again does so because of the change.
            before.retain(|reason| failed.contains(reason));
            if is_data {
                failed.retain(|reason| !before.contains(reason));
            }
            let rests = now.settled || (is_data && now.quiet);
            if rests && failed.is_empty() && !is_data && !now.gone {
                failed = front_failures(server, key).await;
            }
            if now.gone || (rests && failed.is_empty()) {
                return Ok(Progress::Done { instances });
            }
            if !failed.is_empty() {
                return Err(Failure { kind: FailureKind::Unhealthy, reasons: failed });
            }
            if instances != told {
                let _ = send(lines, &Progress::State { instances: instances.clone() }).await;
                told = instances;
            }
        }
        match tokio::time::timeout(HEARTBEAT, status.changed()).await {
            Ok(Err(_)) => return Err(gone()),
            Ok(Ok(())) => {}
            Err(_) if lines.is_closed() => return Err(failed("the caller went away")),
            Err(_) => {}
        }
    }
}

/// What the front cannot do of what it was told last.
async fn front_failures(server: &Server, key: &EnvironmentKey) -> Vec<Reason> {
    let front = &server.yard.front;
    front.flushed().await;
    let problems = front.problems_of(&format!("/{}/{}/", key.system, key.environment));
    let reason =
        |found: Problem| Reason { address: found.owner, text: found.text, log: Vec::new() };
    problems.into_iter().map(reason).collect()
}

/// Which events are asked for.
#[derive(Debug, Deserialize)]
struct EventQuery {
    /// Only those after this cursor.
    #[serde(default)]
    after: u64,
    /// Whether to go on as more happen.
    #[serde(default)]
    follow: bool,
}

async fn events(
    State(server): State<Server>,
    Query(query): Query<EventQuery>,
) -> Result<Response, Refusal> {
    let (snapshot, watch) = server.yard.store.watch(keys::JOURNAL).await.map_err(internal)?;
    let (lines, stream) = mpsc::channel(STREAM_LENGTH);
    server.yard.tasks.clone().spawn("events", OnCancel::Drop, async move {
        for entry in &snapshot.entries {
            if tell_event(&lines, &entry.value, query.after).await.is_err() {
                return;
            }
        }
        if query.follow {
            follow_events(watch, &lines, query.after).await;
        }
    });
    Ok(Response::new(Body::from_stream(ReceiverStream::new(stream))))
}

async fn follow_events(
    mut watch: Watch,
    lines: &mpsc::Sender<Result<Bytes, std::io::Error>>,
    after: u64,
) {
    loop {
        tokio::select! {
            // Cancel safe: the watch keeps what was not taken.
            batch = watch.next() => {
                let Ok(batch) = batch else { return };
                for change in batch.changes {
                    if let Change::Put(entry) = change
                        && tell_event(lines, &entry.value, after).await.is_err()
                    {
                        return;
                    }
                }
            }
            () = lines.closed() => return,
        }
    }
}

async fn tell_event(
    lines: &mpsc::Sender<Result<Bytes, std::io::Error>>,
    value: &[u8],
    after: u64,
) -> Result<(), ()> {
    match serde_json::from_slice::<Event>(value) {
        Ok(event) if event.cursor > after => send(lines, &event).await,
        _ => Ok(()),
    }
}

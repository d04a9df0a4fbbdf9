//! Putting rendered files into instances: stage beside the destination, check, put in place,
//! tell the process.
//!
//! Deciding what to render is `brickyard-plan`'s; this crate carries it out on any [`Engine`].
//! A file whose check refuses it never gets into place, and the reason is what a person needs:
//! the command as they wrote it and what it said.

#![forbid(unsafe_code)]

use std::time::Duration;

use brickyard_core::Slot;
use brickyard_core::spec::MountKind;
use brickyard_engine::{Engine, Error, ExecRequest, FileWrite, InstanceId, Staged, StartRequest};
use brickyard_model::types::Reload;
use brickyard_plan::Method;
use brickyard_plan::difference::RenderedFile;
use tokio::time::timeout;

/// How often a check is tried that was killed and so has said nothing.
const TRIES: u32 = 3;
/// Slot of throw-away generations in which checks run before the first start.
pub const SLOT_THROWAWAY: Slot = Slot(0);
/// Exit code of what was killed.
const CODE_KILLED: i32 = 137;
/// Characters of a command's output that a message shows.
const OUTPUT_SHOWN: usize = 400;

/// The file as an engine wants it.
#[must_use]
pub fn file_write(file: &RenderedFile) -> FileWrite {
    FileWrite {
        dest: file.template.dest.clone(),
        contents: file.contents.clone(),
        mode: file.template.mode,
        uid: file.template.uid,
        gid: file.template.gid,
    }
}

/// Why a file that was tried is not staged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Objection {
    /// Its check refuses it.
    Refused(String),
    /// It could not be tried; another time it may be.
    Failed(String),
}

impl Objection {
    /// What a person needs to know.
    #[must_use]
    pub fn into_text(self) -> String {
        match self {
            Self::Refused(text) | Self::Failed(text) => text,
        }
    }
}

/// Writes a file beside its destination in a running instance and runs its check; a refused one
/// is removed again.
///
/// # Errors
/// Why it was refused or could not be written.
pub async fn stage_and_check(
    engine: &dyn Engine,
    id: &InstanceId,
    file: &RenderedFile,
) -> Result<Staged, Objection> {
    let staged = engine.stage_file(id, &file_write(file)).await;
    let staged = staged.map_err(|err| Objection::Failed(err.whole()))?;
    match check_staged(engine, id, file, &staged).await {
        Ok(()) => Ok(staged),
        Err(reason) => {
            if let Err(err) = engine.discard_file(id, &staged).await {
                tracing::warn!("{}", err.whole());
            }
            Err(reason)
        }
    }
}

async fn check_staged(
    engine: &dyn Engine,
    id: &InstanceId,
    file: &RenderedFile,
    staged: &Staged,
) -> Result<(), Objection> {
    let Some(check) = &file.template.check else {
        return Ok(());
    };
    let argv = expand(check, staged.path.as_str()).map_err(Objection::Refused)?;
    let request = ExecRequest::of(&argv);
    let limit = Duration::from_millis(file.template.check_timeout_ms);
    let mut run = timeout(limit, engine.exec(id, &request)).await;
    for _ in 1..TRIES {
        if matches!(run, Ok(Err(Error::Interrupted { .. }))) {
            run = timeout(limit, engine.exec(id, &request)).await;
        }
    }
    let output = match run {
        Err(_) => return Err(Objection::Refused(refusal(file, check, &too_long(limit)))),
        Ok(done) => done.map_err(|err| Objection::Failed(err.whole()))?,
    };
    match output.code {
        0 => Ok(()),
        code => Err(Objection::Refused(refusal(file, check, &said(code, &output.output)))),
    }
}

/// Puts a file in its place in a running instance. With `staged` it lies there checked already.
///
/// # Errors
/// Why it was refused or could not be written.
pub async fn place(
    engine: &dyn Engine,
    id: &InstanceId,
    file: &RenderedFile,
    staged: Option<Staged>,
) -> Result<(), String> {
    // A start since then has swept it away: then it is written and checked anew.
    if let Some(staged) = staged
        && commit(engine, id, &staged).await.is_ok()
    {
        return Ok(());
    }
    if file.template.check.is_none() {
        let placed = engine.place_file(id, &file_write(file)).await;
        return placed.map_err(|err| err.whole());
    }
    let mut tries = 1;
    loop {
        let staged = stage_and_check(engine, id, file).await.map_err(Objection::into_text)?;
        match commit(engine, id, &staged).await {
            Err(Error::Interrupted { .. }) if tries < TRIES => tries += 1,
            done => return done.map_err(|err| err.whole()),
        }
    }
}

/// Puts a staged file in its place; one that does not get there is removed.
async fn commit(engine: &dyn Engine, id: &InstanceId, staged: &Staged) -> Result<(), Error> {
    let done = engine.commit_file(id, staged).await;
    if done.is_err() {
        let _ = engine.discard_file(id, staged).await;
    }
    done
}

/// Runs the checks of files that no process has seen yet, in a throw-away of the same spec
/// without network and volumes.
///
/// # Errors
/// Why the first of them was refused.
pub async fn first_checks(
    engine: &dyn Engine,
    request: &StartRequest,
    files: &[RenderedFile],
) -> Result<(), String> {
    for file in files {
        let Some(check) = &file.template.check else {
            continue;
        };
        let mut trial = request.clone();
        trial.id.slot = SLOT_THROWAWAY;
        trial.address = None;
        trial.spec.argv = expand(check, file.template.dest.as_str())?;
        trial.spec.mounts.retain(|mount| matches!(mount.kind, MountKind::Tmpfs { .. }));
        let limit = Duration::from_millis(file.template.check_timeout_ms);
        let mut verdict = run_to_end(engine, &trial, limit).await;
        for _ in 1..TRIES {
            if verdict == Ok(Verdict::Unseen) {
                verdict = run_to_end(engine, &trial, limit).await;
            }
        }
        if let Err(err) = engine.remove(&trial.id).await {
            tracing::warn!("{}", err.whole());
        }
        match verdict? {
            Verdict::Ended(0) => {}
            Verdict::Ended(code) => return Err(refusal(file, check, &said(code, &[]))),
            Verdict::Unseen => return Err(refusal(file, check, &said(CODE_KILLED, &[]))),
            Verdict::TooLong => return Err(refusal(file, check, &too_long(limit))),
        }
    }
    Ok(())
}

/// How a throw-away ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// By itself, with this exit code.
    Ended(i32),
    /// Nobody saw how.
    Unseen,
    /// It did not in time.
    TooLong,
}

async fn run_to_end(
    engine: &dyn Engine,
    trial: &StartRequest,
    limit: Duration,
) -> Result<Verdict, String> {
    match engine.start(trial).await {
        Err(Error::Refused { reason, .. }) => return Err(reason),
        Err(err) => return Err(err.whole()),
        Ok(_) => {}
    }
    match timeout(limit, engine.wait(&trial.id)).await {
        Err(_) => Ok(Verdict::TooLong),
        Ok(Err(err)) => Err(err.whole()),
        Ok(Ok(exit)) if exit.lost.is_none() => Ok(Verdict::Ended(exit.code)),
        Ok(Ok(_)) => Ok(Verdict::Unseen),
    }
}

/// Tells a process of what is in place, in each of the ways given. Restarts are not done here.
///
/// # Errors
/// Why the first of them failed; it may be repeated.
pub async fn reload(
    engine: &dyn Engine,
    id: &InstanceId,
    methods: &[Method],
) -> Result<(), String> {
    for method in methods {
        match &method.reload {
            Reload::None | Reload::Restart => {}
            Reload::Signal(name) => engine.signal(id, name).await.map_err(|err| err.whole())?,
            Reload::Exec(argv) => {
                let limit = Duration::from_millis(method.timeout_ms);
                let run = timeout(limit, engine.exec(id, &ExecRequest::of(argv))).await;
                let output = run
                    .map_err(|_| format!("`{}`: {}", argv.join(" "), too_long(limit)))?
                    .map_err(|err| err.whole())?;
                if output.code != 0 {
                    let text = said(output.code, &output.output);
                    return Err(format!("`{}`: {text}", argv.join(" ")));
                }
            }
        }
    }
    Ok(())
}

fn expand(check: &[String], src: &str) -> Result<Vec<String>, String> {
    brickyard_template::expand_check(check, src).map_err(|err| err.to_string())
}

fn refusal(file: &RenderedFile, check: &[String], text: &str) -> String {
    let dest = &file.template.dest;
    let shown = expand(check, dest.as_str()).unwrap_or_else(|_| check.to_vec());
    format!("the check of {dest} refuses it: `{}`: {text}", shown.join(" "))
}

fn too_long(limit: Duration) -> String {
    format!("it took longer than {limit:?} and was killed with all that it had started")
}

fn said(code: i32, output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let text: String = text.trim().chars().take(OUTPUT_SHOWN).collect();
    match text.is_empty() {
        true => format!("exit code {code}"),
        false => format!("exit code {code}: {text}"),
    }
}

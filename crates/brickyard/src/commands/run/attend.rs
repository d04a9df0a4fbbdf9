//! What happens to a one-off container after its end, and to its ports before it.
//!
//! For a detached one a process of its own does it, the hidden `__attend` command: it listens on
//! the ports, waits, and removes what is to be removed. It ends with the container.

use std::net::Ipv4Addr;
use std::process::Stdio;

use brickyard_engine::native::Native;
use brickyard_engine::{Engine, InstanceId};
use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use super::ports::{self, Forward};
use crate::context::binary;
use crate::error::CommandError;

/// The system to which environments of single processes belong.
pub(super) const OWN_SYSTEM: &str = "run";

/// What is to be done for a detached container.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Attendance {
    pub(super) root: Utf8PathBuf,
    pub(super) id: InstanceId,
    pub(super) forwards: Vec<Forward>,
    pub(super) address: Option<Ipv4Addr>,
    /// Whether it is removed when it has ended.
    pub(super) remove: bool,
}

impl Attendance {
    /// Starts the process that attends, where there is anything to do.
    pub(super) fn begin_if_needed(&self) -> Result<(), CommandError> {
        if self.forwards.is_empty() && !self.remove {
            return Ok(());
        }
        let job =
            serde_json::to_string(self).map_err(|err| CommandError::machine(err.to_string()))?;
        let mut command = std::process::Command::new(binary()?);
        command.args(["__attend", &job]).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        brickyard_sys::command::new_session(&mut command).spawn()?;
        Ok(())
    }
}

/// Entry of the hidden `__attend` command.
pub(crate) fn main(arguments: &[String]) -> i32 {
    let job = arguments.first().and_then(|text| serde_json::from_str::<Attendance>(text).ok());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (Some(job), Ok(runtime)) = (job, runtime) else {
        return 2;
    };
    match runtime.block_on(attend(&job)) {
        Ok(()) => 0,
        Err(err) => err.exit_code(),
    }
}

async fn attend(job: &Attendance) -> Result<(), CommandError> {
    let engine = Native::open(&job.root, &binary()?)?;
    let listeners = ports::listen(&job.forwards).await?;
    tokio::select! {
        _ = engine.wait(&job.id) => {}
        never = ports::forward(listeners, job.address) => match never {},
    }
    match job.remove {
        true => clear(&engine, &job.id).await,
        false => Ok(()),
    }
}

/// Removes a one-off, and its environment where that was its own.
pub(crate) async fn clear(engine: &Native, id: &InstanceId) -> Result<(), CommandError> {
    engine.remove(id).await?;
    if id.environment.system.as_str() == OWN_SYSTEM {
        engine.leave_environment(&id.environment).await?;
        if engine.environments().await?.is_empty() {
            engine.close()?;
        }
    }
    Ok(())
}

//! One driver for all background tasks: each has a name and a cancel policy, none is forgotten.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long tasks that finish by themselves may take when the agent ends.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);

/// What the end of the agent means for a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnCancel {
    /// It is dropped at its next await: it holds nothing that must be finished.
    Drop,
    /// It is waited for, up to the deadline.
    Finish,
}

/// Starts tasks and ends them all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    cancel: CancellationToken,
    running: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Tasks {
    /// Starts a task; the handle may end it early. A panic in it is recorded under its name and
    /// ends it alone.
    pub(crate) fn spawn(
        &self,
        name: impl Into<String>,
        on_cancel: OnCancel,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> AbortHandle {
        let name = name.into();
        let cancel = self.cancel.clone();
        let guard = Running::new(Arc::clone(&self.running), name);
        let task = self.tracker.spawn(async move {
            let _guard = guard;
            match on_cancel {
                OnCancel::Finish => work.await,
                OnCancel::Drop => {
                    cancel.run_until_cancelled(work).await;
                }
            }
        });
        task.abort_handle()
    }

    /// Ends all tasks and returns the names of those that did not end in time.
    pub(crate) async fn shut_down(&self) -> Vec<String> {
        self.cancel.cancel();
        self.tracker.close();
        if tokio::time::timeout(DRAIN_DEADLINE, self.tracker.wait()).await.is_ok() {
            return Vec::new();
        }
        self.running.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }
}

/// Counts a task by name as long as it lives.
struct Running {
    all: Arc<Mutex<BTreeMap<String, usize>>>,
    name: String,
}

impl Running {
    fn new(all: Arc<Mutex<BTreeMap<String, usize>>>, name: String) -> Self {
        *all.lock().unwrap_or_else(PoisonError::into_inner).entry(name.clone()).or_default() += 1;
        Self { all, name }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(task = self.name, "a background task panicked");
        }
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.name);
            }
        }
    }
}

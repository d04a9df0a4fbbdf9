//! Which start of the machine this is: what ran before another one has ended without anybody seeing
//! it.

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};

/// File under the yard's root that keeps the boot in which an agent last took everything up.
const FILE: &str = "boot";
/// Where the kernel tells its boot, a random number.
const CURRENT: &str = "/proc/sys/kernel/random/boot_id";

/// This boot and the last one.
pub(crate) struct Boot {
    path: Utf8PathBuf,
    current: String,
    last: Option<String>,
}

impl Boot {
    /// Reads both.
    pub(crate) fn of(root: &Utf8Path) -> Self {
        let path = root.join(FILE);
        let last = fs::read_to_string(&path).ok();
        Self { current: fs::read_to_string(CURRENT).unwrap_or_default(), last, path }
    }

    /// Whether the machine was started anew since; unknown means no.
    pub(crate) fn is_another(&self) -> bool {
        self.last.as_ref().is_some_and(|last| *last != self.current)
    }

    /// Keeps this one: everything is taken up.
    pub(crate) fn remember(&self) {
        if self.last.as_ref() == Some(&self.current) {
            return;
        }
        let temporary = format!("{}.new", self.path);
        let written = fs::write(&temporary, &self.current);
        if let Err(err) = written.and_then(|()| fs::rename(&temporary, &self.path)) {
            tracing::warn!("failed to write `{}`: {err}", self.path);
        }
    }
}

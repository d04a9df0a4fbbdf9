//! Counts of what was done, for whoever watches the watcher.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What was done since the start.
#[derive(Debug, Default)]
pub(crate) struct Status {
    pub(crate) renders: AtomicU64,
    pub(crate) render_failures: AtomicU64,
    pub(crate) updates: AtomicU64,
    pub(crate) check_failures: AtomicU64,
    pub(crate) reloads: AtomicU64,
    pub(crate) reload_failures: AtomicU64,
    pub(crate) backend_failures: AtomicU64,
    pub(crate) resources: AtomicU64,
    pub(crate) keys: AtomicU64,
    /// Resources whose files are not what they should be, or not loaded.
    pub(crate) failing: AtomicU64,
    /// Whether every backend answers.
    pub(crate) connected: AtomicBool,
    /// Whether every file was rendered once.
    pub(crate) rendered: AtomicBool,
}

/// Counts one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Sets a number.
pub(crate) fn set(gauge: &AtomicU64, number: usize) {
    gauge.store(number as u64, Ordering::Relaxed);
}

impl Status {
    /// Whether everything is as it should be, and what is not.
    pub(crate) fn health(&self) -> (bool, String) {
        let connected = self.connected.load(Ordering::Relaxed);
        let rendered = self.rendered.load(Ordering::Relaxed);
        let failing = self.failing.load(Ordering::Relaxed);
        let is_ready = connected && rendered && failing == 0;
        let state = serde_json::json!({
            "ready": is_ready, "connected": connected, "rendered": rendered, "failing": failing,
        });
        (is_ready, state.to_string())
    }

    /// The text that Prometheus reads.
    pub(crate) fn metrics(&self) -> String {
        let counters = [
            ("renders_total", "counter", "Templates rendered.", &self.renders),
            (
                "render_failures_total",
                "counter",
                "Templates that could not be rendered.",
                &self.render_failures,
            ),
            ("updates_total", "counter", "Files put into place.", &self.updates),
            (
                "check_failures_total",
                "counter",
                "Files that their checks refused.",
                &self.check_failures,
            ),
            ("reloads_total", "counter", "Reload commands that ended well.", &self.reloads),
            (
                "reload_failures_total",
                "counter",
                "Reload commands that did not.",
                &self.reload_failures,
            ),
            ("backend_failures_total", "counter", "Failures of backends.", &self.backend_failures),
            ("resources", "gauge", "Template resources.", &self.resources),
            ("keys", "gauge", "Keys that are known.", &self.keys),
            ("failing_resources", "gauge", "Resources whose last attempt failed.", &self.failing),
        ];
        let mut text = String::new();
        let mut add = |name: &str, kind: &str, help: &str, value: u64| {
            text.push_str(&format!(
                "# HELP confd_{name} {help}\n# TYPE confd_{name} {kind}\nconfd_{name} {value}\n"
            ));
        };
        for (name, kind, help, value) in counters {
            add(name, kind, help, value.load(Ordering::Relaxed));
        }
        let connected = u64::from(self.connected.load(Ordering::Relaxed));
        add("backend_up", "gauge", "Whether all backends answer.", connected);
        text
    }
}

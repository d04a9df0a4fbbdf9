//! Sending a change and showing how it goes, shared by all commands that change something.

use std::collections::BTreeMap;
use std::time::Duration;

use brickyard_api::{Client, Command, InstanceView, Progress};
use brickyard_engine::EnvironmentKey;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::context::Context;
use crate::error::CommandError;
use crate::ui::{Role, Ui};

/// What a change ended with.
pub(crate) struct Done {
    pub(crate) revision: u64,
    pub(crate) instances: Vec<InstanceView>,
}

/// Sends a command and waits until everything is well, or says why it is not.
pub(crate) async fn send(
    ui: &Ui,
    client: &Client,
    key: &EnvironmentKey,
    command: &Command,
) -> Result<Done, CommandError> {
    let mut lines = client.follow(&Context::path(key, "/commands"), Some(command)).await?;
    let mut display = Display::new(ui);
    let mut revision = 0;
    loop {
        match lines.next::<Progress>().await? {
            Some(Progress::Accepted { revision: made }) => revision = made,
            Some(Progress::State { instances }) => display.show(&instances),
            Some(Progress::Done { instances }) => {
                display.end();
                return Ok(Done { revision, instances });
            }
            Some(Progress::Failed { kind, reasons }) => {
                display.end();
                return Err(CommandError::Failed { kind, reasons });
            }
            None => {
                display.end();
                return Err(CommandError::machine(
                    "the agent ended; what it began goes on when it is back",
                ));
            }
        }
    }
}

/// One line for each instance: moving on a terminal, otherwise a line for each change.
struct Display<'a> {
    ui: &'a Ui,
    bars: Option<MultiProgress>,
    by_address: BTreeMap<String, (ProgressBar, String)>,
}

impl<'a> Display<'a> {
    fn new(ui: &'a Ui) -> Self {
        let bars = (ui.terminal && !ui.json && !ui.is_quiet()).then(MultiProgress::new);
        Self { ui, bars, by_address: BTreeMap::new() }
    }

    fn show(&mut self, instances: &[InstanceView]) {
        for instance in newest(instances) {
            let text = describe(self.ui, instance);
            let known = self.by_address.get(&instance.address);
            if known.is_some_and(|(_, shown)| *shown == text) {
                continue;
            }
            let bar = match (known, &self.bars) {
                (Some((bar, _)), _) => bar.clone(),
                (None, Some(bars)) => spinner(bars),
                (None, None) => ProgressBar::hidden(),
            };
            let short = instance.address.split('/').skip(3).collect::<Vec<_>>().join("/");
            let line = format!("{} {text}", self.ui.paint(Role::Strong, &short));
            match &self.bars {
                Some(_) if is_at_rest(instance) => bar.finish_with_message(line),
                Some(_) => bar.set_message(line),
                None => self.ui.detail(&line),
            }
            self.by_address.insert(instance.address.clone(), (bar, text));
        }
    }

    fn end(&mut self) {
        if let Some(bars) = &self.bars {
            let _ = bars.clear();
        }
    }
}

fn spinner(bars: &MultiProgress) -> ProgressBar {
    let bar = bars.add(ProgressBar::new_spinner());
    if let Ok(style) = ProgressStyle::with_template(" {spinner:.cyan} {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(80));
    bar
}

/// The newest generation of each slot.
fn newest(instances: &[InstanceView]) -> impl Iterator<Item = &InstanceView> {
    let mut by_address: BTreeMap<&str, &InstanceView> = BTreeMap::new();
    for instance in instances {
        let newest = by_address.entry(&instance.address).or_insert(instance);
        if instance.generation > newest.generation {
            *newest = instance;
        }
    }
    by_address.into_values()
}

fn is_at_rest(instance: &InstanceView) -> bool {
    instance.waiting.is_none()
        && (instance.state == "running" && instance.health != "starting"
            || matches!(instance.state.as_str(), "exited" | "stopped" | "refused"))
}

fn describe(ui: &Ui, instance: &InstanceView) -> String {
    if let Some(waiting) = &instance.waiting {
        return ui.paint(Role::Faint, waiting);
    }
    match (instance.state.as_str(), instance.health.as_str()) {
        ("running", "healthy") => ui.paint(Role::Good, "healthy"),
        ("running", "unhealthy") => ui.paint(Role::Bad, "unhealthy"),
        ("running", _) => ui.paint(Role::Busy, "running, not yet healthy"),
        ("exited", _) => {
            let code = instance.exit_code.unwrap_or_default();
            ui.paint(
                if code == 0 { Role::Faint } else { Role::Bad },
                &format!("exited with {code}"),
            )
        }
        ("refused", _) => ui.paint(Role::Bad, "refused"),
        (state, _) => ui.paint(Role::Busy, state),
    }
}

/// `web/1` of a view; the name alone of a one-off container.
pub(crate) fn short_address(instance: &InstanceView) -> String {
    if instance.instance == brickyard_engine::SLOT_ONE_OFF {
        return instance.service.to_string();
    }
    format!("{}/{}", instance.service, instance.instance)
}

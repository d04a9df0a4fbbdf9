//! `logs`.

mod reader;

use std::collections::BTreeMap;
use std::time::Duration;

use brickyard_core::clock::{Clock, Millis, SystemClock, rfc3339};
use brickyard_engine::native::Native;
use brickyard_engine::{Engine, InstanceId};
use clap::Args;

use super::follow::short_address;
use super::moment::moment;
use super::targets;
use crate::complete::services;
use crate::context::Context;
use crate::error::CommandError;
use crate::ui::Ui;
use reader::{Entry, Reader};

/// How often files are looked at for more.
const FOLLOW_PAUSE: Duration = Duration::from_millis(100);
/// Looks at files between two looks for newer generations.
const LIST_EVERY: u32 = 10;

/// Show the output of instances
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard logs -f --since 10m web db/1")]
pub(crate) struct LogsArgs {
    /// Go on as more is written, by generations to come, too
    #[arg(short, long)]
    follow: bool,
    /// Show so many of the last lines of each instance; `all` by default
    #[arg(short = 'n', long, value_name = "LINES")]
    tail: Option<String>,
    /// Only what was written since: 2026-01-31T12:00:00Z, 1h30m ago, or seconds since 1970
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only what was written until then, in the same forms
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Show when each line was written
    #[arg(short, long)]
    timestamps: bool,
    /// No colours, even on a terminal
    #[arg(long)]
    no_color: bool,
    /// Leave out the instances' names
    #[arg(long)]
    no_log_prefix: bool,
    /// Number of the instance, when one service is named
    #[arg(long, value_name = "NUMBER")]
    index: Option<u32>,
    /// Services, instances or one-off containers; all when none is named
    #[arg(add = services())]
    targets: Vec<String>,
}

impl LogsArgs {
    pub(crate) fn follow_all() -> Self {
        Self {
            follow: true,
            tail: Some("0".to_owned()),
            since: None,
            until: None,
            timestamps: false,
            no_color: false,
            no_log_prefix: false,
            index: None,
            targets: Vec::new(),
        }
    }

    fn tail_lines(&self) -> Result<Option<usize>, CommandError> {
        match self.tail.as_deref() {
            None | Some("all") => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| {
                CommandError::usage(format!("`{text}` is neither a number of lines nor `all`"))
            }),
        }
    }

    fn targets(&self) -> Result<Vec<String>, CommandError> {
        match (self.index, self.targets.as_slice()) {
            (None, targets) => Ok(targets.to_vec()),
            (index, [only]) => Ok(vec![targets::with_index(only, index)]),
            _ => Err(CommandError::usage("--index needs exactly one service")),
        }
    }
}

/// Which lines are shown, and how.
struct Shape {
    tail: Option<usize>,
    since_ms: Option<Millis>,
    until_ms: Option<Millis>,
    colour: bool,
    timestamps: bool,
    prefix: bool,
    /// Services in the order in which they were met: each has its colour for good.
    services: Vec<String>,
    /// Width of the longest name.
    width: usize,
}

pub(crate) async fn run(ui: &Ui, context: &Context, args: &LogsArgs) -> Result<(), CommandError> {
    let mut shape = Shape {
        tail: args.tail_lines()?,
        since_ms: moment(args.since.as_ref())?,
        until_ms: moment(args.until.as_ref())?,
        colour: ui.data_colour && !args.no_color,
        timestamps: args.timestamps,
        prefix: !args.no_log_prefix,
        services: Vec::new(),
        width: 0,
    };
    let targets = args.targets()?;
    let engine = context.engine()?;
    let mut readers: BTreeMap<InstanceId, (String, Reader)> = BTreeMap::new();
    let mut lines = meet(context, &engine, &targets, &mut readers, &mut shape, true).await?;
    let mut round = 0;
    loop {
        for (id, (name, reader)) in &mut readers {
            let more = reader.read_more(&engine.log_files(id));
            lines.extend(more.into_iter().map(|entry| (entry, name.clone())));
        }
        lines.retain(|(entry, _)| shape.wants(entry));
        // Instances are merged by time; lines of one instant stay as they were written.
        lines.sort_by(|(a, _), (b, _)| a.time.cmp(&b.time));
        lines.drain(..).for_each(|(entry, name)| shape.print(ui, &name, &entry));
        if !args.follow || shape.is_over() {
            return Ok(());
        }
        tokio::time::sleep(FOLLOW_PAUSE).await;
        round += 1;
        if round % LIST_EVERY == 0 {
            match meet(context, &engine, &targets, &mut readers, &mut shape, false).await {
                Ok(more) => lines = more,
                // Nothing is left whose output could be followed.
                Err(CommandError::Plain { code: 3, .. }) if targets.is_empty() => return Ok(()),
                // What runs goes on without an agent, and so does its output; and a service that
                // is scaled down to nothing may come back.
                Err(_) => {}
            }
        }
    }
}

/// Looks for instances that were not met before and reads what they have said so far.
async fn meet(
    context: &Context,
    engine: &Native,
    targets: &[String],
    readers: &mut BTreeMap<InstanceId, (String, Reader)>,
    shape: &mut Shape,
    first: bool,
) -> Result<Vec<(Entry, String)>, CommandError> {
    let (key, view) = match targets.is_empty() {
        true => context.show().await?,
        false => context.show_all().await?,
    };
    let mut lines = Vec::new();
    for instance in targets::instances(&key, &view, targets)? {
        let name = short_address(instance);
        shape.meet(instance.service.as_str(), &name);
        let id = targets::id(&key, instance);
        if readers.contains_key(&id) {
            continue;
        }
        let mut reader = Reader::default();
        let mut said = reader.read_all(&engine.log_files(&id));
        said.retain(|entry| shape.wants(entry));
        let skip = match (first, shape.tail) {
            (true, Some(tail)) => said.len().saturating_sub(tail),
            _ => 0,
        };
        lines.extend(said.into_iter().skip(skip).map(|entry| (entry, name.clone())));
        readers.insert(id, (name, reader));
    }
    Ok(lines)
}

impl Shape {
    fn meet(&mut self, service: &str, name: &str) {
        self.width = self.width.max(name.chars().count());
        if !self.services.iter().any(|known| known == service) {
            self.services.push(service.to_owned());
        }
    }

    fn wants(&self, entry: &Entry) -> bool {
        let since = self.since_ms.is_none_or(|since| entry.time >= rfc3339(since));
        since && self.until_ms.is_none_or(|until| entry.time <= rfc3339(until))
    }

    /// Whether nothing that is written from now on is wanted.
    fn is_over(&self) -> bool {
        self.until_ms.is_some_and(|until| SystemClock::default().now_ms() > until)
    }

    fn print(&self, ui: &Ui, name: &str, entry: &Entry) {
        let text = String::from_utf8_lossy(&entry.text);
        // A terminal inside ends its lines with both characters.
        let text = text.strip_suffix('\r').unwrap_or(&text);
        if ui.json {
            ui.json_value(&serde_json::json!({
                "instance": name,
                "time": entry.time,
                "stream": if entry.is_stderr { "stderr" } else { "stdout" },
                "text": text,
            }));
            return;
        }
        let time = if self.timestamps { format!("{} ", entry.time) } else { String::new() };
        if !self.prefix {
            ui.line(&format!("{time}{text}"));
            return;
        }
        let prefix = format!("{name:width$} | ", width = self.width);
        let service = name.split('/').next().unwrap_or(name);
        let place = self.services.iter().position(|known| known == service).unwrap_or(0);
        let prefix = if self.colour { Ui::in_series(place, &prefix) } else { prefix };
        ui.line(&format!("{prefix}{time}{text}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive() {
        let mut shape = Shape {
            tail: None,
            since_ms: Some(1000),
            until_ms: Some(2000),
            colour: false,
            timestamps: false,
            prefix: true,
            services: Vec::new(),
            width: 0,
        };
        let at = |time_ms| Entry { time: rfc3339(time_ms), is_stderr: false, text: Vec::new() };
        let wanted: Vec<bool> =
            [999, 1000, 2000, 2001].map(|time_ms| shape.wants(&at(time_ms))).to_vec();
        assert_eq!(wanted, [false, true, true, false]);
        shape.meet("web", "web/1");
        shape.meet("web", "web/10");
        assert_eq!((shape.width, shape.services.len()), (6, 1));
    }
}

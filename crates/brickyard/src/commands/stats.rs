//! `stats`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use brickyard_engine::{Engine, InstanceId, Usage};
use clap::Args;

use super::follow::short_address;
use super::targets;
use crate::complete::services;
use crate::context::Context;
use crate::error::CommandError;
use crate::output::{cut, memory_size, size, table};
use crate::terminal;
use crate::ui::Ui;

/// Time over which CPU time is measured, and between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// The same for a single look, which people wait for.
const FIRST_INTERVAL: Duration = Duration::from_millis(500);
/// Clears the screen, once; what has scrolled away stays.
const CLEAR: &str = "\u{1b}[2J";
/// Moves to the upper left corner.
const HOME: &str = "\u{1b}[H";
/// Clears the rest of a line.
const CLEAR_LINE: &str = "\u{1b}[K\n";
/// Clears what is below.
const CLEAR_BELOW: &str = "\u{1b}[J";

/// Show what instances use: CPU, memory, network, disks and processes
///
/// 100 % is one core. Goes on until Ctrl-C; with --no-stream, or where standard output is no
/// terminal and no JSON is asked for, it shows one look.
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard stats --no-stream web")]
pub(crate) struct StatsArgs {
    /// One look only
    #[arg(long)]
    no_stream: bool,
    /// Also instances that do not run
    #[arg(short, long)]
    all: bool,
    /// Services or instances; all when none is named
    #[arg(add = services())]
    targets: Vec<String>,
}

/// One look at one instance.
struct Look {
    at: Instant,
    usage: Usage,
}

/// What is shown of one instance.
struct Row {
    name: String,
    /// `None` for one that does not run.
    usage: Option<(Usage, f64)>,
}

pub(crate) async fn run(ui: &Ui, context: &Context, args: &StatsArgs) -> Result<(), CommandError> {
    use std::io::IsTerminal;
    let on_screen = std::io::stdout().is_terminal() && !ui.json;
    let once = args.no_stream || !(on_screen || ui.json);
    let engine = context.engine()?;
    let machine_bytes = machine_memory();
    let mut before: BTreeMap<InstanceId, Look> = BTreeMap::new();
    look(context, args, &engine, &mut before).await?;
    tokio::time::sleep(FIRST_INTERVAL).await;
    let mut clear = CLEAR;
    loop {
        let rows = look(context, args, &engine, &mut before).await?;
        if ui.json {
            ui.json_value(&rows.iter().map(|row| json(row, machine_bytes)).collect::<Vec<_>>());
        } else {
            let cells: Vec<Vec<String>> =
                rows.iter().map(|row| cells(row, machine_bytes)).collect();
            let header =
                ["INSTANCE", "CPU %", "MEMORY", "LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"];
            let text = table(&header, &cells);
            if once {
                ui.data(&text);
            } else {
                // Written over what is there, line by line, it does not flicker.
                let width = usize::from(terminal::size().columns);
                let lines = cut(&text, width).replace('\n', CLEAR_LINE);
                ui.data(&format!("{clear}{HOME}{lines}{CLEAR_BELOW}"));
                clear = "";
            }
        }
        if once {
            return Ok(());
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Looks at all that are chosen; CPU time is compared with the look before.
async fn look(
    context: &Context,
    args: &StatsArgs,
    engine: &impl Engine,
    before: &mut BTreeMap<InstanceId, Look>,
) -> Result<Vec<Row>, CommandError> {
    let (key, view) = context.show_all().await?;
    let chosen = match args.all {
        true => targets::instances(&key, &view, &args.targets)?,
        false => targets::running(&key, &view, &args.targets)?,
    };
    let mut rows = Vec::new();
    for instance in chosen {
        let id = targets::id(&key, instance);
        let name = short_address(instance);
        let Ok(usage) = engine.usage(&id).await else {
            rows.push(Row { name, usage: None });
            continue;
        };
        let now = Look { at: Instant::now(), usage };
        let percent = before.get(&id).map_or(0.0, |former| {
            // A restart begins to count anew.
            let used = usage.cpu_us.saturating_sub(former.usage.cpu_us) as f64;
            let passed = now.at.duration_since(former.at).as_micros().max(1) as f64;
            used * 100.0 / passed
        });
        before.insert(id, now);
        rows.push(Row { name, usage: Some((usage, percent)) });
    }
    Ok(rows)
}

/// Memory of the machine, the limit where there is no other.
fn machine_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

fn share(usage: &Usage, machine_bytes: u64) -> f64 {
    let most = usage.memory_max_bytes.unwrap_or(machine_bytes).max(1);
    usage.memory_bytes as f64 * 100.0 / most as f64
}

fn cells(row: &Row, machine_bytes: u64) -> Vec<String> {
    let Some((usage, percent)) = &row.usage else {
        return std::iter::once(row.name.clone()).chain((0..7).map(|_| "-".to_owned())).collect();
    };
    vec![
        row.name.clone(),
        format!("{percent:.1}"),
        memory_size(usage.memory_bytes),
        memory_size(usage.memory_max_bytes.unwrap_or(machine_bytes)),
        format!("{:.1}", share(usage, machine_bytes)),
        format!("{} / {}", size(usage.received_bytes), size(usage.sent_bytes)),
        format!("{} / {}", size(usage.read_bytes), size(usage.written_bytes)),
        usage.pids.to_string(),
    ]
}

fn json(row: &Row, machine_bytes: u64) -> serde_json::Value {
    let mut value = serde_json::json!({"instance": row.name});
    if let (Some((usage, percent)), Some(map)) = (&row.usage, value.as_object_mut()) {
        map.insert("cpu_percent".to_owned(), (*percent).into());
        map.insert("memory_percent".to_owned(), share(usage, machine_bytes).into());
        if let Ok(serde_json::Value::Object(more)) = serde_json::to_value(usage) {
            map.extend(more);
        }
    }
    value
}

//! `logs`.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use brickyard_core::Generation;
use brickyard_engine::native::log::{Line, parse_line};
use brickyard_engine::{Engine, EnvironmentKey, InstanceId};
use clap::Args;

use super::targets;
use crate::context::Context;
use crate::error::CommandError;
use crate::ui::{Role, Ui};

/// How often files are looked at for more.
const FOLLOW_PAUSE: Duration = Duration::from_millis(100);
/// Looks at files between two looks for newer generations.
const LIST_EVERY: u32 = 10;

/// Show the output of instances
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard logs -f web")]
pub(crate) struct LogsArgs {
    /// Go on as more is written
    #[arg(short, long)]
    follow: bool,
    /// Show so many lines of each instance
    #[arg(short = 'n', long, value_name = "LINES")]
    tail: Option<usize>,
    /// Show when each line was written
    #[arg(short, long)]
    timestamps: bool,
    /// Leave out the instances' names
    #[arg(long)]
    no_log_prefix: bool,
    /// Services or instances; all when none is named
    targets: Vec<String>,
}

impl LogsArgs {
    pub(crate) fn follow_all() -> Self {
        Self {
            follow: true,
            tail: Some(0),
            timestamps: false,
            no_log_prefix: false,
            targets: Vec::new(),
        }
    }
}

pub(crate) async fn run(ui: &Ui, context: &Context, args: &LogsArgs) -> Result<(), CommandError> {
    let engine = context.engine()?;
    let mut readers: BTreeMap<InstanceId, Reader> = BTreeMap::new();
    let mut first = true;
    let mut round = 0;
    loop {
        if round % LIST_EVERY == 0 {
            for id in instances(ui, context, args).await? {
                let files = engine.log_files(&id);
                readers
                    .entry(id)
                    .or_insert_with(|| Reader::new(files, first.then_some(args.tail).flatten()));
            }
        }
        round += 1;
        let mut lines = Vec::new();
        for (id, reader) in &mut readers {
            let name = format!("{}/{}", id.service, id.slot);
            for record in reader.read(&engine.log_files(id)) {
                lines.push((record, name.clone()));
            }
        }
        // Instances are merged by time; lines of one instant stay as they were written.
        lines.sort_by(|(a, _): &(Vec<u8>, _), (b, _)| time_of(a).cmp(time_of(b)));
        for (record, name) in &lines {
            if let Some(line) = parse_line(record) {
                print(ui, args, name, &line);
            }
        }
        if !args.follow {
            return Ok(());
        }
        first = false;
        tokio::time::sleep(FOLLOW_PAUSE).await;
    }
}

/// A record's time, which has a fixed length.
fn time_of(record: &[u8]) -> &[u8] {
    record.split(|byte| *byte == b' ').next().unwrap_or_default()
}

async fn instances(
    ui: &Ui,
    context: &Context,
    args: &LogsArgs,
) -> Result<Vec<InstanceId>, CommandError> {
    let (key, view) = context.show(ui).await?;
    let wanted = targets::slots(&key, &view, &args.targets)?;
    for target in &wanted {
        let known = view.instances.iter().any(|instance| instance.service == target.service);
        if !known && !args.targets.is_empty() {
            let known = view.instances.iter().map(|i| i.service.as_str());
            let near = brickyard_core::diagnostic::nearest(target.service.as_str(), known);
            let err = CommandError::not_found(format!("there is no service `{}`", target.service));
            return Err(match near {
                Some(near) => err.hint(format!("did you mean `{near}`?")),
                None => err,
            });
        }
    }
    let of = |instance: &brickyard_api::InstanceView, key: &EnvironmentKey| InstanceId {
        environment: key.clone(),
        service: instance.service.clone(),
        slot: instance.instance,
        generation: Generation(instance.generation),
    };
    let chosen = view.instances.iter().filter(|instance| {
        wanted.iter().any(|target| {
            target.service == instance.service
                && target.slot.is_none_or(|slot| slot == instance.instance)
        })
    });
    Ok(chosen.map(|instance| of(instance, &key)).collect())
}

fn print(ui: &Ui, args: &LogsArgs, name: &str, line: &Line<'_>) {
    let text = String::from_utf8_lossy(line.text);
    let time = if args.timestamps { format!("{} ", line.time) } else { String::new() };
    if ui.json {
        ui.json_value(&serde_json::json!({
            "instance": name,
            "time": line.time,
            "stream": if line.is_stderr { "stderr" } else { "stdout" },
            "text": text,
        }));
    } else if args.no_log_prefix {
        ui.line(&format!("{time}{text}"));
    } else {
        ui.line(&format!("{} {time}{text}", ui.paint(Role::Busy, &format!("{name} |"))));
    }
}

/// Reads the files of one instance, and goes on where it stopped.
pub(crate) struct Reader {
    /// Inode of the current file, and how much of it was read.
    at: Option<(u64, u64)>,
    kept: Vec<Vec<u8>>,
}

impl Reader {
    /// Starts with the files as they are; `tail` keeps so many of the last lines.
    pub(crate) fn new(files: Vec<PathBuf>, tail: Option<usize>) -> Self {
        let mut reader = Self { at: None, kept: Vec::new() };
        let mut lines = Vec::new();
        for file in files {
            lines.extend(reader.read_file(&file));
        }
        let skip = tail.map_or(0, |tail| lines.len().saturating_sub(tail));
        reader.kept = lines.split_off(skip);
        reader
    }

    /// Records that have not been read yet.
    pub(crate) fn read(&mut self, files: &[PathBuf]) -> Vec<Vec<u8>> {
        let mut lines = std::mem::take(&mut self.kept);
        // After a rotation the rest of the former file comes first.
        for file in files.iter().rev().take(2).rev() {
            if self.is_unread(file) {
                lines.extend(self.read_file(file));
            }
        }
        lines
    }

    fn is_unread(&self, file: &PathBuf) -> bool {
        use std::os::unix::fs::MetadataExt;
        let Ok(meta) = std::fs::metadata(file) else {
            return false;
        };
        match self.at {
            None => true,
            Some((inode, offset)) if inode == meta.ino() => meta.len() > offset,
            // Another file than the one read last is newer only when it is the current one.
            Some(_) => file.extension().is_none(),
        }
    }

    fn read_file(&mut self, path: &PathBuf) -> Vec<Vec<u8>> {
        use std::os::unix::fs::MetadataExt;
        let Ok(mut file) = std::fs::File::open(path) else {
            return Vec::new();
        };
        let Ok(meta) = file.metadata() else {
            return Vec::new();
        };
        let offset = match self.at {
            Some((inode, offset)) if inode == meta.ino() => offset,
            _ => 0,
        };
        let mut bytes = Vec::new();
        if file.seek(SeekFrom::Start(offset)).is_err() || file.read_to_end(&mut bytes).is_err() {
            return Vec::new();
        }
        // A record that is being written is left for the next time.
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.at = Some((meta.ino(), offset + end as u64));
        bytes[..end]
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(<[u8]>::to_vec)
            .collect()
    }
}

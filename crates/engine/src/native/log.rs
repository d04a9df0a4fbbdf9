//! The output of instances on disk: one line a record, rotated.
//!
//! The format is the one that Kubernetes' container runtimes write:
//! `TIME stdout|stderr F|P TEXT`, where `P` marks a piece of a line that goes on.
//!
//! What cannot be written is dropped, whole records at a time, and counted: a full disk must not stop
//! a container. The count is in a file beside the log that was made as large as it will ever get when
//! there was room, and in the log itself as soon as there is room again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant, SystemTime};

use brickyard_core::clock::{Clock, SystemClock, rfc3339};
use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use crate::Loss;

/// Size at which a file is rotated.
const FILE_BYTES_MAX: u64 = 10 << 20;
/// Files kept, the current one included.
const FILE_COUNT: u32 = 3;
/// Longest piece of a line kept in one record.
const LINE_BYTES_MAX: usize = 16 << 10;
/// Bytes of the file that says what was lost.
const LOSS_BYTES: usize = 512;
/// How often a loss that goes on is noted.
const LOSS_PAUSE: Duration = Duration::from_secs(1);
/// Characters of the reason that are kept.
const REASON_LENGTH_MAX: usize = 200;

/// Writes records; one for each instance, in its monitor.
pub(crate) struct Writer {
    path: Utf8PathBuf,
    file: File,
    bytes: u64,
    clock: SystemClock,
    pending: [Vec<u8>; 2],
    loss: Loss,
    /// Lines that were lost before those of which the log tells.
    told_lines: u64,
    /// Where the loss is noted, and when it was noted last.
    note: Option<File>,
    noted: Option<Instant>,
}

/// Which of the two streams a text came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

impl Writer {
    /// Goes on with the file at `path`.
    pub(crate) fn open(path: &Utf8Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            bytes,
            clock: SystemClock::default(),
            pending: Default::default(),
            loss: Loss::default(),
            told_lines: 0,
            note: reserve(&loss_path(path), LOSS_BYTES).ok(),
            noted: None,
        })
    }

    /// Whether something was lost of which the log does not tell yet.
    pub(crate) fn has_news(&self) -> bool {
        self.loss.goes_on
    }

    /// Tries to tell of what was lost.
    pub(crate) fn tell(&mut self) {
        if self.loss.goes_on {
            self.write(&[]);
        }
    }

    /// Takes what a stream said; whole lines are written at once.
    pub(crate) fn push(&mut self, stream: Stream, mut text: &[u8]) {
        let mut records = Vec::with_capacity(text.len() + text.len() / 2);
        // What is read at once was said at about the same time; a flood is mostly formatting.
        let time = rfc3339(self.clock.now_ms());
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let mut line = std::mem::take(&mut self.pending[stream as usize]);
            line.extend_from_slice(&text[..end]);
            record(&mut records, &time, (stream, b'F'), &line);
            text = &text[end + 1..];
        }
        self.pending[stream as usize].extend_from_slice(text);
        if self.pending[stream as usize].len() > LINE_BYTES_MAX {
            let piece = std::mem::take(&mut self.pending[stream as usize]);
            record(&mut records, &time, (stream, b'P'), &piece);
        }
        if !records.is_empty() {
            self.write(&records);
        }
    }

    /// Writes what has no end of line yet, and what was lost.
    pub(crate) fn finish(&mut self) {
        let mut records = Vec::new();
        let time = rfc3339(self.clock.now_ms());
        for stream in [Stream::Stdout, Stream::Stderr] {
            let piece = std::mem::take(&mut self.pending[stream as usize]);
            if !piece.is_empty() {
                record(&mut records, &time, (stream, b'F'), &piece);
            }
        }
        if !records.is_empty() {
            self.write(&records);
        }
        self.tell();
    }

    /// Writes records, after a word about those that were lost before.
    fn write(&mut self, records: &[u8]) {
        let lost = self.loss.lines - self.told_lines;
        let mut all = Vec::with_capacity(records.len() + 100);
        if lost > 0 {
            let text = format!("[brickyard] {lost} lines were lost: {}", self.loss.reason);
            let time = rfc3339(self.clock.now_ms());
            record(&mut all, &time, (Stream::Stderr, b'F'), text.as_bytes());
        }
        all.extend_from_slice(records);
        match self.append(&all) {
            Ok(()) if lost > 0 => {
                self.told_lines = self.loss.lines;
                self.loss.goes_on = false;
                self.note(true);
            }
            Ok(()) => {}
            Err(err) => {
                let is_new = !self.loss.goes_on;
                let count = records.iter().filter(|byte| **byte == b'\n').count();
                self.loss.lines += count as u64;
                self.loss.goes_on = true;
                self.loss.reason = err.to_string().chars().take(REASON_LENGTH_MAX).collect();
                self.note(is_new);
            }
        }
    }

    /// Notes the loss for others. It may not be the disk's time.
    fn note(&mut self, at_once: bool) {
        if !at_once && self.noted.is_some_and(|noted| noted.elapsed() < LOSS_PAUSE) {
            return;
        }
        self.noted = Some(Instant::now());
        if let Some(file) = &self.note {
            let _ = overwrite(file, &self.loss, LOSS_BYTES);
        }
    }

    /// Writes all of it or nothing.
    fn append(&mut self, records: &[u8]) -> io::Result<()> {
        if self.bytes + records.len() as u64 > FILE_BYTES_MAX && self.bytes > 0 {
            self.rotate()?;
        }
        if let Err(err) = self.file.write_all(records) {
            // A record cut short would take the next one with it.
            let _ = self.file.set_len(self.bytes);
            return Err(err);
        }
        self.bytes += records.len() as u64;
        Ok(())
    }

    /// Begins the next file. Where there is no room for it, the former ones stay as they are.
    fn rotate(&mut self) -> io::Result<()> {
        let next = Utf8PathBuf::from(format!("{}.next", self.path));
        let file = OpenOptions::new().create(true).append(true).open(&next)?;
        for number in (1..FILE_COUNT).rev() {
            let from = numbered(&self.path, number - 1);
            if from.exists() {
                fs::rename(from, numbered(&self.path, number))?;
            }
        }
        fs::rename(&next, &self.path)?;
        self.file = file;
        self.bytes = 0;
        Ok(())
    }
}

/// Makes a file as large as it will ever get, so that it can be written when the disk is full.
pub(crate) fn reserve(path: &Utf8Path, bytes: usize) -> io::Result<File> {
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
    file.write_all_at(&vec![b' '; bytes], 0)?;
    Ok(file)
}

/// Fills a reserved file with a value; the spaces behind it are none of it.
pub(crate) fn overwrite(file: &File, value: &impl Serialize, bytes: usize) -> io::Result<()> {
    let mut text = serde_json::to_vec(value)?;
    if text.len() > bytes {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    text.resize(bytes, b' ');
    file.write_all_at(&text, 0)
}

fn loss_path(log: &Utf8Path) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{log}.loss"))
}

/// What was lost of the output whose log is at `path`.
pub(crate) fn loss(path: &Utf8Path) -> Loss {
    let text = fs::read(loss_path(path)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// When it was last noted.
pub(crate) fn loss_noted(path: &Utf8Path) -> Option<SystemTime> {
    fs::metadata(loss_path(path)).and_then(|meta| meta.modified()).ok()
}

/// Appends one record; `tag` is F for a whole line, P for a piece of one.
fn record(records: &mut Vec<u8>, time: &str, (stream, tag): (Stream, u8), line: &[u8]) {
    let name: &[u8] = match stream {
        Stream::Stdout => b" stdout ",
        Stream::Stderr => b" stderr ",
    };
    for part in [time.as_bytes(), name, &[tag, b' '], line, b"\n"] {
        records.extend_from_slice(part);
    }
}

fn numbered(path: &Utf8Path, number: u32) -> Utf8PathBuf {
    match number {
        0 => path.to_owned(),
        _ => Utf8PathBuf::from(format!("{path}.{number}")),
    }
}

/// The files of a log that exist, the oldest first.
pub(crate) fn files(path: &Utf8Path) -> Vec<std::path::PathBuf> {
    (0..FILE_COUNT)
        .rev()
        .map(|number| numbered(path, number))
        .filter(|path| path.exists())
        .map(Into::into)
        .collect()
}

/// One record of a log file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'a> {
    /// RFC 3339 time.
    pub time: &'a str,
    /// Whether it came from standard error.
    pub is_stderr: bool,
    /// Whether the line goes on in the next record of its stream.
    pub is_partial: bool,
    /// What was said.
    pub text: &'a [u8],
}

/// Reads a record; `None` when it is none.
#[must_use]
pub fn parse_line(record: &[u8]) -> Option<Line<'_>> {
    let mut fields = record.splitn(4, |byte| *byte == b' ');
    let time = std::str::from_utf8(fields.next()?).ok()?;
    let stream = fields.next()?;
    let tag = fields.next()?;
    let text = fields.next()?;
    Some(Line { time, is_stderr: stream == b"stderr", is_partial: tag == b"P", text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_whole_and_files_rotate() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().join("log")).unwrap();
        let mut writer = Writer::open(&path).unwrap();
        writer.push(Stream::Stdout, b"one\ntw");
        writer.push(Stream::Stderr, b"err\n");
        writer.push(Stream::Stdout, b"o\nend");
        writer.finish();
        let text = fs::read(&path).unwrap();
        let texts: Vec<_> = text
            .split(|byte| *byte == b'\n')
            .filter_map(parse_line)
            .map(|line| (line.is_stderr, String::from_utf8_lossy(line.text).into_owned()))
            .collect();
        let expected = [(false, "one"), (true, "err"), (false, "two"), (false, "end")]
            .map(|(e, t)| (e, t.to_owned()));
        assert_eq!(texts, expected);
        let block = [b'x'; 8000];
        for _ in 0..6000 {
            writer.push(Stream::Stdout, &block);
            writer.push(Stream::Stdout, b"\n");
        }
        let kept: Vec<u64> = files(&path).iter().map(|f| f.metadata().unwrap().len()).collect();
        assert_eq!(kept.len(), FILE_COUNT as usize);
        assert!(kept.iter().all(|bytes| *bytes <= FILE_BYTES_MAX), "{kept:?}");
    }
}

//! The output of instances on disk: one line a record, rotated.
//!
//! The format is the one that Kubernetes' container runtimes write:
//! `TIME stdout|stderr F|P TEXT`, where `P` marks a piece of a line that goes on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};

use brickyard_core::clock::{Clock, SystemClock, rfc3339};
use camino::{Utf8Path, Utf8PathBuf};

/// Size at which a file is rotated.
const FILE_BYTES_MAX: u64 = 10 << 20;
/// Files kept, the current one included.
const FILE_COUNT: u32 = 3;
/// Longest piece of a line kept in one record.
const LINE_BYTES_MAX: usize = 16 << 10;

/// Writes records; one for each instance, in its monitor.
pub(crate) struct Writer {
    path: Utf8PathBuf,
    file: File,
    bytes: u64,
    clock: SystemClock,
    pending: [Vec<u8>; 2],
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
        let clock = SystemClock::default();
        Ok(Self { path: path.to_owned(), file, bytes, clock, pending: Default::default() })
    }

    /// Takes what a stream said; whole lines are written at once.
    pub(crate) fn push(&mut self, stream: Stream, mut text: &[u8]) -> io::Result<()> {
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
        self.write(&records)
    }

    /// Writes what has no end of line yet.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        let mut records = Vec::new();
        let time = rfc3339(self.clock.now_ms());
        for stream in [Stream::Stdout, Stream::Stderr] {
            let piece = std::mem::take(&mut self.pending[stream as usize]);
            if !piece.is_empty() {
                record(&mut records, &time, (stream, b'F'), &piece);
            }
        }
        self.write(&records)
    }

    fn write(&mut self, records: &[u8]) -> io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        if self.bytes + records.len() as u64 > FILE_BYTES_MAX && self.bytes > 0 {
            for number in (1..FILE_COUNT).rev() {
                let from = numbered(&self.path, number - 1);
                if from.exists() {
                    fs::rename(from, numbered(&self.path, number))?;
                }
            }
            self.file = OpenOptions::new().create(true).append(true).open(&self.path)?;
            self.bytes = 0;
        }
        self.file.write_all(records)?;
        self.bytes += records.len() as u64;
        Ok(())
    }
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
        writer.push(Stream::Stdout, b"one\ntw").unwrap();
        writer.push(Stream::Stderr, b"err\n").unwrap();
        writer.push(Stream::Stdout, b"o\nend").unwrap();
        writer.finish().unwrap();
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
            writer.push(Stream::Stdout, &block).unwrap();
            writer.push(Stream::Stdout, b"\n").unwrap();
        }
        let kept: Vec<u64> = files(&path).iter().map(|f| f.metadata().unwrap().len()).collect();
        assert_eq!(kept.len(), FILE_COUNT as usize);
        assert!(kept.iter().all(|bytes| *bytes <= FILE_BYTES_MAX), "{kept:?}");
    }
}

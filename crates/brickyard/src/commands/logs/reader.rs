//! Reading the files of one instance, from where the last reading stopped.

use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use brickyard_engine::native::log::parse_line;

/// One whole line of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// RFC 3339 time of its end; such texts are in the order of time.
    pub(crate) time: String,
    /// Whether it came from standard error.
    pub(crate) is_stderr: bool,
    /// What was said.
    pub(crate) text: Vec<u8>,
}

/// Reads the files of one instance, and goes on where it stopped.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// Inode of the current file, and how much of it was read.
    at: Option<(u64, u64)>,
    /// Pieces of a long line whose end has not come yet, by stream.
    pieces: [Vec<u8>; 2],
}

impl Reader {
    /// Everything that is there, rotated files included.
    pub(crate) fn read_all(&mut self, files: &[PathBuf]) -> Vec<Entry> {
        let records = files.iter().flat_map(|file| self.read_file(file)).collect::<Vec<_>>();
        self.entries(&records)
    }

    /// What has not been read yet.
    pub(crate) fn read_more(&mut self, files: &[PathBuf]) -> Vec<Entry> {
        let mut records = Vec::new();
        // After a rotation the rest of the former file comes first.
        for file in files.iter().rev().take(2).rev() {
            if self.is_unread(file) {
                records.extend(self.read_file(file));
            }
        }
        self.entries(&records)
    }

    fn entries(&mut self, records: &[Vec<u8>]) -> Vec<Entry> {
        let mut entries = Vec::new();
        for line in records.iter().filter_map(|record| parse_line(record)) {
            let pieces = &mut self.pieces[usize::from(line.is_stderr)];
            pieces.extend_from_slice(line.text);
            if !line.is_partial {
                entries.push(Entry {
                    time: line.time.to_owned(),
                    is_stderr: line.is_stderr,
                    text: std::mem::take(pieces),
                });
            }
        }
        entries
    }

    fn is_unread(&self, file: &Path) -> bool {
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

    fn read_file(&mut self, path: &Path) -> Vec<Vec<u8>> {
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

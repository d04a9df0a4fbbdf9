//! Notice of changes in directories.

use std::collections::BTreeMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::inotify;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Directories whose entries are watched: made, written, renamed and removed. What has happened is
/// not told, only that something has: whoever waits looks for himself.
#[derive(Debug)]
pub struct Directories {
    events: AsyncFd<OwnedFd>,
    /// By the kernel's number.
    watched: BTreeMap<i32, PathBuf>,
}

impl Directories {
    /// Watches nothing yet. To be called within an async runtime.
    ///
    /// # Errors
    /// When the machine has no more to give.
    pub fn new() -> io::Result<Self> {
        let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
        let fd = inotify::init(flags)?;
        // SAFETY: an owned descriptor stays the same open file as long as it lives, and it lives in
        // the value made here. JUSTIFICATION: tokio has deprecated its safe way.
        let events = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?;
        Ok(Self { events, watched: BTreeMap::new() })
    }

    /// Watches one more; false when it is watched already. What is in it has to be looked at after
    /// that.
    ///
    /// # Errors
    /// When it is not there, or no more can be watched.
    pub fn watch(&mut self, directory: &Path) -> io::Result<bool> {
        if self.watched.values().any(|known| known == directory) {
            return Ok(false);
        }
        let flags = inotify::WatchFlags::CLOSE_WRITE
            | inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::MOVED_FROM
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::DELETE
            | inotify::WatchFlags::DELETE_SELF
            | inotify::WatchFlags::MOVE_SELF;
        let number = inotify::add_watch(self.events.get_ref(), directory, flags)?;
        self.watched.insert(number, directory.to_owned());
        Ok(true)
    }

    /// Waits until something happens. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the descriptor cannot be watched.
    pub async fn changed(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.events.readable().await?;
            ready.clear_ready();
            drop(ready);
            if self.drain() {
                return Ok(());
            }
        }
    }

    /// Takes all events; true when there were any. A directory that is gone is forgotten: its name
    /// may stand for another one by now.
    fn drain(&mut self) -> bool {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(self.events.get_ref(), &mut buffer);
        let (mut any, mut gone) = (false, Vec::new());
        while let Ok(event) = reader.next() {
            any = true;
            let ends = inotify::ReadFlags::IGNORED | inotify::ReadFlags::MOVE_SELF;
            if event.events().intersects(ends) {
                gone.push(event.wd());
            }
        }
        for number in gone {
            if self.watched.remove(&number).is_some() {
                // The kernel has forgotten one that was removed.
                let _ = inotify::remove_watch(self.events.get_ref(), number);
            }
        }
        any
    }
}

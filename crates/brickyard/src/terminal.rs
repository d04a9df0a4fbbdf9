//! The caller's terminal while it is connected with one inside: raw mode, keys, size, and the way
//! back to how it was, whatever happens.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, Once, PoisonError};

use brickyard_engine::native::terminal::{Size, resize};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// Size that programs are told when the terminal does not say its own.
const SIZE_DEFAULT: Size = Size { rows: 24, columns: 80 };
/// Ctrl-P, then Ctrl-Q: the keys that detach.
const DETACH_KEYS: [u8; 2] = [0x10, 0x11];

/// How a session ended.
#[derive(Debug)]
pub(crate) enum End<T> {
    /// What it waited for has come.
    Done(T),
    /// The person typed the keys that detach.
    Detached,
    /// This process was told to end by this signal.
    Signal(i32),
}

/// Whether a person sits at both standard input and standard output.
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// The terminal's size.
pub(crate) fn size() -> Size {
    match tcgetwinsize(io::stdin()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => {
            Size { rows: size.ws_row, columns: size.ws_col }
        }
        _ => SIZE_DEFAULT,
    }
}

/// How the terminal was before it was made raw; whoever takes it out sets it back.
static FORMER: Mutex<Option<Termios>> = Mutex::new(None);

/// Keys go to this process as they are typed as long as this lives.
struct RawMode;

impl RawMode {
    fn enter() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            // A release ends at once when it panics: nothing is dropped then.
            let former = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                restore();
                former(panic);
            }));
        });
        let former = tcgetattr(io::stdin())?;
        let mut raw = former.clone();
        raw.make_raw();
        *FORMER.lock().unwrap_or_else(PoisonError::into_inner) = Some(former);
        tcsetattr(io::stdin(), OptionalActions::Drain, &raw)?;
        Ok(Self)
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    let former = FORMER.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(former) = former {
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &former);
    }
}

/// Connects the caller's terminal with the one behind `master` until `ended` resolves: keys and
/// sizes go in, `output` comes out. With `detachable` the detach keys end the session alone.
///
/// # Errors
/// When the terminal cannot be made raw or signals cannot be waited for.
pub(crate) async fn session<T>(
    master: OwnedFd,
    output: OwnedFd,
    detachable: bool,
    ended: impl Future<Output = T>,
) -> io::Result<End<T>> {
    let mut window_changes = signal(SignalKind::window_change())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let raw = RawMode::enter()?;
    let (stop_reader, stop) = io::pipe()?;
    let printing = std::thread::spawn(move || print(output, &stop_reader.into()));
    let (detached, mut detaching) = oneshot::channel();
    let keys = File::from(master.try_clone()?);
    // It may wait for a key for ever, so nobody waits for it.
    std::thread::spawn(move || type_in(keys, detachable, detached));
    let _ = resize(&master, size());
    tokio::pin!(ended);
    let mut may_detach = true;
    let end = loop {
        tokio::select! {
            // Cancel safe, all of them: nothing that was taken is dropped.
            done = &mut ended => break End::Done(done),
            keys = &mut detaching, if may_detach => match keys {
                Ok(()) => break End::Detached,
                Err(_) => may_detach = false,
            },
            _ = window_changes.recv() => drop(resize(&master, size())),
            _ = terminate.recv() => break told_to_end(SignalKind::terminate()),
            _ = hang_up.recv() => break told_to_end(SignalKind::hangup()),
            _ = interrupt.recv() => break told_to_end(SignalKind::interrupt()),
            _ = quit.recv() => break told_to_end(SignalKind::quit()),
        }
    };
    drop(stop);
    let _ = tokio::task::spawn_blocking(move || printing.join()).await;
    drop(raw);
    Ok(end)
}

fn told_to_end<T>(by: SignalKind) -> End<T> {
    End::Signal(by.as_raw_value())
}

/// Prints what comes until its end, or until `stop` is closed and nothing is left.
fn print(output: OwnedFd, stop: &OwnedFd) {
    let mut output = File::from(output);
    let mut buffer = [0; 16 << 10];
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN),
            PollFd::new(stop, PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return,
            Ok(_) => {}
        }
        if fds[0].revents().is_empty() {
            return;
        }
        // A terminal that nobody has open any more is an error to read from.
        let Ok(count @ 1..) = output.read(&mut buffer) else {
            return;
        };
        let mut out = io::stdout().lock();
        if out.write_all(&buffer[..count]).and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}

/// Passes keys on until there are none any more, or the detach keys are typed.
fn type_in(mut master: File, detachable: bool, detached: oneshot::Sender<()>) {
    let mut keys = Keys { detachable, held: false };
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = io::stdin().lock().read(&mut buffer) {
        let (pass_on, detach) = keys.typed(&buffer[..count]);
        if master.write_all(&pass_on).is_err() {
            return;
        }
        if detach {
            let _ = detached.send(());
            return;
        }
    }
}

/// Looks for the detach keys in what is typed. The first one is held back until the next key.
struct Keys {
    detachable: bool,
    held: bool,
}

impl Keys {
    /// What is to be passed on, and whether to detach.
    fn typed(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        let mut pass_on = Vec::with_capacity(bytes.len());
        for byte in bytes {
            if !self.detachable {
                pass_on.push(*byte);
                continue;
            }
            if self.held && *byte == DETACH_KEYS[1] {
                return (pass_on, true);
            }
            if std::mem::replace(&mut self.held, *byte == DETACH_KEYS[0]) {
                pass_on.push(DETACH_KEYS[0]);
            }
            if !self.held {
                pass_on.push(*byte);
            }
        }
        (pass_on, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(detachable: bool, pieces: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut keys = Keys { detachable, held: false };
        let mut all = Vec::new();
        for piece in pieces {
            let (pass_on, detach) = keys.typed(piece);
            all.extend(pass_on);
            if detach {
                return (all, true);
            }
        }
        (all, false)
    }

    #[test]
    fn the_detach_keys_end_and_nothing_else_is_lost() {
        assert_eq!(typed(true, &[b"ab\x10\x11c"]), (b"ab".to_vec(), true));
        assert_eq!(typed(true, &[b"a\x10", b"\x11"]), (b"a".to_vec(), true));
        assert_eq!(typed(true, &[b"a\x10", b"b\x11"]), (b"a\x10b\x11".to_vec(), false));
        assert_eq!(typed(true, &[b"\x10\x10\x11"]), (b"\x10".to_vec(), true));
        assert_eq!(typed(false, &[b"a\x10\x11"]), (b"a\x10\x11".to_vec(), false));
    }
}

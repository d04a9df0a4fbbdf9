//! Word to systemd, where it asks for it.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Sends a state to whoever started us as a service of the kind `notify`.
pub(crate) fn tell(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let bytes = path.as_encoded_bytes();
    let address = match bytes.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    if let (Ok(address), Ok(socket)) = (address, UnixDatagram::unbound()) {
        let _ = socket.send_to_addr(state.as_bytes(), &address);
    }
}

/// How often a watchdog wants to hear of us: twice in its time.
pub(crate) fn watchdog() -> Option<Duration> {
    let text = std::env::var("WATCHDOG_USEC").ok()?;
    let meant = std::env::var("WATCHDOG_PID").ok();
    if meant.is_some_and(|pid| pid != std::process::id().to_string()) {
        return None;
    }
    text.parse().ok().map(|micros: u64| Duration::from_micros(micros) / 2)
}

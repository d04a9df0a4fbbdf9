//! Whether a published port can be listened on, and who has it otherwise.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

/// Tries to listen for a moment.
///
/// # Errors
/// A text that names the process that has the port, where it can be found.
pub(crate) fn check(listen: SocketAddr) -> Result<(), String> {
    match TcpListener::bind(listen) {
        Ok(_) => Ok(()),
        Err(err) if err.kind() == ErrorKind::AddrInUse => Err(in_use(listen)),
        Err(err) => Err(format!("cannot listen on {listen}: {err}")),
    }
}

/// Says that a port is in use, and by whom.
pub(crate) fn in_use(listen: SocketAddr) -> String {
    let owner = owner(listen.port()).map_or_else(
        || "another process".to_owned(),
        |(pid, name)| format!("process {pid} (`{name}`)"),
    );
    format!("port {listen} is in use by {owner}")
}

/// Pid and name of the process that listens on a TCP port of this network namespace.
fn owner(port: u16) -> Option<(u32, String)> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| {
        let text = fs::read_to_string(table).ok()?;
        text.lines().skip(1).find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let local = fields.get(1)?.rsplit_once(':')?.1;
            // State 0A is LISTEN.
            let listens = fields.get(3) == Some(&"0A");
            let same = u16::from_str_radix(local, 16).ok()? == port;
            (listens && same).then(|| fields.get(9).map(ToString::to_string)).flatten()
        })
    })?;
    let wanted = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.filter_map(Result::ok).find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let mut fds = fs::read_dir(entry.path().join("fd")).ok()?.filter_map(Result::ok);
        fds.any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str() == wanted.as_str()))
            .then_some(())?;
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        Some((pid, name.trim().to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_used_port_names_its_owner() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let text = check(at).unwrap_err();
        assert!(text.contains(&std::process::id().to_string()), "{text}");
        drop(listener);
        assert_eq!(check(at), Ok(()));
    }
}

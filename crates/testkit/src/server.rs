//! Real servers of others on ports of their own, gone with their value.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use camino::Utf8Path;
use rustix::process::Signal;

use crate::net::{Claim, claim_port};
use crate::wait::{DEADLINE, wait_until};

/// A server's process, which can be killed and started again on what it has written.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    package: &'static str,
    arguments: Vec<String>,
    claims: Vec<Claim>,
    child: Option<Child>,
    directory: tempfile::TempDir,
}

impl Server {
    /// Starts `name`, which comes with Debian's `package`, and waits until its first port answers.
    ///
    /// # Panics
    /// When it is not installed, or does not answer.
    #[must_use]
    pub fn start(
        name: &'static str,
        package: &'static str,
        port_count: usize,
        arguments: impl FnOnce(&Utf8Path, &[u16]) -> Vec<String>,
    ) -> Self {
        let directory = tempfile::tempdir().expect("there is room for a directory");
        let claims: Vec<Claim> = (0..port_count).map(|_| claim_port()).collect();
        let ports: Vec<u16> = claims.iter().map(|claim| claim.port).collect();
        let path = Utf8Path::from_path(directory.path()).expect("it is UTF-8");
        let arguments = arguments(path, &ports);
        let mut server = Self { name, package, arguments, claims, child: None, directory };
        server.start_again();
        server
    }

    /// Its first port, at 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.claims[0].port
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    /// Its directory.
    ///
    /// # Panics
    /// When the directory's name is not UTF-8.
    #[must_use]
    pub fn directory(&self) -> &Utf8Path {
        Utf8Path::from_path(self.directory.path()).expect("it is UTF-8")
    }

    /// Kills it, as a power failure would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Holds it, so that it neither answers nor ends, or lets it go on.
    ///
    /// # Panics
    /// When it does not run.
    pub fn hold(&self, holds: bool) {
        let child = self.child.as_ref().expect("it runs");
        let pid = rustix::process::Pid::from_child(child);
        let signal = if holds { Signal::STOP } else { Signal::CONT };
        rustix::process::kill_process(pid, signal).expect("it runs");
    }

    /// Starts it on what it had written, and waits until it answers.
    ///
    /// # Panics
    /// When it is not installed, or does not answer.
    pub fn start_again(&mut self) {
        let mut command = Command::new(self.name);
        command.args(&self.arguments).current_dir(self.directory());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|err| {
            panic!("this test needs `{}` ({err}): apt-get install {}", self.name, self.package)
        });
        self.child = Some(child);
        let address = self.address();
        wait_until(&format!("{} answers", self.name), DEADLINE, || {
            let child = self.child.as_mut().expect("it was started");
            if let Ok(Some(status)) = child.try_wait() {
                panic!("{} ended: {status}", self.name);
            }
            TcpStream::connect(&address).is_ok()
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

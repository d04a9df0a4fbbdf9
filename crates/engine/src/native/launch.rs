//! The last step inside the container's first process: install the filter, look whether
//! everything that was asked for really holds, and only then run the image's program.

use std::collections::HashMap;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use libcontainer::oci_spec::runtime::Spec;
use libcontainer::workload::{
    Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError,
};
use rustix::event::{PollFd, PollFlags, poll};
use seccompiler::BpfProgram;

use super::seccomp;
use super::terminal::{self, Size};

/// How long the way from "start" to the program's first instruction may take.
const EXEC_DEADLINE: Duration = Duration::from_secs(20);

/// What must hold for the process just before the program runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) capabilities: u64,
    pub(crate) uid_base: u32,
    pub(crate) seccomp_filters: u64,
}

impl Expected {
    /// Counts from the filters that this process already has.
    pub(crate) fn here(capabilities: u64, uid_base: u32) -> io::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let inherited = field(&status, "Seccomp_filters").and_then(|text| text.parse().ok());
        Ok(Self {
            capabilities,
            uid_base,
            seccomp_filters: inherited.unwrap_or(0) + seccomp::FILTER_COUNT,
        })
    }

    /// Compares with `/proc/self/status` and `/proc/self/uid_map`.
    ///
    /// # Errors
    /// Says what could not be applied.
    pub(crate) fn verify(&self, status: &str, uid_map: &str) -> Result<(), String> {
        let number = |name: &str| field(status, name).and_then(|text| text.parse::<u64>().ok());
        if number("Seccomp") != Some(2) || number("Seccomp_filters") != Some(self.seccomp_filters) {
            return Err(format!(
                "the system call filter could not be applied (Seccomp {}, filters {} instead of {})",
                field(status, "Seccomp").unwrap_or("?"),
                field(status, "Seccomp_filters").unwrap_or("?"),
                self.seccomp_filters,
            ));
        }
        if number("NoNewPrivs") != Some(1) {
            return Err("no-new-privileges could not be applied".to_owned());
        }
        let effective = field(status, "CapEff").and_then(|hex| u64::from_str_radix(hex, 16).ok());
        if effective.is_none_or(|bits| bits & !self.capabilities != 0) {
            return Err(format!(
                "capabilities could not be dropped (CapEff {}, wanted {:016x})",
                field(status, "CapEff").unwrap_or("?"),
                self.capabilities,
            ));
        }
        let map: Vec<&str> = uid_map.split_whitespace().collect();
        let wanted = [0, self.uid_base, super::plot::UID_COUNT].map(|number| number.to_string());
        if map != wanted {
            return Err(format!("the user namespace could not be applied (uid map {map:?})"));
        }
        Ok(())
    }
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// The runtime's hook.
#[derive(Clone)]
pub(crate) struct Launch {
    pub(crate) argv: Rc<Vec<String>>,
    pub(crate) environment: Rc<Vec<(String, String)>>,
    pub(crate) filters: Rc<Vec<BpfProgram>>,
    pub(crate) expected: Expected,
    /// The terminal that it gets: its size, and both ends over which its master is handed out.
    pub(crate) terminal: Option<Rc<(Size, OwnedFd, OwnedFd)>>,
    /// Closed by the exec; whatever is written before says why there was none.
    pub(crate) report: Rc<(PipeReader, PipeWriter)>,
}

impl Launch {
    fn launch(&self) -> String {
        if let Some(terminal) = &self.terminal
            && let Err(err) = terminal::take(&terminal.2, terminal.0)
        {
            return format!("it could not get a terminal: {err}");
        }
        if let Err(err) = seccomp::install(&self.filters) {
            return format!("the system call filter could not be applied: {err}");
        }
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        if let Err(reason) =
            self.expected.verify(&read("/proc/self/status"), &read("/proc/self/uid_map"))
        {
            return reason;
        }
        let err = brickyard_sys::process::exec(&self.argv, &self.environment);
        let program = self.argv.first().map_or("", String::as_str);
        match err.kind() {
            io::ErrorKind::NotFound => format!("`{program}` was not found in the image"),
            _ => format!("`{program}` could not be run: {err}"),
        }
    }

    /// Waits in the worker until the program was exec'd.
    ///
    /// # Errors
    /// What the hook reported, or that it took too long.
    pub(crate) fn wait_for_exec(self) -> io::Result<()> {
        let Ok((mut reader, writer)) = Rc::try_unwrap(self.report) else {
            return Err(io::Error::other("the report pipe is still shared"));
        };
        drop(writer);
        let mut fds = [PollFd::new(&reader, PollFlags::IN)];
        let deadline = EXEC_DEADLINE.try_into().map_err(io::Error::other)?;
        if poll(&mut fds, Some(&deadline))? == 0 {
            return Err(io::Error::other("the program was not started in time"));
        }
        let mut reason = String::new();
        reader.read_to_string(&mut reason)?;
        if reason.is_empty() { Ok(()) } else { Err(io::Error::other(reason)) }
    }
}

impl Executor for Launch {
    fn exec(&self, _: &Spec) -> Result<(), ExecutorError> {
        let reason = self.launch();
        let _ = (&self.report.1).write_all(reason.as_bytes());
        Err(ExecutorError::Other(reason))
    }

    fn validate(&self, _: &Spec) -> Result<(), ExecutorValidationError> {
        Ok(())
    }

    fn setup_envs(&self, _: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        // The environment is handed to exec as a whole.
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tx\nCapEff:\t0000000000000001\nNoNewPrivs:\t1\nSeccomp:\t2\n\
                          Seccomp_filters:\t3\n";
    const MAP: &str = "         0 1879048192      65536\n";

    fn expected() -> Expected {
        Expected { capabilities: 1, uid_base: 1_879_048_192, seccomp_filters: 3 }
    }

    #[test]
    fn what_holds_is_accepted() {
        assert_eq!(expected().verify(STATUS, MAP), Ok(()));
    }

    #[test]
    fn each_missing_protection_is_named() {
        for (status, map, word) in [
            (STATUS.replace("Seccomp:\t2", "Seccomp:\t0"), MAP, "filter"),
            (STATUS.replace("filters:\t3", "filters:\t1"), MAP, "filter"),
            (STATUS.replace("Privs:\t1", "Privs:\t0"), MAP, "no-new-privileges"),
            (
                STATUS.replace("CapEff:\t0000000000000001", "CapEff:\t000001ffffffffff"),
                MAP,
                "capab",
            ),
            (STATUS.to_owned(), "0 0 4294967295", "user namespace"),
            (String::new(), MAP, "filter"),
        ] {
            let reason = expected().verify(&status, map).unwrap_err();
            assert!(reason.contains(word), "{reason}");
        }
    }
}

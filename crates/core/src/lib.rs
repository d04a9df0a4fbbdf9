//! The words of the system: names, addresses, digests, diagnostics, specs and events.
//!
//! Everything here is plain data with its rules. Nothing here does I/O; [`Clock`] and [`Files`]
//! are the ports through which deciding code sees time and files.

#![forbid(unsafe_code)]

pub mod address;
pub mod clock;
pub mod diagnostic;
pub mod digest;
pub mod event;
pub mod files;
pub mod name;
pub mod path;
pub mod size;
pub mod spec;

pub use address::{Address, AddressError, LineTarget, Pattern};
pub use clock::{Clock, Millis, SystemClock, TestClock};
pub use diagnostic::{Code, Diagnostic, Diagnostics, Label, Severity, Source};
pub use digest::Digest;
pub use event::{Event, EventKind};
pub use files::{Files, MemoryFiles, OsFiles};
pub use name::{
    Alias, EndpointName, EnvironmentName, Generation, NameError, ServiceName, Slot, SystemName,
    VolumeName,
};

//! `brickyard confd` as a process of its own: confd's files, flags, messages and exit codes, and
//! what it does when something fails.

mod differences;
mod faults;
mod onetime;
mod single;
mod support;
mod traps;
mod watching;

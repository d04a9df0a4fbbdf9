//! `brickyard confd` as a process of its own: confd's files, flags, messages and exit codes, and
//! what it does when something fails.

mod differences;
mod encrypted;
mod faults;
mod names;
mod onetime;
mod rows;
mod served;
mod single;
mod support;
mod traps;
mod watching;

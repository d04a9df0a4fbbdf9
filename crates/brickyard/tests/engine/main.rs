//! The engine contract, passed by the fake and by real containers, and what only real containers
//! can show: protections, limits, files, clean-up.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where by its panic")]

mod contract;
mod native;
mod sabotage;
mod support;

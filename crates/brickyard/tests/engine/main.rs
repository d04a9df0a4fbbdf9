//! The engine contract, passed by the fake and by real containers, and what only real containers
//! can show: protections, limits, files, clean-up, and that nothing gets out.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where by its panic")]

mod containment;
mod contract;
mod native;
mod sabotage;
mod support;

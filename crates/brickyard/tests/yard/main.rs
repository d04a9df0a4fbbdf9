//! The product as its users meet it: the real binary, real containers, one yard for each test.
//!
//! These tests need root and a static busybox, and fail without them.

mod agent;
mod bad_input;
mod chaos;
mod composed;
mod copy;
mod father;
mod faults;
mod help;
mod leftovers;
mod living;
mod pause;
mod reading;
mod rounds;
mod serving;
mod shop;
mod source;
mod support;
mod terminal;
mod verbs;

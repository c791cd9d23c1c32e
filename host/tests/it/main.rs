//! Black-box tests: they drive the real binary, real plugins and real receivers, each in a process of its own.
//!
//! The harness comes first, from the small parts up; the tests follow, each beside what it is about.

mod http;
mod process;
mod push;
mod watch;

#[allow(dead_code, reason = "a harness: tests come to its methods one by one")]
mod host;
#[allow(dead_code, reason = "a harness: tests come to its methods one by one")]
mod plugins;
#[allow(dead_code, reason = "a harness: tests come to its methods one by one")]
mod receivers;
#[allow(dead_code, reason = "a harness: tests come to its methods one by one")]
mod sink;

mod access;

//! Black-box tests: they drive the real binary, real plugins and real receivers, each in a process of its own.
//!
//! The harness comes first, from the small parts up; the tests follow, each beside what it is about.

mod drive;
mod faults;
mod http;
mod process;
mod push;
mod secrets;
mod stub;
mod watch;

#[allow(dead_code, reason = "a harness: tests come to its methods one by one")]
mod host;
#[allow(dead_code, reason = "a harness: tests come to its methods one by one")]
mod plugins;
#[allow(dead_code, reason = "a harness: tests come to its methods one by one")]
mod receivers;
#[allow(dead_code, reason = "a harness: tests come to its methods one by one")]
mod sink;

// What real receivers get.
mod delivery;
mod histograms;
mod outage;
mod overflow;
mod refused;
mod slow;

// What a receiver does.
mod answers;
mod protocol;
mod retries;

// How a run ends, and what it may take meanwhile.
mod campaign;
mod ending;
mod isolation;
mod memory;
mod spool;
mod workers;

// What a plugin is and does.
mod authors;
mod check;
mod compat;
mod dry;
mod loading;
mod markers;
mod order;
mod telling;
mod unread;

// What sensors give, and what all of them have in common.
mod alike;
mod nvml;
mod python;
mod rapl;
mod scrape;

// What an operator sees and sets.
mod access;
mod admin;
mod deploy;
mod notify;
mod variables;

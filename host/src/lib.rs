//! monitor-host: a generic Prometheus remote-write client whose sensor is one shared library.
//!
//! The modules stand in the order in which a sample passes them, as [`pipeline`] puts them together.

pub mod pipeline;

// What a sample passes.
pub mod plugin;
pub mod supervise;

pub mod exemplar;
pub mod histogram;
pub mod intake;
pub mod normalise;

pub mod series;

pub mod queue;

pub mod batch;
pub mod batching;
pub mod encode;

pub mod access;
pub mod dry;
pub mod keep;
pub mod negotiate;
pub mod retry;
pub mod send;
pub mod spool;

// What all of them may use.
pub mod history;
pub mod labels;
pub mod ledger;
pub mod metrics;
pub mod sample;

// What surrounds them.
pub mod admin;
pub mod check;
pub mod cli;
pub mod config;
pub mod log;
pub mod notify;
pub mod receive;
pub mod run;

#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzz;

#[cfg(test)]
mod generated;

/// The example for authors, compiled with the documentation's own.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

//! monitor-host: a generic Prometheus remote-write client whose sensor is one shared library.
//!
//! The modules stand in the order in which a sample passes them.

#![forbid(unsafe_op_in_unsafe_fn)]

pub mod labels;
pub mod ledger;
pub mod normalise;

//! monitor-host: a generic Prometheus remote-write client whose sensor is one shared library.
//!
//! The modules stand in the order in which a sample passes them.

pub mod batch;
pub mod encode;
pub mod keep;
pub mod labels;
pub mod ledger;
pub mod queue;
pub mod retry;
pub mod sample;
pub mod series;

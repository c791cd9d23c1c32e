//! The parts of `monitor-host`.
pub mod log;

//! The parts of `monitor-host`.
pub mod cli;
pub mod config;
pub mod log;

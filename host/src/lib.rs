//! The library of monitor-host.

pub mod receive;

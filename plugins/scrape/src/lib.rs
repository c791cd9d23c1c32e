//! Prometheus exposition endpoints made into a push client: a sensor plugin for `monitor-host`.

pub mod exposition;

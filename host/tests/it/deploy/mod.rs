//! What `deploy/` gives to those who watch a fleet, against a real Prometheus that the real binary feeds.
//!
//! Enters: the files as they ship. Leaves: judgements on them. Never: takes a file's word for what it does.

mod alerts;
mod dashboards;
mod named;
mod panels;
mod rules;

use std::fs;
use std::path::{Path, PathBuf};

use crate::host::Host;

/// A file or folder of the repository.
fn at_home(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(path)
}

/// A file of the repository, as text.
#[track_caller]
fn text(path: &str) -> String {
    let path = at_home(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

const RULES: &str = "deploy/prometheus/monitor-client.rules.yaml";

/// A client with a name of its own, that tells its receiver of itself.
fn named(host: Host, instance: &str) -> Host {
    host.env("SELF_METRICS", "push")
        .env("JOB", "fleet")
        .env("INSTANCE", instance)
        .env("EXTERNAL_LABELS", format!("host={}", host_of(instance)))
}

/// What `EXTERNAL_LABELS` says of a client's host.
fn host_of(instance: &str) -> String {
    format!("host-of-{instance}")
}

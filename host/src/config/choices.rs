//! The names that a variable may hold, where they are few; and what each means.

use super::kind::Choice;
use crate::encode::Protocol;
use crate::log::{Format, Level};
use crate::metrics::SelfMetrics;
use crate::negotiate;
use crate::plugin::Isolation;
use crate::supervise::Restart;

/// PLUGIN_ISOLATION.
pub(super) const ISOLATION: Choice<Isolation> =
    Choice { placeholder: "HOW", names: &[("off", Isolation::Off), ("process", Isolation::Process)] };

/// PLUGIN_RESTART.
pub(super) const RESTART: Choice<Restart> = Choice {
    placeholder: "WHEN",
    names: &[("never", Restart::Never), ("on-failure", Restart::OnFailure), ("always", Restart::Always)],
};

/// REMOTE_WRITE_PROTOCOL.
pub(super) const PROTOCOL: Choice<negotiate::Choice> = Choice {
    placeholder: "VERSION",
    names: &[
        ("auto", negotiate::Choice::Auto),
        ("1.0", negotiate::Choice::Only(Protocol::V1)),
        ("2.0", negotiate::Choice::Only(Protocol::V2)),
    ],
};

/// SELF_METRICS.
pub(super) const SELF: Choice<SelfMetrics> = Choice {
    placeholder: "WHERE",
    names: &[
        ("off", SelfMetrics::Off),
        ("admin", SelfMetrics::Admin),
        ("push", SelfMetrics::Push),
        ("both", SelfMetrics::Both),
    ],
};

/// LOG_LEVEL.
pub(super) const LEVEL: Choice<Level> = Choice {
    placeholder: "LEVEL",
    names: &[
        ("TRACE", Level::Trace),
        ("DEBUG", Level::Debug),
        ("INFO", Level::Info),
        ("WARNING", Level::Warning),
        ("WARN", Level::Warning),
        ("ERROR", Level::Error),
        // Nothing is more severe than an error in this log.
        ("CRITICAL", Level::Error),
    ],
};

/// LOG_FORMAT.
pub(super) const FORMAT: Choice<Format> = Choice {
    placeholder: "FORMAT",
    names: &[("auto", Format::Auto), ("human", Format::Human), ("json", Format::Json)],
};

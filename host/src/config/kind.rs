//! The kinds of values: trimmed, non-empty text enters, a typed value within its bounds leaves, or what is wrong with it.
//! Never sees where a text came from, and never repeats it: it may be a secret.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::url::TargetUrl;

/// What a kind says of itself in `--help`, in the reference and in mistakes.
pub trait Accepts: Sync {
    /// Ends a sentence that begins with "give": "a number from 0.1 to 86400".
    fn accepts(&self) -> String;

    /// Stands for a value in `--help`: `SECONDS`.
    fn placeholder(&self) -> &'static str;

    /// What the flag alone means, without a value; none when it needs one.
    fn alone(&self) -> Option<&'static str> {
        None
    }
}

/// A kind's way from text to value.
pub(crate) trait Kind: Accepts {
    /// What a good text becomes.
    type Value;

    /// The value, or what is wrong: "not a number of seconds". An empty text is the default of what may be unset.
    fn parse(&self, text: &str) -> Result<Self::Value, &'static str>;
}

const TOO_SMALL: &str = "too small";
const TOO_LARGE: &str = "too large";

/// A duration in seconds, fractions allowed.
pub(crate) struct Seconds {
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Accepts for Seconds {
    fn accepts(&self) -> String {
        format!("a number from {} to {}", self.min, self.max)
    }

    fn placeholder(&self) -> &'static str {
        "SECONDS"
    }
}

impl Kind for Seconds {
    type Value = Duration;

    fn parse(&self, text: &str) -> Result<Duration, &'static str> {
        let seconds: f64 = text.parse().map_err(|_| "not a number of seconds")?;
        match seconds {
            s if !s.is_finite() => Err("not a finite number of seconds"),
            s if s < self.min => Err(TOO_SMALL),
            s if s > self.max => Err(TOO_LARGE),
            s => Duration::try_from_secs_f64(s).map_err(|_| TOO_LARGE),
        }
    }
}

/// A count that may be zero.
pub(crate) struct Count {
    pub(crate) max: u64,
}

impl Accepts for Count {
    fn accepts(&self) -> String {
        format!("a whole number from 0 to {}", self.max)
    }

    fn placeholder(&self) -> &'static str {
        "COUNT"
    }
}

impl Kind for Count {
    type Value = usize;

    fn parse(&self, text: &str) -> Result<usize, &'static str> {
        whole(text, "not a whole number", 0, self.max)
    }
}

/// A count of which zero makes no sense.
pub(crate) struct Positive {
    pub(crate) max: u64,
}

impl Accepts for Positive {
    fn accepts(&self) -> String {
        format!("a whole number from 1 to {}", self.max)
    }

    fn placeholder(&self) -> &'static str {
        "COUNT"
    }
}

impl Kind for Positive {
    type Value = NonZeroUsize;

    fn parse(&self, text: &str) -> Result<NonZeroUsize, &'static str> {
        let count = whole(text, "not a whole number", 1, self.max)?;
        NonZeroUsize::new(count).ok_or(TOO_SMALL)
    }
}

/// A size: bytes, or with one of [`UNITS`] behind the number.
pub(crate) struct Bytes {
    pub(crate) min: u64,
    pub(crate) max: u64,
}

const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl Accepts for Bytes {
    fn accepts(&self) -> String {
        let text = |bytes: u64| {
            let unit = UNITS.iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
            unit.map_or(bytes.to_string(), |(name, unit)| format!("{}{name}", bytes / unit))
        };
        let (min, max) = (text(self.min), text(self.max));
        format!("whole bytes, KiB, MiB or GiB (as 512KiB) from {min} to {max}")
    }

    fn placeholder(&self) -> &'static str {
        "BYTES"
    }
}

impl Kind for Bytes {
    type Value = usize;

    fn parse(&self, text: &str) -> Result<usize, &'static str> {
        let (number, unit) = UNITS
            .iter()
            .find_map(|(name, unit)| Some((strip_suffix_ignoring_case(text, name)?.trim_end(), *unit)))
            .unwrap_or((text, 1));
        let count = whole(number, "not a size in bytes", 0, u64::MAX / unit)?;
        let bytes = count as u64 * unit;
        match bytes {
            b if b < self.min => Err(TOO_SMALL),
            b if b > self.max => Err(TOO_LARGE),
            b => usize::try_from(b).map_err(|_| TOO_LARGE),
        }
    }
}

/// A size that may be left out.
pub(crate) struct OptionalBytes {
    pub(crate) min: u64,
    pub(crate) max: u64,
}

impl OptionalBytes {
    fn given(&self) -> Bytes {
        Bytes { min: self.min, max: self.max }
    }
}

impl Accepts for OptionalBytes {
    fn accepts(&self) -> String {
        self.given().accepts()
    }

    fn placeholder(&self) -> &'static str {
        "BYTES"
    }
}

impl Kind for OptionalBytes {
    type Value = Option<usize>;

    fn parse(&self, text: &str) -> Result<Option<usize>, &'static str> {
        match text {
            "" => Ok(None),
            text => self.given().parse(text).map(Some),
        }
    }
}

/// On or off.
pub(crate) struct Switch;

impl Accepts for Switch {
    fn accepts(&self) -> String {
        "0 or 1".to_owned()
    }

    fn placeholder(&self) -> &'static str {
        "0|1"
    }

    fn alone(&self) -> Option<&'static str> {
        Some("1")
    }
}

impl Kind for Switch {
    type Value = bool;

    fn parse(&self, text: &str) -> Result<bool, &'static str> {
        match text.to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "on" => Ok(true),
            "0" | "false" | "no" | "off" => Ok(false),
            _ => Err("neither on nor off"),
        }
    }
}

/// One of a few names, in any case.
pub(crate) struct Choice<T: 'static> {
    pub(crate) placeholder: &'static str,
    pub(crate) names: &'static [(&'static str, T)],
}

impl<T: Sync> Accepts for Choice<T> {
    fn accepts(&self) -> String {
        let names: Vec<&str> = self.names.iter().map(|(name, _)| *name).collect();
        format!("one of {}", names.join(", "))
    }

    fn placeholder(&self) -> &'static str {
        self.placeholder
    }
}

impl<T: Copy + Sync> Kind for Choice<T> {
    type Value = T;

    fn parse(&self, text: &str) -> Result<T, &'static str> {
        let found = self.names.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        found.map(|(_, value)| *value).ok_or("not a known name")
    }
}

/// Where requests go.
pub(crate) struct HttpUrl;

impl Accepts for HttpUrl {
    fn accepts(&self) -> String {
        "a URL such as https://host:9090/api/v1/write".to_owned()
    }

    fn placeholder(&self) -> &'static str {
        "URL"
    }
}

impl Kind for HttpUrl {
    type Value = TargetUrl;

    fn parse(&self, text: &str) -> Result<TargetUrl, &'static str> {
        TargetUrl::parse(text)
    }
}

/// Where to listen, or `off`.
pub(crate) struct Listen;

impl Accepts for Listen {
    fn accepts(&self) -> String {
        "an address and a port, such as 127.0.0.1:9464 or [::]:9464, or off".to_owned()
    }

    fn placeholder(&self) -> &'static str {
        "ADDRESS"
    }
}

impl Kind for Listen {
    type Value = Option<SocketAddr>;

    fn parse(&self, text: &str) -> Result<Option<SocketAddr>, &'static str> {
        match text {
            text if text.eq_ignore_ascii_case("off") => Ok(None),
            text => text.parse().map(Some).map_err(|_| "not an address with a port"),
        }
    }
}

/// A file that may be left out; whether it is there is found out by who opens it.
pub(crate) struct OptionalPath;

impl Accepts for OptionalPath {
    fn accepts(&self) -> String {
        "the path of a file".to_owned()
    }

    fn placeholder(&self) -> &'static str {
        "FILE"
    }
}

impl Kind for OptionalPath {
    type Value = Option<PathBuf>;

    fn parse(&self, text: &str) -> Result<Option<PathBuf>, &'static str> {
        match text {
            "" => Ok(None),
            text if text.contains('\0') => Err("holds a NUL byte"),
            text => Ok(Some(PathBuf::from(text))),
        }
    }
}

/// A directory that may be left out; it is made by who needs it.
pub(crate) struct OptionalDirectory;

impl Accepts for OptionalDirectory {
    fn accepts(&self) -> String {
        "the path of a directory".to_owned()
    }

    fn placeholder(&self) -> &'static str {
        "DIRECTORY"
    }
}

impl Kind for OptionalDirectory {
    type Value = Option<PathBuf>;

    fn parse(&self, text: &str) -> Result<Option<PathBuf>, &'static str> {
        OptionalPath.parse(text)
    }
}

/// A metric name by the Prometheus data model.
pub(crate) struct MetricName;

/// Receivers cap names and values of labels; these are the default caps of the Mimir and Cortex family.
const NAME_MAX: usize = 1024;
const VALUE_MAX: usize = 2048;

impl Accepts for MetricName {
    fn accepts(&self) -> String {
        format!("letters, digits, _ and :, no digit first, at most {NAME_MAX} characters")
    }

    fn placeholder(&self) -> &'static str {
        "METRIC"
    }
}

impl Kind for MetricName {
    type Value = String;

    fn parse(&self, text: &str) -> Result<String, &'static str> {
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        match text {
            t if t.len() > NAME_MAX => Err("too long"),
            t if t.starts_with(|c: char| c.is_ascii_digit()) => Err("starts with a digit"),
            t if t.is_empty() || !t.chars().all(legal) => Err("not a metric name"),
            t => Ok(t.to_owned()),
        }
    }
}

/// A duration in seconds, fractions allowed, that may be left out.
pub(crate) struct OptionalSeconds {
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Accepts for OptionalSeconds {
    fn accepts(&self) -> String {
        format!("a number from {} to {}", self.min, self.max)
    }

    fn placeholder(&self) -> &'static str {
        "SECONDS"
    }
}

impl Kind for OptionalSeconds {
    type Value = Option<Duration>;

    fn parse(&self, text: &str) -> Result<Option<Duration>, &'static str> {
        match text {
            "" => Ok(None),
            text => Seconds { min: self.min, max: self.max }.parse(text).map(Some),
        }
    }
}

/// Statuses of HTTP, separated by commas.
pub(crate) struct Statuses;

impl Accepts for Statuses {
    fn accepts(&self) -> String {
        "statuses from 300 to 499, separated by commas, such as 401,403".to_owned()
    }

    fn placeholder(&self) -> &'static str {
        "STATUSES"
    }
}

impl Kind for Statuses {
    type Value = Vec<u16>;

    fn parse(&self, text: &str) -> Result<Vec<u16>, &'static str> {
        let status = |text: &str| text.trim().parse().ok().filter(|status| (300..500).contains(status));
        let given = text.split(',').filter(|text| !text.trim().is_empty());
        given.map(|text| status(text).ok_or("not a list of statuses that are refusals")).collect()
    }
}

/// Labels for every series: `a=b,c=${HOSTNAME}`. Variables are expanded by whoever has the environment.
pub(crate) struct Labels;

impl Accepts for Labels {
    fn accepts(&self) -> String {
        "labels such as site=berlin,host=${HOSTNAME}".to_owned()
    }

    fn placeholder(&self) -> &'static str {
        "LABELS"
    }
}

impl Kind for Labels {
    type Value = Vec<(String, String)>;

    fn parse(&self, text: &str) -> Result<Self::Value, &'static str> {
        let mut labels: Self::Value = Vec::new();
        for label in text.split(',').map(str::trim).filter(|label| !label.is_empty()) {
            let (name, value) = label.split_once('=').ok_or("a label without =")?;
            let (name, value) = (name.trim(), value.trim());
            if !crate::labels::is_label_name(name) || name.starts_with("__") {
                return Err("not the name of a label");
            }
            if labels.iter().any(|(other, _)| other == name) {
                return Err("a label given twice");
            }
            if value.matches("${").count() != value.matches('}').count() {
                return Err("a ${ without its }");
            }
            labels.push((name.to_owned(), value.to_owned()));
        }
        Ok(labels)
    }
}

/// The value of a label.
pub(crate) struct LabelValue;

impl Accepts for LabelValue {
    fn accepts(&self) -> String {
        format!("text without control characters, at most {VALUE_MAX} bytes")
    }

    fn placeholder(&self) -> &'static str {
        "TEXT"
    }
}

impl Kind for LabelValue {
    type Value = String;

    fn parse(&self, text: &str) -> Result<String, &'static str> {
        match text {
            t if t.len() > VALUE_MAX => Err("too long"),
            t if t.chars().any(char::is_control) => Err("holds a control character"),
            t => Ok(t.to_owned()),
        }
    }
}

fn whole(text: &str, not_whole: &'static str, min: u64, max: u64) -> Result<usize, &'static str> {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    let number: i128 = text.parse().map_err(|error: std::num::ParseIntError| match error.kind() {
        PosOverflow => TOO_LARGE,
        NegOverflow => TOO_SMALL,
        _ => not_whole,
    })?;
    match number {
        n if n < i128::from(min) => Err(TOO_SMALL),
        n if n > i128::from(max) => Err(TOO_LARGE),
        n => usize::try_from(n).map_err(|_| TOO_LARGE),
    }
}

fn strip_suffix_ignoring_case<'a>(text: &'a str, suffix: &str) -> Option<&'a str> {
    let (head, tail) = text.split_at_checked(text.len().checked_sub(suffix.len())?)?;
    tail.eq_ignore_ascii_case(suffix).then_some(head)
}

//! The numbered samples of a campaign, as requests, records of the spool and Prometheus hold them.
//!
//! Enters: a body, or a series with a value. Leaves: which samples these are. Never: takes for a sample of the campaign what
//! is none: another name, a number that is not whole, a value that belongs to another series.

use monitor_proto::{NAME_LABEL, v1, v2};
use prost::Message;

/// How many series the plugin has.
pub(super) const SERIES: usize = 3;

/// What the value of a sample has over its number, for each series before its own: no two series have the same values.
pub(super) const SPREAD: f64 = 0.125;

/// One sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Sample {
    pub(super) series: usize,
    /// The reading's number, which no other reading of a round has.
    pub(super) number: u64,
    pub(super) timestamp_ms: i64,
}

impl Sample {
    /// The sample with this value, of the series with these labels.
    pub(super) fn read<'a>(
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        (timestamp_ms, value): (i64, f64),
    ) -> Result<Self, String> {
        let (mut metric, mut series) = (None, None);
        for (name, label) in labels {
            match name {
                NAME_LABEL => metric = Some(label),
                "series" => series = label.parse().ok().filter(|&series: &usize| series < SERIES),
                _ => {}
            }
        }
        let (Some("fault_number"), Some(series)) = (metric, series) else {
            return Err(format!("a sample of {metric:?}, series {series:?}"));
        };
        let number = value - series as f64 * SPREAD;
        if number.fract() != 0.0 || number < 1.0 {
            return Err(format!("series {series} has the value {value} at {timestamp_ms}"));
        }
        Ok(Self { series, number: number as u64, timestamp_ms })
    }
}

/// In which version of the protocol something is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
}

/// The samples of a request, in the order in which they stand there.
pub(super) fn samples(version: Version, body: &[u8]) -> Result<Vec<Sample>, String> {
    let message = snap::raw::Decoder::new().decompress_vec(body).map_err(|error| error.to_string())?;
    let mut samples = Vec::new();
    match version {
        Version::V1 => {
            for series in v1::WriteRequest::decode(&message[..]).map_err(|error| error.to_string())?.timeseries {
                let labels = || series.labels.iter().map(|label| (label.name.as_str(), label.value.as_str()));
                for sample in &series.samples {
                    samples.push(Sample::read(labels(), (sample.timestamp, sample.value))?);
                }
            }
        }
        Version::V2 => {
            let request = v2::Request::decode(&message[..]).map_err(|error| error.to_string())?;
            let symbol = |&at: &u32| request.symbols.get(at as usize).map_or("", String::as_str);
            for series in &request.timeseries {
                let labels = || series.labels_refs.chunks_exact(2).map(|pair| (symbol(&pair[0]), symbol(&pair[1])));
                for sample in &series.samples {
                    samples.push(Sample::read(labels(), (sample.timestamp, sample.value))?);
                }
            }
        }
    }
    if samples.is_empty() { Err("a request without a sample".to_owned()) } else { Ok(samples) }
}

#[test]
fn what_is_no_sample_of_ours_is_not_taken_for_one() {
    let labels = |series: &'static str| [("__name__", "fault_number"), ("series", series)];
    let read = |series, value| Sample::read(labels(series), (5, value)).ok();
    assert_eq!(read("2", 7.25), Some(Sample { series: 2, number: 7, timestamp_ms: 5 }));
    for (series, value) in [("1", 7.25), ("2", 7.0), ("2", 0.25), ("9", 7.0), ("0", f64::NAN), ("0", f64::INFINITY)] {
        assert_eq!(read(series, value), None, "{series} {value}");
    }
    assert!(Sample::read([("__name__", "other"), ("series", "0")], (5, 1.0)).is_err());
    assert!(samples(Version::V1, b"rubbish").is_err() && samples(Version::V2, &[]).is_err());
}

//! Pushes without the host, to try what the tests are made of.
//!
//! Enters: series. Leaves: one request of remote write 1.0, and its answer. Never: sorts, merges, retries.

use monitor_proto::{CONTENT_ENCODING, CONTENT_TYPE_V1, VERSION_HEADER, VERSION_V1, v1};
use prost::Message;

use crate::http::{self, Answer};
use crate::receivers::Series;

/// One request with all series, as they stand.
pub(crate) fn push(url: &str, all: &[Series]) -> Answer {
    let timeseries = all.iter().map(|Series { labels, samples }| v1::TimeSeries {
        labels: labels.iter().map(|(name, value)| v1::Label { name: name.clone(), value: value.clone() }).collect(),
        samples: samples.iter().map(|&(timestamp, value)| v1::Sample { value, timestamp }).collect(),
        ..Default::default()
    });
    let request = v1::WriteRequest { timeseries: timeseries.collect(), ..Default::default() };
    let body = snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).expect("a request below 4 GiB");
    let headers = [
        ("Content-Type", CONTENT_TYPE_V1),
        ("Content-Encoding", CONTENT_ENCODING),
        (VERSION_HEADER, VERSION_V1),
        ("User-Agent", "monitor-host-tests"),
    ];
    http::request("POST", url, &headers, &body).unwrap_or_else(|error| panic!("{url}: {error}"))
}

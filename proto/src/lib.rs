//! The messages of Prometheus remote write, 1.0 and 2.0, and the constants that go with them on the wire.
//!
//! Enters: nothing. Leaves: the types that the two files in `proto/` describe, each with `prost::Message`, generated
//! ahead of time (a test regenerates them and compares, so nobody needs `protoc`), and header names and values.
//! Never: knows a record, opens a socket, compresses or decides anything.

/// Remote write 1.0: [`v1::WriteRequest`] and what it is made of.
#[rustfmt::skip]
#[allow(clippy::all)]
pub mod v1 {
    include!("gen/prometheus.rs");
}

/// Remote write 2.0: [`v2::Request`] and what it is made of.
#[rustfmt::skip]
#[allow(clippy::all)]
pub mod v2 {
    include!("gen/io.prometheus.write.v2.rs");
}

/// `Content-Type` of a 1.0 request. Receivers also accept it with `;proto=prometheus.WriteRequest`.
pub const CONTENT_TYPE_V1: &str = "application/x-protobuf";
/// `Content-Type` of a 2.0 request.
pub const CONTENT_TYPE_V2: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
/// Name of the 1.0 message, as the `proto` parameter of a `Content-Type` names it.
pub const MESSAGE_V1: &str = "prometheus.WriteRequest";
/// Name of the 2.0 message, as the `proto` parameter of a `Content-Type` names it.
pub const MESSAGE_V2: &str = "io.prometheus.write.v2.Request";

/// Header that carries the protocol's version, in lower case.
pub const VERSION_HEADER: &str = "x-prometheus-remote-write-version";
/// Value of [`VERSION_HEADER`] in a 1.0 request.
pub const VERSION_V1: &str = "0.1.0";
/// Value of [`VERSION_HEADER`] in a 2.0 request.
pub const VERSION_V2: &str = "2.0.0";
/// `Content-Encoding` of both: snappy's block format, never its framed one.
pub const CONTENT_ENCODING: &str = "snappy";

/// Response header of 2.0, in lower case: how many samples were written.
pub const SAMPLES_WRITTEN_HEADER: &str = "x-prometheus-remote-write-samples-written";
/// Response header of 2.0, in lower case: how many histograms were written.
pub const HISTOGRAMS_WRITTEN_HEADER: &str = "x-prometheus-remote-write-histograms-written";
/// Response header of 2.0, in lower case: how many exemplars were written.
pub const EXEMPLARS_WRITTEN_HEADER: &str = "x-prometheus-remote-write-exemplars-written";

/// Label that carries the metric's name.
pub const NAME_LABEL: &str = "__name__";

/// Bits of the NaN that marks a series as ended.
pub const STALE_NAN: u64 = 0x7ff0_0000_0000_0002;
/// Bits of the NaN that stands for every other NaN, so that data never looks like [`STALE_NAN`].
pub const NORMAL_NAN: u64 = 0x7ff8_0000_0000_0001;

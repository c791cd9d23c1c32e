//! Remote write 1.0: `prometheus.WriteRequest`. Label bytes are copied as they are.

use super::{Exemplar, Point, Series, body_len, histogram_bound, put_exemplar, put_histogram, put_point};
use crate::labels::put_varint;
use crate::series::Metadata;

/// Appends one `TimeSeries` (field 1 of the request). A start timestamp has no place in 1.0.
pub fn series(out: &mut Vec<u8>, series: &Series<'_>) {
    let samples: usize = series.points.iter().map(|point: &Point| 2 + body_len(point, 0)).sum();
    let histograms: usize = series.histograms.iter().map(|histogram| histogram_bound(histogram.body, 0)).sum();
    let exemplars = exemplars(series.exemplars);
    out.push(0x0a);
    put_varint(out, (series.labels.len() + samples + exemplars.len() + histograms) as u64);
    out.extend_from_slice(series.labels);
    for point in series.points {
        put_point(out, point, 0);
    }
    out.extend_from_slice(&exemplars);
    for histogram in series.histograms {
        put_histogram(out, 0x22, histogram.body, 0);
    }
}

fn exemplars(exemplars: &[Exemplar<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    exemplars.iter().for_each(|exemplar| put_exemplar(&mut out, 0x1a, exemplar.labels, exemplar));
    out
}

/// Appends one `MetricMetadata` (field 3 of the request), which stands for all series of the metric.
pub fn metadata(out: &mut Vec<u8>, metric: &str, metadata: &Metadata) {
    let mut body = Vec::with_capacity(metric.len() + metadata.help.len() + metadata.unit.len() + 16);
    if metadata.kind != 0 {
        body.push(0x08);
        put_varint(&mut body, metadata.kind as u64);
    }
    for (tag, text) in [(0x12, metric), (0x22, &*metadata.help), (0x2a, &*metadata.unit)] {
        if !text.is_empty() {
            body.push(tag);
            put_varint(&mut body, text.len() as u64);
            body.extend_from_slice(text.as_bytes());
        }
    }
    out.push(0x1a);
    put_varint(out, body.len() as u64);
    out.extend_from_slice(&body);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{point_bound, series_bound};
    use crate::labels::LabelSet;
    use crate::series::Known;
    use monitor_proto::v1::WriteRequest;
    use proptest::prelude::*;
    use prost::Message;

    fn labels(value: &str) -> Vec<u8> {
        let mut set = LabelSet::default();
        set.start("metric").unwrap();
        set.label("component", value).unwrap();
        set.encode().unwrap().to_vec()
    }

    proptest! {
        #[test]
        fn prost_reads_every_sample(
            given in proptest::collection::vec((".{1,300}", proptest::collection::vec((any::<u64>(), any::<i64>()), 1..6)), 0..5),
        ) {
            let mut out = Vec::new();
            let mut bound = 0;
            for (value, points) in &given {
                let labels = labels(value);
                let points: Vec<_> = points.iter().map(|&(bits, timestamp_ms)| Point { value: f64::from_bits(bits), timestamp_ms }).collect();
                bound += series_bound(&Known::of(&labels, None)) + points.iter().map(|p| point_bound(p, 0)).sum::<usize>();
                series(&mut out, &Series { labels: &labels, metadata: None, start_ms: 7, points: &points, histograms: &[], exemplars: &[] });
            }
            prop_assert!(out.len() <= bound);
            let request = WriteRequest::decode(out.as_slice()).unwrap();
            prop_assert_eq!(request.timeseries.len(), given.len());
            for (read, (value, points)) in request.timeseries.iter().zip(&given) {
                prop_assert_eq!(&read.labels[1].value, value);
                let read: Vec<_> = read.samples.iter().map(|s| (s.value.to_bits(), s.timestamp)).collect();
                prop_assert_eq!(&read, points);
            }
        }
    }

    #[test]
    fn a_negative_zero_keeps_its_sign() {
        let mut out = Vec::new();
        let points = [Point { value: -0.0, timestamp_ms: 1 }, Point { value: 0.0, timestamp_ms: 2 }];
        series(
            &mut out,
            &Series {
                labels: &labels("x"),
                metadata: None,
                start_ms: 0,
                points: &points,
                histograms: &[],
                exemplars: &[],
            },
        );
        let request = WriteRequest::decode(out.as_slice()).unwrap();
        assert!(request.timeseries[0].samples[0].value.is_sign_negative());
        assert!(request.timeseries[0].samples[1].value.is_sign_positive());
    }

    #[test]
    fn metadata_is_read_back() {
        let mut out = Vec::new();
        metadata(&mut out, "power_watts", &Metadata { kind: 2, help: "Power.".into(), unit: "watts".into() });
        metadata(&mut out, "bare", &Metadata::default());
        let read = WriteRequest::decode(out.as_slice()).unwrap().metadata;
        assert_eq!((read[0].metric_family_name.as_str(), read[0].r#type), ("power_watts", 2));
        assert_eq!((read[0].help.as_str(), read[0].unit.as_str()), ("Power.", "watts"));
        assert_eq!(read[1].metric_family_name, "bare");
    }
}

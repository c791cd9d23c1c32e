//! The host's own metrics as text, for whoever scrapes them.
//!
//! Enters: [`Facts`], and what the client says that it reads. Leaves: OpenMetrics 1.0, written by the official crate, or
//! the older text format, 0.0.4, for clients that don't know it. Pure.

use std::borrow::Cow;
use std::fmt::Write;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::{FAMILIES, Facts, Family, Kind, Value};
use crate::send::books::DURATION_BOUNDS;

/// A format that both sides know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4.
    Text,
}

impl Format {
    /// By the Accept header of a request: OpenMetrics where it is asked for at least as much as text; text for those who
    /// don't say, which is whoever looks with a browser or curl.
    pub fn accepted(header: &str) -> Self {
        let (mut open_metrics, mut plain) = (0.0, 0.0);
        for range in header.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default().to_ascii_lowercase();
            let quality = parts.filter_map(|part| part.strip_prefix("q=")?.parse::<f64>().ok()).next().unwrap_or(1.0);
            let asked = match name.as_str() {
                "application/openmetrics-text" => &mut open_metrics,
                "text/plain" | "text/*" | "*/*" => &mut plain,
                _ => continue,
            };
            *asked = f64::max(*asked, quality);
        }
        if open_metrics > 0.0 && open_metrics >= plain { Format::OpenMetrics } else { Format::Text }
    }

    /// The Content-Type of the answer.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// All families.
pub fn encode(format: Format, facts: Facts) -> String {
    let mut out = String::with_capacity(16 << 10);
    let written = match format {
        Format::OpenMetrics => open_metrics(&mut out, facts),
        Format::Text => plain(&mut out, &facts),
    };
    // Writing into a string fails for nobody.
    debug_assert!(written.is_ok());
    out
}

fn open_metrics(out: &mut String, facts: Facts) -> std::fmt::Result {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Collected(facts)));
    text::encode(out, &registry)
}

#[derive(Debug)]
struct Collected(Facts);

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        for family in FAMILIES.iter().filter(|family| family.has_points(&self.0)) {
            let unit = Some(family.unit).filter(|unit| !unit.is_empty()).map(|unit| Unit::Other(unit.to_owned()));
            let kind = match family.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
                Kind::Info => MetricType::Info,
            };
            let mut metric = encoder.encode_descriptor(family.stem(), family.help, unit.as_ref(), kind)?;
            let mut written = Ok(());
            family.points(&self.0, &mut |values, value| {
                if written.is_ok() {
                    written = family.open_metrics_point(&mut metric, values, value);
                }
            });
            written?;
        }
        Ok(())
    }
}

impl Family {
    fn has_points(&self, facts: &Facts) -> bool {
        let mut any = false;
        self.points(facts, &mut |_, _| any = true);
        any
    }

    /// Its name without what OpenMetrics' encoder puts behind it.
    fn stem(&self) -> &'static str {
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        let stem = self.name.strip_suffix(suffix).unwrap_or(self.name);
        stem.strip_suffix(self.unit).and_then(|stem| stem.strip_suffix('_')).unwrap_or(stem)
    }

    fn open_metrics_point(
        &self,
        metric: &mut MetricEncoder<'_>,
        values: &[&str],
        value: Value<'_>,
    ) -> std::fmt::Result {
        let labels: Vec<(Cow<'_, str>, Cow<'_, str>)> =
            self.labels.iter().zip(values).map(|(&name, &value)| (name.into(), value.into())).collect();
        if self.kind == Kind::Info {
            return metric.encode_info(&labels);
        }
        match labels.is_empty() {
            true => self.open_metrics_value(metric, value),
            false => self.open_metrics_value(&mut metric.encode_family(&labels)?, value),
        }
    }

    fn open_metrics_value(&self, metric: &mut MetricEncoder<'_>, value: Value<'_>) -> std::fmt::Result {
        match (self.kind, value) {
            (Kind::Counter, Value::Count(count)) => metric.encode_counter::<NoLabelSet, _, u64>(&count, None),
            (Kind::Counter, Value::Number(number)) => metric.encode_counter::<NoLabelSet, _, u64>(&number, None),
            (_, Value::Count(count)) => metric.encode_gauge(&(count as f64)),
            (_, Value::Number(number)) => metric.encode_gauge(&number),
            (_, Value::Histogram(buckets, sum)) => {
                let bounds = DURATION_BOUNDS.into_iter().chain([f64::INFINITY]);
                let buckets: Vec<(f64, u64)> = bounds.zip(buckets.iter().copied()).collect();
                let count = buckets.iter().map(|(_, count)| count).sum();
                metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
            }
        }
    }
}

fn plain(out: &mut String, facts: &Facts) -> std::fmt::Result {
    for family in FAMILIES.iter().filter(|family| family.has_points(facts)) {
        // It knows no infos.
        let kind = if family.kind == Kind::Info { Kind::Gauge } else { family.kind };
        writeln!(out, "# HELP {} {}", family.name, family.help)?;
        writeln!(out, "# TYPE {} {}", family.name, kind.name())?;
        let mut written = Ok(());
        family.series(facts, |name, labels, value| {
            if written.is_ok() {
                written = line(out, name, labels, value);
            }
        });
        written?;
    }
    Ok(())
}

fn line(out: &mut String, name: &str, labels: &[(&str, &str)], value: f64) -> std::fmt::Result {
    out.write_str(name)?;
    for (i, (label, text)) in labels.iter().enumerate() {
        let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        write!(out, "{}{label}=\"{text}\"", if i == 0 { '{' } else { ',' })?;
    }
    writeln!(out, "{} {value}", if labels.is_empty() { "" } else { "}" })
}

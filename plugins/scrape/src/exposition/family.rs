//! Families of metrics: which samples HELP, TYPE and UNIT are about.

use monitor_plugin_api::Kind;

use super::Text;

/// What the last HELP, TYPE or UNIT named.
#[derive(Clone, Copy, Debug)]
pub struct Family<'a> {
    /// Its name.
    pub name: Text<'a>,
    /// Of its TYPE; unknown without one.
    pub kind: Kind,
    pub(super) has_created: bool,
}

/// Which part of its family a sample is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The reading itself: a gauge, a counter, a quantile, a state, an info.
    Value,
    /// A bucket of a histogram.
    Bucket,
    /// The sum of all observations.
    Sum,
    /// The number of all observations.
    Count,
    /// When a counter, histogram or summary began to count, in seconds since 1970. OpenMetrics alone has it.
    Created,
}

impl Family<'_> {
    /// The part that a sample of this name is, if it is of the family.
    pub fn part(&self, sample: &str) -> Option<Part> {
        let suffix = sample.strip_prefix(self.stem(&self.name.unescaped()))?;
        match (self.kind, suffix) {
            (Kind::Counter, "" | "_total") => Some(Part::Value),
            (Kind::Counter | Kind::Histogram | Kind::Summary, "_created") if self.has_created => Some(Part::Created),
            (Kind::Histogram | Kind::GaugeHistogram, "_bucket") => Some(Part::Bucket),
            (Kind::Histogram | Kind::Summary, "_sum") | (Kind::GaugeHistogram, "_gsum") => Some(Part::Sum),
            (Kind::Histogram | Kind::Summary, "_count") | (Kind::GaugeHistogram, "_gcount") => Some(Part::Count),
            (Kind::Info, "_info") | (_, "") => Some(Part::Value),
            _ => None,
        }
    }

    /// What the names of its samples begin with. In the text format, a counter's family is named as its sample is.
    pub(super) fn stem<'n>(&self, name: &'n str) -> &'n str {
        match self.kind {
            Kind::Counter => name.strip_suffix("_total").unwrap_or(name),
            _ => name,
        }
    }

    /// The label that tells apart the samples that belong together.
    pub(super) fn bucketed_by(&self) -> Option<&'static str> {
        match self.kind {
            Kind::GaugeHistogram => Some("le"),
            kind => numeric_label(kind),
        }
    }
}

/// The label whose values Prometheus writes in one way, where a kind has one.
pub(super) fn numeric_label(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Histogram => Some("le"),
        Kind::Summary => Some("quantile"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_of_the_family_that_their_name_says() {
        use Kind::{Counter, Gauge, GaugeHistogram, Histogram, Info, StateSet, Summary, Unknown};
        for (family, kind, sample, part) in [
            ("a", Gauge, "a", Some(Part::Value)),
            ("a", Gauge, "ab", None),
            ("a", Gauge, "a_total", None),
            ("ab", Gauge, "a", None),
            ("a", Unknown, "a", Some(Part::Value)),
            ("a", StateSet, "a", Some(Part::Value)),
            ("a", Info, "a_info", Some(Part::Value)),
            ("a", Counter, "a_total", Some(Part::Value)),
            ("a", Counter, "a", Some(Part::Value)),
            ("a", Counter, "a_created", Some(Part::Created)),
            ("a_total", Counter, "a_total", Some(Part::Value)),
            ("a_total", Counter, "a_created", Some(Part::Created)),
            ("a", Counter, "a_bucket", None),
            ("a", Histogram, "a_bucket", Some(Part::Bucket)),
            ("a", Histogram, "a_sum", Some(Part::Sum)),
            ("a", Histogram, "a_count", Some(Part::Count)),
            ("a", Histogram, "a_created", Some(Part::Created)),
            ("a", Histogram, "a_gsum", None),
            ("a", GaugeHistogram, "a_bucket", Some(Part::Bucket)),
            ("a", GaugeHistogram, "a_gsum", Some(Part::Sum)),
            ("a", GaugeHistogram, "a_gcount", Some(Part::Count)),
            ("a", GaugeHistogram, "a_created", None),
            ("a", Summary, "a", Some(Part::Value)),
            ("a", Summary, "a_sum", Some(Part::Sum)),
            ("a", Summary, "a_count", Some(Part::Count)),
            ("a", Summary, "a_bucket", None),
        ] {
            let family = Family { name: Text::plain(family), kind, has_created: true };
            assert_eq!(family.part(sample), part, "{family:?} {sample}");
        }
    }

    #[test]
    fn only_openmetrics_has_created() {
        let family = Family { name: Text::plain("a"), kind: Kind::Counter, has_created: false };
        assert_eq!(family.part("a_created"), None);
    }
}

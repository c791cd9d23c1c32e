//! Which of the formats a body is in.

use super::malformed::shown;

/// A text format of Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus's own, version 0.0.4.
    Text,
    /// OpenMetrics 1.0, which has units and exemplars, and an end.
    OpenMetrics,
}

impl Format {
    /// By the answer's content type; version and character set do not matter, as they do not in Prometheus.
    ///
    /// A body of no type, or of one that is not known, is read as [`Format::Text`], as Prometheus did up to version 2.
    /// (Version 3 refuses it, unless `fallback_scrape_protocol` says what it is.) What is no exposition at all, an error page
    /// for instance, is then refused with the line that shows it.
    ///
    /// # Errors
    ///
    /// Protocol buffers, which are never asked for: what to do, in one line.
    pub fn of(content_type: Option<&str>) -> Result<Format, String> {
        let declared = content_type.unwrap_or_default();
        let media = declared.split(';').next().unwrap_or_default().trim();
        if media.eq_ignore_ascii_case("application/openmetrics-text") {
            return Ok(Format::OpenMetrics);
        }
        if media.eq_ignore_ascii_case("application/vnd.google.protobuf") {
            let declared = shown(declared.as_bytes());
            return Err(format!("it answers with `{declared}`, which was not asked for; only text can be read"));
        }
        Ok(Format::Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_decides() {
        for text in
            ["text/plain", "text/plain; version=0.0.4; charset=utf-8", " TEXT/Plain ;x", "", "text/html", ";", "\u{1b}"]
        {
            assert_eq!(Format::of(Some(text)), Ok(Format::Text), "{text}");
        }
        assert_eq!(Format::of(None), Ok(Format::Text));
        for text in ["application/openmetrics-text", "Application/OpenMetrics-Text; version=1.0.0; charset=utf-8"] {
            assert_eq!(Format::of(Some(text)), Ok(Format::OpenMetrics), "{text}");
        }
        let declared = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
        let reason = Format::of(Some(declared)).unwrap_err();
        assert!(reason.starts_with("it answers with `application/vnd.google.protobuf;"), "{reason}");
        assert!(reason.len() < 160, "{reason}");
    }
}

//! The text of a scrape, read: text 0.0.4 and OpenMetrics 1.0.

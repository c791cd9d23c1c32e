//! Where the parser does otherwise than Prometheus: never by chance, and each time for a reason.

use monitor_scrape::exposition::Format;

/// What Prometheus does where we do otherwise.
#[derive(Clone, Copy, Debug)]
pub(super) enum Theirs {
    /// It comes to harm, and all other targets with this one: it is not asked.
    Breaks,
    /// It takes the body, and this is what it has of it.
    Gives(&'static [&'static str]),
}

/// Where we do otherwise than Prometheus 3.5, what it does there, and why we don't.
pub(super) const DIFFERENCES: &[(Format, &str, Theirs, &str)] = &[
    (
        Format::Text,
        "blanks before the name",
        Theirs::Gives(&[r#"{"__name__": " \ta"} 1.0"#]),
        "the blanks become a part of the name; nobody means that",
    ),
    (
        Format::Text,
        "a label twice, of which one is empty",
        Theirs::Gives(&[r#"{"__name__": "a"} 1.0"#]),
        "it drops both of them; every other label that is there twice is refused",
    ),
    (
        Format::Text,
        "a zero byte at the beginning of a line",
        Theirs::Gives(&[r#"{"__name__": "a"} 1.0"#]),
        "it stops there, and what follows is lost without a word",
    ),
    (
        Format::Text,
        "a zero byte in a comment",
        Theirs::Gives(&[]),
        "it stops there, and what follows is lost without a word",
    ),
    (
        Format::Text,
        "help of a name in quotes with escapes",
        Theirs::Gives(&[r#""a\\\"\\\\\\n" is unknown "c" """#, r#"{"__name__": "a\"\\\n"} 1.0"#]),
        "it keeps the escapes of the name, so that the help is of no metric that there is",
    ),
    (
        Format::Text,
        "help right after the name",
        Theirs::Gives(&[r#""a" is unknown "b c" """#, r#"{"__name__": "a"} 1.0"#]),
        "it takes the byte after the name for a blank, whatever it is",
    ),
    (
        Format::Text,
        "a type right after the name",
        Theirs::Gives(&[r#""a" is counter "" """#, r#"{"__name__": "a"} 1.0"#]),
        "it takes the byte after the name for a blank, whatever it is",
    ),
    (
        Format::OpenMetrics,
        "an exemplar with a label without a name",
        Theirs::Gives(&[r#"{"__name__": "c_total"} # {"": "x"} 1.0"#, r#"{"__name__": "c_total"} 1.0"#]),
        "it keeps it, but refuses such a label of a sample",
    ),
    (
        Format::OpenMetrics,
        "an exemplar with escapes",
        Theirs::Gives(&[r#"{"__name__": "c_total"} # {"t": "x\\\"y\\\\"} 0.5"#, r#"{"__name__": "c_total"} 1.0"#]),
        "it keeps the escapes of an exemplar, but of no other label",
    ),
    (
        Format::OpenMetrics,
        "an exemplar with a name that is not UTF-8",
        Theirs::Breaks,
        "it keeps the name, and from then on its answers about exemplars are no JSON",
    ),
    (Format::Text, "a name without quotes in braces", Theirs::Breaks, UNQUOTED),
    (Format::OpenMetrics, "a name without quotes in braces", Theirs::Breaks, UNQUOTED),
    (
        Format::OpenMetrics,
        "a name without quotes in braces, and labels",
        Theirs::Gives(&[r#"{"__name__": "b", "d": "e"} 1.0"#]),
        UNQUOTED,
    ),
];

/// About `{a}`, at which it dies, and `{abc,d="e"}`.
const UNQUOTED: &str =
    "it takes the name for one in quotes, and cuts its first and its last letter off, were there but one";

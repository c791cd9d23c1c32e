//! Numbers as they are written in a scrape.

/// Prometheus's own NaN, which differs from its stale marker.
const NAN: f64 = f64::from_bits(0x7ff8_0000_0000_0001);

/// A decimal number, `NaN`, or `Inf` with or without sign, in letters of either case. None for anything else, such as
/// hexadecimal digits, digits in groups, and what is beyond the range of a double.
pub(super) fn float(text: &[u8]) -> Option<f64> {
    let value: f64 = str::from_utf8(text).ok()?.parse().ok()?;
    match value.is_finite() {
        true => Some(value),
        // It has no sign.
        false if value.is_nan() => (text.len() == 3).then_some(NAN),
        false => (!text.iter().any(u8::is_ascii_digit)).then_some(value),
    }
}

/// Milliseconds since 1970.
pub(super) fn integer(digits: &[u8]) -> Option<i64> {
    str::from_utf8(digits).ok()?.parse().ok()
}

/// Seconds since 1970, with fractions, as milliseconds; what is too large becomes the largest. None for NaN and infinities.
pub(super) fn milliseconds(seconds: f64) -> Option<i64> {
    seconds.is_finite().then_some((seconds * 1000.0) as i64)
}

/// As OpenMetrics writes a number that is a label's value: `1.0`, `0.005`, `1e+06`, `+Inf`.
pub(super) fn canonical(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if value == 0.0 {
        return "0.0".to_owned();
    }
    // The shortest digits that are this number, and its exponent: `d.ddde-7`.
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    match exponent.parse::<i32>().unwrap_or(0) {
        -4..6 if value.fract() == 0.0 => format!("{value:.1}"),
        -4..6 => format!("{value}"),
        large @ 6.. => format!("{digits}e+{large:02}"),
        small => format!("{digits}e-{:02}", -small),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        for (text, value) in [
            ("1", 1.0),
            ("-1", -1.0),
            ("+1", 1.0),
            ("1.", 1.0),
            (".5", 0.5),
            ("1e3", 1e3),
            ("1E-3", 1e-3),
            ("007", 7.0),
            ("0.1", 0.1),
            ("5e-324", 5e-324),
            ("1e-400", 0.0),
            ("1.7976931348623157e308", f64::MAX),
            ("Inf", f64::INFINITY),
            ("+inf", f64::INFINITY),
            ("-INFINITY", f64::NEG_INFINITY),
            ("9007199254740993", 9007199254740992.0),
            ("123456789.123456789123456789", 123456789.12345679),
        ] {
            assert_eq!(float(text.as_bytes()).map(f64::to_bits), Some(value.to_bits()), "{text}");
        }
        for text in ["NaN", "nan", "NAN"] {
            assert_eq!(float(text.as_bytes()).map(f64::to_bits), Some(0x7ff8_0000_0000_0001), "{text}");
        }
        for text in [
            "",
            "-",
            ".",
            "e5",
            "1e",
            "0x10",
            "0x1p-3",
            "1_000",
            "1,5",
            "+NaN",
            "-nan",
            "infi",
            "1e400",
            "-1e400",
            "true",
            "1 ",
            "١",
            "\u{feff}1",
        ] {
            assert_eq!(float(text.as_bytes()), None, "{text}");
        }
        assert_eq!(float(b"\xff"), None);
        let zeros = "0".repeat(400);
        assert_eq!(float(format!("1{zeros}e-400").as_bytes()), Some(1.0));
        assert_eq!(float(format!("0.{zeros}1").as_bytes()), Some(0.0));
        assert_eq!(float(format!("1{zeros}").as_bytes()), None);
    }

    #[test]
    fn labels_that_are_numbers_are_written_in_one_way() {
        for (value, text) in [
            (1.0, "1.0"),
            (0.0, "0.0"),
            (-1.0, "-1.0"),
            (0.5, "0.5"),
            (100.0, "100.0"),
            (123456.0, "123456.0"),
            (1e6, "1e+06"),
            (1234567.0, "1.234567e+06"),
            (123456.5, "123456.5"),
            (1e5, "100000.0"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (1e100, "1e+100"),
            (1e-300, "1e-300"),
            (-0.25, "-0.25"),
            (-0.0, "0.0"),
            (1e21, "1e+21"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
            (0.99, "0.99"),
            (2.5e10, "2.5e+10"),
        ] {
            assert_eq!(canonical(value), text);
        }
    }
}

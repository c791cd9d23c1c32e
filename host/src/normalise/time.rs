//! Timestamps: what is taken, and what is wrong with the others.
//!
//! Enters: a timestamp as it was given, and the time of arrival for those that gave none. Leaves: milliseconds since
//! the epoch within the years 2000 to 2099, or what is [`Wrong`].
//!
//! Never: guesses a unit (it only says which one it looks like); reads a clock.

use super::parse::Value;
use super::shown::Shown;
use crate::sample::is_plausible;
use jiff::fmt::temporal::Pieces;
use jiff::tz::Offset;

/// Why a timestamp is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Wrong<'a> {
    #[error("timestamp_ms {0} is not within the years 2000 to 2099{hint}", hint = unit(*.0))]
    Range(i64),
    #[error("no timestamp_ms given, and the clock that would stamp it says {0}, outside the years 2000 to 2099")]
    Clock(i64),
    #[error("`timestamp_ms` is {0}, not a number of milliseconds")]
    NotANumber(&'a Value<'a>),
    #[error("`timestamp` is {0}, not ISO 8601 text (milliseconds belong into a record's `timestamp_ms`)")]
    NotText(&'a Value<'a>),
    #[error("`timestamp` {shown} is not an ISO 8601 date and time of the years 2000 to 2099", shown = Shown(.0))]
    NotIso(&'a str),
}

/// Of a typed record.
pub(super) fn of_record(given: Option<i64>, now_ms: i64) -> Result<i64, Wrong<'static>> {
    match given {
        Some(at) if is_plausible(at) => Ok(at),
        Some(at) => Err(Wrong::Range(at)),
        None if is_plausible(now_ms) => Ok(now_ms),
        None => Err(Wrong::Clock(now_ms)),
    }
}

/// Of a record's `timestamp_ms`. A fraction of a millisecond is cut off.
pub(super) fn of_json_record<'a>(given: &'a Value<'a>, now_ms: i64) -> Result<i64, Wrong<'a>> {
    match given {
        Value::Null => of_record(None, now_ms),
        Value::Integer(at) => of_record(Some(*at), now_ms),
        // Too large for an i64 or with a fraction; the conversion stops at the bounds of i64, far outside the range.
        Value::Unsigned(_) | Value::Float(_) => match given.number() {
            Some(at) => of_record(Some(at.floor() as i64), now_ms),
            None => Err(Wrong::NotANumber(given)),
        },
        _ => Err(Wrong::NotANumber(given)),
    }
}

/// Of a pyJoules-like dictionary's `timestamp`. Without a zone it is UTC; what is finer than a millisecond is cut off.
pub(super) fn of_dictionary<'a>(given: &'a Value<'a>, now_ms: i64) -> Result<i64, Wrong<'a>> {
    match given {
        Value::Null => of_record(None, now_ms),
        Value::Text(text) => iso_ms(text).ok_or(Wrong::NotIso(text)),
        _ => Err(Wrong::NotText(given)),
    }
}

fn iso_ms(text: &str) -> Option<i64> {
    let pieces = Pieces::parse(text).ok()?;
    // Only an offset says when it was: a zone's name would need the zones' rules.
    let offset = match pieces.to_numeric_offset() {
        Some(offset) => offset,
        None if pieces.time_zone_annotation().is_none() => Offset::UTC,
        None => return None,
    };
    let at = offset.to_timestamp(pieces.date().to_datetime(pieces.time()?)).ok()?;
    let at = at.as_nanosecond().div_euclid(1_000_000) as i64;
    is_plausible(at).then_some(at)
}

/// The unit that would make sense of it.
fn unit(given: i64) -> &'static str {
    if given.checked_mul(1000).is_some_and(is_plausible) {
        ": it looks like seconds"
    } else if is_plausible(given / 1000) {
        ": it looks like microseconds"
    } else if is_plausible(given / 1_000_000) {
        ": it looks like nanoseconds"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{EARLIEST_MS, END_MS};

    #[test]
    fn iso_8601_in_its_usual_dresses() {
        let ms = 1_762_678_050_123;
        for text in [
            "2025-11-09T08:47:30.123",
            "2025-11-09 08:47:30.123456",
            "2025-11-09T08:47:30.123999999",
            "2025-11-09T08:47:30.123Z",
            "2025-11-09T10:47:30.123456+02:00",
            "2025-11-09T03:17:30.123-05:30",
            "2025-11-09T09:47:30.123+01:00[Europe/Berlin]",
        ] {
            assert_eq!(iso_ms(text), Some(ms), "{text}");
        }
        assert_eq!(iso_ms("2025-11-09T08:47:30"), Some(ms - 123));
        for text in [
            "",
            "yesterday",
            "2025-11-09",
            "08:47:30",
            "2025-13-09T08:47:30",
            "2025-11-09T08:47:30.123[Europe/Berlin]",
            "2025-11-09T08:47:30 and more",
            "1999-12-31T23:59:59.999",
            "2100-01-01T00:00:00",
            "1762678050123",
        ] {
            assert_eq!(iso_ms(text), None, "{text}");
        }
    }

    #[test]
    fn the_range_is_the_years_2000_to_2099() {
        let first = iso_ms("2000-01-01T00:00:00");
        assert_eq!(first, Some(EARLIEST_MS));
        assert_eq!(iso_ms("2099-12-31T23:59:59.999"), Some(END_MS - 1));
        assert!(of_record(Some(EARLIEST_MS), 0).is_ok() && of_record(Some(EARLIEST_MS - 1), 0).is_err());
        assert!(of_record(Some(END_MS - 1), 0).is_ok() && of_record(Some(END_MS), 0).is_err());
        assert!(matches!(of_record(None, 0), Err(Wrong::Clock(0))));
    }

    #[test]
    fn the_message_names_the_unit_it_looks_like() {
        for (given, hint) in [
            (1_762_678_050, "seconds"),
            (1_762_678_050_123_456, "microseconds"),
            (1_762_678_050_123_456_789, "nanoseconds"),
        ] {
            let message = Wrong::Range(given).to_string();
            assert!(message.ends_with(&format!("it looks like {hint}")), "{message}");
        }
        for given in [0, -1, i64::MAX, i64::MIN] {
            assert!(Wrong::Range(given).to_string().ends_with("2099"));
        }
    }
}

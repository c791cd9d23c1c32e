//! The rules that every sample obeys, whichever way it came: which values and which moments are sent.

use monitor_proto::{NORMAL_NAN, STALE_NAN};

/// Midnight UTC at the start of the year 2000, in milliseconds.
pub const EARLIEST_MS: i64 = 946_684_800_000;

/// Midnight UTC at the start of the year 2100, in milliseconds; the first moment that is too late.
pub const END_MS: i64 = 4_102_444_800_000;

/// The value as it is sent: a NaN gets the usual bits, so that data can never look like a stale marker. (A sample of a
/// registered series may be one on purpose: [`is_marker`].)
pub fn canonical(value: f64) -> f64 {
    if value.is_nan() { f64::from_bits(NORMAL_NAN) } else { value }
}

/// Whether a plugin marks the end of a registered series with this value, by `Series::stale`.
pub fn is_marker(value: f64) -> bool {
    value.to_bits() == STALE_NAN
}

/// Whether a timestamp can be meant: anything else is another unit, or a clock that was never set.
pub fn is_plausible(timestamp_ms: i64) -> bool {
    (EARLIEST_MS..END_MS).contains(&timestamp_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_never_looks_like_a_stale_marker() {
        assert_eq!(canonical(f64::from_bits(STALE_NAN)).to_bits(), NORMAL_NAN);
        assert!(is_marker(f64::from_bits(STALE_NAN)) && !is_marker(f64::NAN) && !is_marker(f64::from_bits(NORMAL_NAN)));
        assert_eq!(canonical(-0.0).to_bits(), (-0.0f64).to_bits());
        assert_eq!(canonical(f64::INFINITY), f64::INFINITY);
    }

    #[test]
    fn other_units_are_not_plausible() {
        let now = 1_760_000_000_000;
        assert!(is_plausible(now));
        for other in [now / 1000, now * 1000, now * 1_000_000, 0, -1, i64::MIN, i64::MAX] {
            assert!(!is_plausible(other), "{other}");
        }
    }
}

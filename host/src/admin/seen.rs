//! `/history.json`: the last minutes of the series that somebody looks at.
//!
//! Enters: a query of a URL that names series, and of each the newest point that is known already. Leaves: what is newer, of at
//! most [`history::MAX_SERIES`] series.
//!
//! Never: waits for who changes the table of series; answers with a point twice, but for the newest one, which still grows.

use serde::Serialize;

use crate::history::{self, History, Point};
use crate::sample;
use crate::series::{SeriesId, SeriesTable};

/// How long a query may be, in bytes.
pub(super) const MAX_QUERY: usize = 4096;

/// The answer about series in view.
#[derive(Debug, Serialize)]
pub(super) struct Seen {
    now_ms: i64,
    point_ms: i64,
    max_points: usize,
    max_series: usize,
    series: Vec<SeenOne>,
}

#[derive(Debug, Serialize)]
struct SeenOne {
    id: String,
    /// `kept`; `refused`: others are looked at, there is no room; `gone`: the series has ended.
    state: &'static str,
    has_histograms: bool,
    points: Vec<Shown>,
}

/// The moment, the last value, and where the samples differ the smallest and the largest.
#[derive(Debug, PartialEq, Serialize)]
#[serde(untagged)]
enum Shown {
    One(i64, Number),
    Many(i64, Number, Number, Number),
}

/// JSON has no other numbers than finite ones: those are words, and a stale marker is null.
#[derive(Debug, PartialEq, Serialize)]
#[serde(untagged)]
enum Number {
    Finite(f64),
    Word(&'static str),
    Stale(Option<()>),
}

/// Which series are asked for: `id=1:1760000000000&id=2`, the second number being the moment of the newest point that is known.
/// None where that can't be read, or there are too many.
pub(super) fn ids(query: &str) -> Option<Vec<(SeriesId, i64)>> {
    let mut ids = Vec::new();
    for (_, value) in pairs(query).filter(|(name, _)| name == "id") {
        let (id, since_ms) = value.split_once(':').unwrap_or((&value, "0"));
        ids.push((SeriesId::from_number(id.parse().ok()?), since_ms.parse().ok()?));
    }
    (ids.len() <= history::MAX_SERIES).then_some(ids)
}

/// What is kept of these; from now on they are looked at.
pub(super) fn look(ids: &[(SeriesId, i64)], history: &History, table: &SeriesTable, now_ms: i64) -> Seen {
    let now = std::time::Instant::now();
    let mut series = Vec::with_capacity(ids.len());
    for &(id, since_ms) in ids {
        // Who changes the table just now may do so: then it is taken for one that is there.
        let is_gone = table.try_view().is_some_and(|view| view.labels(id).is_none());
        let looked = if is_gone { None } else { history.look(id, since_ms, now) };
        let state = match &looked {
            Some(_) => "kept",
            None if is_gone => "gone",
            None => "refused",
        };
        let look = looked.unwrap_or_default();
        let points = look.points.iter().map(Shown::of).collect();
        series.push(SeenOne { id: id.to_number().to_string(), state, has_histograms: look.has_histograms, points });
    }
    let (point_ms, max_points, max_series) = (history::POINT_MS, history::MAX_POINTS, history::MAX_SERIES);
    Seen { now_ms, point_ms, max_points, max_series, series }
}

impl Shown {
    fn of(point: &Point) -> Self {
        let Point { at_ms, last, min, max } = *point;
        if min == max && (last == min || sample::is_marker(last)) || min.is_nan() {
            Shown::One(at_ms, Number::of(last))
        } else {
            Shown::Many(at_ms, Number::of(last), Number::of(min), Number::of(max))
        }
    }
}

impl Number {
    fn of(value: f64) -> Self {
        match value {
            value if value.is_finite() => Number::Finite(value),
            value if sample::is_marker(value) => Number::Stale(None),
            value if value.is_nan() => Number::Word("NaN"),
            value if value > 0.0 => Number::Word("+Inf"),
            _ => Number::Word("-Inf"),
        }
    }
}

/// The pairs of a query, decoded.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    let url = reqwest::Url::parse(&format!("http://host/?{query}"));
    let all: Vec<_> = url.iter().flat_map(|url| url.query_pairs().into_owned()).collect();
    all.into_iter()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::admin::search::tests::{register, table};

    #[test]
    fn ids_are_read_or_refused() {
        let id = SeriesId { index: 7, generation: 3 };
        let number = id.to_number();
        assert_eq!(
            ids(&format!("id={number}:1760000000000&x=y&id=5")),
            Some(vec![(id, 1_760_000_000_000), (SeriesId { index: 5, generation: 0 }, 0)])
        );
        assert_eq!(ids(""), Some(vec![]));
        for other in ["id=", "id=-1", "id=1:", "id=1:x", "id=99999999999999999999"] {
            assert_eq!(ids(other), None, "{other}");
        }
        let many = |n: usize| (0..n).map(|n| format!("id={n}")).collect::<Vec<_>>().join("&");
        assert_eq!(ids(&many(history::MAX_SERIES)).map(|ids| ids.len()), Some(history::MAX_SERIES));
        assert_eq!(ids(&many(history::MAX_SERIES + 1)), None);
        assert!(many(history::MAX_SERIES).len() < MAX_QUERY);
    }

    #[test]
    fn points_are_short_where_they_can_be() {
        let stale = f64::from_bits(monitor_proto::STALE_NAN);
        let json = |last, min, max| serde_json::to_string(&Shown::of(&Point { at_ms: 5, last, min, max })).unwrap();
        assert_eq!(json(1.5, 1.5, 1.5), "[5,1.5]");
        assert_eq!(json(1.0, 0.0, 2.0), "[5,1.0,0.0,2.0]");
        assert_eq!(json(stale, 1.0, 1.0), "[5,null]");
        assert_eq!(json(stale, f64::NAN, f64::NAN), "[5,null]");
        assert_eq!(json(f64::NAN, f64::NAN, f64::NAN), "[5,\"NaN\"]");
        assert_eq!(json(f64::NAN, 1.0, 1.0), "[5,\"NaN\",1.0,1.0]");
        assert_eq!(json(f64::INFINITY, f64::NEG_INFINITY, f64::INFINITY), "[5,\"+Inf\",\"-Inf\",\"+Inf\"]");
    }

    #[test]
    fn what_is_looked_at_is_kept_and_what_is_gone_is_told() {
        let (table, history) = (table(2), History::default());
        let id = |place| table.view().tenant(place).unwrap().0;
        let gone = SeriesId { index: 0, generation: 9 };
        let state = |ids: &[SeriesId]| {
            let ids: Vec<_> = ids.iter().map(|&id| (id, 0)).collect();
            look(&ids, &history, &table, 1).series.iter().map(|one| one.state).collect::<Vec<_>>()
        };
        assert_eq!(state(&[id(0), gone, id(1)]), ["kept", "gone", "kept"]);
        for other in 0..history::MAX_SERIES as u32 {
            history.look(SeriesId { index: 1000 + other, generation: 0 }, 0, std::time::Instant::now());
        }
        let another = register(&table, "another", &[]);
        assert_eq!(state(&[id(0), another]), ["kept", "refused"]);
    }

    proptest! {
        #[test]
        fn any_query_is_read(query in "[ -~]{0,100}") {
            prop_assert!(ids(&query).is_none_or(|ids| ids.len() <= history::MAX_SERIES));
        }
    }
}

//! `/series.json`: which series there are.
//!
//! Enters: words, and the table of series. Leaves: at most [`MAX_FOUND`] series whose labels hold every word, in whatever case,
//! the host's own metrics behind the others; and how many there are in all.
//!
//! Never: holds the table for longer than a few hundred series take, or waits for who changes it; looks for longer than
//! [`PATIENCE`], or for more than a third of the time; takes memory for a series that is not in the answer.

use std::time::Duration;

use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, sleep_until};

use super::seen::pairs;
use crate::labels;
use crate::series::{SeriesTable, View};

/// Series in an answer.
const MAX_FOUND: usize = 200;

/// Series in an answer to who doesn't say how many he wants.
const USUALLY_FOUND: usize = 50;

/// Words that are looked for.
const MAX_WORDS: usize = 8;

/// Labels beyond this are neither looked through nor shown, in bytes.
const MAX_TEXT: usize = 1024;

/// Places of the table that are looked through at a time.
const CHUNK: usize = 256;

/// How long one search may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// How soon a table that is in use is looked at again.
const PAUSE: Duration = Duration::from_millis(1);

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    words: Vec<String>,
    limit: usize,
}

/// What was found.
#[derive(Debug, Serialize)]
pub(super) struct Found {
    series: Vec<Entry>,
    /// How many have all words, those that are not shown included.
    matching: u64,
    known: u64,
    /// False where time ran out: there may be more.
    is_complete: bool,
}

#[derive(Debug, Serialize)]
struct Entry {
    id: String,
    text: String,
    kind: i32,
}

impl Wanted {
    /// The words and the limit of a query: `q=power+node&limit=20`.
    pub(super) fn parse(query: &str) -> Self {
        let mut wanted = Wanted { words: Vec::new(), limit: USUALLY_FOUND };
        for (name, value) in pairs(query) {
            match &*name {
                "q" => wanted.words.extend(value.split_whitespace().map(str::to_ascii_lowercase)),
                "limit" => wanted.limit = value.parse().unwrap_or(USUALLY_FOUND).clamp(1, MAX_FOUND),
                _ => {}
            }
        }
        wanted.words.truncate(MAX_WORDS);
        wanted
    }
}

/// Searches, one after the other, with twice as much rest behind each as it took.
#[derive(Debug, Default)]
pub(super) struct Search {
    rest_until: Mutex<Option<Instant>>,
}

impl Search {
    /// Looks through the table.
    pub(super) async fn find(&self, wanted: &Wanted, table: &SeriesTable) -> Found {
        let mut rest_until = self.rest_until.lock().await;
        if let Some(moment) = *rest_until {
            sleep_until(moment).await;
        }
        let rest = Rest { began: Instant::now(), until: &mut rest_until };
        find(wanted, table, rest.began + PATIENCE).await
    }
}

/// The rest behind a search, also behind one that nobody waits for any more.
struct Rest<'a> {
    began: Instant,
    until: &'a mut Option<Instant>,
}

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        *self.until = Some(Instant::now() + self.began.elapsed() * 2);
    }
}

async fn find(wanted: &Wanted, table: &SeriesTable, until: Instant) -> Found {
    let mut found = Found { series: Vec::new(), matching: 0, known: table.len() as u64, is_complete: true };
    let mut looking = Looking::default();
    found.is_complete = looking.look_through(wanted, table, until, &mut found).await;
    found.series.append(&mut looking.own);
    found.series.truncate(wanted.limit);
    found
}

/// On the way through the table.
#[derive(Debug, Default)]
struct Looking {
    /// The next place.
    place: usize,
    /// The host's own metrics that were found.
    own: Vec<Entry>,
    // Buffers.
    text: String,
    folded: String,
}

impl Looking {
    /// Returns whether there was time for all.
    async fn look_through(&mut self, wanted: &Wanted, table: &SeriesTable, until: Instant, found: &mut Found) -> bool {
        loop {
            let places = self.look_at_some(table, wanted, found);
            if places.is_some_and(|places| self.place >= places) {
                return true;
            }
            // Without a word every one matches: no need to look at all of them.
            if wanted.words.is_empty() && found.series.len() == wanted.limit {
                found.matching = found.known;
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            match places {
                Some(_) => tokio::task::yield_now().await,
                None => sleep(PAUSE).await,
            }
        }
    }

    /// Looks at the next places, of as many as this returns. None while the table is in use.
    fn look_at_some(&mut self, table: &SeriesTable, wanted: &Wanted, found: &mut Found) -> Option<usize> {
        let view = table.try_view()?;
        let end = (self.place + CHUNK).min(view.places());
        (self.place..end).for_each(|place| self.look(place, &view, wanted, found));
        self.place = end;
        Some(view.places())
    }

    fn look(&mut self, place: usize, view: &View<'_>, wanted: &Wanted, found: &mut Found) {
        let Some((id, labels)) = view.tenant(place) else { return };
        put_text(&mut self.text, labels);
        self.folded.clear();
        self.folded.push_str(&self.text);
        self.folded.make_ascii_lowercase();
        if !wanted.words.iter().all(|word| self.folded.contains(word.as_str())) {
            return;
        }
        found.matching += 1;
        let is_own = self.text.starts_with("monitor_client_");
        let entries = if is_own { &mut self.own } else { &mut found.series };
        if entries.len() < wanted.limit {
            let kind = view.get(id).and_then(|known| known.metadata).map_or(0, |metadata| metadata.kind);
            entries.push(Entry { id: id.to_number().to_string(), text: self.text.clone(), kind });
        }
    }
}

/// `metric{a="b",…}`, with escapes for whatever can't be seen, cut where it gets too long.
fn put_text(text: &mut String, encoded: &[u8]) {
    use std::fmt::Write;
    text.clear();
    put_cut(text, labels::metric(encoded).unwrap_or_default());
    let mut before = '{';
    for (name, value) in labels::pairs(encoded).filter(|(name, _)| *name != monitor_proto::NAME_LABEL) {
        if text.len() > MAX_TEXT {
            break;
        }
        text.push(before);
        put_cut(text, name);
        let cut = &value[..boundary(value, MAX_TEXT)];
        // Writing to a string can't fail.
        let _ = write!(text, "={cut:?}");
        before = ',';
    }
    if before == ',' {
        text.push('}');
    }
    if text.len() > MAX_TEXT {
        text.truncate(boundary(text, MAX_TEXT));
        text.push('…');
    }
}

fn put_cut(text: &mut String, name: &str) {
    text.push_str(&name[..boundary(name, MAX_TEXT)]);
}

/// The end of a character, at most so far in.
fn boundary(text: &str, at_most: usize) -> usize {
    if text.len() <= at_most { text.len() } else { (0..=at_most).rfind(|&end| text.is_char_boundary(end)).unwrap_or(0) }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::labels::LabelSet;
    use crate::series::{Metadata, SeriesId};

    pub(crate) fn register(table: &SeriesTable, metric: &str, labels: &[(&str, &str)]) -> SeriesId {
        let mut set = LabelSet::default();
        set.start(metric).unwrap();
        labels.iter().for_each(|(name, value)| set.label(name, value).unwrap());
        table.register(set.encode().unwrap(), Metadata { kind: 1, ..Metadata::default() }).unwrap()
    }

    pub(crate) fn table(series: usize) -> SeriesTable {
        let table = SeriesTable::new(2_000_000);
        (0..series).for_each(|n| _ = register(&table, "power_watts", &[("Node", &format!("N{n}")), ("zone", "a b")]));
        table
    }

    fn found(query: &str, table: &SeriesTable) -> Found {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(Search::default().find(&Wanted::parse(query), table))
    }

    #[test]
    fn a_search_finds_what_has_all_words_and_counts_the_rest() {
        let table = table(1000);
        let all = found("", &table);
        assert_eq!((all.series.len(), all.matching, all.known, all.is_complete), (USUALLY_FOUND, 1000, 1000, true));
        assert_eq!(all.series[0].text, r#"power_watts{Node="N0",zone="a b"}"#);
        let some = found("q=n99+POWER&limit=3", &table);
        assert_eq!((some.series.len(), some.matching), (3, 11), "N99, N990 to N999");
        assert_eq!(some.series[0].text, r#"power_watts{Node="N99",zone="a b"}"#);
        assert_eq!(some.series[0].kind, 1);
        assert_eq!(found("q=%22b", &table).series.len(), 0);
        assert_eq!(found("q=zone%3D%22a+b%22%7d&limit=100000", &table).series.len(), MAX_FOUND);
        assert_eq!(found("q=nothing", &table).matching, 0);
        let id: u64 = some.series[0].id.parse().unwrap();
        assert!(table.view().labels(SeriesId::from_number(id)).is_some());
        table.release(SeriesId::from_number(id));
        table.view().expect_nothing(SeriesId::from_number(id));
        assert!(table.remove(SeriesId::from_number(id)));
        assert_eq!(found("q=n99", &table).matching, 10, "a place without a tenant is no series");
    }

    #[test]
    fn the_hosts_own_metrics_come_last() {
        let table = SeriesTable::new(1000);
        register(&table, "monitor_client_up", &[]);
        register(&table, "up", &[]);
        let texts = |query| found(query, &table).series.into_iter().map(|one| one.text).collect::<Vec<_>>();
        assert_eq!(
            (texts(""), texts("q=up&limit=1")),
            (vec!["up".into(), "monitor_client_up".into()], vec!["up".into()])
        );
    }

    #[test]
    fn a_search_that_nobody_waits_for_is_rested_from_too() {
        let (table, search) = (table(10 * CHUNK), Search::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let wanted = Wanted::parse("q=nothing");
            // It gives way behind a part of the table, and is dropped there.
            let found = tokio::time::timeout(Duration::ZERO, search.find(&wanted, &table)).await;
            assert!(found.is_err() && search.rest_until.lock().await.is_some());
        });
    }

    #[test]
    fn a_search_without_time_says_so() {
        let table = table(10 * CHUNK);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let found = runtime.block_on(find(&Wanted::parse("q=power"), &table, Instant::now()));
        assert_eq!((found.matching, found.is_complete), (CHUNK as u64, false));
    }

    #[test]
    fn whoever_searches_waits_for_who_changes_the_table() {
        let table = std::sync::Arc::new(table(5));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let view = table.view();
        let other = std::sync::Arc::clone(&table);
        let writer = std::thread::spawn(move || register(&other, "another", &[]));
        while table.try_view().is_some() {
            std::thread::yield_now();
        }
        let until = Instant::now() + Duration::from_millis(5);
        let none = runtime.block_on(find(&Wanted::parse(""), &table, until));
        assert_eq!((none.series.len(), none.is_complete), (0, false));
        drop(view);
        writer.join().unwrap();
        assert_eq!(found("q=another", &table).matching, 1);
    }

    #[test]
    fn labels_are_shown_whatever_they_hold() {
        let shown = |labels: &[(&str, &str)]| {
            let table = SeriesTable::new(10);
            let id = register(&table, "m", labels);
            let mut text = String::new();
            put_text(&mut text, table.view().labels(id).unwrap());
            text
        };
        assert_eq!(shown(&[]), "m");
        assert_eq!(shown(&[("a", "<b>\"\n\u{202e}ü")]), "m{a=\"<b>\\\"\\n\\u{202e}ü\"}");
        for n in [MAX_TEXT - 50, MAX_TEXT, 50_000] {
            let long = shown(&[("a", &"ü".repeat(n / 2)), ("b", "x")]);
            assert!(long.len() <= MAX_TEXT + 3 && long.ends_with('…') == (n >= MAX_TEXT), "{}", long.len());
        }
    }

    proptest! {
        #[test]
        fn any_query_is_read(query in "[ -~]{0,100}") {
            let wanted = Wanted::parse(&query);
            prop_assert!(wanted.words.len() <= MAX_WORDS && (1..=MAX_FOUND).contains(&wanted.limit));
        }
    }
}

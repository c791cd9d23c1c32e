//! One target's answers, made into samples.
//!
//! Enters: what a target answered, one answer after the other. Leaves: all samples of the scrape and what is told of it, in
//! one send: the host takes all of it, or none. A malformed exposition gives no sample, but ends what was there before, as
//! an answer that never came does.
//!
//! Never: registers a series that is known, or allocates for its sample; sends a part of a scrape.

use monitor_plugin_api::{Exemplar, Kind, RecordSender, Sample, SeriesSpec, WithExemplars};

use crate::cache::{Cache, Came};
use crate::context::Context;
use crate::exposition::{self, Entry, Format, Parser, Part};
use crate::failure::{Class, Failure};
use crate::fetch::Body;
use crate::labels;
use crate::report::{Lost, Numbers, Report};
use crate::rounds::Scraped;
use crate::settings::Rules;
use crate::starts::Starts;
use crate::telling::Telling;

/// The start of a series that the host is to know none of.
const NOT_KNOWN: i64 = 0;

/// What is known of one target.
pub(crate) struct Scrape {
    labels: Vec<(String, String)>,
    rules: Rules,
    out: RecordSender,
    cache: Cache,
    context: Context,
    starts: Starts,
    /// A series began anew, or is new among others that are known to have begun, and the host was not told yet.
    starts_due: bool,
    report: Report,
    lost: Lost,
    telling: Telling,
    // Of one scrape; their room is kept.
    samples: Vec<Sample>,
    exemplars: Vec<Exemplar>,
    key: Vec<u8>,
}

/// What one exposition has come to so far.
struct Reading {
    at_ms: i64,
    format: Format,
    numbers: Numbers,
    /// Samples that are no duplicates, and within SCRAPE_SAMPLE_LIMIT.
    taken: u64,
    over_limit: u64,
    duplicates: u64,
    refused: u64,
    /// Why the first of these was refused.
    refusal: Option<String>,
}

impl Scrape {
    /// A target with these labels, called `shown` in the log.
    pub(crate) fn new(shown: String, labels: Vec<(String, String)>, rules: Rules, out: RecordSender) -> Self {
        Scrape {
            labels,
            rules,
            out,
            cache: Cache::default(),
            context: Context::new(),
            starts: Starts::default(),
            starts_due: false,
            report: Report::default(),
            lost: Lost::default(),
            telling: Telling::new(shown),
            samples: Vec::new(),
            exemplars: Vec::new(),
            key: Vec::new(),
        }
    }

    /// Takes an answer, and sends what it comes to.
    pub(crate) fn take(&mut self, scraped: &Scraped) {
        let unreported = self.report.register(&self.out, &self.labels).err();
        self.telling.unreported(unreported.map(|error| error.to_string()).as_deref());
        self.cache.begin(scraped.at_ms);
        self.samples.clear();
        self.exemplars.clear();
        let (mut numbers, read) = match &scraped.body {
            Ok(body) => self.read(body, scraped.at_ms),
            Err(failure) => (Numbers::default(), Err(failure.clone())),
        };
        let came = match &read {
            Ok(came) => *came,
            Err(_) => {
                self.samples.clear();
                self.exemplars.clear();
                Came::Nothing
            }
        };
        self.cache.mark(came, &mut self.samples);
        self.telling.came(read.as_ref().err());
        self.lost.missed += scraped.missed;
        (numbers.up, numbers.took) = (read.is_ok(), scraped.began.elapsed());
        self.report.put(scraped.at_ms, numbers, self.lost, &mut self.samples);
        self.send(came);
    }

    /// All of it in one send. Where the queue has no room, the next scrape tells what this one could not.
    fn send(&mut self, came: Came) {
        let sent = match self.exemplars.is_empty() {
            true => self.out.send(&self.samples[..]).map_err(|refused| refused.is_stopped()),
            false => self.out.send(WithExemplars(&self.samples, &self.exemplars)).map_err(|r| r.is_stopped()),
        };
        match sent {
            Ok(()) => {
                self.telling.full(0);
                self.cache.settle(came, &mut self.starts);
            }
            Err(true) => {}
            Err(false) => {
                self.cache.forget_moments();
                let samples = self.samples.len() as u64;
                self.lost.queue_full += samples;
                self.telling.full(samples);
            }
        }
    }

    /// Reads an exposition into `samples` and `exemplars`. The numbers count up to where it fails.
    fn read(&mut self, body: &Body, at_ms: i64) -> (Numbers, Result<Came, Failure>) {
        let format = match Format::of(body.content_type.as_deref()) {
            Ok(format) => format,
            Err(why) => return (Numbers::default(), Err(Failure::new(Class::ContentType, why))),
        };
        // Prometheus takes it for a target that has nothing at the moment.
        if body.bytes.is_empty() {
            return (Numbers::default(), Ok(Came::Nothing));
        }
        let mut reading = Reading {
            at_ms,
            format,
            numbers: Numbers::default(),
            taken: 0,
            over_limit: 0,
            duplicates: 0,
            refused: 0,
            refusal: None,
        };
        self.starts.next();
        let mut read = self.each(&body.bytes, format, |scrape, sample| scrape.sample(&mut reading, sample));
        if read.is_ok() && reading.over_limit > 0 {
            let samples = reading.taken + reading.over_limit;
            let text = format!("{samples} samples are more than SCRAPE_SAMPLE_LIMIT ({})", self.rules.sample_limit);
            read = Err(Failure::new(Class::Limit, text));
        }
        if read.is_ok() {
            self.starts_due |= self.starts.forget_untold();
        }
        if read.is_ok() && std::mem::take(&mut self.starts_due) {
            // A `_created` stands behind the samples that it is about.
            read = self.each(&body.bytes, format, |scrape, sample| {
                scrape.begin(sample);
                Ok(())
            });
        }
        self.lost.duplicates += reading.duplicates;
        self.lost.refused += reading.refused;
        self.telling.duplicates(reading.duplicates);
        self.telling.refused(reading.refused, reading.refusal.as_deref());
        (reading.numbers, read.map(|()| Came::Whole))
    }

    /// Reads an exposition and does this with each of its samples.
    fn each(
        &mut self,
        body: &[u8],
        format: Format,
        mut each: impl FnMut(&mut Self, &exposition::Sample<'_, '_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.context.clear();
        let mut parser = Parser::new(body, format);
        loop {
            match parser.next() {
                Ok(None) => return Ok(()),
                Ok(Some(Entry::Help { family, text })) => self.context.help(&family, &text),
                Ok(Some(Entry::Type { family, kind })) => self.context.kind(&family, kind),
                Ok(Some(Entry::Unit { family, unit })) => self.context.unit(&family, unit),
                Ok(Some(Entry::Sample(sample))) => each(self, &sample)?,
                Err(malformed) => return Err(Failure::new(Class::Malformed, malformed.to_string())),
            }
        }
    }

    /// One sample of an exposition.
    fn sample(&mut self, reading: &mut Reading, sample: &exposition::Sample<'_, '_>) -> Result<(), Failure> {
        reading.numbers.scraped += 1;
        let (slot, is_new) = match self.cache.find(sample.raw, self.above(sample)) {
            Some(slot) => (Some(slot), false),
            None if reading.taken == self.rules.sample_limit => (None, false),
            None => self.meet(reading, sample)?.map_or((None, false), |(slot, is_new)| (Some(slot), is_new)),
        };
        reading.numbers.kept += 1;
        let own_ms = sample.timestamp_ms.filter(|_| self.rules.honor_timestamps);
        let is_twice = slot.is_some_and(|slot| self.cache.see(slot, own_ms.is_none() || self.rules.track_timestamps));
        if is_twice && own_ms.is_none() {
            reading.duplicates += 1;
            return Ok(());
        }
        if reading.taken == self.rules.sample_limit {
            reading.over_limit += 1;
            return Ok(());
        }
        let Some(known) = slot.and_then(|slot| self.cache.get(slot)) else { return Ok(()) };
        reading.taken += 1;
        reading.numbers.added += u64::from(is_new);
        if known.is_created
            && let (Some(group), Some(start_ms)) = (known.group, sample.created_ms().filter(|&start_ms| start_ms > 0))
        {
            self.starts_due |= self.starts.begin(group, start_ms);
        }
        if let Some(own_ms) = own_ms {
            // Told again, as long as the target knows nothing newer.
            let last = known.own.replace((own_ms, sample.value.to_bits()));
            if last == known.own {
                return Ok(());
            }
        }
        let timestamp_ms = own_ms.unwrap_or(reading.at_ms);
        self.samples.push(known.series.sample(sample.value, timestamp_ms));
        if let Some(exemplar) = &sample.exemplar {
            self.exemplars.extend(known.exemplar(exemplar, timestamp_ms));
        }
        Ok(())
    }

    /// Stands for the metadata that the sample has: none, where that above it is of another family.
    fn above(&self, sample: &exposition::Sample<'_, '_>) -> u64 {
        sample.part().map_or(0, |_| self.context.number())
    }

    /// Registers a series that is not known yet, or not with this metadata. Returns also whether it is not known at all. None
    /// where the host does not take it: that is counted, and the others are not worse for it.
    fn meet(
        &mut self,
        reading: &mut Reading,
        sample: &exposition::Sample<'_, '_>,
    ) -> Result<Option<(u32, bool)>, Failure> {
        let part = sample.part();
        let (metric, labels) = self.labels(sample);
        labels::check(&metric, &labels, &self.rules)?;
        let may_begin = reading.format == Format::OpenMetrics
            && sample
                .family
                .is_some_and(|family| matches!(family.kind, Kind::Counter | Kind::Histogram | Kind::Summary));
        let spec = self.spec(&metric, labels, part);
        // Else the host goes on with the start that it was told before, as long as it has the series.
        let spec = if may_begin { spec.started_at(NOT_KNOWN) } else { spec };
        let series = match self.out.register(spec) {
            Ok(series) => series,
            Err(error) => {
                reading.refused += 1;
                reading.refusal.get_or_insert_with(|| error.to_string());
                return Ok(None);
            }
        };
        let (slot, is_new) = self.cache.insert(sample.raw, self.above(sample), series);
        if may_begin
            && sample.group(&mut self.key)
            && let Some(known) = self.cache.get(slot)
        {
            let group = self.starts.join(&self.key);
            if let Some(before) = known.group.replace(group) {
                self.starts.leave(before);
            }
            known.is_created = part == Some(Part::Created);
            // It was registered without one.
            known.start_ms = None;
            self.starts_due |= self.starts.start_ms(group).is_some();
        }
        Ok(Some((slot, is_new)))
    }

    /// Tells the host since when a series counts, where that is news.
    fn begin(&mut self, sample: &exposition::Sample<'_, '_>) {
        let Some(slot) = self.cache.find(sample.raw, self.above(sample)) else { return };
        let Some(known) = self.cache.get(slot).filter(|known| !known.is_created) else { return };
        let start_ms = known.group.and_then(|group| self.starts.start_ms(group));
        if start_ms == known.start_ms {
            return;
        }
        let (metric, labels) = self.labels(sample);
        let spec = self.spec(&metric, labels, sample.part());
        let registered = self.out.register(spec.started_at(start_ms.unwrap_or(NOT_KNOWN)));
        // It was taken before: it is refused now only where the run is over.
        if let (Ok(series), Some(known)) = (registered, self.cache.get(slot)) {
            (known.series, known.start_ms) = (series, start_ms);
        }
    }

    fn labels(&self, sample: &exposition::Sample<'_, '_>) -> (String, Vec<(String, String)>) {
        let scraped = sample.labels.iter().map(|(name, value)| (name.into_owned(), value.into_owned()));
        let labels = labels::with_target(scraped, &self.labels, self.rules.honor_labels);
        (sample.name.unescaped().into_owned(), labels)
    }

    fn spec(&self, metric: &str, labels: Vec<(String, String)>, part: Option<Part>) -> SeriesSpec {
        let spec = match part {
            None | Some(Part::Created) => SeriesSpec::new(metric),
            Some(_) => self.context.spec(metric),
        };
        labels.into_iter().fold(spec, |spec, (name, value)| spec.label(name, value))
    }
}

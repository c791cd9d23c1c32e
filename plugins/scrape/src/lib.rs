//! Prometheus exposition endpoints made into a push client: a sensor plugin for `monitor-host`.
//!
//! `get_power` asks each target for its exposition, on a grid of its own; `process_data` reads what they answer, and sends what
//! a Prometheus that scraped them would store. README.md has the settings and the series.

mod body;
mod cache;
mod context;
pub mod exposition;
mod failure;
mod fetch;
mod grid;
mod labels;
mod report;
mod rounds;
mod scrape;
mod settings;
mod starts;
mod target;
mod telling;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use monitor_plugin_api::{
    Error, MonitorImpl, RawReceiver, RawSender, RecordSender, Stop, export_monitor_impl, tracing,
};
use tokio::runtime;
use tokio::sync::oneshot;

use fetch::Fetcher;
use rounds::{Rounds, Scraped};
use scrape::Scrape;
use settings::{Rules, Settings};
use target::Target;

/// How soon it is noticed that the scraping thread has ended by itself, which it never should.
const LOOK: Duration = Duration::from_secs(1);

/// So many names are looked up at once; each takes a thread, however long the system's resolver hangs.
const LOOKUPS: usize = 32;

/// An interval below this is worth a word: the host's default is meant for sensors.
const SHORT: Duration = Duration::from_secs(1);

struct Exporters {
    targets: Arc<[Target]>,
    job: String,
    timeout: Duration,
    rules: Rules,
    fetcher: Arc<Fetcher>,
}

impl MonitorImpl for Exporters {
    type Raw = Scraped;

    fn new() -> Result<Self, Error> {
        let settings = Settings::read()?;
        let fetcher = Arc::new(Fetcher::new(&settings)?);
        let Settings { targets, job, timeout, rules, .. } = settings;
        Ok(Exporters { targets: targets.into(), job, timeout, rules, fetcher })
    }

    fn get_power(&self, out: RawSender<Scraped>, scrape_interval: Duration, stop: Stop) -> Result<(), Error> {
        if scrape_interval < SHORT {
            let seconds = scrape_interval.as_secs_f64();
            tracing::warn!("SCRAPE_INTERVAL_S is {seconds}: exporters are mostly scraped every 15 seconds");
        }
        let rounds = Rounds {
            targets: Arc::clone(&self.targets),
            job: self.job.clone(),
            fetcher: Arc::clone(&self.fetcher),
            interval: scrape_interval,
            // As Prometheus wants it: a scrape is over when the next one begins.
            timeout: self.timeout.min(scrape_interval),
        };
        // This thread waits for the stop, which nothing asynchronous can.
        let runtime = runtime::Builder::new_current_thread().enable_all().max_blocking_threads(LOOKUPS).build()?;
        let (stopping, stopped) = oneshot::channel();
        let scraping = thread::Builder::new().name("scraping".into()).spawn(move || {
            let ended = runtime.block_on(rounds.run(out, stopped));
            // A name that is still being looked up is not waited for.
            runtime.shutdown_background();
            ended
        })?;
        while !stop.wait(LOOK) && !scraping.is_finished() {}
        drop(stopping);
        scraping.join().unwrap_or_else(|_| Err(Error::new("the scraping thread panicked")))
    }

    fn process_data(&self, input: RawReceiver<Scraped>, out: RecordSender, _stop: Stop) -> Result<(), Error> {
        let mut scrapes: Vec<Scrape> = self.targets.iter().map(|target| self.scrape(target, &out)).collect();
        for scraped in input {
            if let Some(scrape) = scrapes.get_mut(scraped.target) {
                scrape.take(&scraped);
            }
        }
        Ok(())
    }
}

impl Exporters {
    fn scrape(&self, target: &Target, out: &RecordSender) -> Scrape {
        let labels = [("job", &self.job), ("instance", &target.instance)];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.clone()));
        Scrape::new(target.shown(), labels.into(), self.rules.clone(), out.clone())
    }
}

export_monitor_impl!(Exporters);

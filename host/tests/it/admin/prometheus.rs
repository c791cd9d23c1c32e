//! What a real Prometheus makes of the page, and what its own tool says of it.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use monitor_host::metrics::{FAMILIES, Kind as MetricKind};

use super::{Page, shown};
use crate::drive::in_parallel;
use crate::faults::{LONG, host, stop};
use crate::receivers::{Kind, Receiver};

#[test]
fn a_prometheus_scrapes_every_family_and_gets_them_pushed() {
    in_parallel([Kind::PrometheusDebian, Kind::Prometheus3], |kind| {
        let dir = tempfile::tempdir().expect("a folder");
        // Its address is known before the Prometheus is configured; where it pushes to has to be there too.
        let Some(pushed_to) = Receiver::start(kind) else { return };
        let running = shown(host(&pushed_to.write_url()))
            .env("SELF_METRICS", "both")
            .env("REMOTE_WRITE_PROTOCOL", "auto")
            .env("JOB", "a job")
            .env("INSTANCE", "an instance")
            .env("SPOOL_DIR", dir.path())
            .spawn();
        let page = Page::of(&running);
        page.until("/ready", |answer| answer.status == 200);

        let (said, content) = pushed_to.promtool(&["check", "metrics"], &page.get("/metrics").body);
        assert!(content && said.is_empty(), "{kind:?}: {said}");

        let yaml = format!(
            "scrape_configs:\n- job_name: scraped\n  scrape_interval: 200ms\n  scrape_timeout: 200ms\n  static_configs:\n  \
             - targets: ['{}']\n",
            page.address()
        );
        let Some(scraper) = Receiver::configured(kind, &yaml) else { return };
        let of_ours = |labels: &crate::receivers::Labels| {
            let name = labels.get("__name__").cloned().unwrap_or_default();
            let suffixes = ["_bucket", "_sum", "_count"].into_iter();
            suffixes.filter_map(|suffix| name.strip_suffix(suffix)).next().unwrap_or(&name).to_owned()
        };
        let wanted: BTreeSet<String> = FAMILIES.iter().map(|family| family.name.to_owned()).collect();
        let mut series = Vec::new();
        for (receiver, job, instance) in [(&scraper, "scraped", page.address()), (&pushed_to, "a job", "an instance")] {
            let selector = format!(r#"{{__name__=~"monitor_client_.+",job="{job}",instance="{instance}"}}"#);
            let deadline = Instant::now() + LONG;
            let found = loop {
                let found = receiver.instant(&selector);
                if found.iter().map(of_ours).collect::<BTreeSet<_>>() == wanted {
                    break found;
                }
                let names = found.iter().map(of_ours).collect::<BTreeSet<_>>();
                assert!(Instant::now() < deadline, "{kind:?}, {job}: {:?}", wanted.difference(&names));
                // When it scrapes can't be awaited.
                thread::sleep(Duration::from_millis(50));
            };
            let strip = |mut labels: crate::receivers::Labels| {
                labels.retain(|name, _| name != "job" && name != "instance");
                labels
            };
            series.push(found.into_iter().map(strip).collect::<BTreeSet<_>>());
        }
        // The older one keeps the bounds of buckets as they were written, and all else is the same either way.
        assert_eq!(series[0], series[1], "{kind:?}");

        let metadata = scraper.ask("metadata", &[]);
        for family in FAMILIES {
            let stem = match family.kind {
                // As OpenMetrics names them; newer ones go by the series' name.
                MetricKind::Counter => family.name.strip_suffix("_total"),
                MetricKind::Info => family.name.strip_suffix("_info"),
                _ => None,
            };
            let told = [Some(family.name), stem].into_iter().flatten().map(|name| &metadata[name][0]);
            let told = told.into_iter().find(|told| !told.is_null()).unwrap_or_else(|| panic!("no {}", family.name));
            assert_eq!((told["type"].as_str(), told["help"].as_str()), (Some(family.kind.name()), Some(family.help)));
        }
        stop(&running);
    });
}

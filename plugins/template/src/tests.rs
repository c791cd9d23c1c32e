//! The sensor on a host in memory, without a receiver.

use std::time::Duration;

use monitor_plugin_api::testing::Harness;

use super::LoadAverage;

#[test]
fn three_averages_at_each_reading() {
    let run = Harness::new::<LoadAverage>().run_until_samples(6, Duration::from_secs(10));
    run.assert_ok();
    run.assert_stops_within(Duration::from_secs(1));
    let minutes: Vec<_> = run.samples()[..6].iter().map(|sample| sample.label("minutes")).collect();
    assert_eq!(minutes, ["1", "5", "15", "1", "5", "15"].map(Some));
    assert!(run.samples().iter().all(|sample| sample.value >= 0.0));
}

#[test]
fn a_file_that_can_not_be_read_is_named() {
    let harness = Harness::new::<LoadAverage>().setting("LOADAVG_FILE", "/nowhere");
    let run = harness.run_for(Duration::from_secs(10));
    assert!(run.failures()[0].message.starts_with("/nowhere: "), "{:?}", run.failures());
}

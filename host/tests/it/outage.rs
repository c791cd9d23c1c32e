//! A receiver that is gone for a while and comes back gets everything, in order.

use std::thread;
use std::time::Duration;

use crate::drive::{self, now_ms};
use crate::receivers::{Kind, Receiver};

const OUTAGE: Duration = Duration::from_secs(30);

/// A batch a second was cut meanwhile; a starved machine may miss half of the deadlines.
const FEWEST_WAITING: u64 = 15;

#[test]
fn an_outage_of_30_s_costs_nothing() {
    drive::in_parallel(Kind::ALL, |kind| {
        let Some(mut receiver) = Receiver::start(kind) else {
            return;
        };
        let host = drive::host("monitor-fault", &receiver.write_url()).env("FAULT_SERIES", "5");
        let host = host.env("PUSH_INTERVAL_S", "1").spawn();
        drive::wait_for_first_batch(&host);
        receiver.stop();
        let gone_ms = now_ms();
        thread::sleep(OUTAGE);
        let (back_ms, seen) = (now_ms(), host.log().len());
        receiver.start_again();
        let waiting = drive::wait_for_recovery(&host, seen);
        assert!(waiting >= FEWEST_WAITING, "{waiting} batches waited");

        let (ledger, readings) = drive::stop(&host);
        // A Prometheus refuses what comes out of order, and the host counts that as dropped.
        drive::assert_all_delivered(&ledger);
        assert_eq!(ledger.collected, readings * 5);
        let arrived = receiver.range("fault_number");
        assert_eq!(arrived.len(), 5, "{arrived:?}");
        for series in arrived {
            drive::assert_numbered(&series.samples, readings);
            drive::assert_evenly_spaced(&series.samples);
            let meanwhile = series.samples.iter().filter(|(moment, _)| (gone_ms..back_ms).contains(moment));
            assert!(meanwhile.count() >= 150, "sampling did not go on: {series:?}");
        }
        let failure = host.log().into_iter().find(|line| line.message().starts_with("a push failed and will be tried"));
        assert_eq!(failure.expect("the outage is told").level(), "WARNING");
    });
}

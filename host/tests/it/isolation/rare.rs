//! Histograms and exemplars, and such as nobody takes: the same at the receiver and in the books from a process of its own.

use std::collections::BTreeSet;

use super::{MODES, in_mode};
use crate::drive;
use crate::faults::{LONG, books};
use crate::sink::Sink;

/// The plugin returns after so many readings.
const READINGS: u64 = 20;

#[test]
fn both_ways_bring_the_same_histograms_and_exemplars() {
    let cells = ["exemplars", "histograms", "mixed", "invalid"].map(|form| [(form, "1.0"), (form, "2.0")]);
    drive::in_parallel(cells.concat(), |(form, protocol)| {
        let brought = MODES.map(|mode| {
            let sink = Sink::start();
            let host = in_mode(mode, &sink).env("FAULT_FORM", form).env("REMOTE_WRITE_PROTOCOL", protocol);
            let host = host.env("FAULT_SERIES", "2").env("FAULT_START_MS", "1700000000000");
            let host = host.env("FAULT_GET_POWER", "return").env("FAULT_AFTER", READINGS.to_string());
            let running = host.spawn();
            assert_eq!(running.wait(LONG).code(), Some(1), "{mode} {form}: {}", running.log_text());
            let ledger = books(&running);
            let told = running.log().into_iter().rfind(|line| line.message() == "ledger").expect("a ledger").json;
            let exemplars =
                ["collected", "delivered", "pending", "dropped"].map(|n| told[format!("exemplars_{n}")].clone());
            let exemplars = (exemplars, told["exemplar_reasons"].clone());

            let numbered = |kind: &str| sink.others().into_iter().filter(|one| one.get(kind).is_some()).count() as u64;
            // The receiver's lines come after its answer.
            sink.wait_stored(ledger.delivered as usize, LONG);
            assert_eq!(
                sink.samples().len() as u64 + numbered("histogram"),
                ledger.delivered,
                "{mode} {form} {protocol}"
            );
            let arrived = numbered("exemplar");
            // All but the moments of this run, whatever batch it came in.
            let others = sink.others().into_iter().filter(|one| one.get("metadata").is_none()).map(|mut one| {
                let fields = one.as_object_mut().expect("an object");
                for moment in ["request", "timestamp_ms", "received_ms"] {
                    fields.remove(moment);
                }
                one.to_string()
            });
            let mut others: Vec<_> = others.collect();
            others.sort();
            let floats = sink.series().into_iter().map(|(labels, samples)| {
                (labels, samples.into_iter().map(|(_, value)| value.to_bits()).collect::<Vec<_>>())
            });
            let floats: Vec<_> = floats.collect();
            assert_eq!(sink.violations(), [], "{mode} {form} {protocol}");
            (ledger, exemplars, arrived, others, floats)
        });
        assert_eq!(brought[0], brought[1], "{form} {protocol}");
        let (ledger, _, arrived, others, _) = &brought[0];
        let different = others.iter().collect::<BTreeSet<_>>().len() as u64;
        match form {
            "exemplars" => assert_eq!((*arrived, different), (2 * READINGS, 2 * READINGS)),
            "histograms" | "mixed" => assert!(different >= 4 * READINGS, "{others:?}"),
            _ => assert!(ledger.dropped == READINGS && *arrived == 0, "{ledger:?}"),
        }
    });
}

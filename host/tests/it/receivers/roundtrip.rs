//! What a receiver takes, it gives back: the harness itself, against each of the three.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{Kind, Receiver, Series};
use crate::http;
use crate::push::push;

#[test]
fn prometheus_of_this_debian_gives_back_what_it_takes() {
    gives_back(Kind::PrometheusDebian);
}

#[test]
fn prometheus_3_gives_back_what_it_takes() {
    gives_back(Kind::Prometheus3);
}

#[test]
fn victoria_metrics_gives_back_what_it_takes() {
    gives_back(Kind::VictoriaMetrics);
}

/// Pushes, asks back, restarts with a refused push in between, pushes and asks again.
fn gives_back(kind: Kind) {
    let Some(mut receiver) = Receiver::start(kind) else {
        return;
    };
    super::say(&format!("{kind:?} is {}", receiver.version()));

    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    // A whole second, and milliseconds that no binary fraction of a second hits.
    let start = now / 1000 * 1000;
    let mut sent = vec![
        series("power", &[(start, 0.0), (start + 1, -1.5), (start + 7, 0.001), (start + 999, 123_456.789)]),
        series("uj", &[(start + 3, 1.0), (start + 4, 9_007_199_254_740_991.0), (start + 50_001, 42.0)]),
        series("ü \" \\ \n {} ", &[(start + 5, 1.0)]),
    ];
    if kind != Kind::VictoriaMetrics {
        let floats = [0.1 + 0.2, 1e-300, f64::MAX, f64::INFINITY, f64::NEG_INFINITY];
        sent[0].samples.extend((start + 1000..).zip(floats));
    }
    assert_eq!(push(&receiver.write_url(), &sent).status, 204);
    assert_eq!(receiver.range(r#"{job="roundtrip"}"#), sent);
    assert_eq!(receiver.range(r#"{job="roundtrip",case="power"}"#), sent[..1]);
    assert_eq!(receiver.range("other"), []);

    receiver.stop();
    let refused = http::request("POST", &receiver.write_url(), &[], &[]);
    assert!(refused.is_err(), "a stopped receiver answers: {refused:?}");
    receiver.start_again();
    let more = [series("power", &[(start + 2000, 3.25)])];
    assert_eq!(push(&receiver.write_url(), &more).status, 204);
    sent[0].samples.extend(&more[0].samples);
    assert_eq!(receiver.range(r#"{job="roundtrip"}"#), sent);
}

/// A series; what they all have in common tells them from the receiver's own.
fn series(case: &str, samples: &[(i64, f64)]) -> Series {
    let labels = [("__name__", "energy_uj"), ("case", case), ("job", "roundtrip")];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Series { labels, samples: samples.to_vec() }
}

//! Receivers that scale out: the settings of docs/fleet.md as they stand there, what they make the real binary send, and what
//! follows from the answers that those products give. VictoriaMetrics is a real one.

use std::path::Path;

use monitor_proto::{v1, v2};
use prost::Message;
use serde_json::json;
use signal_hook::consts::SIGKILL;

use crate::drive;
use crate::faults::{LONG, assert_all_arrived, books, lines, raw, stop, wait_for_text};
use crate::host::{Host, Running};
use crate::plugins;
use crate::receivers::{Kind, Receiver, by_labels};
use crate::sink::Sink;
use crate::spool::{bytes_in, wait_until};
use crate::stub::{Request, Stub};

const NOTE: &str = include_str!("../../../docs/fleet.md");

/// A receiver that has understood 2.0, and one that has not.
const CONFIRMED: &str = "200 OK\r\nX-Prometheus-Remote-Write-Samples-Written: 99999";
const SILENT: &str = "204 No Content";

/// The variables of the first block of settings behind a heading.
fn settings(heading: &str) -> Vec<(&'static str, &'static str)> {
    let section = NOTE.split_once(&format!("\n### {heading}\n")).expect("a heading of the note").1;
    let block =
        section.split_once("```ini\n").and_then(|(_, rest)| rest.split_once("```")).expect("a block of settings").0;
    block.lines().map(|line| line.split_once('=').expect("NAME=value")).collect()
}

/// A host that is set as the note says, but for the machine: what it names is `server` here.
fn host(heading: &str, server: &str) -> Host {
    let fast = Host::new().env("MONITOR_IMPL_PATH", plugins::so("monitor-fault")).env("SCRAPE_INTERVAL_S", "0.02");
    settings(heading).into_iter().fold(fast.env("PUSH_INTERVAL_S", "0.2"), |host, (name, value)| match name {
        "REMOTE_WRITE_URL" => {
            let (_, rest) = value.split_once("://").expect("a URL");
            let (machine, path) = rest.split_once('/').expect("a path");
            let user = machine.split_once('@').map_or(String::new(), |(user, _)| format!("{user}@"));
            host.env(name, format!("http://{user}{server}/{path}"))
        }
        _ => host.env(name, value),
    })
}

/// The address of something that pushes to `http://address/path`.
fn server(url: &str) -> &str {
    url.strip_prefix("http://").and_then(|rest| rest.split('/').next()).expect("a URL of ours")
}

/// How many samples a request holds, and whether it is one of 2.0.
fn read(request: &Request) -> (usize, bool) {
    let message = snap::raw::Decoder::new().decompress_vec(&request.body).expect("snappy");
    let is_v2 =
        request.header("content-type").is_some_and(|kind| kind.contains("proto=io.prometheus.write.v2.request"));
    assert_eq!(request.header("content-encoding"), Some("snappy"));
    let version = if is_v2 { "2.0.0" } else { "0.1.0" };
    assert_eq!(request.header("x-prometheus-remote-write-version"), Some(version));
    let samples = if is_v2 {
        let message = v2::Request::decode(message.as_slice()).expect("a message of 2.0");
        message.timeseries.iter().map(|series| series.samples.len()).sum()
    } else {
        let message = v1::WriteRequest::decode(message.as_slice()).expect("a message of 1.0");
        message.timeseries.iter().map(|series| series.samples.len()).sum()
    };
    (samples, is_v2)
}

/// Runs with the settings of the note, and looks at each request's path and headers (in small letters). 1.0 comes from the
/// second request on, unless the receiver knows 2.0.
#[track_caller]
fn sends(heading: &str, path: &str, headers: &[(&str, &str)], answer: &'static str) {
    let stub = Stub::start(move |_| answer.into());
    let running = host(heading, server(&stub.url())).spawn();
    stub.wait_requests(4, LONG);
    let ledger = stop(&running);
    assert_eq!((ledger.delivered, ledger.dropped), (ledger.collected, 0), "{heading}: {ledger:?}");
    let requests = stub.wait_requests(4, LONG);
    let mut arrived = 0;
    for (number, request) in requests.iter().enumerate() {
        assert!(request.head.starts_with(&format!("post {path} http/1.1\r\n")), "{heading}: {}", request.head);
        for &(name, value) in headers {
            assert_eq!(request.header(name), Some(value), "{heading}: {}", request.head);
        }
        let (samples, is_v2) = read(request);
        assert_eq!(is_v2, number == 0 || answer == CONFIRMED, "{heading}: request {number}");
        // What was not understood came again.
        arrived += if is_v2 && answer != CONFIRMED { 0 } else { samples as u64 };
    }
    assert_eq!(arrived, ledger.collected, "{heading}");
}

#[test]
fn each_product_gets_its_path_its_tenant_and_its_credentials() {
    // "123456:glc_example" in base64, in small letters as the stub has them.
    let basic = ("authorization", "basic mtizndu2omdsy19legftcgxl");
    sends("Mimir and Cortex", "/api/v1/push", &[("x-scope-orgid", "team-a")], CONFIRMED);
    sends("Mimir and Cortex", "/api/v1/push", &[("x-scope-orgid", "team-a")], SILENT);
    sends("Thanos Receive", "/api/v1/receive", &[("thanos-tenant", "team-a")], SILENT);
    sends("Thanos Receive", "/api/v1/receive", &[("thanos-tenant", "team-a")], CONFIRMED);
    sends("VictoriaMetrics", "/api/v1/write", &[], SILENT);
    sends("VictoriaMetrics, a cluster of it", "/insert/42/prometheus/api/v1/write", &[], SILENT);
    sends("Grafana Cloud", "/api/prom/push", &[basic], CONFIRMED);
}

#[test]
fn a_conflict_of_thanos_is_final_and_says_that_it_may_be_stored() {
    let sink = Sink::start();
    // Too few of its replicas took it; then those that did refuse it.
    let unavailable = json!({"status": 503, "body": "2 errors: quorum not reached", "count": 1});
    let conflict = json!({"status": 409, "body": "add 10 samples: out of order sample", "count": 1});
    sink.answer(json!([{"count": 2}, unavailable, conflict]));
    let running = host("Thanos Receive", server(sink.url())).spawn();
    sink.wait_requests(7, LONG);
    stop(&running);

    let (requests, ledger) = (sink.requests(), books(&running));
    let statuses: Vec<_> = requests[..5].iter().map(|request| request.status).collect();
    assert_eq!(statuses, [204, 204, 503, 409, 204].map(Some));
    assert_eq!(requests[3].attempt, Some(1));
    assert_eq!((ledger.dropped, ledger.dropped_as("refused")), (requests[3].samples, requests[3].samples));
    let told = lines(&running, "ERROR");
    let said = ["HTTP 409", "out of order sample", "an earlier attempt may have been stored"];
    assert!(told.len() == 1 && said.iter().all(|words| told[0].text.contains(words)), "{told:?}");
    assert_eq!(sink.violations(), []);
}

#[test]
fn a_conflict_without_an_earlier_attempt_is_no_hint() {
    let sink = Sink::start();
    sink.answer(json!([{"count": 2}, {"status": 409, "body": "add 10 samples: out of order sample", "count": 1}]));
    let running = host("Thanos Receive", server(sink.url())).spawn();
    sink.wait_requests(5, LONG);
    stop(&running);
    let told = lines(&running, "ERROR");
    assert!(told.len() == 1 && told[0].json["hint"].is_null(), "{told:?}");
}

#[test]
fn a_rate_limit_of_mimir_is_waited_for_and_told_which_attempt_it_was() {
    let sink = Sink::start();
    let limit = |seconds| {
        json!({"status": 429, "retry_after": seconds, "count": 1,
        "body": "the request has been rejected because the tenant exceeded the ingestion rate limit (err-mimir-tenant-max-ingestion-rate)"})
    };
    sink.answer(json!([{"count": 2}, limit(1), limit(2)]));
    let running = host("Mimir and Cortex", server(sink.url())).spawn();
    let requests = sink.wait_requests(6, LONG);
    stop(&running);
    assert_all_arrived(&running, &sink);
    // Mimir reads from Retry-Attempt how long it should ask for.
    let attempts: Vec<_> = requests[..5].iter().map(|request| request.attempt).collect();
    assert_eq!(attempts, [None, None, None, Some(1), Some(2)]);
    let gaps: Vec<_> = requests[2..5].windows(2).map(|pair| pair[1].received_ms - pair[0].received_ms).collect();
    assert!(gaps[0] >= 995 && gaps[1] >= 1995, "{gaps:?}");
    assert!(wait_for_text(&running, "will be tried again").message().contains("err-mimir-tenant-max-ingestion-rate"));
    // What waited meanwhile is no burst, and lost nothing.
    assert!(running.log_text().contains("the receiver takes samples again"));
}

#[test]
fn samples_that_mimir_finds_out_of_order_cost_one_batch() {
    let sink = Sink::start();
    let words = "the sample has been rejected because another sample with a more recent timestamp has already been ingested \
        and out-of-order samples are not allowed (err-mimir-sample-out-of-order)";
    sink.answer(json!([{"count": 2}, {"status": 400, "body": words, "count": 1}]));
    let running = host("Grafana Cloud", server(sink.url())).spawn();
    sink.wait_requests(6, LONG);
    stop(&running);
    let (requests, ledger) = (sink.requests(), books(&running));
    assert_eq!((ledger.dropped, ledger.dropped_as("refused")), (requests[2].samples, requests[2].samples));
    assert!(requests.iter().all(|request| request.attempt.is_none()), "a refusal is final: {requests:?}");
    let told = lines(&running, "ERROR");
    assert!(told.len() == 1 && told[0].message().contains("err-mimir-sample-out-of-order"), "{told:?}");
}

#[test]
fn victoria_metrics_keeps_each_sample_once_through_an_outage_and_a_kill() {
    let Some(mut receiver) = Receiver::start(Kind::VictoriaMetrics) else {
        return;
    };
    let spool = tempfile::tempdir().unwrap();
    let address = server(&receiver.write_url()).to_owned();
    let start = |run: &str, spool: &Path| {
        let host = host("VictoriaMetrics", &address).env("SPOOL_DIR", spool);
        host.env("FAULT_SERIES", "3").env("EXTERNAL_LABELS", format!("run={run}")).env("LOG_LEVEL", "DEBUG").spawn()
    };
    let first = start("first", spool.path());
    let told = wait_for_text(&first, "the first batch is delivered");
    assert_eq!(told.field("protocol"), "1.0", "it takes 2.0 for nothing, and is found out: {}", told.text);
    let wait_for_failure = |running: &Running| wait_for_text(running, "a push failed and will be tried again");
    receiver.stop();
    wait_for_failure(&first);
    let before = bytes_in(spool.path());
    wait_until(&first, || bytes_in(spool.path()) > before + 2000);
    first.signal(SIGKILL);
    first.wait(LONG);

    let second = start("second", spool.path());
    wait_for_failure(&second);
    let seen = second.log().len();
    receiver.start_again();
    drive::wait_for_recovery(&second, seen);
    receiver.restart();
    // What was delivered before is no proof.
    let (seen, mut lines) = (second.log().len(), 0);
    second.wait_for_log(
        |line| {
            lines += 1;
            lines > seen && drive::is_delivered(line)
        },
        LONG,
    );
    let ledger = stop(&second);
    assert_eq!((ledger.pending, ledger.dropped), (0, 0), "{ledger:?}");

    let arrived = by_labels(receiver.range("fault_number"));
    assert_eq!(arrived.len(), 6, "three series of two runs: {:?}", arrived.keys());
    for (labels, samples) in arrived {
        // Of the run that was killed all that was on disk; of the other one all. A sample that came twice would stand twice.
        let last = if labels["run"] == "first" { samples.len() as u64 } else { raw(&second, "raw_sent") };
        assert!(samples.len() > 20, "{labels:?}: {samples:?}");
        drive::assert_numbered(&samples, last);
        drive::assert_increasing(&samples);
    }
}

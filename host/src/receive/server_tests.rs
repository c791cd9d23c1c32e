//! The receiver behind a real socket, on a free port, asked by a real client.

use monitor_proto::{CONTENT_TYPE_V1, CONTENT_TYPE_V2, SAMPLES_WRITTEN_HEADER};
use serde_json::Value;

use super::super::options::Options;
use super::super::receiver::Sinks;
use super::super::receiver::tests::{Buffer, body_v1, body_v2, headers};
use super::*;

struct Client {
    http: reqwest::Client,
    base: String,
    out: Buffer,
}

impl Client {
    fn push(
        &self,
        content_type: &'static str,
        body: Vec<u8>,
    ) -> impl Future<Output = reqwest::Result<reqwest::Response>> + use<> {
        let url = format!("{}/any/path", self.base);
        self.http.post(url).headers(headers(content_type)).body(body).send()
    }
    async fn control(&self, method: Method, path: &str, body: &'static str) -> (u16, Value) {
        let request = self.http.request(method, format!("{}{path}", self.base)).body(body);
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
    }
}

/// Serves, lets the client act, and takes the server down with the runtime.
fn with_server<F: Future<Output = ()>>(options: Options, act: impl FnOnce(Client) -> F) {
    // Building a client asks for a TLS provider; another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let out = Buffer::default();
    let sinks = Sinks { out: Box::new(out.clone()), warnings: Box::new(io::sink()) };
    let (end, _ends) = mpsc::unbounded_channel();
    let shared = Shared::new(Receiver::new(options, sinks, Instant::now()), end);
    let listener = bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        tokio::spawn(serve(listener, shared));
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let act = act(Client { http, base, out });
        tokio::time::timeout(Duration::from_secs(30), act).await.expect("done in time");
    });
}

fn json_options() -> Options {
    Options { json: true, ..Options::default() }
}

#[test]
fn both_protocols_arrive() {
    with_server(json_options(), |client| async move {
        let answer = client.push(CONTENT_TYPE_V1, body_v1(&[(1, 0.1), (2, 0.2)])).await.unwrap();
        assert_eq!(answer.status(), 204);
        assert!(answer.headers().get(SAMPLES_WRITTEN_HEADER).is_none());
        let answer = client.push(CONTENT_TYPE_V2, body_v2(&[(3, 0.3)])).await.unwrap();
        assert_eq!(answer.status(), 204);
        assert_eq!(answer.headers()[SAMPLES_WRITTEN_HEADER], "1");
        let lines = client.out.json();
        let values: Vec<_> = lines.iter().filter_map(|line| line["value"].as_f64()).collect();
        assert_eq!(values, [0.1, 0.2, 0.3]);
        let (_, stats) = client.control(Method::GET, "/-/stats", "").await;
        let expected = json!({
            "requests": 2, "by_status": {"204": 2}, "samples": 3, "histograms": 0, "exemplars": 0,
            "violations": 0, "violations_by_kind": {}, "series": 1, "untracked_samples": 0,
        });
        assert_eq!(stats, expected);
    });
}

#[test]
fn faults_are_told_at_run_time() {
    with_server(json_options(), |client| async move {
        let spec =
            r#"[{"status":503,"count":1,"retry_after":7,"body":"not now"},{"drop":true,"count":1},{"status":500}]"#;
        assert_eq!(client.control(Method::POST, "/-/answer", spec).await, (200, json!({"queued": 3})));
        let answer = client.push(CONTENT_TYPE_V1, body_v1(&[(1, 1.0)])).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].as_bytes()), (503, &b"7"[..]));
        assert_eq!(answer.text().await.unwrap(), "not now");
        client.push(CONTENT_TYPE_V1, body_v1(&[(1, 1.0)])).await.expect_err("closed without an answer");
        let answer = client.push(CONTENT_TYPE_V1, body_v1(&[(1, 1.0)])).await.unwrap();
        assert_eq!(answer.status(), 500);
        assert_eq!(client.control(Method::DELETE, "/-/answer", "").await, (200, json!({"cleared": 1})));
        let answer = client.push(CONTENT_TYPE_V1, body_v1(&[(1, 1.0)])).await.unwrap();
        assert_eq!(answer.status(), 204);
        let (_, stats) = client.control(Method::GET, "/-/stats", "").await;
        assert_eq!((&stats["samples"], &stats["violations"]), (&json!(1), &json!(0)));
    });
}

#[test]
fn a_sender_that_gives_up_during_the_delay_has_stored_nothing() {
    with_server(json_options(), |client| async move {
        client.control(Method::POST, "/-/answer", r#"{"delay_s":600,"count":1}"#).await;
        let push = tokio::spawn(client.push(CONTENT_TYPE_V1, body_v1(&[(1, 1.0)])));
        // The fault is used up as soon as the request is read.
        while client.control(Method::GET, "/-/answer", "").await.1["queued"] != 0 {}
        push.abort();
        assert!(push.await.unwrap_err().is_cancelled());
        client.push(CONTENT_TYPE_V1, body_v1(&[(1, 1.0)])).await.unwrap();
        let (_, stats) = client.control(Method::GET, "/-/stats", "").await;
        assert_eq!((&stats["samples"], &stats["requests"]), (&json!(1), &json!(1)));
    });
}

#[test]
fn a_hanging_answer_does_not_hold_up_others() {
    with_server(json_options(), |client| async move {
        client.control(Method::POST, "/-/answer", r#"{"hang":true,"count":1}"#).await;
        let push = tokio::spawn(client.push(CONTENT_TYPE_V1, body_v1(&[(1, 1.0)])));
        while client.control(Method::GET, "/-/stats", "").await.1["by_status"]["hang"] != 1 {}
        let answer = client.push(CONTENT_TYPE_V1, body_v1(&[(1, 1.0)])).await.unwrap();
        assert_eq!(answer.status(), 204);
        assert!(!push.is_finished());
    });
}

#[test]
fn what_is_no_push_is_answered_too() {
    with_server(json_options(), |client| async move {
        for (method, path, body, status) in [
            (Method::GET, "/", "", 200),
            (Method::GET, "/api/v1/write", "", 404),
            (Method::PUT, "/-/stats", "", 405),
            (Method::POST, "/-/unknown", "", 404),
            (Method::POST, "/-/answer", "stauts=1", 400),
            (Method::POST, "/api/v1/write", "junk", 400),
        ] {
            let (found, _) = client.control(method.clone(), path, body).await;
            assert_eq!(found, status, "{method} {path}");
        }
        let large = vec![b' '; MAX_CONTROL_BYTES + 1];
        let answer = client.http.post(format!("{}/-/answer", client.base)).body(large).send().await.unwrap();
        assert_eq!(answer.status(), 413);
    });
}

#[test]
fn a_port_in_use_is_one_line_that_says_what_to_do() {
    let first = bind("127.0.0.1:0").unwrap();
    let address = first.local_addr().unwrap().to_string();
    let error = bind(&address).unwrap_err();
    assert!(error.contains(&address) && error.contains("--listen") && !error.contains('\n'), "{error}");
    assert!(bind("nonsense").unwrap_err().contains("--listen"));
}

//! What comes from elsewhere is text to the page: names, words, settings. And if it were not, its policy would stop it.

use serde_json::{Value, json};

use super::View;
use crate::admin::{Page, shown};
use crate::faults::host;
use crate::sink::Sink;

/// Runs wherever it is taken for markup.
const MARKUP: &str = r#""'><img src=x onerror=document.title='taken'><script>document.title='taken'</script>"#;

#[test]
fn what_others_say_is_text() {
    let sink = Sink::start();
    let record =
        json!({"metric": "fault_number", "labels": {"evil": MARKUP}, "value": 7, "timestamp_ms": 0}).to_string();
    let record = record.replace("\"timestamp_ms\":0", "\"timestamp_ms\":NOW_MS");
    let running = shown(host(sink.url()))
        .env("FAULT_FORM", "json")
        .env("FAULT_JSON", record)
        .env("INSTANCE", MARKUP)
        .env("REMOTE_WRITE_USERNAME", "someone")
        .env("REMOTE_WRITE_PASSWORD", "a-secret-of-the-receiver")
        .env("READY_MAX_AGE_S", "1")
        .spawn();
    let Some(view) = View::of(&running) else { return };
    let name = view.look_at("evil");
    assert!(name.contains("<img src=x onerror="), "{name}");
    let name = json!(name);
    view.until::<bool>(&format!("points({name}) > 1 && chart({name}).textContent.includes('<img src=x')"));

    sink.answer(json!({"status": 503, "body": MARKUP}));
    view.until::<bool>("errors().some((told) => told.includes('<img src=x onerror'))");

    let setting =
        |name: &str| view.see::<Option<String>>(&format!("one('#settings tr[data-name=\"{name}\"]')?.dataset.value"));
    assert_eq!(setting("INSTANCE").as_deref(), Some(MARKUP));
    assert_eq!(setting("SCRAPE_INTERVAL_S").as_deref(), Some("0.02 s"));
    let hidden = setting("REMOTE_WRITE_PASSWORD").expect("a secret is named");
    assert!(!hidden.is_empty() && !hidden.contains("secret-of"), "{hidden}");

    assert_eq!(view.see::<usize>("all('img[src=x], [onerror], script:not([src])').length"), 0);
    // It names the instance, as text.
    let title: String = view.see("document.title");
    assert!(title.contains(MARKUP) && title.ends_with("monitor-host"), "{title}");
    view.assert_clean();
}

#[test]
fn its_policy_stops_what_should_never_happen() {
    let sink = Sink::start();
    let running = shown(host(sink.url())).spawn();
    let policy = Page::of(&running).get("/").header("content-security-policy").unwrap_or_default().to_owned();
    for rule in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"] {
        assert!(policy.contains(rule), "{rule} in {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");

    let Some(view) = View::of(&running) else { return };
    view.until::<bool>("delivers() === 'yes'");
    view.assert_clean();
    let violated: Vec<String> = view.browser.eval_later(include_str!("violate.js"), &[json!(sink.url())]);
    assert_eq!(violated, ["connect-src", "img-src", "require-trusted-types-for"]);
    assert_eq!(view.see::<Value>("window.taken ?? null"), Value::Null);
}

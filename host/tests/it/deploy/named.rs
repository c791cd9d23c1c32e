//! What rules and dashboards name is there: metrics in docs/metrics.md or in a plugin's README, and a heading in
//! docs/operating.md for each alert.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::panels::{DASHBOARDS, dashboard, queries, variables};
use super::{RULES, at_home, text};
use crate::receivers::{Kind, Receiver};

/// Where metrics are documented.
const DOCUMENTS: [&str; 4] =
    ["docs/metrics.md", "plugins/dummy/README.md", "plugins/rapl/README.md", "plugins/nvml/README.md"];

/// The metrics in an expression.
fn metrics(expr: &str) -> impl Iterator<Item = &str> {
    let words = expr.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    words.filter(|word| word.starts_with("monitor_"))
}

/// Whether a document has a metric: by its name, or as one of a list whose first names are cut: `…_wraps_total`.
fn documents(document: &str, metric: &str) -> bool {
    let cuts = metric.match_indices('_').map(|(cut, _)| format!("`…{}", &metric[cut..]));
    let family = metric.strip_suffix("_bucket").unwrap_or(metric);
    let names = cuts.chain([format!("`{family}")]);
    // The name ends where the code does, or its labels begin.
    names.into_iter().any(|name| ['`', '{'].iter().any(|end| document.contains(&format!("{name}{end}"))))
}

/// The rules as a Prometheus has read them.
fn rules() -> Option<Vec<Value>> {
    let yaml = format!("rule_files: ['{}']\n", at_home(RULES).display());
    let receiver = Receiver::configured(Kind::PrometheusDebian, &yaml)?;
    let groups = receiver.ask("rules", &[]);
    let groups = groups["groups"].as_array().expect("groups").iter();
    Some(groups.flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default()).collect())
}

#[test]
fn each_metric_is_documented() {
    let Some(rules) = rules() else { return };
    let said = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let recorded: BTreeSet<String> =
        rules.iter().filter(|rule| rule["type"] == "recording").map(|rule| said(&rule["name"])).collect();
    let mut named: BTreeMap<String, String> = BTreeMap::new();
    let mut name = |expr: &str, of: &str| named.extend(metrics(expr).map(|metric| (metric.to_owned(), of.to_owned())));
    rules.iter().for_each(|rule| name(&said(&rule["query"]), &said(&rule["name"])));
    for dashboard in DASHBOARDS.map(dashboard) {
        queries(&dashboard).iter().for_each(|query| name(&query.expr, &query.of));
        variables(&dashboard).iter().for_each(|(variable, selector, _)| name(selector, variable));
    }
    assert!(named.len() > 40, "{named:?}");
    let documents_ = DOCUMENTS.map(text);
    for (metric, of) in named.into_iter().filter(|(metric, _)| !recorded.contains(metric)) {
        assert!(documents_.iter().any(|text| documents(text, &metric)), "{of}: no document has {metric}");
    }
}

#[test]
fn each_alert_has_severity_words_and_a_heading_to_look_it_up() {
    let Some(rules) = rules() else { return };
    let operating = text("docs/operating.md");
    let repository = env!("CARGO_PKG_REPOSITORY");
    for alert in rules.iter().filter(|rule| rule["type"] == "alerting") {
        let (name, annotations) = (alert["name"].as_str().expect("a name"), &alert["annotations"]);
        assert!(["critical", "warning"].contains(&alert["labels"]["severity"].as_str().unwrap_or_default()), "{alert}");
        for words in ["summary", "description"] {
            let words = annotations[words].as_str().expect("words");
            assert!(
                ["job", "instance", "host"].iter().all(|label| words.contains(&format!("$labels.{label}"))),
                "{alert}"
            );
        }
        let heading = format!("{repository}/blob/main/docs/operating.md#{}", name.to_lowercase());
        assert_eq!(annotations["runbook_url"], heading);
        let is_heading =
            |line: &str| line.starts_with('#') && line.trim_start_matches('#').trim().trim_matches('`') == name;
        assert!(operating.lines().any(is_heading), "docs/operating.md has no heading {name}");
    }
}

#[test]
fn a_metric_that_nobody_documents_is_found() {
    let found: Vec<_> = metrics("sum(rate(monitor_a_total{host=~\"x\"}[1m])) / monitor_client:b").collect();
    assert_eq!(found, ["monitor_a_total", "monitor_client:b"]);
    let document = "| `monitor_rapl_wraps_total`, `…_errors_total{errno}` |";
    assert!(documents(document, "monitor_rapl_wraps_total") && documents(document, "monitor_rapl_errors_total"));
    assert!(!documents(document, "monitor_rapl_wraps") && !documents(document, "monitor_rapl_resets_total"));
}

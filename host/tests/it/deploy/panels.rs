//! The dashboards as data, and what has to hold of each panel without a Prometheus.
//!
//! Enters: `deploy/grafana/dashboards/`. Leaves: what each panel and each variable asks. Never: judges an expression.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::{at_home, text};

/// The dashboards' names.
pub(super) const DASHBOARDS: [&str; 2] = ["fleet", "energy"];

/// The file of a dashboard.
fn path(name: &str) -> String {
    format!("deploy/grafana/dashboards/{name}.json")
}

/// A dashboard.
#[track_caller]
pub(super) fn dashboard(name: &str) -> Value {
    serde_json::from_str(&text(&path(name))).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What a panel asks.
#[derive(Clone, Debug)]
pub(super) struct Query {
    /// The dashboard and the panel.
    pub(super) of: String,
    /// As it stands there, with variables.
    pub(super) expr: String,
    /// Asked of one moment, not of a range.
    pub(super) instant: bool,
    /// Asked a value for each day, for two weeks.
    pub(super) daily: bool,
    /// The labels by which its series are told apart.
    pub(super) labels: BTreeSet<String>,
}

/// A list, empty where there is none.
fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The panels that ask something.
pub(super) fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    list(&dashboard["panels"]).filter(|panel| panel["type"] != "row")
}

/// All that its panels ask.
pub(super) fn queries(dashboard: &Value) -> Vec<Query> {
    let of_panel = |panel: &Value| {
        let of = format!("{}: {}", word(&dashboard["title"]), word(&panel["title"]));
        let daily = panel["interval"] == "1d";
        let query = move |target: &Value| Query {
            of: of.clone(),
            expr: word(&target["expr"]),
            instant: target["instant"] == true,
            daily,
            labels: labels(&word(&target["legendFormat"])),
        };
        list(&panel["targets"]).map(query).collect::<Vec<_>>()
    };
    panels(dashboard).flat_map(of_panel).collect()
}

/// The labels in a legend: `{{job}} at {{instance}}`.
fn labels(legend: &str) -> BTreeSet<String> {
    legend.split("{{").skip(1).filter_map(|rest| Some(rest.split_once("}}")?.0.to_owned())).collect()
}

/// The variables that are asked of the Prometheus: name, selector, label.
pub(super) fn variables(dashboard: &Value) -> Vec<(String, String, String)> {
    let asked = list(&dashboard["templating"]["list"]).filter(|variable| variable["type"] == "query");
    let read = |variable: &Value| {
        let query = word(&variable["query"]["query"]);
        let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        let (selector, label) = inner.and_then(|inner| inner.rsplit_once(", ")).expect("label_values(SELECTOR, LABEL)");
        (word(&variable["name"]), selector.to_owned(), label.to_owned())
    };
    asked.map(read).collect()
}

#[test]
fn each_panel_says_what_it_shows_of_which_data_source_and_in_which_unit() {
    for name in DASHBOARDS {
        let dashboard = dashboard(name);
        assert_eq!(dashboard["uid"], format!("monitor-host-{name}"), "links and bookmarks go by it");
        assert!(dashboard.get("id").is_none(), "{name}: an id is a number of one Grafana's");
        let mut ids = BTreeSet::new();
        for panel in list(&dashboard["panels"]) {
            assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{name}: two panels are {}", panel["id"]);
        }
        for panel in panels(&dashboard) {
            let what = format!("{name}: {}", panel["title"]);
            assert!(word(&panel["description"]).ends_with('.'), "{what} has no description");
            assert!(list(&panel["targets"]).count() > 0, "{what} asks nothing");
            let sources = list(&panel["targets"]).map(|target| &target["datasource"]).chain([&panel["datasource"]]);
            assert!(sources.into_iter().all(|source| source["uid"] == "${datasource}"), "{what}: another data source");
            let defaults = &panel["fieldConfig"]["defaults"];
            assert!(defaults["unit"].is_string() || panel["type"] == "table", "{what} has no unit");
            assert!(list(&defaults["thresholds"]["steps"]).count() > 0, "{what} has no thresholds");
        }
        let names: Vec<_> = list(&dashboard["templating"]["list"]).map(|variable| word(&variable["name"])).collect();
        assert!(names[0] == "datasource" && names.contains(&"host".to_owned()), "{name}: {names:?}");
        assert_eq!(dashboard["templating"]["list"][0]["current"]["value"], "prometheus", "deploy/grafana/provisioning");
    }
}

/// As Grafana's models write it, in one order of names, so that a change shows what was changed. `UPDATE_GENERATED=1` puts a
/// dashboard that was exported from a Grafana into this form.
#[test]
fn the_files_are_in_one_form() {
    for name in DASHBOARDS {
        let mut dashboard = dashboard(name);
        dashboard.as_object_mut().expect("an object").remove("id");
        let pretty = format!("{dashboard:#}\n");
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            fs::write(at_home(&path(name)), pretty).expect("a file of the repository");
        } else {
            assert!(
                text(&path(name)) == pretty,
                "UPDATE_GENERATED=1 cargo test -p monitor-host --test it deploy::panels"
            );
        }
    }
}

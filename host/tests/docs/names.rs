//! The names that pages use: reasons, metrics, variables, flags, alerts, tests. Each is one, and none that matters is missing.

use std::collections::BTreeSet;

use monitor_host::ledger::Reason;

use crate::pages::{code, headings, rows};
use crate::{assert_none, files, read, root};

const OPERATING: &str = "docs/operating.md";

/// Pages for operators and authors. What was decided before (the changelog) may name what is no more.
fn guides() -> Vec<String> {
    files(".", ".md").into_iter().filter(|page| page != "CHANGELOG.md").collect()
}

/// The first cells of a table, without their backticks.
fn first_cells(page: &str, column: &str) -> BTreeSet<String> {
    rows(page, column).iter().flat_map(|(_, cells)| code(cells[0])).map(str::to_owned).collect()
}

/// All of `names` that `known` lacks.
fn lacking<'a>(names: impl IntoIterator<Item = &'a String>, known: &BTreeSet<String>) -> Vec<String> {
    names.into_iter().filter(|name| !known.contains(*name)).cloned().collect()
}

#[test]
fn every_reason_of_the_ledger_is_explained_and_no_other() {
    let reasons: BTreeSet<String> = Reason::ALL.iter().map(|reason| reason.name().to_owned()).collect();
    for (page, column) in [("docs/delivery.md", "reason"), (OPERATING, "Reason")] {
        let told = first_cells(&read(page), column);
        assert_none(&lacking(&reasons, &told), &format!("reasons that {page} does not have"));
        assert_none(&lacking(&told, &reasons), &format!("what {page} takes for a reason"));
    }
}

/// The words of a text that begin so and go on as a name does.
fn words<'a>(text: &'a str, begins: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(begins).filter_map(move |(at, _)| {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let is_inside = text[..at].ends_with(is_name);
        let rest = &text[at..];
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        (!is_inside).then_some(&rest[..end])
    })
}

#[test]
fn metrics_that_pages_name_exist() {
    let known = first_cells(&read("docs/metrics.md"), "Metric");
    assert!(known.len() > 40 && known.contains("monitor_client_up"), "{known:?}");
    let is_known = |name: &str| {
        let of_histogram = ["_bucket", "_count", "_sum"].iter().find_map(|ending| name.strip_suffix(ending));
        // `monitor_client_*`, or a beginning with an ellipsis.
        name.ends_with('_') || known.contains(name) || of_histogram.is_some_and(|name| known.contains(name))
    };
    let mut wrong = Vec::new();
    for page in guides() {
        let text = read(&page);
        wrong.extend(
            words(&text, "monitor_client_").filter(|name| !is_known(name)).map(|name| format!("{page}: {name}")),
        );
    }
    assert_none(&wrong, "metrics that docs/metrics.md does not have");
}

#[test]
fn operating_says_of_each_metric_what_is_normal() {
    let page = read(OPERATING);
    let named: BTreeSet<String> = words(&page, "monitor_client_").map(str::to_owned).collect();
    let known = first_cells(&read("docs/metrics.md"), "Metric");
    assert_none(&lacking(&known, &named), "metrics that docs/operating.md does not have");
}

/// What pages say of the environment that is not ours to read.
const FOREIGN: &[&str] = &[
    // The system's and other programs'.
    "HOSTNAME",
    "NO_COLOR",
    "RUST_BACKTRACE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "ALL_PROXY",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "NVIDIA_DRIVER_CAPABILITIES",
    "NVIDIA_VISIBLE_DEVICES",
    "RLIMIT_AS",
    "RLIMIT_DATA",
    "TODO_FILE",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    // Of tests, benches and chores.
    "UPDATE_GENERATED",
];

/// Every name in capitals with an underline that a plugin asks `setting` for, or our tools the environment.
fn read_elsewhere() -> BTreeSet<String> {
    let sources = ["plugins", "plugin-api", "xtask", "host/tests", "host/benches", "host/fuzz", "host/src"];
    let texts = sources.iter().flat_map(|folder| files(folder, ".rs")).map(|file| read(&file));
    let scripts = ["docker_build.sh".to_owned()].into_iter().chain(files("deploy", "")).map(|file| read_lossy(&file));
    texts.chain(scripts).flat_map(|text| capitals(&text).map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn read_lossy(path: &str) -> String {
    String::from_utf8_lossy(&std::fs::read(root().join(path)).unwrap_or_default()).into_owned()
}

/// Words in capitals with an underline.
fn capitals(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| {
        let is_capital = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        word.starts_with(|c: char| c.is_ascii_uppercase())
            && word.contains('_')
            && !word.ends_with('_')
            && word.chars().all(is_capital)
    })
}

fn variables() -> BTreeSet<String> {
    first_cells(&read("docs/configuration.md"), "Variable")
}

#[test]
fn variables_that_pages_name_exist() {
    let (known, elsewhere) = (variables(), read_elsewhere());
    assert!(known.len() > 40, "{known:?}");
    let is_known = |name: &str| known.contains(name) || elsewhere.contains(name) || FOREIGN.contains(&name);
    let mut wrong = BTreeSet::new();
    for page in guides() {
        let text = read(&page);
        for name in text.lines().flat_map(code).flat_map(capitals).filter(|name| !is_known(name)) {
            wrong.insert(format!("{page}: {name}"));
        }
    }
    assert_none(&wrong.into_iter().collect::<Vec<_>>(), "variables that nothing reads");
}

#[test]
fn flags_that_pages_give_to_the_host_exist() {
    let command = monitor_host::cli::command();
    let all = std::iter::once(&command).chain(command.get_subcommands());
    let mut known: BTreeSet<String> =
        all.flat_map(|one| one.get_arguments()).filter_map(|flag| flag.get_long()).map(str::to_owned).collect();
    known.extend(["help", "version"].map(str::to_owned));
    let mut wrong = Vec::new();
    for page in guides() {
        let text = read(&page);
        for (at, name) in text.match_indices("monitor-host ") {
            // In `cargo test -p monitor-host --test it` they are cargo's.
            if text[..at].trim_end().ends_with("-p") {
                continue;
            }
            let given = text[at + name.len()..].split(['`', '#', '|', '\n']).next().unwrap_or("");
            let flags = given.split_whitespace().filter_map(|word| word.strip_prefix("--"));
            let flags = flags.map(|flag| flag.split(['=', ',', ')', ']', ';', '.']).next().unwrap_or(flag));
            let unknown =
                flags.filter(|flag| flag.starts_with(|c: char| c.is_ascii_lowercase()) && !known.contains(*flag));
            let line = text[..at].lines().count();
            wrong.extend(unknown.map(|flag| format!("{page}:{line}: --{flag}")));
        }
    }
    assert_none(&wrong, "flags that monitor-host does not have");
}

#[test]
fn the_readme_shows_defaults_as_they_are() {
    let reference = read("docs/configuration.md");
    let defaults: Vec<(String, String)> =
        rows(&reference, "Variable").iter().map(|(_, cells)| (cells[0].to_owned(), cells[2].to_owned())).collect();
    for (page, column) in [("README.md", 1), ("docs/migrating.md", 2)] {
        let text = read(page);
        let mut compared = 0;
        let mut wrong = Vec::new();
        for (line, cells) in rows(&text, "Variable") {
            // "the same" is what it was before.
            let shown = if cells[column] == "the same" { cells[column - 1] } else { cells[column] };
            for name in cells[0].split(", ") {
                let Some((_, default)) = defaults.iter().find(|(known, _)| known == name) else {
                    wrong.push(format!("{page}:{line}: {name} is no variable"));
                    continue;
                };
                // A default is code; a page may leave out its unit, and say more behind it.
                let code_of = |cell: &str| code(cell).next().map(str::to_owned);
                match (code_of(shown), code_of(default)) {
                    (Some(shown), Some(default)) if shown != default => {
                        wrong.push(format!("{page}:{line}: {name} is {default}, not {shown}"))
                    }
                    (Some(_), Some(_)) => compared += 1,
                    _ => {}
                }
            }
        }
        assert_none(&wrong, "defaults that are others");
        assert!(compared > 5, "{page}: {compared}");
    }
}

/// The alerts that are told of, whether or not the rules lie here.
const ALERTS: &[&str] = &[
    "MonitorClientSilent",
    "MonitorClientDropping",
    "MonitorClientLagging",
    "MonitorClientNotDelivering",
    "MonitorClientSpoolFilling",
    "MonitorClientPluginRestarting",
];

#[test]
fn every_alert_has_a_heading_and_every_such_heading_an_alert() {
    let mut alerts: BTreeSet<String> = ALERTS.iter().map(|name| (*name).to_owned()).collect();
    let page = read(OPERATING);
    let headings: BTreeSet<String> =
        headings(&page).into_iter().filter(|heading| heading.starts_with("MonitorClient")).collect();
    let mut shipped = BTreeSet::new();
    for file in files("deploy/prometheus", ".rules.yaml") {
        let rules = read(&file);
        let named = rules.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("alert:"));
        shipped.extend(named.map(|name| name.trim().trim_matches(['"', '\'']).to_owned()));
        // A runbook is a heading of the page.
        let anchors = rules
            .lines()
            .filter_map(|line| line.split_once("docs/operating.md#"))
            .map(|(_, anchor)| anchor.trim().trim_matches(['"', '\'']).to_owned());
        let known: BTreeSet<String> = headings.iter().map(|heading| crate::pages::anchor(heading)).collect();
        let anchors: Vec<String> = anchors.filter(|anchor| !anchor.contains("{{")).collect();
        assert_none(&lacking(&anchors, &known), "runbooks that are no heading");
    }
    if !shipped.is_empty() {
        alerts = shipped;
    }
    assert_none(&lacking(&alerts, &headings), "alerts without a heading in docs/operating.md");
    assert_none(&lacking(&headings, &alerts), "headings of docs/operating.md that are no alert");
}

#[test]
fn tests_that_show_a_claim_exist() {
    let page = "docs/security.md";
    let text = read(page);
    let (mut shown, mut wrong) = (0, Vec::new());
    for (line, cells) in rows(&text, "Claim") {
        let tests: Vec<&str> = code(cells.last().copied().unwrap_or_default()).collect();
        if tests.is_empty() {
            wrong.push(format!("{page}:{line}: no test"));
        }
        for test in tests {
            let (file, name) = test.split_once(": ").unwrap_or((test, ""));
            let is_there =
                root().join(file).is_file() && (name.is_empty() || read(file).contains(&format!("fn {name}(")));
            shown += 1;
            if !is_there {
                wrong.push(format!("{page}:{line}: {test}"));
            }
        }
    }
    assert_none(&wrong, "tests that are not there");
    assert!(shown > 20, "{shown}");
}

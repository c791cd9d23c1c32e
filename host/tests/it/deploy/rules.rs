//! The alert rules by Prometheus' own tool: they are rules, and what they say of made-up series is what they ought to say.

use std::collections::BTreeSet;
use std::process::Command;

use super::{RULES, at_home, text};
use crate::receivers::fetch;

const TESTS: &str = "deploy/prometheus/monitor-client.rules.test.yaml";

/// Runs promtool on a file; what it printed, and whether it was content.
fn promtool(arguments: &[&str], file: &str) -> Option<(String, bool)> {
    let mut command = Command::new(fetch::promtool()?);
    let output = command.args(arguments).arg(at_home(file)).output().expect("promtool can be executed");
    let said = [output.stdout, output.stderr].concat();
    Some((String::from_utf8_lossy(&said).into_owned(), output.status.success()))
}

#[test]
fn promtool_finds_nothing_wrong() {
    for (arguments, file) in
        [(&["check", "rules", "--lint=all", "--lint-fatal"][..], RULES), (&["test", "rules"], TESTS)]
    {
        let Some((said, content)) = promtool(arguments, file) else { return };
        assert!(content && said.contains("SUCCESS"), "{file}: {said}");
    }
}

/// What the lines with this key say.
fn values<'a>(text: &'a str, key: &str) -> BTreeSet<&'a str> {
    text.lines().filter_map(|line| line.trim_start().strip_prefix(key)).map(str::trim).collect()
}

#[test]
fn promtool_is_shown_each_alert_firing_and_silent() {
    let (rules, tests) = (text(RULES), text(TESTS));
    let alerts = values(&rules, "- alert:");
    assert_eq!(alerts.len(), 6, "{alerts:?}");
    for alert in alerts {
        assert!(
            tests.contains(&format!("alertname: {alert}\n        exp_alerts:\n")),
            "{alert} never fires in {TESTS}"
        );
        assert!(tests.contains(&format!("alertname: {alert}}}\n")), "{alert} is never silent in {TESTS}");
    }
}

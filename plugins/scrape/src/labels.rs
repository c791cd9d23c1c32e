//! The labels that a series gets: its own, and those of its target.
//!
//! Enters: labels as they were scraped. Leaves: all of them, those that collide renamed or left as the operator wishes, or the
//! limit that they exceed. As Prometheus does it.

use crate::failure::{Class, Failure};
use crate::settings::Rules;

/// What a label of the scraped series is called when the target has one of its name.
const EXPORTED: &str = "exported_";

/// Puts the target's labels to those of a scraped series.
pub(crate) fn with_target(
    scraped: impl Iterator<Item = (String, String)>,
    target: &[(String, String)],
    honor: bool,
) -> Vec<(String, String)> {
    let is_of_target = |name: &str| target.iter().any(|(of_target, _)| of_target == name);
    if honor {
        let mut labels: Vec<_> = scraped.collect();
        // An empty one counts as well: the series wants none.
        let absent = target.iter().filter(|(name, _)| !labels.iter().any(|(own, _)| own == name));
        let absent: Vec<_> = absent.cloned().collect();
        labels.extend(absent);
        labels.retain(|(_, value)| !value.is_empty());
        return labels;
    }
    let (colliding, mut labels): (Vec<_>, Vec<_>) =
        scraped.filter(|(_, value)| !value.is_empty()).partition(|(name, _)| is_of_target(name));
    labels.extend(target.iter().cloned());
    for (name, value) in colliding {
        let mut free = format!("{EXPORTED}{name}");
        while labels.iter().any(|(taken, _)| *taken == free) {
            free.insert_str(0, EXPORTED);
        }
        labels.push((free, value));
    }
    labels
}

/// Whether a series is within the limits; its name counts as a label.
///
/// # Errors
/// The limit that it exceeds. A scrape with such a series is refused as a whole.
pub(crate) fn check(metric: &str, labels: &[(String, String)], rules: &Rules) -> Result<(), Failure> {
    let shown = |text: &str| text.chars().take(50).collect::<String>();
    let exceeded = |limit: &str, by: String| {
        let text = format!("a series of {} has {by}: more than {limit}", shown(metric));
        Err(Failure::new(Class::Limit, text))
    };
    let within = |limit: usize, number: usize| limit == 0 || number <= limit;
    if !within(rules.label_limit, labels.len() + 1) {
        let limit = format!("SCRAPE_LABEL_LIMIT ({})", rules.label_limit);
        return exceeded(&limit, format!("{} labels", labels.len() + 1));
    }
    let name = [("__name__", metric)].into_iter();
    for (name, value) in name.chain(labels.iter().map(|(name, value)| (name.as_str(), value.as_str()))) {
        if !within(rules.name_length_limit, name.len()) {
            let limit = format!("SCRAPE_LABEL_NAME_LENGTH_LIMIT ({})", rules.name_length_limit);
            return exceeded(&limit, format!("the label {} of {} bytes", shown(name), name.len()));
        }
        if !within(rules.value_length_limit, value.len()) {
            let limit = format!("SCRAPE_LABEL_VALUE_LENGTH_LIMIT ({})", rules.value_length_limit);
            return exceeded(&limit, format!("a value of {} bytes in the label {}", value.len(), shown(name)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn merged(scraped: &[(&str, &str)], honor: bool) -> Vec<(String, String)> {
        let target = pairs(&[("job", "j"), ("instance", "i:1")]);
        let mut labels = with_target(pairs(scraped).into_iter(), &target, honor);
        labels.sort();
        labels
    }

    #[test]
    fn the_targets_labels_win_and_the_others_keep_a_name() {
        assert_eq!(merged(&[("a", "b"), ("e", "")], false), pairs(&[("a", "b"), ("instance", "i:1"), ("job", "j")]));
        assert_eq!(
            merged(&[("job", "own"), ("instance", "")], false),
            pairs(&[("exported_job", "own"), ("instance", "i:1"), ("job", "j")])
        );
        assert_eq!(
            merged(&[("job", "own"), ("exported_job", "other")], false),
            pairs(&[("exported_exported_job", "own"), ("exported_job", "other"), ("instance", "i:1"), ("job", "j")])
        );
    }

    #[test]
    fn honoured_labels_win() {
        assert_eq!(merged(&[("job", "own")], true), pairs(&[("instance", "i:1"), ("job", "own")]));
        assert_eq!(merged(&[("job", "")], true), pairs(&[("instance", "i:1")]), "it wants none");
    }

    #[test]
    fn limits_name_their_variable() {
        let none = Rules {
            honor_labels: false,
            honor_timestamps: true,
            track_timestamps: false,
            sample_limit: 1,
            label_limit: 0,
            name_length_limit: 0,
            value_length_limit: 0,
        };
        let labels = pairs(&[("ten_bytes_", "twelve bytes")]);
        assert_eq!(check("m", &labels, &none), Ok(()));
        let exact = Rules { label_limit: 2, name_length_limit: 10, value_length_limit: 12, ..none.clone() };
        assert_eq!(check("m", &labels, &exact), Ok(()));
        for (rules, says) in [
            (Rules { label_limit: 1, ..exact.clone() }, "has 2 labels: more than SCRAPE_LABEL_LIMIT (1)"),
            (Rules { name_length_limit: 9, ..exact.clone() }, "of 10 bytes: more than SCRAPE_LABEL_NAME_LENGTH_LIMIT"),
            (
                Rules { value_length_limit: 11, ..exact },
                "12 bytes in the label ten_bytes_: more than SCRAPE_LABEL_VALUE",
            ),
        ] {
            let failure = check("m", &labels, &rules).unwrap_err();
            assert!(failure.class == Class::Limit && failure.to_string().contains(says), "{failure}");
        }
        let long = Rules { value_length_limit: 3, ..none };
        assert!(check("metric", &[], &long).unwrap_err().to_string().contains("__name__"));
    }
}

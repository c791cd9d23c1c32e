//! The parts of committed files that are made from tables in the code; for tests.
//!
//! Enters: a file of the repository, and what is to stand between its marks, which are comments: `generated from SOURCE:
//! begin` and `generated: end`. Leaves: nothing, if that stands there; with `UPDATE_GENERATED=1` it is written there.

use std::fs;
use std::path::Path;

/// Compares the part of `file` that is made from `source`, both by their paths in the repository, or writes it.
#[track_caller]
pub(crate) fn holds(file: &str, source: &str, part: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    let wanted = with_part(&text, source, part).unwrap_or_else(|| panic!("{file} has no marks for {source}"));
    if std::env::var_os("UPDATE_GENERATED").is_some_and(|value| value == "1") {
        fs::write(&path, wanted).unwrap();
    } else {
        assert!(text == wanted, "{file} is stale: UPDATE_GENERATED=1 cargo test writes it anew");
    }
}

/// The text with `part` in the place of what stands between the marks' lines.
fn with_part(text: &str, source: &str, part: &str) -> Option<String> {
    let begin = text.find(&format!("generated from {source}: begin"))?;
    let begin = begin + text[begin..].find('\n')? + 1;
    let mark = begin + text[begin..].find("generated: end")?;
    let end = text[..mark].rfind('\n')? + 1;
    Some(format!("{}{part}{}", &text[..begin], &text[end..]))
}

#[test]
fn a_part_is_what_stands_between_the_marks() {
    let with = |text| with_part(text, "a.rs", "new\n");
    let marked = "head\n# generated from a.rs: begin\nold\n# generated: end\ntail\n";
    assert_eq!(with(marked).unwrap(), marked.replace("old", "new"));
    let empty = "<!-- generated from a.rs: begin -->\n<!-- generated: end -->\n";
    assert_eq!(with(empty).unwrap(), "<!-- generated from a.rs: begin -->\nnew\n<!-- generated: end -->\n");
    assert_eq!(with("# generated from b.rs: begin\n# generated: end\n"), None);
    assert_eq!(with("# generated from a.rs: begin\n"), None);
}

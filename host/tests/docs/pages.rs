//! Just enough of Markdown: headings, tables, code and links of a page.
//!
//! Enters: a page's text. Leaves: its parts. Code blocks hold none of them.

/// The lines of a page that stand in no code block, numbered from 1.
pub(crate) fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(i, line)| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        (!in_code && !is_fence).then_some((i + 1, line))
    })
}

/// Every heading's text.
pub(crate) fn headings(text: &str) -> Vec<String> {
    let heading = |line: &str| {
        let text = line.trim_start_matches('#');
        (text.len() < line.len() && text.starts_with(' ')).then(|| text.trim().to_owned())
    };
    prose(text).filter_map(|(_, line)| heading(line)).collect()
}

/// What a heading is called in a link, as GitHub and others make it.
pub(crate) fn anchor(heading: &str) -> String {
    // A link's own text counts, its target does not.
    let mut shown = String::new();
    let mut rest = heading;
    while let Some((before, after)) = rest.split_once("](") {
        shown.push_str(before);
        rest = after.split_once(')').map_or("", |(_, behind)| behind);
    }
    shown.push_str(rest);
    let kept = |c: char| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c => c.is_alphanumeric().then_some(c),
    };
    shown.to_lowercase().chars().filter_map(kept).collect()
}

/// The rows of all tables whose first column has this heading: the line, and the cells.
pub(crate) fn rows<'a>(text: &'a str, first_column: &str) -> Vec<(usize, Vec<&'a str>)> {
    let mut rows = Vec::new();
    let mut table: Option<bool> = None;
    for (number, line) in prose(text) {
        if !line.starts_with('|') {
            table = None;
            continue;
        }
        let cells = cells(line);
        match table {
            None => table = Some(cells.first() == Some(&first_column)),
            Some(true) if !cells.iter().all(|cell| cell.chars().all(|c| matches!(c, '-' | ':'))) => {
                rows.push((number, cells));
            }
            Some(_) => {}
        }
    }
    rows
}

fn cells(line: &str) -> Vec<&str> {
    let line = line.trim().trim_start_matches('|');
    let line = line.strip_suffix('|').unwrap_or(line);
    let (mut cells, mut start) = (Vec::new(), 0);
    for (at, _) in line.match_indices('|') {
        if !line[..at].ends_with('\\') {
            cells.push(line[start..at].trim());
            start = at + 1;
        }
    }
    cells.push(line[start..].trim());
    cells
}

/// What stands between backticks in a text.
pub(crate) fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The targets of a line's links.
pub(crate) fn links(line: &str) -> Vec<&str> {
    let texts = line.split('`').step_by(2);
    let mut found = Vec::new();
    for text in texts {
        // Code, which is passed over, may look like a link.
        found.extend(text.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target)));
    }
    found
}

#[test]
fn parts_of_a_page_are_found() {
    let page = "# A `b` [c](d)!\n| X | Y |\n|---|---|\n| a \\| b | `c` |\n\n```sh\n# no\n```\n| Z |\n|---|\n| z |\n[l](m.md#n) `[x](y)`\n";
    assert_eq!(headings(page), ["A `b` [c](d)!"]);
    assert_eq!(anchor("A `b` [c](d)!"), "a-b-c");
    assert_eq!(rows(page, "X"), [(4, vec!["a \\| b", "`c`"])]);
    assert_eq!(prose(page).flat_map(|(_, line)| links(line)).collect::<Vec<_>>(), ["d", "m.md#n"]);
    assert_eq!(code("a `b` c `d`").collect::<Vec<_>>(), ["b", "d"]);
}

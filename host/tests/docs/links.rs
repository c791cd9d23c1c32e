//! Every link from one page of the repository to a file of it: the file is there, and so is the heading.

use std::path::{Component, Path, PathBuf};

use crate::pages::{anchor, headings, links, prose};
use crate::{assert_none, files, read, root};

/// `a/b/../c` is `a/c`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => _ = plain.pop(),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

/// What is wrong with a link on this page.
fn broken(page: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, heading) = target.split_once('#').map_or((target, None), |(path, heading)| (path, Some(heading)));
    let folder = Path::new(page).parent().unwrap_or(Path::new(""));
    let file = if path.is_empty() { PathBuf::from(page) } else { plain(&folder.join(path)) };
    if !root().join(&file).exists() {
        return Some(format!("no {}", file.display()));
    }
    let heading = heading.filter(|_| file.extension().is_some_and(|ending| ending == "md"))?;
    let text = read(&file.to_string_lossy());
    let is_there = headings(&text).iter().any(|found| anchor(found) == heading);
    (!is_there).then(|| format!("{} has no heading {heading}", file.display()))
}

#[test]
fn the_readme_leads_to_every_page() {
    let readme = read("README.md");
    let linked: Vec<&str> = prose(&readme).flat_map(|(_, line)| links(line)).collect();
    let forgotten: Vec<String> =
        files("docs", ".md").into_iter().filter(|page| !linked.contains(&page.as_str())).collect();
    assert_none(&forgotten, "pages that README.md does not link");
}

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = Vec::new();
    for page in files(".", ".md") {
        let text = read(&page);
        for (line, target) in prose(&text).flat_map(|(i, line)| links(line).into_iter().map(move |link| (i, link))) {
            wrong.extend(broken(&page, target).map(|why| format!("{page}:{line}: {target}: {why}")));
        }
    }
    assert_none(&wrong, "links that lead nowhere");
    for (target, says) in [("docs/gone.md", "no docs/gone.md"), ("README.md#gone", "README.md has no heading gone")] {
        assert_eq!(broken("README.md", target).as_deref(), Some(says));
    }
}

//! What an author meets: a template and a dummy that are short, with one dependency and no `unsafe`, and a guide whose
//! files are the template's own. That the template builds, without a warning, and runs in an image is `.ci/image`'s to show.

use std::path::Path;

const TEMPLATE: &str = "plugins/template";
const DUMMY: &str = "plugins/dummy";

fn text(path: &str) -> String {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::fs::read_to_string(top.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Neither blank nor a comment.
fn lines_of_code(source: &str) -> usize {
    assert!(!source.contains("/*"), "only comments of whole lines are known here");
    source.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

/// The names in the tables of a manifest whose titles end like this.
fn keys(manifest: &str, table: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut inside = false;
    for line in manifest.lines() {
        if let Some(title) = line.strip_prefix('[') {
            inside = title.trim_end_matches(']').ends_with(table);
        } else if let Some((key, _)) = line.split_once('=').filter(|_| inside && !line.starts_with('#')) {
            keys.push(key.trim().split('.').next().unwrap_or_default().to_owned());
        }
    }
    keys
}

fn blocks<'a>(markdown: &'a str, language: &str) -> Vec<&'a str> {
    let opening = format!("```{language}\n");
    let block = |rest: &'a str| rest.split("```").next().unwrap_or_default();
    markdown.split(opening.as_str()).skip(1).map(block).collect()
}

#[test]
fn the_template_and_the_dummy_are_short() {
    let (template, dummy) = (text("plugins/template/src/lib.rs"), text("plugins/dummy/src/lib.rs"));
    let (template, dummy) = (lines_of_code(&template), lines_of_code(&dummy));
    assert!((10..=40).contains(&template), "the template has {template} lines of code, 40 at most are promised");
    assert!((10..=80).contains(&dummy), "the dummy has {dummy} lines of code, 80 at most are promised");
}

#[test]
fn they_depend_on_the_api_alone_and_need_no_unsafe() {
    for folder in [TEMPLATE, DUMMY] {
        let manifest = text(&format!("{folder}/Cargo.toml"));
        let mut dependencies = keys(&manifest, "dependencies");
        assert!(!dependencies.is_empty(), "{folder}");
        dependencies.retain(|name| name != "monitor-plugin-api");
        assert_eq!(dependencies, [""; 0], "{folder}");
        assert!(!text(&format!("{folder}/src/lib.rs")).contains("unsafe"), "{folder}");
    }
    // The compiler sees to it too, after the macro has been expanded.
    assert!(text("plugins/template/Cargo.toml").contains("\nunsafe_code = \"forbid\"\n"));
}

#[test]
fn the_template_stands_alone() {
    let manifest = text("plugins/template/Cargo.toml");
    assert!(manifest.ends_with("\n[workspace]\n") && !manifest.contains(".workspace = true"), "{manifest}");
}

#[test]
fn the_guides_show_the_dockerfile_of_the_template() {
    let dockerfile = text("plugins/template/Dockerfile");
    assert_eq!(dockerfile.lines().filter(|line| line.starts_with("FROM ")).count(), 2);
    for guide in ["README.md", "plugin-api/README.md"] {
        assert!(blocks(&text(guide), "dockerfile").contains(&dockerfile.as_str()), "{guide}: not as in the template");
    }
}

/// `.ci/image` runs the blocks of `sh` and writes those that begin with the name of a file.
#[test]
fn the_guide_leads_from_a_folder_to_a_sample() {
    let guide = text("plugin-api/README.md");
    let chapter = guide.split("\n## ").find(|chapter| chapter.starts_with("From an empty folder")).unwrap();
    let commands = blocks(chapter, "sh").concat();
    for command in ["mkdir ", "/opt/monitor/template/.", "sdk ./ci", "docker build ", "docker run ", "/api/v1/query?"] {
        assert!(commands.contains(command), "no {command:?} in the commands of the guide");
    }
    for source in blocks(chapter, "rust") {
        assert!(source.starts_with("// src/") && !source.contains("unsafe"), "{source}");
    }
}

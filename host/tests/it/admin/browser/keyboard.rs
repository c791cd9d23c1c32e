//! Without a mouse, and without a screen.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::View;
use crate::admin::shown;
use crate::faults::host;
use crate::sink::Sink;

const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";
const SPACE: &str = " ";

/// So many presses of Tab lead to everything and around.
const MOST_STOPS: usize = 200;

/// What somebody operates, by its role in the accessibility tree.
const CONTROLS: [&str; 12] = [
    "button",
    "checkbox",
    "combobox",
    "DisclosureTriangle",
    "link",
    "listbox",
    "option",
    "searchbox",
    "slider",
    "switch",
    "tab",
    "textbox",
];

#[test]
fn all_of_it_works_by_the_keyboard() {
    let sink = Sink::start();
    let running = shown(host(sink.url())).env("FAULT_SERIES", "3").spawn();
    let Some(view) = View::of(&running) else { return };
    view.until::<bool>("delivers() === 'yes' && all('#series button').length === 3");

    // To the search.
    let focus = "document.activeElement";
    tab_until(&view, &format!("{focus}.id === 'search'"));
    view.browser.press("1");
    view.until::<bool>("all('#series button').filter(isShown).length === 1");
    // On to the entry.
    tab_until(&view, &format!("{focus}.matches('#series button[data-series]')"));
    let name = json!(view.see::<String>(&format!("{focus}.dataset.series")));
    assert!(name.as_str().is_some_and(|name| name.contains("fault_number")), "{name}");
    if view.see::<bool>(&format!("entry({name}).ariaPressed === 'true'")) {
        view.browser.press(SPACE);
        view.until::<bool>(&format!("entry({name}).ariaPressed === 'false' && !chart({name})"));
    }
    view.browser.press(ENTER);
    view.until::<bool>(&format!("entry({name}).ariaPressed === 'true' && points({name}) > 2"));
    // The page has been drawn anew several times since, and the focus is where it was.
    let is_on_it = format!("{focus} === entry({name}) && {focus}.matches(':focus-visible')");
    assert!(view.see::<bool>(&is_on_it), "the focus went to {}", view.see::<String>(&format!("{focus}.outerHTML")));
    view.browser.press(SPACE);
    view.until::<bool>(&format!("entry({name}).ariaPressed === 'false' && !chart({name})"));
    assert!(view.see::<bool>(&is_on_it), "the focus went to {}", view.see::<String>(&format!("{focus}.outerHTML")));
    view.browser.press(ENTER);
    view.until::<bool>(&format!("Boolean(chart({name}))"));

    // Everything that can be operated, in the order in which it stands there, and each shows that it has the focus.
    let operable = "a[href], button, input, select, textarea, summary, [tabindex]:not([tabindex^=\"-\"])";
    let all: usize = view.run(&format!(
        "document.activeElement.blur();
        window.operable = all('{operable}').filter((one) => isShown(one) && !one.disabled);
        return window.operable.length;"
    ));
    view.see::<Value>("getSelection().removeAllRanges(), document.body.focus(), scrollTo(0, 0)");
    let mut stops = Vec::new();
    for _ in 0..MOST_STOPS {
        view.browser.press(TAB);
        // Behind the last one lies the browser's own window, and then the first.
        let Some(stop) = view.run::<Option<Value>>(include_str!("stop.js")) else { continue };
        if stops.iter().any(|known: &Value| known["index"] == stop["index"]) {
            break;
        }
        assert_eq!(stop["shows"], true, "no ring round {stop}");
        stops.push(stop);
    }
    let mut reached: Vec<i64> = stops.iter().filter_map(|stop| stop["index"].as_i64()).collect();
    // It began wherever the last focus was.
    let first = reached.iter().position(|&index| index == 0).unwrap_or_default();
    reached.rotate_left(first);
    assert!(reached.is_sorted(), "in the order of the page: {stops:?}");
    assert_eq!(reached.len(), all, "everything is reached: {stops:?}");
    view.assert_clean();
}

#[track_caller]
fn tab_until(view: &View, reached: &str) {
    for _ in 0..MOST_STOPS {
        view.browser.press(TAB);
        if view.see::<bool>(reached) {
            return;
        }
    }
    panic!("Tab never leads to {reached}");
}

/// A node of the accessibility tree.
#[derive(Debug)]
struct Node {
    role: String,
    name: String,
    /// Of what it has beside them: `focusable`, `level`, `live`, `pressed`, …
    properties: BTreeMap<String, Value>,
}

/// What assistive technology gets of the page, in the order of the page.
#[track_caller]
fn tree(view: &View) -> Vec<Node> {
    view.browser.command("Accessibility.enable", json!({}));
    let tree = view.browser.command("Accessibility.getFullAXTree", json!({}));
    let nodes = tree["nodes"].as_array().unwrap_or_else(|| panic!("no tree: {tree}"));
    let by_id: BTreeMap<&str, &Value> =
        nodes.iter().filter_map(|node| Some((node["nodeId"].as_str()?, node))).collect();
    let (mut in_order, mut left) = (Vec::new(), vec![&nodes[0]]);
    while let Some(node) = left.pop() {
        let children = node["childIds"].as_array().into_iter().flatten().rev();
        left.extend(children.filter_map(|id| by_id.get(id.as_str()?)));
        if node["ignored"] != true {
            in_order.push(read(node));
        }
    }
    in_order
}

fn read(node: &Value) -> Node {
    let text = |what: &str| node[what]["value"].as_str().unwrap_or_default().trim().to_owned();
    let properties = node["properties"].as_array().into_iter().flatten();
    let properties =
        properties.filter_map(|one| Some((one["name"].as_str()?.to_owned(), one["value"]["value"].clone())));
    Node { role: text("role"), name: text("name"), properties: properties.collect() }
}

#[test]
fn a_screen_reader_gets_all_of_it() {
    let sink = Sink::start();
    let running = shown(host(sink.url())).spawn();
    let Some(view) = View::of(&running) else { return };
    let name = view.look_at("fault_number");
    view.until::<bool>(&format!("delivers() === 'yes' && points({}) > 2", json!(name)));
    sink.answer(json!({"status": 503, "body": "not now"}));
    view.until::<bool>("errors().length > 0");

    let nodes = tree(&view);
    let of_role = |role: &str| nodes.iter().filter(|node| node.role == role).collect::<Vec<_>>();
    // What is the page's own, and where its skip link leads to.
    let is_ground = |node: &Node| ["RootWebArea", "main"].contains(&&*node.role);
    let is_control = |node: &&Node| {
        let is_focusable = node.properties.get("focusable") == Some(&json!(true));
        CONTROLS.contains(&node.role.as_str()) || is_focusable && !is_ground(node)
    };
    let controls: Vec<_> = nodes.iter().filter(is_control).collect();
    assert!(controls.len() > 2, "{nodes:?}");
    for control in controls {
        assert!(!control.name.is_empty(), "a control without a name: {control:?}");
    }
    for picture in nodes.iter().filter(|node| ["image", "img", "graphics-document"].contains(&&*node.role)) {
        assert!(!picture.name.is_empty(), "a picture without a name: {picture:?}");
    }

    assert_eq!(of_role("main").len(), 1, "one main landmark");
    assert_eq!(of_role("searchbox").len(), 1);
    for region in nodes.iter().filter(|node| ["region", "search", "navigation"].contains(&&*node.role)) {
        assert!(!region.name.is_empty(), "a landmark without a name: {region:?}");
    }
    let status = of_role("status");
    assert!(
        !status.is_empty() && status.iter().all(|one| one.properties.get("live") == Some(&json!("polite"))),
        "{status:?}"
    );
    assert!(
        of_role("button").iter().any(|one| one.properties.contains_key("pressed") || one.role == "ToggleButton")
            || nodes.iter().any(|one| one.properties.get("pressed") == Some(&json!("true"))),
        "what is looked at is told"
    );

    let levels: Vec<i64> =
        of_role("heading").iter().map(|node| node.properties["level"].as_i64().expect("a level")).collect();
    assert_eq!((levels.first(), levels.iter().filter(|&&level| level == 1).count()), (Some(&1), 1), "{levels:?}");
    assert!(levels.windows(2).all(|pair| pair[1] <= pair[0] + 1), "no level is left out: {levels:?}");

    // What the tree doesn't tell.
    assert!(view.see::<bool>("document.documentElement.lang === 'en' && document.title.length > 5"));
    let twice = "all('[id]').map((one) => one.id).filter((id, i, ids) => ids.indexOf(id) !== i)";
    assert_eq!(view.see::<Vec<String>>(twice), [""; 0], "identifiers stand once");
    let headless = "all('table').filter((table) => !one('th', table)).length";
    assert_eq!(view.see::<usize>(headless), 0, "tables have headings");
    view.assert_clean();
}

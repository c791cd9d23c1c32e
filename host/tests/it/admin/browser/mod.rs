//! The status page in a real browser, served by the real binary, with real plugins and a real receiver.
//!
//! Enters: a running host. Leaves: what somebody sees who looks at its page, and what a screen reader gets. Never: looks at
//! the page's source or data; only the elements of its contract (`look.js`) are known.

mod driver;
mod events;
mod fetch;
mod hostile;
mod keyboard;
mod many;
mod pictures;

use std::time::Instant;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::page_of;
use crate::faults::LONG;
use crate::host::Running;
use driver::Browser;

/// How long the browser itself waits for something, before it is asked anew: well below what the driver's answer may take.
const SLICE_MS: u64 = 20_000;

/// The page of a running host, as a browser shows it.
struct View<'a> {
    running: &'a Running,
    browser: Browser,
    url: String,
}

impl<'a> View<'a> {
    /// Opens it. None, with one line that says so, where there is no browser; in CI that is a failure.
    #[track_caller]
    fn of(running: &'a Running) -> Option<Self> {
        Some(Self::within(Browser::start()?, running))
    }

    /// Opens it in a browser that was started before the host, for what lasts moments.
    #[track_caller]
    fn within(browser: Browser, running: &'a Running) -> Self {
        let url = page_of(running);
        browser.open(&format!("{url}/"));
        Self { running, browser, url }
    }

    /// What this expression is in the page; see `look.js` for what it can be made of.
    #[track_caller]
    fn see<T: DeserializeOwned>(&self, expression: &str) -> T {
        self.browser.eval(&format!("{}return {expression};", include_str!("look.js")), &[])
    }

    /// What a file of statements returns in the page.
    #[track_caller]
    fn run<T: DeserializeOwned>(&self, statements: &str) -> T {
        self.browser.eval(&format!("{}{statements}", include_str!("look.js")), &[])
    }

    /// Waits until this expression is something other than false, zero, empty or an error; what it is then.
    #[track_caller]
    fn until<T: DeserializeOwned>(&self, expression: &str) -> T {
        #[derive(Deserialize)]
        struct Seen {
            seen: Option<Value>,
            why: Option<String>,
        }
        let body = format!("{}{}", include_str!("look.js"), include_str!("until.js").replace("EXPRESSION", expression));
        let deadline = Instant::now() + LONG;
        loop {
            let Seen { seen, why } = self.browser.eval_later(&body, &[json!(SLICE_MS)]);
            if let Some(seen) = seen {
                return serde_json::from_value(seen).unwrap_or_else(|error| panic!("{expression}: {error}"));
            }
            let page = || self.see::<String>("document.body.innerText");
            assert!(Instant::now() < deadline, "never {expression} ({why:?}) on the page:\n{}", page());
        }
    }

    /// Waits until this expression is an element, and clicks on it.
    #[track_caller]
    fn click(&self, expression: &str) {
        self.until::<bool>(&format!("Boolean({expression})"));
        self.browser.click(&format!("{}return {expression};", include_str!("look.js")), &[]);
    }

    /// Waits for a series whose name holds this, adds it to those that are looked at unless it is there, and returns its name.
    #[track_caller]
    fn look_at(&self, part: &str) -> String {
        let found =
            format!("all('#series button[data-series]').find((one) => one.dataset.series.includes({}))", json!(part));
        let name: String = self.until(&format!("{found}?.dataset.series"));
        let is_chosen = format!("entry({0}).ariaPressed === 'true' && Boolean(chart({0}))", json!(name));
        if !self.see::<bool>(&is_chosen) {
            self.click(&format!("entry({})", json!(name)));
        }
        self.until::<bool>(&is_chosen);
        name
    }

    /// Nothing went wrong on the page so far that a developer would have to look into, nobody else was asked for anything, and
    /// no secret stands in it.
    #[track_caller]
    fn assert_clean(&self) {
        assert_eq!(self.browser.console(), [""; 0], "the console");
        let asked_for = self.browser.asked_for();
        let ours = format!("{}/", self.url);
        // What stands in the page itself is asked of nobody.
        let others = asked_for.iter().filter(|url| !url.starts_with(&ours) && !url.starts_with("data:"));
        assert_eq!(others.collect::<Vec<_>>(), [""; 0], "the page is to need nothing but its host");
        assert!(asked_for.contains(&ours), "the browser tells what it asks for: {asked_for:?}");
        self.running.assert_no_secret_in(&self.see::<String>("document.documentElement.outerHTML"));
    }
}

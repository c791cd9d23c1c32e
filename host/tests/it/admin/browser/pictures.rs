//! How it looks: in both themes, wide and narrow, while all is well and while nothing is delivered.
//!
//! The pictures lie in `target/status-page/`. With UPDATE_PICTURE=1 the README's is taken anew, of a longer run, as `cargo demo`
//! shows it: `UPDATE_PICTURE=1 cargo test -p monitor-host --test it admin::browser::pictures`.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};
use signal_hook::consts::SIGKILL;

use super::View;
use crate::admin::shown;
use crate::drive;
use crate::sink::Sink;

/// A picture in the README is loaded by everybody who looks at the repository.
const LARGEST_PICTURE: usize = 150 * 1024;

/// Points of a chart at which the README's picture is taken; there are two a second.
const HISTORY: usize = 80;

/// So many of them are awaited at a time.
const STEP: usize = 10;

/// WCAG 2's least contrast of text is part of the script; here is what it found.
#[derive(Debug, Deserialize)]
struct Contrast {
    texts: usize,
    poor: Vec<Value>,
}

#[test]
fn it_can_be_read_in_both_themes_and_on_a_phone() {
    let sink = Sink::start();
    let url = sink.url().replace("/api/v1/write", "/a/path/that/is/long/enough/to/need/a/line/of/its/own/api/v1/write");
    let running = shown(drive::host("monitor-dummy", &url)).env("PUSH_INTERVAL_S", "0.5").env("READY_MAX_AGE_S", "1");
    let running = running.env("LOG_LEVEL", "INFO").env("INSTANCE", "node7").spawn();
    let Some(view) = View::of(&running) else { return };
    for part in ["package-0", "dram"] {
        let name = view.look_at(part);
        view.until::<bool>(&format!("points({}) > 20", json!(name)));
    }
    view.until::<bool>("delivers() === 'yes'");
    look(&view, "good");
    let words = "out of disk: /var/lib/prometheus/wal/00000042: no space left on device ".repeat(4);
    sink.answer(json!({"status": 503, "body": words}));
    view.until::<bool>("delivers() === 'no' && errors().length > 0");
    look(&view, "refused");
    view.assert_clean();
    running.signal(SIGKILL);
    view.until::<bool>("delivers() === 'unreachable'");
    look(&view, "gone");
}

/// Takes its pictures, and judges what can be judged without eyes.
#[track_caller]
fn look(view: &View, state: &str) {
    let grounds = ["light", "dark"].map(|theme| {
        paint(view, theme);
        for width in [1280, 390] {
            let file = folder().join(format!("{state}-{theme}-{width}.png"));
            fs::write(file, picture(view, width, "document.documentElement.scrollHeight")).expect("a picture");
            assert!(view.see::<u64>("count('receiver')") > 0, "{state}: {width} px: the counts are gone");
        }
        narrow(view, state);
        let Contrast { texts, poor } = view.run(include_str!("contrast.js"));
        assert!(texts > 30 && poor.is_empty(), "{theme}, {state}: of {texts} texts, these are hard to read: {poor:?}");
        view.see::<String>("getComputedStyle(document.body).backgroundColor")
    });
    assert_ne!(grounds[0], grounds[1], "the themes differ");
}

/// Down to 320 px, as WCAG 2 asks for, nothing has to be scrolled sideways but what says so itself.
#[track_caller]
fn narrow(view: &View, state: &str) {
    for width in [1280, 768, 360, 320] {
        resize(view, width);
        let wide: Vec<Value> = view.run(include_str!("wide.js"));
        let shown: i64 = view.see("document.documentElement.scrollWidth");
        assert!(shown <= width && wide.is_empty(), "{state}: {shown} px on {width}: {wide:?}");
    }
}

#[test]
fn the_readmes_picture_can_be_taken() {
    let sink = Sink::start();
    let update = std::env::var_os("UPDATE_PICTURE").is_some_and(|update| update == "1");
    // As somebody has it who runs the demo.
    let running =
        shown(drive::host("monitor-dummy", sink.url())).env("LOG_LEVEL", "INFO").env("INSTANCE", "node7").spawn();
    let Some(view) = View::of(&running) else { return };
    paint(&view, "light");
    resize(&view, 1200);
    let enough = if update { HISTORY } else { STEP };
    let names = ["package-0", "core", "uncore", "dram", "gpu-0"].map(|part| view.look_at(part));
    for name in &names {
        for step in (STEP..=enough).step_by(STEP) {
            view.until::<bool>(&format!("delivers() === 'yes' && points({}) >= {step}", json!(name)));
        }
    }
    view.see::<Value>("document.activeElement.blur()");
    // Settings are no picture.
    let png = picture(&view, 1200, "one('#charts').closest('section').getBoundingClientRect().bottom + scrollY + 16");
    assert!(png.starts_with(b"\x89PNG") && png.len() < LARGEST_PICTURE, "{} bytes", png.len());
    fs::write(folder().join("readme.png"), &png).expect("a picture");
    if update {
        let readmes = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("docs/status-page.png");
        fs::write(readmes, png).expect("a picture");
    }
    view.assert_clean();
}

fn folder() -> PathBuf {
    // Cargo's folder for test files lies directly in the target folder.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("status-page");
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn paint(view: &View, theme: &str) {
    let media = json!({"features": [{"name": "prefers-color-scheme", "value": theme}]});
    view.browser.command("Emulation.setEmulatedMedia", media);
}

/// Comes back when all that depends on the width has been laid out anew.
#[track_caller]
fn resize(view: &View, width: i64) {
    let metrics = json!({"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false});
    view.browser.command("Emulation.setDeviceMetricsOverride", metrics);
    let two_frames = "const [done] = arguments; requestAnimationFrame(() => requestAnimationFrame(() => done(true)));";
    view.browser.eval_later::<bool>(two_frames, &[]);
}

/// The page at this width, down to a height that is an expression, as a PNG.
#[track_caller]
fn picture(view: &View, width: i64, height: &str) -> Vec<u8> {
    resize(view, width);
    let height: f64 = view.see(height);
    let clip = json!({"x": 0, "y": 0, "width": width, "height": height, "scale": 1});
    let taken = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
    let taken = view.browser.command("Page.captureScreenshot", taken);
    decoded(taken["data"].as_str().expect("a picture"))
}

/// The bytes of base64.
fn decoded(text: &str) -> Vec<u8> {
    let sextet = |letter: u8| match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let letters: Vec<u8> = text.bytes().filter(|&letter| letter != b'=').collect();
    let mut bytes = Vec::with_capacity(letters.len() * 3 / 4);
    for four in letters.chunks(4) {
        let bits = four.iter().fold(0_u32, |bits, &letter| bits << 6 | u32::from(sextet(letter)));
        let bits = bits << (6 * (4 - four.len()));
        bytes.extend_from_slice(&bits.to_be_bytes()[1..four.len()]);
    }
    bytes
}

#[test]
fn base64_is_decoded() {
    let decoded = ["", "TQ==", "TWE=", "TWFu", "/+8A"].map(decoded);
    assert_eq!(decoded, [&b""[..], b"M", b"Ma", b"Man", b"\xff\xef\0"].map(<[u8]>::to_vec));
}

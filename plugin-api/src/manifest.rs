//! What a plugin library says about itself, readable without opening it.
//!
//! The library exports the symbol [`SYMBOL`]: static text, lines of `key=value` after a first line that names the
//! format, ended by a NUL. Keys that a reader doesn't know are for newer readers. Nothing in it needs relocation.

/// The symbol that holds the manifest.
pub const SYMBOL: &str = "MONITOR_PLUGIN_MANIFEST";

/// The first line of the text, the format and its version.
pub const FIRST_LINE: &str = "monitor-plugin-manifest 1";

/// No manifest is longer than this, in bytes.
pub const MAX_BYTES: usize = 4096;

/// A manifest that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The version of monitor-plugin-api that the plugin was built with, `1.0.0`.
    pub api: String,
    /// The plugin's crate.
    pub name: String,
    /// The plugin's own version.
    pub version: String,
    /// The compiler, as `rustc --version` names itself.
    pub rustc: String,
    /// The target triple.
    pub target: String,
    /// What a panic does: `unwind`, or `abort`, which ends the process. Empty where a plugin doesn't say.
    pub panic: String,
    /// Whether threads of what it opens go on when it has ended: `stay`, or empty for none.
    pub threads: String,
}

impl Manifest {
    /// Reads a manifest from the bytes at [`SYMBOL`], or `None` if they are not one.
    pub fn parse(bytes: &[u8]) -> Option<Manifest> {
        let bytes = &bytes[..bytes.len().min(MAX_BYTES)];
        let end = bytes.iter().position(|&b| b == 0)?;
        let text = std::str::from_utf8(&bytes[..end]).ok()?;
        // It is shown to people: nothing in it may move a terminal's cursor.
        if text.contains(|c: char| c.is_control() && c != '\n') {
            return None;
        }
        let mut lines = text.lines();
        if lines.next() != Some(FIRST_LINE) {
            return None;
        }
        let mut manifest = Manifest::default();
        for (key, value) in lines.filter_map(|line| line.split_once('=')) {
            let field = match key {
                "api" => &mut manifest.api,
                "name" => &mut manifest.name,
                "version" => &mut manifest.version,
                "rustc" => &mut manifest.rustc,
                "target" => &mut manifest.target,
                "panic" => &mut manifest.panic,
                "threads" => &mut manifest.threads,
                _ => continue,
            };
            value.clone_into(field);
        }
        (!manifest.api.is_empty()).then_some(manifest)
    }
}

/// What a panic does here: a build script is not told, and `concat!` takes literals only.
#[cfg(panic = "abort")]
macro_rules! on_panic {
    () => {
        "abort"
    };
}
#[cfg(not(panic = "abort"))]
macro_rules! on_panic {
    () => {
        "unwind"
    };
}

/// The lines that are the same for every plugin built with this crate by this compiler.
#[doc(hidden)]
pub const COMMON: &str = concat!(
    "monitor-plugin-manifest 1\napi=",
    env!("CARGO_PKG_VERSION"),
    "\nrustc=",
    env!("PLUGIN_API_RUSTC"),
    "\ntarget=",
    env!("PLUGIN_API_TARGET"),
    "\npanic=",
    on_panic!(),
    "\n",
);

/// Joins [`COMMON`] and the plugin's own lines into static bytes, padded with NUL.
#[doc(hidden)]
pub const fn bytes<const N: usize>(own: &str) -> [u8; N] {
    let (common, own) = (COMMON.as_bytes(), own.as_bytes());
    let mut out = [0u8; N];
    let mut i = 0;
    while i < common.len() {
        out[i] = common[i];
        i += 1;
    }
    while i < common.len() + own.len() {
        out[i] = own[i - common.len()];
        i += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_macro_writes_can_be_read() {
        const OWN: &str = "name=cpu\nversion=0.3.1\n";
        const TEXT: [u8; COMMON.len() + OWN.len() + 1] = bytes(OWN);
        let manifest = Manifest::parse(&TEXT).unwrap();
        assert_eq!((manifest.name.as_str(), manifest.version.as_str()), ("cpu", "0.3.1"));
        assert_eq!(manifest.api, env!("CARGO_PKG_VERSION"));
        assert!(manifest.rustc.starts_with("rustc "), "{}", manifest.rustc);
        assert!(manifest.target.contains('-'), "{}", manifest.target);
        assert_eq!((manifest.panic.as_str(), manifest.threads.as_str()), ("unwind", ""));
    }

    #[test]
    fn other_bytes_are_none() {
        for bytes in [
            &b""[..],
            b"\0",
            b"monitor-plugin-manifest 2\napi=1.0.0\n\0",
            b"monitor-plugin-manifest 1\n\0",
            b"monitor-plugin-manifest 1\napi=1.0.0\nname=\x1b[2J\n\0",
            b"\xff\0",
        ] {
            assert_eq!(Manifest::parse(bytes), None);
        }
    }
}

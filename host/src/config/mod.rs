//! The configuration of `monitor-host run`: flags and environment variables enter, a [`Config`] of checked, typed values
//! leaves, or every mistake in them at once.
//!
//! A value is the flag's, else the environment's, else the default; what is empty or blank counts as not given.
//! Nothing here opens a file or a socket, nothing else in the host reads the environment, and no test sets a variable:
//! the environment is a function from names to values.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use clap::ArgMatches;

pub(crate) mod kind;
#[macro_use]
mod table;
pub(crate) mod access;
mod choices;
mod flags;
mod secret;
mod shown;
mod together;
mod url;
pub mod vars;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;

#[cfg(test)]
mod tests;

pub(crate) use self::flags::flags;
use self::kind::Kind;
pub use self::secret::Secret;
pub use self::shown::Shown;
pub use self::table::Var;
pub use self::url::TargetUrl;
pub use self::vars::Config;

impl Config {
    /// The configuration by these flags (of [`crate::cli::command`]) and this environment, usually
    /// `|name| std::env::var_os(name)`.
    pub fn load(flags: &ArgMatches, env: impl Fn(&str) -> Option<OsString>) -> Result<Self, Mistakes> {
        Self::load_only(vars::TABLE, flags, env)
    }

    /// As [`load`](Self::load), but every variable that is not in `heeded` is taken for unset, whatever it holds.
    pub fn load_only(
        heeded: &[&Var],
        flags: &ArgMatches,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, Mistakes> {
        let mut reader = Reader { heeded, flags, env: &env, mistakes: Vec::new(), shown: Vec::new() };
        let config = Config::read(&mut reader).and_then(|mut config| {
            let labels = std::mem::take(&mut config.external_labels);
            config.external_labels = reader.expand(&vars::EXTERNAL_LABELS, labels)?;
            if config.instance.is_empty() {
                config.instance = (reader.env)("HOSTNAME").and_then(|name| name.into_string().ok()).unwrap_or_default();
            }
            shown::complete(&mut config);
            Some(config)
        });
        reader.contradictions();
        config.filter(|_| reader.mistakes.is_empty()).ok_or(Mistakes(reader.mistakes))
    }

    /// The receiver's URL without its credentials and its query.
    pub fn url_for_log(&self) -> String {
        self.remote_write_url.to_string()
    }
}

/// Whether what a variable holds is not for labels, which everybody sees who may query the receiver.
fn may_hold_secret(name: &str) -> bool {
    let may = |var: &&Var| var.secret || var.name == vars::REMOTE_WRITE_URL.name;
    vars::TABLE.iter().copied().filter(may).any(|var| var.name == name || var.also.contains(&name))
}

/// The variables that the host alone is to know: those that may hold secrets for the receiver. Proxies are the system's own
/// convention, and a plugin may need them.
pub fn secrets() -> impl Iterator<Item = &'static str> {
    let of_the_receiver = |var: &&&Var| var.name.starts_with("REMOTE_WRITE_");
    let may_hold_one = |var: &&&Var| var.secret || var.name == vars::REMOTE_WRITE_URL.name;
    vars::TABLE.iter().filter(of_the_receiver).filter(may_hold_one).map(|var| var.name)
}

/// Whether people's log may be coloured, by the convention of <https://no-color.org>: `NO_COLOR`, if not empty, forbids it.
pub fn colour_allowed(env: impl Fn(&str) -> Option<OsString>) -> bool {
    env("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Everything that is wrong with a configuration; displayed as one line each, with no newline at the end.
#[derive(Debug, PartialEq, Eq)]
pub struct Mistakes(Vec<String>);

impl Mistakes {
    /// One line each, in the order of the table.
    pub fn lines(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Mistakes {}

/// The plugin to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginPath {
    /// Its shared library.
    pub path: PathBuf,
    /// Whether the dummy stands in because nothing else was given: its readings are not real.
    pub is_dummy: bool,
}

/// The plugin by `MONITOR_IMPL_PATH`; unset, what lies beside the binary: `libmonitor_impl.so`, else the dummy.
/// Whether the file that was chosen is there, and is a plugin, is the loader's to find out.
pub fn plugin_path(explicit: Option<PathBuf>, exe_dir: &Path, exists: impl Fn(&Path) -> bool) -> PluginPath {
    let beside = exe_dir.join("libmonitor_impl.so");
    match explicit {
        Some(path) => PluginPath { path, is_dummy: false },
        None if exists(&beside) => PluginPath { path: beside, is_dummy: false },
        None => PluginPath { path: exe_dir.join("libmonitor_dummy.so"), is_dummy: true },
    }
}

/// Reads one variable after the other and keeps what is wrong with them.
pub(crate) struct Reader<'a> {
    heeded: &'a [&'a Var],
    flags: &'a ArgMatches,
    env: &'a dyn Fn(&str) -> Option<OsString>,
    mistakes: Vec<String>,
    shown: Vec<Shown>,
}

impl Reader<'_> {
    fn read<K: Kind>(&mut self, var: &Var, kind: &K) -> Option<K::Value> {
        let (source, given) = self.given(var);
        let text = match given.as_deref().map(OsStr::to_str) {
            None => Ok(var.default),
            Some(Some(text)) => Ok(text.trim()),
            Some(None) => Err("not valid UTF-8"),
        };
        match text.and_then(|text| kind.parse(text)) {
            Ok(value) => {
                let given = given.as_deref().and_then(OsStr::to_str).map(|text| (source.as_str(), text.trim()));
                self.shown.push(Shown::of(var, given));
                Some(value)
            }
            Err(wrong) => {
                let given = given.unwrap_or_else(|| var.default.into());
                self.mistakes.push(mistake(var, &source, &given.to_string_lossy(), wrong));
                None
            }
        }
    }

    /// Puts the values of variables in the places of `${NAME}`.
    fn expand(&mut self, var: &Var, labels: Vec<(String, String)>) -> Option<Vec<(String, String)>> {
        let mut expanded = Vec::with_capacity(labels.len());
        for (label, value) in labels {
            let mut text = String::new();
            let mut rest = value.as_str();
            while let Some((before, name, after)) = placeholder(rest) {
                if may_hold_secret(name) {
                    let (source, _) = self.given(var);
                    self.mistakes.push(mistake(var, &source, &value, "names a variable that may hold a secret"));
                    return None;
                }
                let Some(found) = (self.env)(name).and_then(|found| found.into_string().ok()) else {
                    let (source, _) = self.given(var);
                    self.mistakes.push(mistake(var, &source, &value, "names a variable that is not set, or not UTF-8"));
                    return None;
                };
                text.push_str(before);
                text.push_str(&found);
                rest = after;
            }
            text.push_str(rest);
            expanded.push((label, text));
        }
        Some(expanded)
    }

    /// What was given and not blank, and where: `PUSH_INTERVAL_S=`, or its flag.
    fn given(&self, var: &Var) -> (String, Option<OsString>) {
        if !self.heeded.iter().any(|heeded| heeded.name == var.name) {
            return (format!("{}=", var.name), None);
        }
        let there = |value: &OsString| value.to_str().is_none_or(|text| !text.trim().is_empty());
        let flag = match var.secret {
            true => None,
            // Not every command has every flag.
            false => self.flags.try_get_one::<OsString>(var.name).ok().flatten().cloned(),
        };
        if let Some(value) = flag.filter(there) {
            return (format!("--{} ", var.flag.as_str()), Some(value));
        }
        let names = [var.name].into_iter().chain(var.also.iter().copied());
        let found = names.filter_map(|name| Some((format!("{name}="), (self.env)(name).filter(there)?))).next();
        found.map_or((format!("{}=", var.name), None), |(source, value)| (source, Some(value)))
    }

    /// Adds what is wrong between variables, each of which may be right by itself.
    fn contradictions(&mut self) {
        let text = |var: &Var| self.given(var).1.and_then(|value| Some(value.to_str()?.trim().to_owned()));
        let url = text(&vars::REMOTE_WRITE_URL).unwrap_or_else(|| vars::REMOTE_WRITE_URL.default.to_owned());
        let headers = text(&vars::REMOTE_WRITE_HEADERS).and_then(|text| access::Headers.parse(&text).ok());
        let authorization = headers.is_some_and(|headers| headers.contains_key("authorization"));
        let url = TargetUrl::parse(&url).ok();
        let isolation = text(&vars::PLUGIN_ISOLATION).unwrap_or_else(|| vars::PLUGIN_ISOLATION.default.to_owned());
        let isolated = !isolation.eq_ignore_ascii_case("off");
        let lines = together::contradictions(|var| self.given(var).1.is_some(), url.as_ref(), authorization, isolated);
        self.mistakes.extend(lines);
    }
}

/// What stands before the first `${NAME}`, the name, and what stands behind it.
fn placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once("${")?;
    let (name, after) = rest.split_once('}')?;
    Some((before, name, after))
}

/// The environment of this process. HOSTNAME, which shells set and don't export, is the machine's name where it is not set.
pub fn environment(name: &str) -> Option<OsString> {
    let set = std::env::var_os(name);
    if set.is_some() || name != "HOSTNAME" {
        return set;
    }
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(machine.trim().into())
}

/// `PUSH_INTERVAL_S="abc": not a number of seconds; give a number from 0.1 to 86400 (default 4 s)`, on one line.
fn mistake(var: &Var, source: &str, given: &str, wrong: &str) -> String {
    const SHOWN: usize = 80;
    let shown = match var.secret {
        true => "***".to_owned(),
        false => url::redacted(given.trim()),
    };
    let cut: String = shown.chars().take(SHOWN).collect();
    let more = if cut.len() < shown.len() { "..." } else { "" };
    let variable = if source.starts_with("--") { format!(" ({})", var.name) } else { String::new() };
    let source = format!("{source}{cut:?}{more}{variable}");
    let otherwise = match var.default {
        "" => "or leave it out".to_owned(),
        _ => format!("(default {})", var.default_text()),
    };
    format!("{source}: {wrong}; give {} {otherwise}", var.kind.accepts())
}

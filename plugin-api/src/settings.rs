//! A plugin's own settings, from environment variables, with mistakes that read like the host's.
//!
//! Enters: a variable's name, default, unit and bounds. Leaves: a typed value, or one line that names the variable,
//! what it holds and what it may hold. An empty variable is an unset one.

use std::ffi::OsString;
use std::fmt::{Debug, Display};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use crate::error::Error;

/// One setting of a plugin; see [`setting`].
#[derive(Clone, Debug)]
pub struct Setting {
    name: &'static str,
    unit: &'static str,
    text: Result<Option<String>, Error>,
}

/// Reads the environment variable `name`.
///
/// ```
/// # use monitor_plugin_api::{setting, Error};
/// # fn main() -> Result<(), Error> {
/// let gpus: u32 = setting("MY_SENSOR_GPUS").unit("GPUs").number(1, 1..=16)?;
/// let mode = setting("MY_SENSOR_MODE").choice("fast", &["fast", "exact"])?;
/// # assert_eq!((gpus, mode), (1, "fast"));
/// # Ok(())
/// # }
/// ```
pub fn setting(name: &'static str) -> Setting {
    let text = match variable(name).map(OsString::into_string) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text)),
        Some(Err(_)) => Err(Error::new(format!("{name}: not UTF-8"))),
    };
    Setting::from_text(name, text)
}

impl Setting {
    fn from_text(name: &'static str, text: Result<Option<String>, Error>) -> Self {
        let text = text.map(|text| text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()));
        Setting { name, unit: "", text }
    }

    /// The unit of a number, in the plural, for messages.
    #[must_use]
    pub fn unit(mut self, unit: &'static str) -> Self {
        self.unit = unit;
        self
    }

    /// A number within `range`.
    ///
    /// # Errors
    /// It is no such number, or lies outside.
    pub fn number<T>(self, default: T, range: RangeInclusive<T>) -> Result<T, Error>
    where
        T: FromStr + PartialOrd + Display,
    {
        let Some(text) = self.text.clone()? else {
            return Ok(default);
        };
        let number = text.parse::<T>().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| {
            let unit = if self.unit.is_empty() { String::new() } else { format!(" {}", self.unit) };
            let (from, to) = range.into_inner();
            self.wrong(&text, format!("give a number from {from} to {to}{unit} (default {default})"))
        })
    }

    /// A duration, given as a number of seconds, within `range`.
    ///
    /// # Errors
    /// It is no number, or lies outside.
    pub fn seconds(self, default: Duration, range: RangeInclusive<Duration>) -> Result<Duration, Error> {
        let (from, to) = range.into_inner();
        let number = self.unit("seconds").number(default.as_secs_f64(), from.as_secs_f64()..=to.as_secs_f64())?;
        Ok(Duration::from_secs_f64(number))
    }

    /// One of these words, in any case.
    ///
    /// # Errors
    /// It is another word.
    pub fn choice(self, default: &'static str, words: &[&'static str]) -> Result<&'static str, Error> {
        let Some(text) = self.text.clone()? else {
            return Ok(default);
        };
        let word = words.iter().find(|word| word.eq_ignore_ascii_case(&text));
        word.copied().ok_or_else(|| self.wrong(&text, format!("give one of {} (default {default})", words.join(", "))))
    }

    /// Any text.
    ///
    /// # Errors
    /// It is not UTF-8.
    pub fn text(self, default: &str) -> Result<String, Error> {
        Ok(self.text?.unwrap_or_else(|| default.to_owned()))
    }

    /// A secret: the variable itself, or the content of the file that `NAME_FILE` names. Never part of a message.
    ///
    /// # Errors
    /// The file can't be read, or both variables are set.
    pub fn secret(self) -> Result<Option<String>, Error> {
        let file_name = format!("{}_FILE", self.name);
        let file = variable(&file_name).filter(|file| !file.is_empty());
        match (self.text?, file) {
            (Some(_), Some(_)) => {
                Err(Error::new(format!("{} and {file_name} are both set: unset one of them", self.name)))
            }
            (Some(secret), None) => Ok(Some(secret)),
            (None, None) => Ok(None),
            (None, Some(file)) => {
                let secret = std::fs::read_to_string(&file);
                let secret = secret
                    .map_err(|error| Error::from(error).context(format!("{file_name}={}", file.to_string_lossy())))?;
                Ok(Some(secret.trim_end_matches(['\r', '\n']).to_owned()))
            }
        }
    }

    fn wrong(&self, text: &str, what_to_do: String) -> Error {
        let shown: String = text.chars().take(80).collect();
        Error::new(format!("{}={shown:?}: not understood; {what_to_do}", self.name))
    }
}

fn variable(name: &str) -> Option<OsString> {
    #[cfg(feature = "testing")]
    if let Some(given) = GIVEN.with_borrow(Option::clone) {
        return given.get(name).map(OsString::from);
    }
    std::env::var_os(name)
}

/// What a test gives to a plugin in place of the environment.
#[cfg(feature = "testing")]
pub(crate) type Given = std::sync::Arc<std::collections::BTreeMap<String, String>>;

#[cfg(feature = "testing")]
thread_local! {
    static GIVEN: std::cell::RefCell<Option<Given>> = const { std::cell::RefCell::new(None) };
}

/// From now on, settings on this thread come from `given`; `None`: from the environment. Returns what was before.
#[cfg(feature = "testing")]
pub(crate) fn replace_given(given: Option<Given>) -> Option<Given> {
    GIVEN.replace(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str) -> Setting {
        Setting::from_text("X", Ok(Some(text.to_owned())))
    }

    #[test]
    fn empty_is_unset() {
        assert_eq!(given(" ").number(7, 1..=9).unwrap(), 7);
        assert_eq!(given("").choice("a", &["a", "b"]).unwrap(), "a");
        assert_eq!(given("").text("t").unwrap(), "t");
    }

    #[test]
    fn good_values_are_taken() {
        assert_eq!(given(" 3 ").number(7, 1..=9).unwrap(), 3);
        assert_eq!(given("B").choice("a", &["a", "b"]).unwrap(), "b");
        let second = Duration::from_secs(1);
        assert_eq!(given("0.25").seconds(second, Duration::ZERO..=second).unwrap(), second / 4);
    }

    #[test]
    fn mistakes_name_the_variable_and_the_way_out() {
        for bad in ["x", "0", "10", "-1", "NaN", "1e99"] {
            let error = given(bad).unit("series").number(7u32, 1..=9).unwrap_err().to_string();
            assert_eq!(error, format!("X={bad:?}: not understood; give a number from 1 to 9 series (default 7)"));
        }
        for bad in ["x", "NaN", "inf", "-1", "1e999"] {
            let second = Duration::from_secs(1);
            assert!(given(bad).seconds(second, Duration::ZERO..=second).is_err(), "{bad}");
        }
        let error = given("c").choice("a", &["a", "b"]).unwrap_err().to_string();
        assert_eq!(error, r#"X="c": not understood; give one of a, b (default a)"#);
    }
}

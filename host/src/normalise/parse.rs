//! JSON text, read into what the rules need.
//!
//! Enters: text. Leaves: each dictionary in turn, borrowed from the text wherever nothing is escaped, in one scratch
//! [`Dictionary`] for the whole text.
//!
//! Never: judges what it reads; hands anything out before the whole text is known to be JSON; goes deeper than
//! serde_json's 128 levels.

use super::shown::Shown;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// Calls `take` with each item and where it stands. An error comes before the first call or not at all.
pub(super) fn read<'de>(text: &'de str, mut take: impl FnMut(Place, Item<'_, 'de>)) -> Result<(), serde_json::Error> {
    let mut dictionary = Dictionary::default();
    let mut de = serde_json::Deserializer::from_str(text);
    if text.trim_ascii_start().starts_with('[') {
        serde_json::from_str::<Anything>(text)?;
        de.deserialize_seq(List { scratch: dictionary, take })
    } else {
        let item = Read(&mut dictionary).deserialize(&mut de)?;
        de.end()?;
        take(Place::Alone, Item::new(item, &dictionary));
        Ok(())
    }
}

/// Where an item stands.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Alone,
    /// Counted from 0.
    InList(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alone => f.write_str("the document"),
            Self::InList(i) => write!(f, "item {i} of the list"),
        }
    }
}

/// What stands at the top or in the list.
pub(super) enum Item<'a, 'de> {
    Dictionary(&'a Dictionary<'de>),
    Other(Value<'de>),
}

impl<'a, 'de> Item<'a, 'de> {
    fn new(value: Value<'de>, dictionary: &'a Dictionary<'de>) -> Self {
        match value {
            Value::Dictionary => Self::Dictionary(dictionary),
            other => Self::Other(other),
        }
    }
}

/// A JSON value; of lists and dictionaries only that they are.
#[derive(Debug, Default, PartialEq)]
pub(super) enum Value<'de> {
    #[default]
    Null,
    Boolean(bool),
    Integer(i64),
    /// Above `i64::MAX`.
    Unsigned(u64),
    Float(f64),
    Text(Cow<'de, str>),
    List,
    Dictionary,
}

impl Value<'_> {
    /// The number that it is: also the text `NaN`, `Infinity` or `-Infinity`, which is how numbers that JSON doesn't
    /// have are commonly written (see [`super::mend`]).
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Integer(i) => Some(*i as f64),
            Self::Unsigned(u) => Some(*u as f64),
            Self::Float(f) => Some(*f),
            Self::Text(text) => match text.as_ref() {
                "NaN" => Some(f64::NAN),
                "Infinity" => Some(f64::INFINITY),
                "-Infinity" => Some(f64::NEG_INFINITY),
                _ => None,
            },
            _ => None,
        }
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Boolean(b) => write!(f, "{b}"),
            Self::Integer(i) => write!(f, "the number {i}"),
            Self::Unsigned(u) => write!(f, "the number {u}"),
            Self::Float(x) => write!(f, "the number {x:?}"),
            Self::Text(text) => write!(f, "the text {}", Shown(text)),
            Self::List => f.write_str("a list"),
            Self::Dictionary => f.write_str("a dictionary"),
        }
    }
}

/// One dictionary of either shape: of a key that comes twice, the last value. Components and labels keep both.
#[derive(Debug, Default)]
pub(super) struct Dictionary<'de> {
    pub(super) metric: Value<'de>,
    /// [`Value::Dictionary`] when `pairs` are the labels.
    pub(super) labels: Value<'de>,
    pub(super) value: Option<Value<'de>>,
    pub(super) timestamp_ms: Value<'de>,
    pub(super) timestamp: Value<'de>,
    pairs: Vec<(Cow<'de, str>, Value<'de>)>,
    /// Every key that a record doesn't have.
    others: Vec<(Cow<'de, str>, Value<'de>)>,
    is_record: bool,
}

impl<'de> Dictionary<'de> {
    /// Whether one of the keys says so.
    pub(super) fn is_record(&self) -> bool {
        self.is_record
    }

    /// A record's labels, numbers and booleans as text. Fails with the label whose value can't be one, or with none
    /// when `labels` is not a dictionary.
    pub(super) fn labels(&self) -> Result<impl Iterator<Item = (&str, &str)> + Clone, Option<(&str, &Value<'de>)>> {
        if !matches!(self.labels, Value::Null | Value::Dictionary) {
            return Err(None);
        }
        let text = |value: &'_ Value<'de>| matches!(value, Value::Text(_) | Value::Null);
        match self.pairs.iter().find(|(_, value)| !text(value)) {
            Some((name, value)) => Err(Some((name, value))),
            None => Ok(self.pairs.iter().map(|(name, value)| match value {
                Value::Text(text) => (name.as_ref(), text.as_ref()),
                _ => (name.as_ref(), ""),
            })),
        }
    }

    /// The components of a pyJoules-like dictionary.
    pub(super) fn components(&self) -> impl Iterator<Item = (&str, &Value<'de>)> {
        let pairs = self.others.iter().map(|(key, value)| (key.as_ref(), value));
        pairs.filter(|(key, _)| !matches!(*key, "tag" | "duration"))
    }

    fn clear(&mut self) {
        let (mut pairs, mut others) = (std::mem::take(&mut self.pairs), std::mem::take(&mut self.others));
        pairs.clear();
        others.clear();
        *self = Self { pairs, others, ..Self::default() };
    }
}

/// Reads a value, and its dictionary (if it is one) into what it was given.
struct Read<T>(T);

trait Fill<'de> {
    fn fill<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error>;
}

impl<'de> Fill<'de> for &mut Dictionary<'de> {
    fn fill<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.clear();
        while let Some(Key(key)) = map.next_key()? {
            match key.as_ref() {
                "metric" => self.metric = map.next_value_seed(Read(()))?,
                "labels" => {
                    self.pairs.clear();
                    self.labels = map.next_value_seed(Read(&mut self.pairs))?;
                }
                "value" => self.value = Some(map.next_value_seed(Read(()))?),
                "timestamp_ms" => self.timestamp_ms = map.next_value_seed(Read(()))?,
                "timestamp" => {
                    self.timestamp = map.next_value_seed(Read(()))?;
                    continue;
                }
                _ => {
                    self.others.push((key, map.next_value_seed(Read(()))?));
                    continue;
                }
            }
            self.is_record = true;
        }
        Ok(())
    }
}

/// Labels: numbers and booleans become text here.
impl<'de> Fill<'de> for &mut Vec<(Cow<'de, str>, Value<'de>)> {
    fn fill<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Key(key)) = map.next_key()? {
            let value = match map.next_value_seed(Read(()))? {
                Value::Boolean(b) => Value::Text(Cow::Borrowed(if b { "true" } else { "false" })),
                Value::Integer(i) => Value::Text(i.to_string().into()),
                Value::Unsigned(u) => Value::Text(u.to_string().into()),
                Value::Float(x) => Value::Text(format!("{x:?}").into()),
                other => other,
            };
            self.push((key, value));
        }
        Ok(())
    }
}

impl<'de> Fill<'de> for () {
    fn fill<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<Anything, Anything>()?.is_some() {}
        Ok(())
    }
}

impl<'de, T: Fill<'de>> DeserializeSeed<'de> for Read<T> {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, de: D) -> Result<Value<'de>, D::Error> {
        de.deserialize_any(self)
    }
}

impl<'de, T: Fill<'de>> Visitor<'de> for Read<T> {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value<'de>, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value<'de>, E> {
        Ok(i64::try_from(value).map_or(Value::Unsigned(value), Value::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value<'de>, E> {
        Ok(Value::Float(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value<'de>, A::Error> {
        while seq.next_element::<Anything>()?.is_some() {}
        Ok(Value::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value<'de>, A::Error> {
        self.0.fill(map)?;
        Ok(Value::Dictionary)
    }
}

/// A key, borrowed if it can be.
struct Key<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        match Read(()).deserialize(de)? {
            Value::Text(text) => Ok(Self(text)),
            _ => Err(de::Error::custom("a key must be a string")),
        }
    }
}

/// The items of a list, one after the other.
struct List<'de, F> {
    scratch: Dictionary<'de>,
    take: F,
}

impl<'de, F: FnMut(Place, Item<'_, 'de>)> Visitor<'de> for List<'de, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        for i in 0.. {
            let Some(value) = seq.next_element_seed(Read(&mut self.scratch))? else {
                break;
            };
            (self.take)(Place::InList(i), Item::new(value, &self.scratch));
        }
        Ok(())
    }
}

/// Reads everything as strictly as [`Read`] does and keeps nothing. (serde's own `IgnoredAny` is laxer: it takes
/// numbers and escapes that have no meaning, at which a second reading would then fail half-way.)
struct Anything;

impl<'de> Deserialize<'de> for Anything {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        de.deserialize_any(Anything)
    }
}

impl<'de> Visitor<'de> for Anything {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<Anything>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<Anything, Anything>()?.is_some() {}
        Ok(self)
    }
}

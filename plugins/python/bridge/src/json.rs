//! A Python object as JSON text, for the host to judge: it has the rules of what is a record, and the counters.
//!
//! Enters: any object. Leaves: text that the host takes as the record that was meant, or refuses for the reason that
//! applies. Never: fails, or raises; changes an object.
//!
//! Dictionaries, lists, tuples, texts and numbers are what they are in JSON; numbers of other kinds (numpy's, Decimal,
//! Fraction) become numbers, moments become ISO 8601, and whatever else becomes its `str()`, which is no record and no value.
//! A record's `value` and `timestamp_ms` may be all that `float()` and `int()` take, `"12.5"` for example: existing modules rely
//! on that.

use std::io::Write as _;

use pyo3::PyTypeInfo;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

/// Deeper than the host looks: it refuses such a document, which may be one that holds itself.
const DEEPEST: usize = 150;

/// The host refuses more text than this. A small object that holds others many times over may ask for more than there is
/// memory: what lies behind this is left out.
const LONGEST: usize = 64 << 20;

/// Appends the object: a dictionary, a list or tuple of them, or something that the host refuses.
pub(crate) fn write(object: &Bound<'_, PyAny>, out: &mut Vec<u8>) {
    if let Ok(items) = object.cast::<PyList>() {
        enclosed(b"[]", items.iter(), out, |item, out| one(&item, out, 1));
    } else if let Ok(items) = object.cast::<PyTuple>() {
        enclosed(b"[]", items.iter(), out, |item, out| one(&item, out, 1));
    } else {
        one(object, out, 0);
    }
}

fn one(object: &Bound<'_, PyAny>, out: &mut Vec<u8>, depth: usize) {
    match object.cast::<PyDict>() {
        Ok(record) => dictionary(record, out, depth, |name, held, out| match name {
            "value" => taken_by::<PyFloat>(held, out),
            "timestamp_ms" => taken_by::<PyInt>(held, out),
            _ => false,
        }),
        Err(_) => value(object, out, depth),
    }
}

fn value(object: &Bound<'_, PyAny>, out: &mut Vec<u8>, depth: usize) {
    if let Ok(text) = object.cast::<PyString>() {
        string(text, out);
    } else if let Ok(number) = object.cast::<PyFloat>() {
        float(number.value(), out);
    } else if let Ok(flag) = object.cast::<PyBool>() {
        out.extend_from_slice(if flag.is_true() { b"true" } else { b"false" });
    } else if let Ok(number) = object.cast::<PyInt>() {
        integer(number, out);
    } else if object.is_none() || depth > DEEPEST {
        out.extend_from_slice(b"null");
    } else if let Ok(held) = object.cast::<PyDict>() {
        dictionary(held, out, depth, |_, _, _| false);
    } else if let Ok(items) = object.cast::<PyList>() {
        enclosed(b"[]", items.iter(), out, |item, out| value(&item, out, depth + 1));
    } else if let Ok(items) = object.cast::<PyTuple>() {
        enclosed(b"[]", items.iter(), out, |item, out| value(&item, out, depth + 1));
    } else {
        other(object, out);
    }
}

/// `special` writes a value that is not to be written as usual, and says whether it did.
fn dictionary(
    dictionary: &Bound<'_, PyDict>,
    out: &mut Vec<u8>,
    depth: usize,
    special: impl Fn(&str, &Bound<'_, PyAny>, &mut Vec<u8>) -> bool,
) {
    // All of it first: what is made text below is an object's own code, which may change the dictionary.
    let pairs: Vec<_> = dictionary.iter().collect();
    enclosed(b"{}", pairs.into_iter(), out, |(name, held), out| {
        let text = name.cast::<PyString>().ok();
        match text {
            Some(name) => string(name, out),
            None => shown(&name, out),
        }
        out.push(b':');
        let name = text.and_then(|name| name.to_str().ok()).unwrap_or_default();
        if !special(name, &held, out) {
            value(&held, out, depth + 1);
        }
    });
}

/// Writes what is no number yet as the number that this type's constructor makes of it, if it does.
fn taken_by<T: PyTypeInfo>(object: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> bool {
    let is_number = object.cast::<PyFloat>().is_ok() || object.cast::<PyInt>().is_ok();
    if object.is_none() || (is_number && object.cast::<PyBool>().is_err()) {
        return false;
    }
    let Ok(number) = object.py().get_type::<T>().call1((object,)) else { return false };
    value(&number, out, 0);
    true
}

fn enclosed<T>(
    brackets: &[u8; 2],
    items: impl Iterator<Item = T>,
    out: &mut Vec<u8>,
    mut write: impl FnMut(T, &mut Vec<u8>),
) {
    out.push(brackets[0]);
    for (number, item) in items.enumerate() {
        if out.len() > LONGEST {
            break;
        }
        if number > 0 {
            out.push(b',');
        }
        write(item, out);
    }
    out.push(brackets[1]);
}

/// As Python's own `json` writes them; the host takes these words.
fn float(number: f64, out: &mut Vec<u8>) {
    // Writing to memory can't fail.
    let _ = match number {
        _ if number.is_nan() => out.write(b"NaN"),
        f64::INFINITY => out.write(b"Infinity"),
        f64::NEG_INFINITY => out.write(b"-Infinity"),
        _ => return drop(write!(out, "{number:?}")),
    };
}

fn integer(number: &Bound<'_, PyAny>, out: &mut Vec<u8>) {
    if let Ok(number) = number.extract::<i64>() {
        let _ = write!(out, "{number}");
    } else if let Ok(number) = number.extract::<u64>() {
        let _ = write!(out, "{number}");
    } else {
        // Beyond that the host takes the nearest double; where there is none, it says so.
        match number.extract::<f64>() {
            Ok(number) => float(number, out),
            Err(_) => out.extend_from_slice(b"1e999"),
        }
    }
}

fn other(object: &Bound<'_, PyAny>, out: &mut Vec<u8>) {
    let py = object.py();
    let index = object.call_method0(intern!(py, "__index__")).ok();
    if let Some(number) = index.as_ref().and_then(|index| index.cast::<PyInt>().ok()) {
        integer(number, out);
    } else if let Ok(number) = object.extract::<f64>() {
        float(number, out);
    } else {
        let moment = object.call_method0(intern!(py, "isoformat")).ok();
        match moment.as_ref().and_then(|moment| moment.cast::<PyString>().ok()) {
            Some(moment) => string(moment, out),
            None => shown(object, out),
        }
    }
}

/// Its `str()`, as an f-string would have it.
fn shown(object: &Bound<'_, PyAny>, out: &mut Vec<u8>) {
    match object.str() {
        Ok(text) => string(&text, out),
        Err(_) => escaped("<its text can't be made>", out),
    }
}

fn string(text: &Bound<'_, PyString>, out: &mut Vec<u8>) {
    match text.to_str() {
        Ok(text) => escaped(text, out),
        // Half of a UTF-16 pair, as Python writes a byte that it could not decode.
        Err(_) => escaped(&mended(text), out),
    }
}

fn mended(text: &Bound<'_, PyString>) -> String {
    let py = text.py();
    let bytes = text.call_method1(intern!(py, "encode"), (intern!(py, "utf-16-le"), intern!(py, "surrogatepass")));
    let bytes: Vec<u8> = bytes.and_then(|bytes| bytes.extract()).unwrap_or_default();
    let pairs = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    char::decode_utf16(pairs).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

fn escaped(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut plain = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[plain..at]);
        plain = at + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            _ => drop(write!(out, "\\u{byte:04x}")),
        }
    }
    out.extend_from_slice(&bytes[plain..]);
    out.push(b'"');
}

//! JSON text with what JSON doesn't have, made into JSON.
//!
//! Enters: text that was refused. Leaves: the same text with numbers that JSON or a double can't hold quoted (`NaN`,
//! `Infinity`, `-Infinity`, which Python's `json.dumps` writes by default, and `1e999`), and with halves of UTF-16
//! pairs (`\udcff`, which Python writes for undecodable bytes) replaced by U+FFFD. Nothing when there is none of these.
//!
//! Never: repairs any other mistake; changes what is within a string otherwise.

/// The mended text, if there was anything to mend. Whether it is JSON now is for the caller to see.
pub(super) fn mend(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = String::new();
    let mut copied = 0;
    let mut replace = |start: usize, end: usize, by: [&str; 3]| {
        out.push_str(&text[copied..start]);
        out.extend(by);
        copied = end;
    };
    let mut i = 0;
    let mut in_string = false;
    while i < bytes.len() {
        match bytes[i] {
            b'"' => in_string = !in_string,
            b'\\' if in_string => match escape(&bytes[i..]) {
                Escape::Sound(len) => i += len - 1,
                Escape::Half => {
                    replace(i, i + 6, ["\\ufffd", "", ""]);
                    i += 5;
                }
            },
            byte if !in_string && is_token(byte) => {
                let len = bytes[i..].iter().take_while(|b| is_token(**b)).count();
                let token = &text[i..i + len];
                if is_no_json_number(token) && !is_key(&bytes[i + len..]) {
                    replace(i, i + len, ["\"", token, "\""]);
                }
                i += len - 1;
            }
            _ => {}
        }
        i += 1;
    }
    if copied == 0 {
        return None;
    }
    out.push_str(&text[copied..]);
    Some(out)
}

enum Escape {
    /// So many bytes that can stay.
    Sound(usize),
    /// Six bytes: one half of a pair, alone.
    Half,
}

fn escape(bytes: &[u8]) -> Escape {
    match utf16(bytes) {
        Some(0xd800..=0xdbff) => match utf16(&bytes[6..]) {
            Some(0xdc00..=0xdfff) => Escape::Sound(12),
            _ => Escape::Half,
        },
        Some(0xdc00..=0xdfff) => Escape::Half,
        _ => Escape::Sound(2),
    }
}

/// The code unit of a `\u` escape at the beginning.
fn utf16(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |unit, b| Some(unit << 4 | char::from(*b).to_digit(16)? as u16))
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

/// The three words, and numbers whose form is right but which are beyond the largest double.
fn is_no_json_number(token: &str) -> bool {
    matches!(token, "NaN" | "Infinity" | "-Infinity")
        || token.parse().is_ok_and(f64::is_infinite) && serde_json::from_str::<serde::de::IgnoredAny>(token).is_ok()
}

fn is_key(rest: &[u8]) -> bool {
    rest.trim_ascii_start().starts_with(b":")
}

#[cfg(test)]
mod tests {
    use super::mend;

    #[test]
    fn what_json_can_not_hold_is_quoted_or_replaced() {
        for (given, mended) in [
            ("NaN", r#""NaN""#),
            (r#"{"v":NaN}"#, r#"{"v":"NaN"}"#),
            ("[Infinity, -Infinity ,1]", r#"["Infinity", "-Infinity" ,1]"#),
            (r#"["NaN \" NaN",NaN]"#, r#"["NaN \" NaN","NaN"]"#),
            (r#"["\\",NaN]"#, r#"["\\","NaN"]"#),
            ("[1e999,-1E+999]", r#"["1e999","-1E+999"]"#),
            (r#"["a\udcffb"]"#, r#"["a\ufffdb"]"#),
            (r#"["\ud83d","\ude00"]"#, r#"["\ufffd","\ufffd"]"#),
            (r#"["\ud83d\ud83d\ude00"]"#, r#"["\ufffd\ud83d\ude00"]"#),
            (r#"["ä\uD83D"]"#, r#"["ä\ufffd"]"#),
        ] {
            assert_eq!(mend(given).as_deref(), Some(mended), "{given}");
        }
    }

    #[test]
    fn other_mistakes_stay() {
        for given in [
            "",
            "[1,",
            "{NaN: 1}",
            "[nan]",
            "[+Infinity]",
            "[NaNs]",
            "[01e999]",
            "[1e308]",
            r#"["NaN"#,
            r#"["\ud83d\ude00"]"#,
            r#"["\\ud83d"]"#,
            r#"["\ud8"#,
            r#"["\"#,
        ] {
            assert_eq!(mend(given), None, "{given}");
        }
    }
}

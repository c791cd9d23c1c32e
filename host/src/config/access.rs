//! The kinds of values that let a request in: trimmed text of a variable or of a secret's file enters; credentials,
//! headers and proxies leave, or what is wrong with the text. Never repeats the text.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::kind::{Accepts, Kind};
use super::{Secret, TargetUrl};

/// Servers cap a request's head, mostly at 8 or 16 KiB.
const MAX_BYTES: usize = 16 << 10;

const EMPTY: &str = "empty";
const TOO_LONG: &str = "too long";
const CONTROL: &str = "holds a control character";

/// The user of basic authentication, which can't hold the colon that ends it.
pub(crate) struct UserName;

impl Accepts for UserName {
    fn accepts(&self) -> String {
        "text without a colon and without control characters".to_owned()
    }

    fn placeholder(&self) -> &'static str {
        "USER"
    }
}

impl Kind for UserName {
    type Value = Option<String>;

    fn parse(&self, text: &str) -> Result<Option<String>, &'static str> {
        match text {
            "" => Ok(None),
            t if t.len() > MAX_BYTES => Err(TOO_LONG),
            t if t.chars().any(char::is_control) => Err(CONTROL),
            t if t.contains(':') => Err("holds a colon"),
            t => Ok(Some(t.to_owned())),
        }
    }
}

/// The password of basic authentication.
pub(crate) struct Password;

impl Password {
    /// A password that has to be there.
    pub(crate) fn required(text: &str) -> Result<Secret, &'static str> {
        Password.parse(text)?.ok_or(EMPTY)
    }
}

impl Accepts for Password {
    fn accepts(&self) -> String {
        "text without control characters".to_owned()
    }

    fn placeholder(&self) -> &'static str {
        "SECRET"
    }
}

impl Kind for Password {
    type Value = Option<Secret>;

    fn parse(&self, text: &str) -> Result<Option<Secret>, &'static str> {
        match text {
            "" => Ok(None),
            t if t.len() > MAX_BYTES => Err(TOO_LONG),
            t if t.chars().any(char::is_control) => Err(CONTROL),
            t => Ok(Some(Secret::new(t))),
        }
    }
}

/// A bearer token, without the word before it.
pub(crate) struct Token;

impl Token {
    /// A token that has to be there.
    pub(crate) fn required(text: &str) -> Result<Secret, &'static str> {
        Token.parse(text)?.ok_or(EMPTY)
    }
}

impl Accepts for Token {
    fn accepts(&self) -> String {
        "the token alone, visible ASCII characters without spaces".to_owned()
    }

    fn placeholder(&self) -> &'static str {
        "SECRET"
    }
}

impl Kind for Token {
    type Value = Option<Secret>;

    fn parse(&self, text: &str) -> Result<Option<Secret>, &'static str> {
        match text {
            "" => Ok(None),
            t if t.len() > MAX_BYTES => Err(TOO_LONG),
            t if t.contains(char::is_whitespace) => Err("holds white space"),
            t if !t.bytes().all(|byte| byte.is_ascii_graphic()) => Err("not ASCII"),
            t => Ok(Some(Secret::new(t))),
        }
    }
}

/// Headers for every request, in the manner of `OTEL_EXPORTER_OTLP_HEADERS`: `Name=value` pairs between commas, with
/// `%XX` for what can't stand in a value as it is. Lines separate pairs too, for files.
pub(crate) struct Headers;

impl Headers {
    /// Headers of which there has to be one.
    pub(crate) fn required(text: &str) -> Result<HeaderMap, &'static str> {
        let headers = Headers.parse(text)?;
        if headers.is_empty() { Err(EMPTY) } else { Ok(headers) }
    }
}

/// What a header that can't be set is told.
macro_rules! reserved {
    ($($name:literal)*) => {
        &[$(($name, concat!("sets ", $name, ", which is not for users to set"))),*]
    };
}

/// What the protocol fixes, what frames a request, what only makes sense between two hops, and what the proxy's
/// variable holds.
const RESERVED: &[(&str, &str)] = reserved! {
    "content-encoding" "content-type" "user-agent" "x-prometheus-remote-write-version" "retry-attempt"
    "host" "content-length" "connection" "transfer-encoding"
    "te" "trailer" "upgrade" "keep-alive" "expect" "proxy-connection" "proxy-authorization"
};

impl Accepts for Headers {
    fn accepts(&self) -> String {
        "Name=value pairs between commas (in a value, %2C is a comma and %25 a %)".to_owned()
    }

    fn placeholder(&self) -> &'static str {
        "HEADERS"
    }
}

impl Kind for Headers {
    type Value = HeaderMap;

    fn parse(&self, text: &str) -> Result<HeaderMap, &'static str> {
        if text.len() > MAX_BYTES {
            return Err(TOO_LONG);
        }
        let mut headers = HeaderMap::new();
        let pairs = text.split([',', '\n']).map(str::trim).filter(|pair| !pair.is_empty());
        for pair in pairs {
            let (name, value) = pair.split_once('=').ok_or("a pair without =")?;
            let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| "not the name of a header")?;
            if let Some((_, wrong)) = RESERVED.iter().find(|(reserved, _)| name == *reserved) {
                return Err(wrong);
            }
            let value = percent_decode(value.trim()).ok_or("a % that two hexadecimal digits don't follow")?;
            let mut value = HeaderValue::from_maybe_shared(bytes::Bytes::from(value)).map_err(|_| CONTROL)?;
            value.set_sensitive(true);
            if headers.insert(name, value).is_some() {
                return Err("sets a header twice");
            }
        }
        Ok(headers)
    }
}

/// A proxy that speaks HTTP; its address may hold a user and a password.
pub(crate) struct Proxy;

impl Accepts for Proxy {
    fn accepts(&self) -> String {
        "an address such as http://user:password@proxy:3128".to_owned()
    }

    fn placeholder(&self) -> &'static str {
        "URL"
    }
}

impl Kind for Proxy {
    type Value = Option<TargetUrl>;

    fn parse(&self, text: &str) -> Result<Option<TargetUrl>, &'static str> {
        match text {
            "" => Ok(None),
            t if t.contains("://") => TargetUrl::parse(t).map(Some),
            // Without a scheme it is HTTP, as everywhere.
            t => TargetUrl::parse(&format!("http://{t}")).map(Some),
        }
    }
}

/// Hosts that no proxy is asked for.
pub(crate) struct Hosts;

impl Accepts for Hosts {
    fn accepts(&self) -> String {
        "names, addresses and networks between commas, or *".to_owned()
    }

    fn placeholder(&self) -> &'static str {
        "HOSTS"
    }
}

impl Kind for Hosts {
    type Value = String;

    fn parse(&self, text: &str) -> Result<String, &'static str> {
        match text {
            t if t.len() > MAX_BYTES => Err(TOO_LONG),
            t if t.chars().any(char::is_control) => Err(CONTROL),
            t => Ok(t.to_owned()),
        }
    }
}

/// Decodes `%XX`; none where a `%` begins no such thing.
pub(crate) fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            decoded.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            decoded.push(byte);
        }
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_pairs_with_escapes() {
        let headers = Headers.parse(" X-Scope-OrgID = team a ,x-key=a=b%2Cc%25\n Authorization=Basic QTpC==,").unwrap();
        let value = |name: &str| headers[name].to_str().unwrap();
        assert_eq!(headers.len(), 3);
        assert_eq!((value("x-scope-orgid"), value("x-key")), ("team a", "a=b,c%"));
        assert_eq!(value("authorization"), "Basic QTpC==");
        assert!(!format!("{headers:?}").contains("team"), "{headers:?}");
        assert_eq!(Headers.parse("").unwrap().len(), 0);
    }

    #[test]
    fn reserved_headers_are_refused_by_name_in_any_case() {
        for (name, wrong) in RESERVED {
            let error = Headers.parse(&format!("X-A=1,{}=x", name.to_ascii_uppercase())).unwrap_err();
            assert_eq!(error, *wrong);
            assert!(error.contains(name));
        }
    }

    #[test]
    fn escapes_are_whole() {
        assert_eq!(percent_decode("a%20%e4b").unwrap(), b"a \xe4b");
        for text in ["%", "%4", "%4g", "%%41", "a%é"] {
            assert_eq!(percent_decode(text), None, "{text}");
        }
    }

    #[test]
    fn secrets_are_shown_as_stars() {
        let secret = Token::required("abc").unwrap();
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "*** *** Some(***)");
        assert_eq!(secret.expose(), "abc");
        assert_eq!(Password::required(""), Err(EMPTY));
    }
}

//! The `Authorization` header: a user and a password, or a token, enter; the header's value leaves, marked as sensitive,
//! made once and shared by all requests. Never shows either.

use reqwest::Url;
use reqwest::header::HeaderValue;

use crate::config::Secret;
use crate::config::access::percent_decode;

/// A header, and the texts by which it could be given away.
#[derive(Clone)]
pub(super) struct Credentials {
    /// The value of `Authorization`.
    pub(super) header: HeaderValue,
    /// What must not be seen in any form that it was given in or is sent in.
    pub(super) hidden: Vec<Secret>,
}

impl Credentials {
    /// Basic authentication (RFC 7617).
    pub(super) fn basic(user: &[u8], password: &[u8]) -> Self {
        let encoded = base64(&[user, b":", password].concat());
        let password = String::from_utf8_lossy(password).into_owned();
        Credentials { header: header("Basic", &encoded), hidden: vec![Secret::new(password), Secret::new(encoded)] }
    }

    /// A bearer token (RFC 6750).
    pub(super) fn bearer(token: &Secret) -> Self {
        Credentials { header: header("Bearer", token.expose()), hidden: vec![token.clone()] }
    }
}

fn header(scheme: &str, credentials: &str) -> HeaderValue {
    // Base64 is ASCII and so is a token that was checked; nothing else comes here.
    let mut value = HeaderValue::try_from(format!("{scheme} {credentials}")).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

/// The user and the password in a URL, decoded.
pub(super) fn of_url(url: &Url) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    let decoded = |text: &str| percent_decode(text).unwrap_or_else(|| text.as_bytes().to_vec());
    let user = Some(url.username()).filter(|user| !user.is_empty());
    (user.map(decoded), url.password().map(decoded))
}

/// The values in a URL's query, as they stand there and decoded.
pub(super) fn of_query(url: &Url) -> Vec<Secret> {
    let whole = url.query().into_iter().flat_map(|query| query.split('&'));
    let values = whole.map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value).to_owned());
    let decoded = url.query_pairs().map(|(_, value)| value.into_owned());
    values.chain(decoded).map(Secret::new).collect()
}

/// Base64 with the standard alphabet and padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let sextet = (bits >> (18 - 6 * i)) & 63;
            text.push(if i <= chunk.len() { char::from(ALPHABET[sextet as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        // Section 10 of the RFC.
        let vectors = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"];
        for (length, encoded) in vectors.iter().enumerate() {
            assert_eq!(base64(&b"foobar"[..length]), *encoded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xbf]), "+/+/");
    }

    #[test]
    fn headers_are_those_of_the_rfcs_and_not_shown() {
        // Section 2 of RFC 7617.
        let basic = Credentials::basic(b"Aladdin", b"open sesame").header;
        assert_eq!(basic, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        let bearer = Credentials::bearer(&Secret::new("abc.def")).header;
        assert_eq!(bearer, "Bearer abc.def");
        assert_eq!(format!("{basic:?} {bearer:?}"), "Sensitive Sensitive");
    }

    #[test]
    fn credentials_in_a_url_are_decoded() {
        let of = |url: &str| of_url(&Url::parse(url).unwrap());
        assert_eq!(of("http://us%40er:p%2Fw@h/"), (Some(b"us@er".to_vec()), Some(b"p/w".to_vec())));
        assert_eq!(of("http://user@h/"), (Some(b"user".to_vec()), None));
        assert_eq!(of("http://u:%zz@h/").1, Some(b"%zz".to_vec()));
        assert_eq!(of("http://h/?a@b"), (None, None));
    }
}

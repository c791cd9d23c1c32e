//! Certificates and keys: what PEM files hold enters; what a client is built of leaves, or what is wrong with them. And
//! what to do about a TLS error, in one line. Never shows what a file holds.

use std::error::Error;
use std::io;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, CertificateError, InconsistentKeys, RootCertStore};

use super::watched::Parsed;

const NOT_PEM: &str = "holds no certificate in PEM";
const UNUSABLE: &str = "holds a certificate that can't be used";

/// The authorities in a bundle.
pub(super) fn authorities(pem: &[u8]) -> Result<Vec<reqwest::Certificate>, &'static str> {
    let mut store = RootCertStore::empty();
    let mut found = Vec::new();
    for certificate in certificates(pem)? {
        found.push(reqwest::Certificate::from_der(&certificate).map_err(|_| UNUSABLE)?);
        store.add(certificate).map_err(|_| UNUSABLE)?;
    }
    Ok(found)
}

/// The client's certificate and its key, which belong together. The index in an error is 0 for the certificate's file.
pub(super) fn identity(certificate: &[u8], key: &[u8]) -> Parsed<reqwest::Identity> {
    let chain = certificates(certificate).map_err(|wrong| (0, wrong))?;
    let private = PrivateKeyDer::from_pem_slice(key).map_err(|_| (1, no_key(key)))?;
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(chain, private, &provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            (1, "holds the key of another certificate than that in TLS_CERT_FILE")
        }
        rustls::Error::InvalidCertificate(_) => (0, UNUSABLE),
        _ => (1, "holds a private key that can't be used"),
    })?;
    // Either file may hold the other's part as well, and texts between: only what belongs to it is taken.
    let both = [sections(certificate, "CERTIFICATE"), sections(key, "PRIVATE KEY")].concat();
    reqwest::Identity::from_pem(both.as_bytes()).map_err(|_| (0, UNUSABLE))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(NOT_PEM),
        Ok(found) => Ok(found),
        Err(_) => Err("holds damaged PEM"),
    }
}

fn no_key(pem: &[u8]) -> &'static str {
    match String::from_utf8_lossy(pem).contains("ENCRYPTED") {
        true => "holds an encrypted private key, which can't be used",
        false => "holds no private key in PEM",
    }
}

/// The PEM sections whose label ends so.
fn sections(pem: &[u8], label: &str) -> String {
    let (mut found, mut within) = (String::new(), false);
    for line in String::from_utf8_lossy(pem).lines().map(str::trim) {
        let named = line.ends_with(&format!("{label}-----"));
        within |= named && line.starts_with("-----BEGIN ");
        if within {
            found.push_str(line);
            found.push('\n');
        }
        within &= !(named && line.starts_with("-----END "));
    }
    found
}

/// What to do about an error of TLS, to be put behind its text: empty, or a clause that begins with a semicolon.
pub fn advice(error: &(dyn Error + 'static)) -> &'static str {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return advice_on(error);
        }
        // The cause of an I/O error that wraps another is that other's cause, not the other.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = wrapped.map(|wrapped| wrapped as &(dyn Error + 'static)).or_else(|| error.source());
    }
    ""
}

fn advice_on(error: &rustls::Error) -> &'static str {
    use CertificateError::{
        Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet, NotValidYetContext,
        UnknownIssuer,
    };
    match error {
        rustls::Error::InvalidCertificate(wrong) => match wrong {
            UnknownIssuer => {
                "; the receiver's certificate comes from an authority that is not known here: \
                 give that authority's certificate as TLS_CA_FILE"
            }
            Expired | ExpiredContext { .. } => {
                "; the receiver's certificate has expired: renew it, or set this machine's clock"
            }
            NotValidYet | NotValidYetContext { .. } => {
                "; the receiver's certificate is not valid yet: set this machine's clock"
            }
            NotValidForName | NotValidForNameContext { .. } => {
                "; the receiver's certificate is for other names: use one of those in REMOTE_WRITE_URL"
            }
            _ => "; the receiver's certificate can't be used",
        },
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied,
        ) => "; the receiver wants a client certificate that it accepts: look at TLS_CERT_FILE and TLS_KEY_FILE",
        rustls::Error::AlertReceived(AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion) => {
            "; the receiver wants no TLS as this program speaks it (1.2 and 1.3), or a client certificate \
             (TLS_CERT_FILE and TLS_KEY_FILE)"
        }
        rustls::Error::InvalidMessage(_) => "; what answers there speaks no TLS: is REMOTE_WRITE_URL an http:// one?",
        rustls::Error::General(words) if words.contains("No CA certificates") => {
            "; give TLS_CA_FILE, or install the system's certificates (mostly a package called ca-certificates)"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_tls_is_found_behind_those_of_io() {
        let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let error = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, unknown));
        assert!(advice(&error).contains("TLS_CA_FILE"));
        assert_eq!(advice(&io::Error::other("refused")), "");
        let name = rustls::Error::InvalidCertificate(CertificateError::NotValidForName);
        assert!(advice(&name).contains("REMOTE_WRITE_URL"));
    }

    #[test]
    fn only_the_named_sections_are_taken() {
        let pem = b"text\n-----BEGIN EC PARAMETERS-----\nAA==\n-----END EC PARAMETERS-----\r\n\
                    -----BEGIN EC PRIVATE KEY-----\r\nBB==\r\n-----END EC PRIVATE KEY-----\n\
                    -----BEGIN CERTIFICATE-----\nCC==\n-----END CERTIFICATE-----";
        let key = "-----BEGIN EC PRIVATE KEY-----\nBB==\n-----END EC PRIVATE KEY-----\n";
        assert_eq!(sections(pem, "PRIVATE KEY"), key);
        assert_eq!(sections(pem, "CERTIFICATE"), "-----BEGIN CERTIFICATE-----\nCC==\n-----END CERTIFICATE-----\n");
    }

    #[test]
    fn what_is_no_pem_is_told_by_file() {
        assert_eq!(authorities(b"nonsense").unwrap_err(), NOT_PEM);
        assert_eq!(identity(b"", b"").unwrap_err(), (0, NOT_PEM));
        let damaged = b"-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n";
        assert_eq!(authorities(damaged).unwrap_err(), UNUSABLE);
        assert_eq!(authorities(&damaged[..40]).unwrap_err(), "holds damaged PEM");
    }
}

//! Which servers are trusted, and why a TLS handshake failed, in words.

use std::sync::Arc;

use rustls::CertificateError as Certificate;
use rustls::client::WantsClientCert;
use rustls::crypto::ring;
use rustls::{ClientConfig, ConfigBuilder, Error, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;

/// Trusts the CA certificates of this system; where it has none, as in a container with nothing but kumadb, those of Mozilla,
/// which are compiled in.
///
/// # Errors
/// The certificates of this system, or those that `SSL_CERT_FILE` names, cannot be read.
pub fn trust_system() -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?;
    let has_none = || {
        let found = rustls_native_certs::load_native_certs();
        found.certs.is_empty() && found.errors.is_empty()
    };
    match builder.clone().with_platform_verifier() {
        Err(_) if has_none() => {
            let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
            Ok(builder.with_root_certificates(roots))
        }
        trusting => trusting,
    }
}

/// Whose fault it is that a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFaultSide {
    /// The authority is not trusted here, or the certificate is not valid now.
    Authority,
    /// No client could accept this certificate for this host.
    Certificate,
    /// The handshake itself.
    Handshake,
}

/// Whose fault `error` is.
pub fn blame(error: &Error) -> TlsFaultSide {
    match error {
        Error::InvalidCertificate(
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } | Certificate::BadEncoding,
        ) => TlsFaultSide::Certificate,
        Error::InvalidCertificate(other) if is_authority(other) || is_old(other) => TlsFaultSide::Certificate,
        Error::InvalidCertificate(_) => TlsFaultSide::Authority,
        _ => TlsFaultSide::Handshake,
    }
}

/// The certificate of an authority is shown instead of one signed by it.
fn is_authority(error: &Certificate) -> bool {
    format!("{error:?}").contains("CaUsedAsEndEntity")
}

/// The certificate is of version 1.
fn is_old(error: &Certificate) -> bool {
    format!("{error:?}").contains("UnsupportedCertVersion")
}

/// The host in a name as rustls shows it: `DnsName("localhost")`, `IpAddress(127.0.0.1)`.
fn host(name: &str) -> &str {
    name.split_once('(').map_or(name, |(_, host)| host).trim_end_matches(')').trim_matches('"')
}

/// Why the handshake failed.
pub fn explain(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(why) => match why {
            Certificate::UnknownIssuer => "the certificate is signed by an unknown authority".into(),
            Certificate::Expired | Certificate::ExpiredContext { .. } => "the certificate has expired".into(),
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
                "the certificate is not valid yet".into()
            }
            Certificate::NotValidForNameContext { presented, .. } if !presented.is_empty() => {
                format!(
                    "the certificate is for another host: {}",
                    presented.iter().map(|name| host(name)).collect::<Vec<_>>().join(", ")
                )
            }
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                "the certificate has no host name (no subjectAltName)".into()
            }
            Certificate::BadSignature => "the certificate has a wrong signature".into(),
            Certificate::BadEncoding => "the certificate cannot be decoded".into(),
            other if is_authority(other) => "the certificate is a CA certificate, not a server certificate".into(),
            other if is_old(other) => "the certificate has version 1, which is no longer supported".into(),
            other => format!("the certificate is not accepted ({other})"),
        },
        Error::PeerIncompatible(_) => "the server does not support TLS 1.2 or newer".into(),
        Error::AlertReceived(alert) => format!("the server aborted the handshake ({alert:?})"),
        Error::InvalidMessage(_) => "the server does not speak TLS".into(),
        other => other.to_string(),
    }
}

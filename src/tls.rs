//! Failed TLS handshakes in words.

use rustls::CertificateError as Certificate;
use rustls::Error;

/// Why the connection to the peer, `it`, failed.
pub fn explain(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(why) => match why {
            Certificate::UnknownIssuer => "its certificate is not signed by a trusted authority".into(),
            Certificate::Expired | Certificate::ExpiredContext { .. } => "its certificate has expired".into(),
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
                "its certificate is not valid yet".into()
            }
            Certificate::NotValidForNameContext { presented, .. } if !presented.is_empty() => {
                format!("its certificate is for another host: {}", presented.join(", "))
            }
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                "its certificate has no host name (no subjectAltName) to check".into()
            }
            Certificate::BadSignature => "its certificate has an invalid signature".into(),
            other if format!("{other:?}").contains("CaUsedAsEndEntity") => {
                "it presents the certificate of a certificate authority instead of one signed by it".into()
            }
            other if format!("{other:?}").contains("UnsupportedCertVersion") => {
                "its certificate is X.509 version 1, which is no longer supported".into()
            }
            other => format!("its certificate is not accepted ({other})"),
        },
        Error::PeerIncompatible(_) => "it does not support TLS 1.2 or newer".into(),
        Error::AlertReceived(alert) => format!("it aborted the handshake ({alert:?})"),
        Error::InvalidMessage(_) => "its response is not TLS".into(),
        other => other.to_string(),
    }
}

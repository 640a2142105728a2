//! What a refused TLS handshake means, in words.

use rustls::CertificateError as Certificate;
use rustls::Error;

/// Why the other side, `it`, is not talked to.
pub fn explain(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(why) => match why {
            Certificate::UnknownIssuer => "its certificate is not signed by the authority that is trusted here".into(),
            Certificate::Expired | Certificate::ExpiredContext { .. } => "its certificate has expired".into(),
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
                "its certificate is not valid yet".into()
            }
            Certificate::NotValidForNameContext { presented, .. } if !presented.is_empty() => {
                format!("its certificate names another host: {}", presented.join(", "))
            }
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                "its certificate names no host at all (no subjectAltName), which kumadb cannot check".into()
            }
            Certificate::BadSignature => "its certificate has a wrong signature".into(),
            other if format!("{other:?}").contains("CaUsedAsEndEntity") => {
                "it shows the certificate of the authority itself instead of one signed by it".into()
            }
            other if format!("{other:?}").contains("UnsupportedCertVersion") => {
                "its certificate is of version 1, which is not accepted any more".into()
            }
            other => format!("its certificate is not accepted ({other})"),
        },
        Error::PeerIncompatible(_) => "it speaks no TLS of version 1.2 or newer".into(),
        Error::AlertReceived(alert) => format!("it ended the handshake ({alert:?})"),
        Error::InvalidMessage(_) => "what it answers is not TLS".into(),
        other => other.to_string(),
    }
}

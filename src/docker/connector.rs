//! Transports to an engine: a socket, a port, a port with TLS, or an ssh session.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::endpoint::{Endpoint, TlsFiles, Transport};
use super::fault::ConnectionFault;
use super::ssh::Ssh;
use crate::error::Result;
use crate::tls;

/// A bidirectional stream.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

impl Connection for Box<dyn Duplex> {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

/// Opens connections to one engine.
#[derive(Clone)]
pub(super) enum Connector {
    /// A socket.
    Unix(Arc<Path>),
    /// A port.
    Tcp(Arc<str>, u16),
    /// A port with TLS.
    Tls(Arc<str>, u16, TlsConnector),
    /// An ssh login.
    Ssh(Arc<Ssh>),
}

impl Connector {
    /// Prepares connections to `endpoint`: reads files, and logs in with ssh.
    pub fn to(endpoint: &Endpoint) -> Result<Connector> {
        let line = match &endpoint.way {
            Transport::Unix(path) => Ok(Connector::Unix(path.as_path().into())),
            Transport::Tcp { host, port, tls: None } => Ok(Connector::Tcp(host.as_str().into(), *port)),
            Transport::Tcp { host, port, tls: Some(files) } => {
                client(files).map(|config| Connector::Tls(host.as_str().into(), *port, Arc::new(config).into()))
            }
            Transport::Ssh(login) => Ssh::connect(login).map(|ssh| Connector::Ssh(Arc::new(ssh))),
        };
        line.map_err(|fault| fault.at(endpoint))
    }

    async fn open(self) -> io::Result<Box<dyn Duplex>> {
        Ok(match self {
            Connector::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Connector::Tcp(host, port) => Box::new(reach(&host, port).await?),
            Connector::Tls(host, port, connector) => {
                let name = ServerName::try_from(host.as_ref()).map_err(io::Error::other)?.to_owned();
                Box::new(connector.connect(name, reach(&host, port).await?).await?)
            }
            Connector::Ssh(ssh) => {
                let socket = ssh.open()?;
                socket.set_nonblocking(true)?;
                Box::new(UnixStream::from_std(socket)?)
            }
        })
    }
}

impl<Uri> tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Duplex>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// There is only one destination, whatever the address in the request.
    fn call(&mut self, _: Uri) -> Self::Future {
        let line = self.clone();
        Box::pin(async move { line.open().await.map(TokioIo::new) })
    }
}

async fn reach(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The TLS configuration with `files`.
fn client(files: &TlsFiles) -> Result<ClientConfig, ConnectionFault> {
    let provider = Arc::new(ring::default_provider());
    let unusable = |what: &dyn std::fmt::Display| {
        ConnectionFault::new(
            format!("cannot use TLS with the files in `{}`: {what}", files.folder.display()),
            format!("check ca.pem, cert.pem and key.pem in `{}`", files.folder.display()),
        )
    };
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?;
    let builder = match &files.ca {
        _ if !files.verify => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAnyCertificate(provider.clone())))
        }
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(ca).map_err(|error| unusable(&error))? {
                roots.add(certificate).map_err(|error| unusable(&error))?;
            }
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_webpki_verifier(verifier.map_err(|error| unusable(&error))?)
        }
        None => tls::trust_system().map_err(|error| unusable(&error))?,
    };
    match (&files.cert, &files.key) {
        (Some(cert), Some(key)) => {
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(&format!("key.pem: {error}")))?;
            let chain = certificates(cert).map_err(|error| unusable(&error))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| unusable(&error))
        }
        (None, None) => Ok(builder.with_no_client_auth()),
        _ => Err(unusable(&"cert.pem or key.pem is missing; both are required")),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(|pieces| pieces.collect::<Result<Vec<_>, _>>());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match read {
        Ok(found) if found.is_empty() => Err(format!("there is no certificate in {name}")),
        read => read.map_err(|error| format!("{name}: {error}")),
    }
}

/// Accepts any certificate, for `DOCKER_TLS` without `DOCKER_TLS_VERIFY` and contexts with `SkipTLSVerify`.
#[derive(Debug)]
struct AcceptAnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

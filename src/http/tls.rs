//! TLS: from certificates and settings to connections.
//!
//! The settings are looked up once per handshake. So new certificates, versions or demands on clients
//! take effect with the next connection, and open connections stay as they are.

mod client;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_http::Protocol;
use actix_web::rt::net::TcpStream;
use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::Acceptor;
use rustls::{NamedGroup, ServerConfig, SupportedProtocolVersion, version};
use tokio::io::AsyncWriteExt;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use x509_cert::der::Decode;

/// What a listener with TLS needs.
#[derive(Clone)]
pub struct TlsOptions {
    /// PEM: the certificate of the server, followed by the intermediate ones.
    pub certificates: Vec<u8>,
    /// PEM
    pub key: Vec<u8>,
    pub clients: ClientCertificates,
    pub tls12: bool,
    pub tls13: bool,
    /// For TLS 1.2, by Go's names.
    pub cipher_suites: Vec<&'static str>,
    /// By Go's names.
    pub curves: Vec<&'static str>,
    pub http2: bool,
}

/// Demands on the certificates of clients.
#[derive(Clone, Default)]
pub struct ClientCertificates {
    pub asked: bool,
    pub required: bool,
    /// PEM: the roots for certificates of clients; `None` accepts any.
    pub roots: Option<Vec<u8>>,
    /// The certificate must have one of these names; empty accepts any.
    pub allowed_sans: Vec<String>,
}

impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsOptions").finish_non_exhaustive()
    }
}

impl fmt::Debug for ClientCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificates").field("asked", &self.asked).finish_non_exhaustive()
    }
}

/// Why there can be no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{what} is not PEM: {error}")]
    Pem { what: &'static str, error: rustls::pki_types::pem::Error },
    #[error("{0} holds no certificate")]
    NoCertificate(&'static str),
    #[error("the certificate cannot be read: {0}")]
    Certificate(x509_cert::der::Error),
    #[error("certificate and key: {0}")]
    Rustls(#[from] rustls::Error),
    #[error("the certificates of client_ca: {0}")]
    ClientCa(String),
}

/// The settings of a listener, which can be replaced while it runs.
#[derive(Debug)]
pub struct Tls(ArcSwap<ServerConfig>);

/// Valid settings.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    config: Arc<ServerConfig>,
    /// When the first of our certificates expires, seconds since the Unix epoch.
    pub not_after_s: u64,
}

impl Tls {
    pub fn new(settings: &TlsSettings) -> Tls {
        Tls(ArcSwap::new(settings.config.clone()))
    }

    /// Takes effect with the next handshake.
    pub fn replace(&self, settings: &TlsSettings) {
        self.0.store(settings.config.clone());
    }
}

impl TlsSettings {
    /// # Errors
    /// If a certificate or key cannot be used.
    pub fn new(options: &TlsOptions) -> Result<TlsSettings, TlsError> {
        let chain = certificates("cert_file", &options.certificates)?;
        let not_after_s = first_expiry(&chain)?;
        let key = PrivateKeyDer::from_pem_slice(&options.key)
            .map_err(|error| TlsError::Pem { what: "key_file", error })?;
        let provider = Arc::new(provider(options));
        let mut versions: Vec<&SupportedProtocolVersion> = Vec::new();
        versions.extend(options.tls12.then_some(&version::TLS12));
        versions.extend(options.tls13.then_some(&version::TLS13));
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&versions)?;
        let builder = match client::verifier(&options.clients, &provider)? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if options.http2 {
            config.alpn_protocols.insert(0, b"h2".to_vec());
        }
        Ok(TlsSettings { config: Arc::new(config), not_after_s })
    }
}

/// All certificates of a PEM file.
fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| TlsError::Pem { what, error })?;
    if found.is_empty() { Err(TlsError::NoCertificate(what)) } else { Ok(found) }
}

fn first_expiry(chain: &[CertificateDer<'_>]) -> Result<u64, TlsError> {
    let mut first = u64::MAX;
    for certificate in chain {
        let parsed =
            x509_cert::Certificate::from_der(certificate).map_err(TlsError::Certificate)?;
        let not_after = parsed.tbs_certificate().validity().not_after.to_unix_duration();
        first = first.min(not_after.as_secs());
    }
    Ok(first)
}

/// Everything available, without what the options leave out. Nothing can be left out of TLS 1.3.
fn provider(options: &TlsOptions) -> CryptoProvider {
    let mut provider = ring::default_provider();
    provider.cipher_suites.retain(|suite| {
        let name = format!("{:?}", suite.suite());
        name.starts_with("TLS13_") || options.cipher_suites.contains(&&*name)
    });
    // In the order of the options, which is the order of preference.
    let group = |curve: &&str| {
        let wanted = match *curve {
            "X25519" => NamedGroup::X25519,
            "CurveP256" => NamedGroup::secp256r1,
            "CurveP384" => NamedGroup::secp384r1,
            _ => return None,
        };
        provider.kx_groups.iter().copied().find(|group| group.name() == wanted)
    };
    let groups: Vec<&'static dyn SupportedKxGroup> =
        options.curves.iter().filter_map(group).collect();
    CryptoProvider { kx_groups: groups, ..provider }
}

/// A connection that is ready for requests.
pub(super) type Accepted = (TlsStream<TcpStream>, Protocol, Option<SocketAddr>);

impl Tls {
    /// Does the handshake, within `timeout`.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
        timeout: Duration,
    ) -> io::Result<Accepted> {
        let handshake = tokio::time::timeout(timeout, self.handshake(stream)).await;
        handshake.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn handshake(&self, mut stream: TcpStream) -> io::Result<Accepted> {
        let peer = stream.peer_addr().ok();
        let mut first = [0];
        stream.peek(&mut first).await?;
        if first[0].is_ascii_alphabetic() {
            // A handshake begins with byte 22: this client uses http instead of https.
            let answer = b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n\
                           This port speaks HTTPS; the request was plain HTTP.\n";
            // If data is unread when the connection is closed, the answer may get lost.
            let _beginning = stream.try_read(&mut [0; 4096]);
            stream.write_all(answer).await?;
            stream.shutdown().await?;
            return Err(io::ErrorKind::InvalidData.into());
        }
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let config = self.0.load_full();
        let stream = start.into_stream(config).await?;
        let protocol = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http1,
        };
        Ok((stream, protocol, peer))
    }
}

//! Certificates of our own making, good and bad, and a client that speaks TLS.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType,
    date_time_ymd,
};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::http::{Connection, Request, Response};

/// An authority, which issues certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for these names. It expires on the first of January of `last_year`.
    pub(crate) fn issue(&self, names: &[SanType], last_year: i32) -> Identity {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = names.to_vec();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(last_year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap().pem();
        Identity { certificate, key: key.serialize_pem() }
    }

    /// A certificate for a gateway of these tests.
    pub(crate) fn server(&self) -> Identity {
        self.issue(&[dns("localhost"), SanType::IpAddress([127, 0, 0, 1].into())], 2099)
    }

    /// A certificate for a client with this name.
    pub(crate) fn client(&self, name: &str) -> Identity {
        self.issue(&[dns(name)], 2099)
    }
}

pub(crate) fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

impl Identity {
    /// Writes both files, as `NAME.crt` and `NAME.key`, each atomically.
    pub(crate) fn write(&self, folder: &std::path::Path, name: &str) {
        for (ending, text) in [("crt", &self.certificate), ("key", &self.key)] {
            let new = folder.join(format!("{name}.{ending}.new"));
            std::fs::write(&new, text).unwrap();
            std::fs::rename(&new, folder.join(format!("{name}.{ending}"))).unwrap();
        }
    }
}

/// A client that trusts one authority.
#[derive(Clone)]
pub(crate) struct TlsClient(Arc<ClientConfig>);

impl TlsClient {
    pub(crate) fn trusting(authority: &str) -> TlsClient {
        TlsClient::new(authority, None)
    }

    pub(crate) fn with(authority: &str, identity: &Identity) -> TlsClient {
        TlsClient::new(authority, Some(identity))
    }

    fn new(authority: &str, identity: Option<&Identity>) -> TlsClient {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes());
                let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
                let chain = chain.collect::<Result<_, _>>().unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        // No resumption: each connection is like that of a new client.
        config.resumption = rustls::client::Resumption::disabled();
        TlsClient(Arc::new(config))
    }

    /// Connects and does the client's part of the handshake.
    pub(crate) fn connect(&self, address: SocketAddr) -> io::Result<TlsConnection> {
        let mut tcp = TcpStream::connect(address)?;
        tcp.set_read_timeout(Some(Duration::from_secs(30)))?;
        tcp.set_nodelay(true)?;
        let name = "localhost".try_into().unwrap();
        let mut tls = ClientConnection::new(self.0.clone(), name).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp)?;
        }
        Ok(TlsConnection(Connection::of(StreamOwned::new(tls, tcp))))
    }

    /// Sends a request on a connection of its own.
    pub(crate) fn send(&self, request: &Request) -> io::Result<Response> {
        self.connect(request.address())?.send(request)
    }
}

/// A connection that can be kept.
pub(crate) struct TlsConnection(Connection<StreamOwned<ClientConnection, TcpStream>>);

impl TlsConnection {
    pub(crate) fn send(&mut self, request: &Request) -> io::Result<Response> {
        self.0.stream_mut().write_all(&request.bytes())?;
        self.0.try_read()
    }

    /// The certificate of the gateway, as DER.
    pub(crate) fn certificate(&mut self) -> Vec<u8> {
        let chain = self.0.stream_mut().conn.peer_certificates();
        chain.and_then(|chain| chain.first()).expect("a certificate").to_vec()
    }
}

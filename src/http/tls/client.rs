//! Certificates of clients: whether they are asked for, and which are good enough.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::{ClientCertificates, TlsError, certificates};

/// `None` if nothing is asked of clients.
pub(super) fn verifier(
    clients: &ClientCertificates,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    if !clients.asked {
        return Ok(None);
    }
    let chain: Arc<dyn ClientCertVerifier> = match &clients.roots {
        None => Arc::new(AnyCertificate { required: clients.required, provider: provider.clone() }),
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for root in certificates("client_ca_file", pem)? {
                roots.add(root).map_err(|error| TlsError::ClientCa(error.to_string()))?;
            }
            let builder =
                WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
            let builder = if clients.required { builder } else { builder.allow_unauthenticated() };
            builder.build().map_err(|error| TlsError::ClientCa(error.to_string()))?
        }
    };
    Ok(Some(match clients.allowed_sans.is_empty() {
        true => chain,
        false => Arc::new(NamedCertificate { chain, allowed: clients.allowed_sans.clone() }),
    }))
}

/// Takes any certificate, but the client must own its key.
#[derive(Debug)]
struct AnyCertificate {
    required: bool,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Takes what another verifier takes, if it also has one of these names.
#[derive(Debug)]
struct NamedCertificate {
    chain: Arc<dyn ClientCertVerifier>,
    allowed: Vec<String>,
}

impl ClientCertVerifier for NamedCertificate {
    fn client_auth_mandatory(&self) -> bool {
        self.chain.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chain.verify_client_cert(certificate, intermediates, now)?;
        let names = names(certificate).ok_or(CertificateError::BadEncoding)?;
        match names.iter().any(|name| self.allowed.contains(name)) {
            true => Ok(verified),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// The DNS names, e-mail addresses, IP addresses and URIs in a certificate.
fn names(certificate: &CertificateDer<'_>) -> Option<Vec<String>> {
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
    let extension = certificate.tbs_certificate().get_extension::<SubjectAltName>().ok()?;
    let Some((_, SubjectAltName(names))) = extension else { return Some(Vec::new()) };
    let text = |name: GeneralName| match name {
        GeneralName::DnsName(name)
        | GeneralName::Rfc822Name(name)
        | GeneralName::UniformResourceIdentifier(name) => Some(name.as_str().to_owned()),
        GeneralName::IpAddress(address) => match *address.as_bytes() {
            [a, b, c, d] => Some(Ipv4Addr::new(a, b, c, d).to_string()),
            ref bytes => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_string()),
        },
        _ => None,
    };
    Some(names.into_iter().filter_map(text).collect())
}

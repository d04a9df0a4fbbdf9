//! TLS for the sources that speak it: whom we believe, who we are, and what goes wrong in plain words.

use std::error::Error as StdError;
use std::sync::Arc;

use camino::Utf8Path;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::{Error, Result, Tls};

/// Parts of rustls' and hyper's texts, with what they mean for who runs the servers.
const MEANINGS: &[(&str, &str)] = &[
    ("UnknownIssuer", "nobody whom we trust vouches for its certificate"),
    ("CaUsedAsEndEntity", "its certificate is that of an authority, not of a server"),
    ("NotValidForName", "its certificate is for another name"),
    ("certificate not valid for name", "its certificate is for another name"),
    ("Expired", "its certificate has expired"),
    ("certificate expired", "its certificate has expired"),
    ("NotValidYet", "its certificate is not valid yet"),
    ("certificate not valid yet", "its certificate is not valid yet"),
    ("CertificateRequired", "it wants a certificate of us"),
    ("received fatal alert: BadCertificate", "it wants another certificate of us"),
    ("received fatal alert: UnknownCA", "it does not know who vouches for our certificate"),
    ("InvalidContentType", "it does not speak TLS"),
    ("connection closed before message completed", "it may want TLS, as `-scheme https` has it"),
    // Which of these a server's refusal becomes depends on who comes first.
    ("connection closed", "it may want TLS, or another certificate of us"),
    ("broken pipe", "it may want TLS, or another certificate of us"),
    ("connection reset", "it may want TLS, or another certificate of us"),
];

/// What went wrong: the innermost reason, and what it means where it is about certificates.
pub(crate) fn plain(err: &dyn StdError) -> String {
    let mut innermost = err;
    while let Some(below) = innermost.source() {
        innermost = below;
    }
    meaning(innermost.to_string())
}

/// A text with what it means, where it is about certificates.
pub(crate) fn meaning(text: String) -> String {
    match MEANINGS.iter().find(|(part, _)| text.contains(part)) {
        Some((_, meaning)) => format!("{meaning} ({text})"),
        None => text,
    }
}

fn read<T>(path: &Utf8Path, found: Result<T, rustls::pki_types::pem::Error>) -> Result<T> {
    found.map_err(|err| Error::Config {
        message: format!("cannot read `{path}`: {err}"),
        hint: Some("it must be in PEM".to_owned()),
    })
}

/// How a client speaks TLS, as the flags about certificates have it.
///
/// # Errors
/// [`Error::Config`] when certificates cannot be read or do not go together.
pub(crate) fn client(tls: &Tls) -> Result<ClientConfig> {
    let bad = |err: rustls::Error| Error::Config { message: err.to_string(), hint: None };
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(bad)?;
    let builder = if tls.insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
    } else {
        let mut roots = RootCertStore::empty();
        match &tls.authorities {
            Some(path) => {
                for found in read(path, CertificateDer::pem_file_iter(path))? {
                    roots.add(read(path, found)?).map_err(bad)?;
                }
            }
            None => {
                let native = rustls_native_certs::load_native_certs().certs;
                let _ = roots.add_parsable_certificates(native);
            }
        }
        builder.with_root_certificates(roots)
    };
    match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => {
            let chain = read(certificate, CertificateDer::pem_file_iter(certificate))?;
            let chain: Result<Vec<_>> = chain.map(|found| read(certificate, found)).collect();
            let key = read(key, PrivateKeyDer::from_pem_file(key))?;
            builder.with_client_auth_cert(chain?, key).map_err(bad)
        }
        (None, None) => Ok(builder.with_no_client_auth()),
        _ => Err(Error::Config {
            message: "a client's certificate and its key go together".to_owned(),
            hint: Some("give both -client-cert and -client-key".to_owned()),
        }),
    }
}

/// Believes every certificate, as `-client-insecure` asks for.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
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
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

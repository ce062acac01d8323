//! The TLS handshake with Redis: which certificates are accepted.

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::error::Unreachable;
use super::stream::Stream;
use super::tls::{Fingerprint, Tls, Trust};

/// Makes a stream a TLS stream. The text of an error contains what to do.
pub(super) async fn secure(tls: &Tls, host: &str, stream: Stream) -> Result<TlsStream<Stream>, String> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| format!("{host} is no host name for TLS"))?;
    let verifier = Arc::new(Verifier::new(&tls.trust)?);
    let config = ClientConfig::builder_with_provider(Arc::clone(&verifier.provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&verifier) as Arc<dyn ServerCertVerifier>);
    let config = match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => {
            let key_der = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable("key", key, error))?;
            config.with_client_auth_cert(certificates(cert)?, key_der).map_err(|error| unusable(cert, &error))?
        }
        _ => config.with_no_client_auth(),
    };
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| verifier.explain(&error))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let certs = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certs = certs.map_err(|error| unreadable("certificate", path, error))?;
    if certs.is_empty() { Err(format!("{} holds no certificate in PEM", path.display())) } else { Ok(certs) }
}

/// Why a client certificate and its key cannot be used.
fn unusable(cert: &Path, error: &Error) -> String {
    let shown = cert.display();
    match error {
        Error::InconsistentKeys(_) => format!("the certificate {shown} does not fit its key"),
        Error::InvalidCertificate(why) => format!("the certificate {shown} cannot be used: {}", in_words(why)),
        error => format!("the certificate {shown} and its key cannot be used: {error}"),
    }
}

/// What is wrong with a certificate.
fn in_words(why: &CertificateError) -> String {
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet; is the clock of this machine right?".to_owned()
        }
        CertificateError::UnknownIssuer => "no trusted authority signed it".to_owned(),
        CertificateError::BadSignature => "its signature is wrong".to_owned(),
        CertificateError::Other(other) => match other.to_string() {
            said if said.contains("CaUsedAsEndEntity") => "it is self-signed".to_owned(),
            said if said.contains("UnsupportedCertVersion") => {
                "it is of version 1 of X.509, which this TLS library does not read; \
                 make one of version 3 (`openssl x509 -req` does with `-extfile`)"
                    .to_owned()
            }
            said => said,
        },
        other => other.to_string(),
    }
}

fn unreadable(what: &str, path: &Path, error: rustls::pki_types::pem::Error) -> String {
    format!("the {what} file {} cannot be read: {error}", path.display())
}

/// Bundles of authorities where Linux and the BSDs keep them, for an environment whose `SSL_CERT_FILE` is empty.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
];

/// The authorities of the system. An empty `SSL_CERT_FILE` counts as none; `rustls-native-certs` would read a file without a name.
fn system_roots() -> Result<RootCertStore, String> {
    let is_empty = |name| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let has = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let bundle = BUNDLES.iter().map(Path::new).find(|path| path.exists());
    let found = match bundle {
        Some(bundle) if is_empty("SSL_CERT_FILE") && !has("SSL_CERT_DIR") => {
            rustls_native_certs::load_certs_from_paths(Some(bundle), None)
        }
        _ => rustls_native_certs::load_native_certs(),
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(|| "none found".to_owned(), ToString::to_string);
        return Err(format!(
            "no certificate authorities of the system: {why}; install ca-certificates, or set ssl_ca_file"
        ));
    }
    Ok(roots)
}

/// Decides on the certificate of a server, and remembers its fingerprint for messages.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    accepted: Accepted,
    shown: OnceLock<Fingerprint>,
}

#[derive(Debug)]
enum Accepted {
    /// Those that these authorities vouch for, and these certificates themselves.
    Certificates {
        pinned: Vec<CertificateDer<'static>>,
        authorities: Arc<WebPkiServerVerifier>,
    },
    Fingerprints(Vec<Fingerprint>),
    Any,
}

impl Verifier {
    fn new(trust: &Trust) -> Result<Self, String> {
        let provider = Arc::new(ring::default_provider());
        let accepted = match trust {
            Trust::System => {
                let authorities = authorities(system_roots()?, &provider).map_err(|error| error.to_string())?;
                Accepted::Certificates { pinned: Vec::new(), authorities }
            }
            Trust::File(path) => {
                let pinned = certificates(path)?;
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(pinned.iter().cloned());
                let authorities =
                    authorities(roots, &provider).map_err(|error| format!("{}: {error}", path.display()))?;
                Accepted::Certificates { pinned, authorities }
            }
            Trust::Fingerprints(fingerprints) => Accepted::Fingerprints(fingerprints.clone()),
            Trust::Anyone => Accepted::Any,
        };
        Ok(Self { provider, accepted, shown: OnceLock::new() })
    }

    /// A failed handshake as a message.
    fn explain(&self, error: &io::Error) -> String {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        match (inner, self.shown.get()) {
            (Some(Error::InvalidCertificate(why)), Some(shown)) => {
                let (cause, pinned) = (in_words(why), matches!(self.accepted, Accepted::Fingerprints(_)));
                match why {
                    CertificateError::Other(_) if cause.contains("version 1") => {
                        format!("the certificate of the server cannot be used: {cause}")
                    }
                    CertificateError::UnknownIssuer if pinned => format!(
                        "the certificate of the server is not trusted: neither it nor its authorities have a fingerprint \
                         of ssl_fingerprint; its SHA-256 is {shown}"
                    ),
                    CertificateError::UnknownIssuer | CertificateError::Other(_) => format!(
                        "the certificate of the server is not trusted: {cause}; its SHA-256 is {shown}: \
                         name its authority with ssl_ca_file, or pin it with ssl_fingerprint"
                    ),
                    _ => format!(
                        "the certificate of the server is not trusted: {cause}; its SHA-256 is {shown}, \
                         with which ssl_fingerprint pins it as it is"
                    ),
                }
            }
            (Some(error @ Error::AlertReceived(_)), _) => refused(error),
            _ => format!("the TLS handshake failed: {error}"),
        }
    }
}

fn refused(error: &dyn std::fmt::Display) -> String {
    format!("the server refused the TLS handshake: {error}; does it want a client certificate (ssl_cert, ssl_key)?")
}

/// A failure behind the handshake. With TLS 1.3 a server refuses the client's certificate only then.
pub(super) fn refused_later(error: redis::RedisError) -> Unreachable {
    let text = error.to_string();
    if error.is_io_error() && text.contains("fatal alert") {
        Unreachable::Because(refused(&text))
    } else {
        error.into()
    }
}

fn authorities(roots: RootCertStore, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, String> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| error.to_string())
}

/// The SHA-256 of a certificate; the hash function is the one of a cipher suite that is always there.
fn fingerprint(certificate: &CertificateDer<'_>) -> Option<Fingerprint> {
    let suite = ring::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13()?;
    suite.common.hash_provider.hash(certificate).as_ref().try_into().ok().map(Fingerprint)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = fingerprint(end_entity);
        if let Some(shown) = shown {
            let _ = self.shown.set(shown);
        }
        let is_pinned = match &self.accepted {
            Accepted::Certificates { pinned, .. } => pinned.contains(end_entity),
            Accepted::Fingerprints(fingerprints) => shown.is_some_and(|shown| fingerprints.contains(&shown)),
            Accepted::Any => true,
        };
        if is_pinned {
            return Ok(ServerCertVerified::assertion());
        }
        let vouch = |authorities: &WebPkiServerVerifier| {
            authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        };
        match &self.accepted {
            Accepted::Certificates { authorities, .. } => vouch(authorities),
            Accepted::Fingerprints(fingerprints) => {
                let mut roots = RootCertStore::empty();
                let named = intermediates
                    .iter()
                    .filter(|cert| fingerprint(cert).is_some_and(|sha256| fingerprints.contains(&sha256)));
                roots.add_parsable_certificates(named.map(|cert| cert.clone().into_owned()));
                match authorities(roots, &self.provider) {
                    Ok(authorities) => vouch(&authorities),
                    Err(_) => Err(rustls::CertificateError::UnknownIssuer.into()),
                }
            }
            Accepted::Any => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

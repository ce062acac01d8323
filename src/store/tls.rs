//! What TLS to Redis trusts, and the client certificate: settings only. `handshake.rs` acts on them.

use std::fmt;
use std::path::PathBuf;

use crate::error::{Error, Result};

/// How connections over TLS (`rediss://`, feature `tls`) check the server, and which certificate they present.
///
/// The default trusts the certificate authorities of the system, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`, and presents no
/// certificate. Files are read whenever a connection is made, so renewed ones need no restart; they should be on a local disk.
///
/// The same settings are parameters of the URL and variables of the environment:
///
/// | here | URL | environment |
/// |---|---|---|
/// | [`ca_file`](Self::ca_file) | `ssl_ca_file` | `REDIS_SSL_CA_FILE` |
/// | [`fingerprint`](Self::fingerprint) | `ssl_fingerprint` | `REDIS_SSL_FINGERPRINT` |
/// | [`client_certificate`](Self::client_certificate) | `ssl_cert`, `ssl_key` | `REDIS_SSL_CERT`, `REDIS_SSL_KEY` |
/// | [`without_verification`](Self::without_verification) | `ssl_verify_mode=none` | `REDIS_SSL_VERIFY_MODE=none` |
///
/// ```
/// use ferrokiq::{RedisOptions, Tls};
///
/// let options: RedisOptions = "redis://127.0.0.1:6390".parse()?;
/// let options = options.tls(Tls::new().ca_file("/etc/redis/ca.pem"));
/// # drop(options);
/// # Ok::<(), ferrokiq::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    pub(super) trust: Trust,
    /// Files with the certificate chain and its key.
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
}

/// Which servers are trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Trust {
    /// The authorities of the system.
    #[default]
    System,
    /// The authorities and server certificates in this file.
    File(PathBuf),
    /// A server or an authority with one of these certificates.
    Fingerprints(Vec<Fingerprint>),
    /// Any server.
    Anyone,
}

/// SHA-256 of a certificate in DER.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint(pub(super) [u8; 32]);

impl Tls {
    /// The parameters of a URL, each with its variable of the environment.
    pub(super) const NAMES: [(&str, &str); 5] = [
        ("ssl_ca_file", "REDIS_SSL_CA_FILE"),
        ("ssl_fingerprint", "REDIS_SSL_FINGERPRINT"),
        ("ssl_verify_mode", "REDIS_SSL_VERIFY_MODE"),
        ("ssl_cert", "REDIS_SSL_CERT"),
        ("ssl_key", "REDIS_SSL_KEY"),
    ];

    /// The default: the authorities of the system, no client certificate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts the certificates of this PEM file and no others: a server whose own certificate is in it (a pin: its name and dates
    /// are not checked), or one that an authority in it vouches for under the host name of the URL.
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.trust = Trust::File(path.into());
        self
    }

    /// Trusts certificates with this SHA-256 and no others; several are separated by commas. It is the server's own certificate (a pin:
    /// its name and dates are not checked) or an authority that the server sends along. `openssl x509 -noout -fingerprint -sha256 -in
    /// FILE` prints it; colons and case do not count.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for anything but 64 hexadecimal digits each.
    pub fn fingerprint(mut self, sha256: &str) -> Result<Self> {
        let all = sha256.split(',').map(Fingerprint::parse).collect::<Option<Vec<_>>>();
        let wrong = || Error::config("a fingerprint is the SHA-256 of a certificate: 64 hexadecimal digits");
        self.trust = Trust::Fingerprints(all.ok_or_else(wrong)?);
        Ok(self)
    }

    /// Presents this certificate to servers that require one: PEM files with the certificate (its chain behind it) and with the key.
    #[must_use]
    pub fn client_certificate(mut self, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        (self.cert, self.key) = (Some(cert.into()), Some(key.into()));
        self
    }

    /// Accepts any certificate, as Ruby's `verify_mode: OpenSSL::SSL::VERIFY_NONE`: an attacker on the network can then read and change
    /// every job, and reads the password. A warning is logged. [`fingerprint`](Self::fingerprint) needs no authority either, and is safe.
    #[must_use]
    pub fn without_verification(mut self) -> Self {
        self.trust = Trust::Anyone;
        self
    }

    /// Applies a setting by its name in URLs. Errors do not repeat the value.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let trusted = match name {
            "ssl_cert" => {
                self.cert = Some(value.into());
                return Ok(());
            }
            "ssl_key" => {
                self.key = Some(value.into());
                return Ok(());
            }
            "ssl_ca_file" => Self::new().ca_file(value),
            "ssl_fingerprint" => Self::new().fingerprint(value).map_err(|error| error.to_string())?,
            _ => match value {
                "none" => Self::new().without_verification(),
                "peer" => return Ok(()),
                _ => return Err(format!("{name} is none or peer")),
            },
        };
        if self.trust != Trust::System {
            return Err("only one of ssl_ca_file, ssl_fingerprint and ssl_verify_mode=none may be set".to_owned());
        }
        self.trust = trusted.trust;
        Ok(())
    }

    /// Checks that the settings fit together.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.cert.is_some() == self.key.is_some() {
            Ok(())
        } else {
            Err("a client certificate needs both ssl_cert and ssl_key".to_owned())
        }
    }
}

impl Fingerprint {
    fn parse(text: &str) -> Option<Self> {
        let digits: Vec<u8> = text.trim().bytes().filter(|byte| *byte != b':').collect();
        let mut sha256 = [0; 32];
        if digits.len() != 64 {
            return None;
        }
        for (byte, pair) in sha256.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            *byte = digit(0)? << 4 | digit(1)?;
        }
        Some(Self(sha256))
    }
}

/// As `openssl` prints it.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs: Vec<String> = self.0.iter().map(|byte| format!("{byte:02X}")).collect();
        f.write_str(&pairs.join(":"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_openssl_prints_it() {
        let printed = ["0A"; 32].join(":");
        let read = Fingerprint::parse(&printed).unwrap();
        assert_eq!(read, Fingerprint([10; 32]));
        assert_eq!(read.to_string(), printed);
        assert_eq!(Fingerprint::parse(&"0a".repeat(32)), Some(read));
        for wrong in ["", "0a", &"0g".repeat(32), &"0a".repeat(33), "sha256:0a"] {
            assert_eq!(Fingerprint::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused() {
        let set = |pairs: &[(&str, &str)]| -> Result<Tls, String> {
            let mut tls = Tls::new();
            pairs.iter().try_for_each(|(name, value)| tls.set(name, value))?;
            tls.check().map(|()| tls)
        };
        assert_eq!(set(&[("ssl_verify_mode", "peer")]).unwrap(), Tls::new());
        assert_eq!(set(&[("ssl_cert", "c"), ("ssl_key", "k")]).unwrap(), Tls::new().client_certificate("c", "k"));
        for (pairs, culprit) in [
            (&[("ssl_cert", "c")][..], "ssl_key"),
            (&[("ssl_key", "k")], "ssl_cert"),
            (&[("ssl_verify_mode", "off")], "none or peer"),
            (&[("ssl_fingerprint", "s3cr3t")], "64 hexadecimal"),
            (&[("ssl_ca_file", "f"), ("ssl_verify_mode", "none")], "only one of"),
        ] {
            let error = set(pairs).unwrap_err();
            assert!(error.contains(culprit) && !error.contains("s3cr3t"), "{error}");
        }
    }
}

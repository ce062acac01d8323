//! A Redis server with TLS for one test, and its certificates.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::support::{Redis, free};

/// Certificates, made once: `ca.pem` and `server.pem` of that authority for 127.0.0.1; `alone.pem`, self-signed for another name as Heroku's;
/// `expired.pem`, self-signed and out of date; `client.pem`; `version1.pem` of the same key, of
/// version 1 of X.509. Their keys are `NAME.key`.
static CERTIFICATES: LazyLock<PathBuf> = LazyLock::new(|| {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("certificates-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let script = r#"
        key="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
        openssl req -x509 $key -keyout ca.key -out ca.pem -subj /CN=authority -days 2
        openssl req -x509 $key -keyout alone.key -out alone.pem -subj /CN=ec2-1-2-3-4.example -days 2
        printf 'subjectAltName=IP:127.0.0.1\n' > expired.ext
        openssl req $key -keyout expired.key -out expired.csr -subj /CN=127.0.0.1
        openssl x509 -req -in expired.csr -extfile expired.ext \
            -signkey expired.key -out expired.pem -days -1 || openssl x509 -req -in expired.csr \
            -extfile expired.ext -signkey expired.key -out expired.pem -not_before 20200101000000Z -not_after 20200102000000Z
        for name in server client; do
            printf 'subjectAltName=IP:127.0.0.1\n' > $name.ext
            openssl req $key -keyout $name.key -out $name.csr -subj /CN=$name
            openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile $name.ext -out $name.pem
        done
        openssl x509 -req -in client.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out version1.pem
        cat server.pem ca.pem > chain.pem; cp server.key chain.key
    "#;
    let made = Command::new("sh").args(["-ec", script]).current_dir(&dir).output().unwrap();
    assert!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
    dir
});

pub(crate) fn file(name: &str) -> String {
    CERTIFICATES.join(name).display().to_string()
}

pub(crate) fn sha256(name: &str) -> String {
    let shown =
        Command::new("openssl").args(["x509", "-noout", "-fingerprint", "-sha256", "-in", &file(name)]).output();
    let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
    shown.trim().rsplit_once('=').unwrap().1.to_owned()
}

/// A Redis with a port for TLS.
pub(crate) struct TlsRedis {
    pub(crate) redis: Redis,
    pub(crate) port: u16,
}

impl TlsRedis {
    /// Shows the certificate of the authority.
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        Self::with("server", arguments).await
    }

    /// Shows another certificate.
    pub(crate) async fn with(certificate: &str, arguments: &[&str]) -> Self {
        let port = free().port();
        let (number, ca) = (port.to_string(), file("ca.pem"));
        let (cert, key) = (file(&format!("{certificate}.pem")), file(&format!("{certificate}.key")));
        let own = ["--tls-port", &number, "--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &ca];
        let auth: &[&str] = if arguments.is_empty() { &["--tls-auth-clients", "no"] } else { arguments };
        let redis = Redis::start_with(&[&own[..], auth].concat()).await;
        Self { redis, port }
    }
}

//! TLS as the environment configures it.

use std::process::Command;

use crate::tls_redis::{TlsRedis, file, sha256};

#[tokio::test]
async fn an_empty_variable_for_authorities_counts_as_none() {
    let redis = TlsRedis::start(&[]).await;
    let run = |variables: &[(&str, &str)]| {
        let mut tool = Command::new(env!("CARGO_BIN_EXE_ferrokiq"));
        tool.arg("stats").env("REDIS_URL", format!("rediss://ferrokiq-operator:secret@127.0.0.1:{}/0", redis.port));
        let output = tool.env("SSL_CERT_FILE", "").env_remove("SSL_CERT_DIR").envs(variables.iter().copied()).output();
        let output = output.unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (_, said) = run(&[]);
    assert!(said.contains("no trusted authority signed it"), "{said}");
    let (succeeded, said) = run(&[("SSL_CERT_FILE", &file("ca.pem"))]);
    assert!(succeeded && said.is_empty(), "{said}");
    let (succeeded, said) = run(&[("REDIS_SSL_FINGERPRINT", &sha256("server.pem"))]);
    assert!(succeeded && said.is_empty(), "{said}");
    let (succeeded, said) = run(&[("REDIS_SSL_VERIFY_MODE", "none")]);
    assert!(succeeded && said.contains("WITHOUT VERIFICATION"), "{said}");
}

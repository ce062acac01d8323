//! TLS to a Redis of the test's own: which servers a client trusts, and its errors for the others.

use std::process::Command;

use ferrokiq::{Client, Payload, RedisOptions, Tls};

use crate::support::{Redis, free, with_cause};
use crate::tls_redis::{TlsRedis, file, sha256};

/// A worker's options for a port that leads to such a Redis.
pub(crate) fn worker_at(port: u16) -> RedisOptions {
    format!("rediss://ferrokiq-worker:secret@127.0.0.1:{port}/0?ssl_ca_file={}", file("ca.pem")).parse().unwrap()
}

impl TlsRedis {
    fn url(&self, parameters: &str) -> RedisOptions {
        format!("rediss://ferrokiq-producer:secret@127.0.0.1:{}/0?{parameters}", self.port).parse().unwrap()
    }

    async fn push(&self, parameters: &str) -> Result<(), String> {
        push(self.url(parameters)).await
    }
}

async fn push(options: RedisOptions) -> Result<(), String> {
    let pushed = Client::builder().redis(options).build().unwrap().push(Payload::new("Any", [])).await;
    pushed.map(|_| ()).map_err(|error| with_cause(&error))
}

#[tokio::test]
async fn a_server_is_trusted_by_its_authority_in_a_file() {
    let redis = TlsRedis::start(&[]).await;
    redis.push(&format!("ssl_ca_file={}", file("ca.pem"))).await.unwrap();
    let refused = redis.push("").await.unwrap_err();
    assert!(refused.contains("no trusted authority signed it") && refused.contains(&sha256("server.pem")), "{refused}");
    let by_another = redis.push(&format!("ssl_ca_file={}", file("alone.pem"))).await.unwrap_err();
    assert!(
        by_another.contains("not trusted") && by_another.contains("name its authority with ssl_ca_file"),
        "{by_another}"
    );
    let local = format!("rediss://localhost:{}/0?ssl_ca_file={}", redis.port, file("ca.pem")).parse().unwrap();
    let by_another_name = push(local).await.unwrap_err();
    assert!(by_another_name.contains("certificate not valid for name \"localhost\""), "{by_another_name}");
    let missing = redis.push("ssl_ca_file=/nowhere.pem").await.unwrap_err();
    assert!(missing.contains("/nowhere.pem cannot be read"), "{missing}");
}

#[tokio::test]
async fn a_self_signed_server_is_pinned_or_accepted_on_demand() {
    for name in ["alone", "expired"] {
        let redis = TlsRedis::with(name, &[]).await;
        let pem = format!("{name}.pem");
        let refused = redis.push("").await.unwrap_err();
        assert!(refused.contains("not trusted") && refused.contains(&sha256(&pem)), "{refused}");
        let why = if name == "alone" { "it is self-signed" } else { "it has expired" };
        assert!(refused.contains(why), "{refused}");
        redis.push(&format!("ssl_ca_file={}", file(&pem))).await.unwrap();
        redis.push(&format!("ssl_fingerprint={}", sha256(&pem))).await.unwrap();
        redis.push(&format!("ssl_fingerprint={},{}", sha256("ca.pem"), sha256(&pem))).await.unwrap();
        redis.push("ssl_verify_mode=none").await.unwrap();
        let by_another = redis.push(&format!("ssl_fingerprint={}", sha256("ca.pem"))).await.unwrap_err();
        assert!(by_another.contains("fingerprint of ssl_fingerprint"), "{by_another}");
        let tls = Tls::new().fingerprint(&sha256(&pem)).unwrap();
        let plain: RedisOptions =
            format!("redis://ferrokiq-producer:secret@127.0.0.1:{}/0", redis.port).parse().unwrap();
        push(plain.tls(tls)).await.unwrap();
    }
}

#[tokio::test]
async fn an_authority_that_the_server_sends_along_is_pinned_by_its_fingerprint() {
    let redis = TlsRedis::with("chain", &[]).await;
    redis.push(&format!("ssl_fingerprint={}", sha256("ca.pem"))).await.unwrap();
    let local = format!("rediss://localhost:{}/0?ssl_fingerprint={}", redis.port, sha256("ca.pem")).parse().unwrap();
    let by_another_name = push(local).await.unwrap_err();
    assert!(by_another_name.contains("not valid for name"), "{by_another_name}");
}

#[tokio::test]
async fn a_client_certificate_is_presented_where_the_server_asks_for_one() {
    let redis = TlsRedis::with("server", &["--tls-auth-clients", "yes"]).await;
    let trusted = format!("ssl_ca_file={}", file("ca.pem"));
    redis.push(&format!("{trusted}&ssl_cert={}&ssl_key={}", file("client.pem"), file("client.key"))).await.unwrap();
    let refused = redis.push(&trusted).await.unwrap_err();
    assert!(refused.contains("ssl_cert"), "{refused}");
    let unfit = format!("{trusted}&ssl_cert={}&ssl_key={}", file("client.pem"), file("ca.key"));
    let unfit = redis.push(&unfit).await.unwrap_err();
    assert!(unfit.contains("does not fit its key"), "{unfit}");
    let old = format!("{trusted}&ssl_cert={}&ssl_key={}", file("version1.pem"), file("client.key"));
    let old = redis.push(&old).await.err().unwrap_or_default();
    let text =
        Command::new("openssl").args(["x509", "-noout", "-text", "-in", &file("version1.pem")]).output().unwrap();
    if String::from_utf8_lossy(&text.stdout).contains("Version: 1 ") {
        assert!(old.contains("cannot be used: it is of version 1 of X.509"), "{old}");
    } else {
        eprintln!("this openssl makes no certificates of version 1: nothing is tested about them");
    }
}

#[tokio::test]
async fn tls_where_there_is_none_is_named_and_the_other_way_round() {
    let redis = TlsRedis::start(&[]).await;
    let plain_url = format!("redis://:secret@127.0.0.1:{}/0", redis.port).parse().unwrap();
    let shown = push(plain_url).await.unwrap_err();
    assert!(shown.contains("rediss://"), "{shown}");

    let port = free().port();
    let _plain = Redis::start_with(&["--port", &port.to_string()]).await;
    let tls_url: RedisOptions = format!("rediss://:secret@127.0.0.1:{port}/0?connect_timeout=0.3").parse().unwrap();
    let shown = push(tls_url).await.unwrap_err();
    assert!(shown.contains("redis://") && shown.contains("TLS"), "{shown}");
}

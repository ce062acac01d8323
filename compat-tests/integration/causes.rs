//! A Redis that cannot be used: errors and `ferrokiq doctor` name the cause.

use ferrokiq::{Client, Context, Payload, Server};
use tokio::io::AsyncWriteExt;

use crate::support::{DEADLINE, Redis, cluster, eventually, free, with_cause};

#[tokio::test]
async fn a_server_without_room_for_another_client_says_so() {
    let port = free().port();
    let redis = Redis::start_with(&["--port", &port.to_string(), "--maxclients", "1"]).await;
    // The one it has room for.
    let mut only = None;
    eventually("the connection that looked whether Redis is ready is gone", async || {
        only = redis::Client::open(redis.url()).unwrap().get_connection().ok();
        only.as_mut().is_some_and(|only| redis::cmd("PING").exec(only).is_ok())
    })
    .await;
    for url in [format!("redis://127.0.0.1:{port}/0"), redis.url()] {
        let client = Client::builder().redis(url.parse().unwrap()).build().unwrap();
        let shown = with_cause(&client.push(Payload::new("Any", [])).await.unwrap_err());
        assert!(shown.contains("maxclients"), "{shown}");
    }
    drop(only);
}

/// The error of a worker that starts on this Redis.
async fn start(options: ferrokiq::RedisOptions) -> String {
    let builder = Server::builder().redis(options).register_fn("Any", async |_cx: Context, _args: ()| Ok(()));
    let running = builder.build().unwrap().run(std::future::pending());
    let ended = tokio::time::timeout(DEADLINE, running).await.expect("the worker ends at once");
    with_cause(&ended.unwrap_err())
}

#[tokio::test]
async fn a_worker_names_the_commands_that_redis_hides() {
    let redis = Redis::start_with(&["--rename-command", "MULTI", "", "--rename-command", "UNLINK", "hidden"]).await;
    let shown = start(redis.options()).await;
    assert!(shown.contains("Redis does not know MULTI, UNLINK") && shown.contains("rename-command"), "{shown}");
    let all = ["BLMOVE", "EVALSHA", "SCRIPT", "TIME", "TYPE", "ZADD"];
    let hidden: Vec<&str> = all.iter().flat_map(|name| ["--rename-command", name, ""]).collect();
    let redis = Redis::start_with(&hidden).await;
    let shown = start(redis.options()).await;
    assert!(shown.contains(&all.join(", ")), "{shown}");
}

#[tokio::test]
async fn a_server_without_resp3_is_named() {
    let redis = Redis::start_with(&["--rename-command", "HELLO", "hidden"]).await;
    let shown = start(redis.options()).await;
    assert!(shown.contains("no RESP3") && !shown.contains("secret"), "{shown}");
}

/// A server in protected mode answers a client of another machine so, and closes the connection.
#[tokio::test]
async fn protected_mode_is_reported_in_the_words_of_redis() {
    const SAID: &str = "-DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the \
                        default user. In this mode connections are only accepted from the loopback interface. If you want to connect \
                        from external computers to Redis you may adopt one of the following solutions: 1) Just disable protected mode\r\n";
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}/0", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let _ = client.write_all(SAID.as_bytes()).await;
        }
    });
    for _ in 0..20 {
        let shown = start(url.parse().unwrap()).await;
        assert!(shown.contains("DENIED Redis is running in protected mode because"), "{shown}");
        assert!(shown.contains("password") && shown.contains("protected-mode no"), "{shown}");
    }
    serving.abort();
}

/// One server that has all slots, as a cluster of several would refuse.
#[tokio::test]
async fn a_worker_on_a_cluster_ends_with_the_cause() {
    let redis = cluster().await;
    let builder = Server::builder().redis(redis.options()).register_fn("Any", async |_cx: Context, _args: ()| Ok(()));
    let error = builder.build().unwrap().run(std::future::pending()).await.unwrap_err();
    assert!(with_cause(&error).contains("Redis runs in cluster mode"), "{}", with_cause(&error));
}

//! A Redis that cannot be used: errors and `ferrokiq doctor` name the cause.

#[cfg(feature = "tool")]
use std::process::Command;

use ferrokiq::{Client, Context, Payload, Server};
use tokio::io::AsyncWriteExt;

use crate::health::free;
use crate::support::{DEADLINE, Redis, eventually, with_cause};

/// What `ferrokiq doctor --json` reports: the names of its checks, and everything it wrote.
#[cfg(feature = "tool")]
fn doctor(url: &str) -> (Vec<String>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_ferrokiq")).args(["doctor", "--json"]).env("REDIS_URL", url).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let checks = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    (checks.filter_map(|finding| Some(finding["check"].as_str()?.to_owned())).collect(), said)
}

#[cfg(feature = "tool")]
#[tokio::test]
async fn the_tool_waits_for_a_redis_that_is_late() {
    let redis = Redis::start().await;
    let late = redis.dir().join("late.sock");
    let tool = |wait: &str| {
        let mut tool = Command::new(env!("CARGO_BIN_EXE_ferrokiq"));
        tool.args(["stats", wait]).env("REDIS_URL", format!("unix://{}", late.display()));
        tool.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        tool
    };
    let output = tool("--wait=0").output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(69), 0), "unreachable, and no time to wait");
    let mut waiting = tool("--wait").spawn().unwrap();
    let mut said = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(waiting.stderr.take().unwrap()), &mut said).unwrap();
    assert!(said.starts_with("waiting for Redis: cannot reach "), "{said}");
    std::os::unix::fs::symlink(redis.dir().join("redis.sock"), &late).unwrap();
    let output = waiting.wait_with_output().unwrap();
    assert!(output.status.success() && !output.stdout.is_empty(), "{output:?}");
}

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
async fn cluster() -> Redis {
    let [port, bus] = [free(), free()].map(|address| address.port().to_string());
    let own = ["--cluster-enabled", "yes", "--port", &port, "--cluster-port", &bus];
    let redis = Redis::start_with(&own).await;
    redis.call::<()>("CLUSTER", &["ADDSLOTSRANGE", "0", "16383"]).await;
    eventually("the cluster is up", async || {
        redis.call::<String>("CLUSTER", &["INFO"]).await.contains("cluster_state:ok")
    })
    .await;
    redis
}

#[tokio::test]
async fn a_worker_on_a_cluster_ends_with_the_cause() {
    let redis = cluster().await;
    let builder = Server::builder().redis(redis.options()).register_fn("Any", async |_cx: Context, _args: ()| Ok(()));
    let error = builder.build().unwrap().run(std::future::pending()).await.unwrap_err();
    assert!(with_cause(&error).contains("Redis runs in cluster mode"), "{}", with_cause(&error));
}

#[cfg(feature = "tool")]
#[tokio::test]
async fn doctor_knows_cluster_mode() {
    let redis = cluster().await;
    let (checks, said) = doctor(&redis.url());
    assert!(checks.contains(&"cluster".to_owned()), "{said}");
}

#[cfg(feature = "tool")]
#[tokio::test]
async fn doctor_reports_that_info_is_refused() {
    let redis = Redis::start_with(&["--maxmemory-policy", "allkeys-lru"]).await;
    redis.call::<()>("ACL", &["SETUSER", "blind", "on", ">secret", "~*", "+@all", "-info", "-config"]).await;
    let (checks, said) = doctor(&format!("{}?user=blind&pass=secret", redis.url()));
    assert_eq!(checks, ["unchecked"], "{said}");
    assert!(said.contains("eviction") && !said.contains("blind"), "{said}");
}

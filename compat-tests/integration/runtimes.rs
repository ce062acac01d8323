//! One client on several runtimes: a shared client in `#[tokio::test]`s, a web server with a runtime for each thread.

use std::time::Duration;

use ferrokiq::{Client, ErrorKind, Payload};
use tokio::runtime::{Builder, Runtime};

use crate::support::Redis;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn job() -> Payload {
    Payload::new("A", [])
}

fn connections(redis: &Redis, on: &Runtime) -> usize {
    let info: String = on.block_on(redis.call("INFO", &["stats"]));
    let line = info.lines().find_map(|line| line.strip_prefix("total_connections_received:")).unwrap();
    line.trim().parse().unwrap()
}

#[test]
fn a_client_outlives_the_runtimes_that_used_it() {
    let main = runtime();
    let redis = main.block_on(Redis::start());
    let client = redis.client();
    for _ in 0..4 {
        runtime().block_on(client.push(job())).unwrap();
    }
    assert_eq!(main.block_on(redis.size("queue:default")), 4);
}

#[test]
fn a_client_does_not_wait_for_a_runtime_that_nobody_polls() {
    let main = runtime();
    let redis = main.block_on(Redis::start());
    let options = redis.producer().response_timeout(Duration::from_millis(300));
    let client = Client::builder().redis(options).build().unwrap();
    let idle = runtime();
    idle.block_on(client.push(job())).unwrap();
    runtime().block_on(client.push(job())).unwrap();
    idle.block_on(client.push(job())).unwrap();
    assert_eq!(main.block_on(redis.size("queue:default")), 3);
}

#[test]
fn a_client_keeps_one_connection_for_each_runtime() {
    let main = runtime();
    let redis = main.block_on(Redis::start());
    let client = redis.client();
    let runtimes = [runtime(), runtime()];
    let before = connections(&redis, &main);
    for _ in 0..10 {
        for runtime in &runtimes {
            runtime.block_on(client.push(job())).unwrap();
        }
    }
    // One more is that of the second look.
    assert_eq!(connections(&redis, &main) - before, runtimes.len() + 1);
}

#[test]
fn a_client_that_waits_for_replicas_outlives_its_runtimes_too() {
    let main = runtime();
    let redis = main.block_on(Redis::start());
    let client = redis.client().wait_for_replicas(1, Duration::from_millis(1));
    for _ in 0..3 {
        let error = runtime().block_on(client.push(job())).unwrap_err();
        assert_eq!((error.kind(), error.replicas()), (ErrorKind::Unconfirmed, Some(0)), "{error:?}");
    }
    assert_eq!(main.block_on(redis.size("queue:default")), 3);
}

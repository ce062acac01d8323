//! Pushes whose answer is lost, and pushes that are to be surer than that.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use ferrokiq::client::{Bulk, Next};
use ferrokiq::time::EpochSecs;
use ferrokiq::{Client, ErrorKind, Jid, Payload};

use crate::support::{Redis, eventually};

fn impatient(redis: &Redis) -> Client {
    Client::builder().redis(redis.options().response_timeout(Duration::from_millis(200))).build().unwrap()
}

async fn pause(redis: &Redis, millis: u32) {
    redis.call::<()>("CLIENT", &["PAUSE", &millis.to_string(), "ALL"]).await;
}

fn with_jid(jid: &str) -> Payload {
    let mut payload = Payload::new("A", []);
    payload.insert("jid", jid);
    payload
}

fn scheduled(jid: &str) -> Payload {
    let mut payload = with_jid(jid);
    payload.insert("at", EpochSecs::now().0 + 1_000.0);
    payload
}

#[tokio::test]
async fn names_a_scheduled_job_when_redis_is_silent() {
    let redis = Redis::start().await;
    let client = impatient(&redis);
    client.push(Payload::new("Before", [])).await.unwrap();
    pause(&redis, 600).await;
    let error = client.push(scheduled("later")).await.unwrap_err();
    assert!(error.is_ambiguous(), "{error:?}");
    assert_eq!(error.jid().map(Jid::as_str), Some("later"));
}

#[tokio::test]
async fn says_how_much_of_a_bulk_push_was_through() {
    let redis = Redis::start().await;
    let side = redis.options();
    let url = redis.url();
    let client = Client::builder()
        .redis(side.response_timeout(Duration::from_millis(200)))
        .middleware(move |payload: Payload, next: Next| {
            let url = url.clone();
            async move {
                if payload.args() == "[150]" {
                    let mut side = redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap();
                    redis::cmd("CLIENT").arg("PAUSE").arg(600).exec_async(&mut side).await.unwrap();
                }
                next.run(payload).await
            }
        })
        .build()
        .unwrap();
    let bulk = Bulk::new(Payload::new("A", []), (0..300).map(|id| (id,))).unwrap().batch_size(100);
    let error = client.push_bulk(bulk).await.unwrap_err();
    assert!(error.is_ambiguous(), "{error:?}");
    assert_eq!((error.pushed(), error.jid()), (Some(100), None));
    assert!(error.to_string().contains("after 100 jobs"), "{error}");
    eventually("the batch after them is there or not", async || {
        [100, 200].contains(&redis.size("queue:default").await)
    })
    .await;
}

#[tokio::test]
async fn a_bulk_push_in_doubt_is_repeated_from_where_it_stopped() {
    let redis = Redis::start().await;
    let (pid, stop) = (redis.pid().to_string(), std::sync::atomic::AtomicBool::new(true));
    let stopping = move |payload: Payload, next: Next| {
        // Before the second batch is written.
        if payload.args() == "[150]" && stop.swap(false, std::sync::atomic::Ordering::Relaxed) {
            assert!(std::process::Command::new("kill").args(["-STOP", &pid]).status().unwrap().success());
        }
        next.run(payload)
    };
    let options =
        || redis.options().response_timeout(Duration::from_millis(100)).connect_timeout(Duration::from_millis(100));
    let with_middleware = Client::builder().redis(options()).middleware(stopping).idempotent().build().unwrap();
    let without = Client::builder().redis(options()).idempotent().build().unwrap();
    without.push(Payload::new("Before", []).with_queue("other")).await.unwrap();

    let bulk = || Bulk::new(Payload::new("A", []), (0..300).map(|id| (id,))).unwrap().batch_size(100);
    let all = [bulk(), bulk()];
    let error = with_middleware.push_bulk(&all[0]).await.unwrap_err();
    assert!(error.is_ambiguous() && error.pushed() == Some(100), "{error:?}");
    let error = without.push_bulk(&all[1]).await.unwrap_err();
    assert_eq!(error.pushed(), Some(0), "{error:?}");
    redis.signal("CONT");
    let rest = all[0].clone().without_first(100);
    let pushed = with_middleware.push_bulk(&rest).await.unwrap();
    assert!(pushed.iter().flatten().eq(rest.jids()));
    without.push_bulk(&all[1]).await.unwrap();

    let jobs: Vec<String> = redis.call("LRANGE", &["queue:default", "0", "-1"]).await;
    let mut there: Vec<_> = jobs.iter().map(|raw| Payload::parse(raw.as_str()).unwrap().jid().to_owned()).collect();
    let mut expected: Vec<_> = all.iter().flat_map(Bulk::jids).map(|jid| jid.as_str().to_owned()).collect();
    there.sort_unstable();
    expected.sort_unstable();
    assert_eq!(there, expected, "each once");
}

#[tokio::test]
async fn pushes_once_what_is_pushed_again() {
    let redis = Redis::start().await;
    let client = redis.client().idempotent();
    for _ in 0..3 {
        assert_eq!(client.push(with_jid("once")).await.unwrap().unwrap().as_str(), "once");
        client.push(scheduled("later")).await.unwrap();
    }
    assert_eq!((redis.size("queue:default").await, redis.size("schedule").await), (1, 1));
    assert_eq!(redis.call::<Vec<String>>("SMEMBERS", &["queues"]).await, ["default"]);
    let ttl: i64 = redis.call("TTL", &["ferrokiq:pushed:once"]).await;
    assert!((3_590..=3_600).contains(&ttl), "{ttl}");
    // Done meanwhile: still not again.
    redis.call::<()>("DEL", &["queue:default"]).await;
    client.push(with_jid("once")).await.unwrap();
    assert_eq!(redis.size("queue:default").await, 0);
    // Who did not ask for it pushes as ever, and leaves no mark.
    redis.client().push(with_jid("once")).await.unwrap();
    redis.client().push(with_jid("plain")).await.unwrap();
    assert_eq!(redis.size("queue:default").await, 2);
    assert_eq!(redis.call::<u8>("EXISTS", &["ferrokiq:pushed:plain"]).await, 0);
}

#[tokio::test]
async fn pushes_the_same_bytes_whether_once_or_not() {
    let redis = Redis::start().await;
    let by_args = async |payload: Payload, next: Next| {
        let queue = if payload.args() == "[0]" { "even" } else { "odd" };
        next.run(payload.with_queue(queue)).await
    };
    let client = Client::builder().redis(redis.options()).middleware(by_args).idempotent().build().unwrap();
    let jids = client.push_bulk(Bulk::new(Payload::new("A", []), (0..4).map(|id| (id % 2,))).unwrap()).await.unwrap();
    for (queue, places) in [("even", [0, 2]), ("odd", [1, 3])] {
        let jobs: Vec<String> = redis.call("LRANGE", &[&format!("queue:{queue}"), "0", "-1"]).await;
        assert_eq!(jobs.len(), 2);
        for (job, place) in jobs.iter().rev().zip(places) {
            let jid = jids[place].as_ref().unwrap().as_str();
            assert!(job.contains(jid), "{job} should be {jid}");
            assert_eq!(redis.call::<u8>("EXISTS", &[&format!("ferrokiq:pushed:{jid}")]).await, 1);
        }
    }
    redis.call::<()>("SET", &["queue:odd", "no list"]).await;
    let bulk = Bulk::new(Payload::new("A", []), (0..4).map(|id| (id % 2,))).unwrap();
    assert_eq!(client.push_bulk(bulk).await.unwrap_err().kind(), ErrorKind::Redis);
    assert_eq!(redis.size("queue:even").await, 2, "all or none");
}

#[tokio::test]
async fn pushes_once_through_silence() {
    let redis = Redis::start().await;
    let client = impatient(&redis).idempotent();
    client.push(Payload::new("Before", [])).await.unwrap();
    for number in 0..3 {
        pause(&redis, 500).await;
        client.push(Payload::new("A", [])).await.unwrap();
        client.push(scheduled(&number.to_string())).await.unwrap();
    }
    assert_eq!((redis.size("queue:default").await, redis.size("schedule").await), (4, 3));
}

#[tokio::test]
async fn stays_unsure_when_redis_goes_away_after_silence() {
    let mut redis = Redis::start().await;
    let client = impatient(&redis).idempotent();
    client.push(Payload::new("Before", [])).await.unwrap();
    pause(&redis, 10_000).await;
    let push = tokio::spawn(async move { client.push(with_jid("unsure")).await });
    tokio::time::sleep(Duration::from_millis(250)).await;
    redis.kill();
    let error = push.await.unwrap().unwrap_err();
    assert!(error.is_ambiguous(), "{error:?}");
    assert_eq!(error.jid().map(Jid::as_str), Some("unsure"));
}

#[tokio::test]
async fn waits_for_replicas_and_says_how_many_there_were() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let primary = Redis::start_with(&["--port", &port, "--repl-diskless-sync-delay", "0"]).await;
    let client = primary.client();
    let lonely = client.wait_for_replicas(1, Duration::from_millis(20));
    let error = lonely.push(with_jid("alone")).await.unwrap_err();
    assert_eq!((error.kind(), error.replicas()), (ErrorKind::Unconfirmed, Some(0)));
    assert_eq!(error.jid().map(Jid::as_str), Some("alone"));
    assert!(error.to_string().contains("0 of 1 replicas"), "{error}");
    assert_eq!(primary.size("queue:default").await, 1, "it was applied");

    let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &port]).await;
    let sure = client.wait_for_replicas(1, Duration::from_secs(5));
    eventually("the replica confirms", async || sure.push(Payload::new("A", [])).await.is_ok()).await;
    let there = primary.size("queue:default").await;
    for jid in ["one", "two"] {
        sure.push(with_jid(jid)).await.unwrap();
        sure.push(scheduled(jid)).await.unwrap();
    }
    sure.push_bulk(Bulk::new(Payload::new("A", []), (0..10).map(|id| (id,))).unwrap()).await.unwrap();
    assert_eq!((replica.size("queue:default").await, replica.size("schedule").await), (there + 12, 2));

    let two = client.idempotent().wait_for_replicas(2, Duration::from_millis(20));
    for _ in 0..2 {
        let error = two.push(with_jid("three")).await.unwrap_err();
        assert_eq!((error.kind(), error.replicas()), (ErrorKind::Unconfirmed, Some(1)));
    }
    assert_eq!(primary.size("queue:default").await, there + 13);
}

/// Pushing again is a write even where it pushes nothing: whoever waits after it waits for the job itself.
#[tokio::test]
async fn does_not_take_an_old_push_for_confirmed() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let primary = Redis::start_with(&["--port", &port, "--repl-diskless-sync-delay", "0"]).await;
    let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &port]).await;
    let client = primary.client().idempotent();
    let sure = client.wait_for_replicas(1, Duration::from_millis(100));
    eventually("the replica confirms", async || sure.push(Payload::new("A", [])).await.is_ok()).await;
    let options: ferrokiq::RedisOptions = format!("redis://127.0.0.1:{port}").parse().unwrap();
    let other = Client::builder().redis(options).idempotent().wait_for_replicas(1, Duration::from_millis(100));
    let other = other.build().unwrap();
    replica.signal("STOP");
    client.push(with_jid("waits")).await.unwrap();
    let error = other.push(with_jid("waits")).await.unwrap_err();
    replica.signal("CONT");
    assert_eq!((error.kind(), error.replicas()), (ErrorKind::Unconfirmed, Some(0)));
}

#[tokio::test]
async fn says_that_a_job_is_there_when_only_the_list_of_queues_is_broken() {
    let redis = Redis::start().await;
    redis.call::<()>("SET", &["queues", "no set"]).await;
    redis.client().push(Payload::new("A", [])).await.unwrap();
    assert_eq!(redis.size("queue:default").await, 1);
}

#[tokio::test]
async fn waits_once_for_a_redis_that_does_not_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let options: ferrokiq::RedisOptions = format!("redis://{}", listener.local_addr().unwrap()).parse().unwrap();
    let client = Client::builder().redis(options.connect_timeout(Duration::from_millis(300))).build().unwrap();
    let asked = Instant::now();
    let pushes: Vec<_> = (0..50)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.push(Payload::new("A", [])).await })
        })
        .collect();
    for push in pushes {
        let error = push.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Redis, "nothing was sent");
    }
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
}

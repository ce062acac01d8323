use std::time::Duration;

use ferrokiq::{ErrorKind, Job, Payload, Server};

use crate::support::{Redis, Running, eventually, nothing};

#[tokio::test]
async fn says_at_boot_that_redis_is_away_and_never_a_password() {
    let options = "redis://:s3cr3t@127.0.0.1:1/0".parse::<ferrokiq::RedisOptions>().unwrap();
    let server = Server::builder().redis(options.connect_timeout(Duration::from_secs(1))).build().unwrap();
    let error = server.run(std::future::pending()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Redis);
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("127.0.0.1:1") && !shown.contains("s3cr3t"), "{shown}");
}

#[tokio::test]
async fn works_on_when_redis_comes_back() {
    let mut redis = Redis::start().await;
    let client = redis.client();
    let server = Running::start(&redis, Server::builder().register_fn("Nothing", nothing));
    client.push(Payload::new("Nothing", [])).await.unwrap();
    eventually("it works", async || redis.size("queue:default").await == 0).await;

    redis.kill();
    assert!(client.push(Payload::new("Nothing", [])).await.unwrap_err().is_redis());
    redis.revive().await;
    eventually("pushing works again", async || client.push(Payload::new("Nothing", [])).await.is_ok()).await;
    eventually("it works again", async || redis.size("queue:default").await == 0 && redis.private_jobs().await == 0)
        .await;
    server.stop().await;
}

#[tokio::test]
async fn takes_a_new_password_without_a_restart() {
    let redis = Redis::start().await;
    let file = redis.dir().join("password");
    let rotate = async |password: &str| {
        let _: () = redis
            .call("ACL", &["SETUSER", "worker", "reset", "on", &format!(">{password}"), "~*", "&*", "+@all"])
            .await;
        // Connections stay what they are when a password changes; they are made anew some day.
        let _: i64 = redis.call("CLIENT", &["KILL", "USER", "worker"]).await;
    };
    std::fs::write(&file, "s3cr3t-one\n").unwrap();
    rotate("s3cr3t-one").await;
    let options: ferrokiq::RedisOptions = redis.url_of("worker").parse().unwrap();
    let options = options.password_file(&file);
    let client = ferrokiq::Client::builder().redis(options.clone()).build().unwrap();
    let server = Server::builder().register_fn("Nothing", nothing).redis(options);
    let server = Running::start_as_it_is(server);
    client.push(Payload::new("Nothing", [])).await.unwrap();
    eventually("it works", async || redis.size("queue:default").await == 0).await;

    rotate("s3cr3t-two").await;
    eventually("the old one is refused", async || match client.push(Payload::new("Nothing", [])).await {
        Ok(_) => false,
        Err(error) => {
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("s3cr3t"), "{shown}");
            shown.contains("WRONGPASS")
        }
    })
    .await;
    std::fs::write(&file, "s3cr3t-two").unwrap();
    eventually("the new one is taken", async || client.push(Payload::new("Nothing", [])).await.is_ok()).await;
    eventually("it works again", async || redis.size("queue:default").await == 0 && redis.private_jobs().await == 0)
        .await;
    server.stop().await;
}

/// Commands Redis refused for want of replicas.
async fn refused(redis: &Redis) -> u64 {
    let said: String = redis.call("INFO", &["errorstats"]).await;
    said.lines().find_map(|line| line.strip_prefix("errorstat_NOREPLICAS:count=")?.trim().parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn asks_seldom_while_redis_refuses() {
    let redis = Redis::start().await;
    let client = redis.client();
    let server = Server::builder().register(Naps).register_fn("Nothing", nothing).concurrency(30);
    let server = Running::start(&redis, server);
    for number in 0..20 {
        let how = if number % 2 == 0 { "fail" } else { "succeed" };
        Naps::perform_async(&client, (300, how.into())).await.unwrap();
    }
    eventually("all run", async || redis.size("queue:default").await == 0).await;
    redis.call::<()>("CONFIG", &["SET", "min-replicas-to-write", "1"]).await;
    let error = client.push(Payload::new("Nothing", [])).await.unwrap_err();
    assert_eq!(error.kind(), ferrokiq::ErrorKind::Redis);
    assert!(format!("{error:?}").contains("NOREPLICAS"), "{error:?}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Ten jobs to retry and ten to acknowledge, a fetcher, a waiter, a heartbeat: on three connections.
    let before = refused(&redis).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let rate = (refused(&redis).await - before) as f64 / 3.0;
    // A waiter sends four commands with each try.
    assert!(rate <= 20.0, "{rate:.0} commands a second were refused");
    redis.call::<()>("CONFIG", &["SET", "min-replicas-to-write", "0"]).await;
    eventually("it settles all", async || redis.private_jobs().await == 0 && redis.size("retry").await == 10).await;
    server.stop().await;
}

/// Redis answers reads and refuses writes: due jobs are read, and cannot be moved.
#[tokio::test]
async fn counts_one_outage_while_redis_refuses_writes() {
    let (redis, at) = (Redis::start().await, crate::support::free());
    for number in 0..20 {
        let due = format!(r#"{{"class":"Nothing","args":[],"jid":"{number:024}","queue":"default"}}"#);
        // Due in two seconds by the clock of Redis.
        let add = "return redis.call('ZADD', 'retry', redis.call('TIME')[1] + 2, ARGV[1])";
        redis.call::<usize>("EVAL", &[add, "0", &due]).await;
    }
    let server = Running::start(&redis, Server::builder().register_fn("Nothing", nothing).health(at));
    eventually("it is up", async || redis.call::<usize>("SCARD", &["ferrokiq:processes"]).await == 1).await;
    redis.call::<()>("CONFIG", &["SET", "min-replicas-to-write", "1"]).await;
    // The poller, the heartbeat and the fetcher, again and again.
    eventually("many commands are refused", async || refused(&redis).await >= 60).await;
    let outages = async || {
        let (_, metrics) = crate::health::get(at, "/metrics").await.unwrap();
        metrics.lines().find_map(|line| line.strip_prefix("ferrokiq_redis_outages_total ")?.parse::<u64>().ok())
    };
    assert_eq!(outages().await, Some(1));
    redis.call::<()>("CONFIG", &["SET", "min-replicas-to-write", "0"]).await;
    eventually("they have run", async || redis.size("retry").await + redis.private_jobs().await == 0).await;
    eventually("the outage is over", async || {
        crate::health::get(at, "/ready").await.is_ok_and(|(status, _)| status == 200)
    })
    .await;
    assert_eq!(outages().await, Some(1));
    server.stop().await;
}

#[tokio::test]
async fn claims_while_memory_is_full() {
    let redis = Redis::start().await;
    let client = redis.client();
    let server = Running::start(&redis, Server::builder().register_fn("Nothing", nothing));
    eventually("it is up", async || redis.call::<usize>("SCARD", &["ferrokiq:processes"]).await == 1).await;
    let mut due = Payload::new("Nothing", []);
    due.insert("at", ferrokiq::time::EpochSecs::now().0 + 2.0);
    client.push(due).await.unwrap();
    redis.call::<()>("CONFIG", &["SET", "maxmemory", "1"]).await;
    let error = client.push(Payload::new("Nothing", [])).await.unwrap_err();
    assert!(!error.is_ambiguous() && format!("{error:?}").contains("OOM"), "{error:?}");
    // Promoted, claimed and acknowledged without a byte of memory; nobody may wait for it.
    eventually("the scheduled job is done", async || {
        redis.size("schedule").await + redis.size("queue:default").await + redis.private_jobs().await == 0
    })
    .await;
    redis.call::<()>("CONFIG", &["SET", "maxmemory", "0"]).await;
    client.push(Payload::new("Nothing", [])).await.unwrap();
    eventually("it waits again", async || redis.size("queue:default").await == 0).await;
    server.stop().await;
}

/// Sleeps for a while, so that Redis can go away under it.
struct Naps;

impl Job for Naps {
    const CLASS: &'static str = "Naps";
    type Args = (u64, String);

    async fn perform(&self, _cx: ferrokiq::Context, (millis, how): Self::Args) -> ferrokiq::JobResult {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        if how == "fail" { Err("it fails".into()) } else { Ok(()) }
    }
}

#[tokio::test]
async fn settles_jobs_that_end_while_redis_is_away() {
    let mut redis = Redis::start().await;
    let client = redis.client();
    Naps::perform_async(&client, (300, "fail".into())).await.unwrap();
    Naps::perform_async(&client, (300, "succeed".into())).await.unwrap();
    let server = Running::start(&redis, Server::builder().register(Naps));
    eventually("both run", async || redis.size("queue:default").await == 0).await;
    redis.kill();
    tokio::time::sleep(Duration::from_millis(600)).await;
    redis.revive().await;
    eventually("the failure is in the retry set", async || redis.size("retry").await == 1).await;
    eventually("the success is acknowledged", async || redis.private_jobs().await == 0).await;
    server.stop().await;
}

#[tokio::test]
async fn registers_again_when_redis_forgot_everything() {
    let redis = Redis::start().await;
    let client = redis.client();
    let server = Running::start(&redis, Server::builder().register_fn("Nothing", nothing));
    eventually("it is up", async || redis.call::<usize>("SCARD", &["ferrokiq:processes"]).await == 1).await;
    redis.call::<()>("FLUSHALL", &[""; 0]).await;
    client.push(Payload::new("Nothing", [])).await.unwrap();
    eventually("it works again", async || redis.size("queue:default").await == 0 && redis.private_jobs().await == 0)
        .await;
    server.stop().await;
}

#[tokio::test]
async fn leaves_no_claim_behind_when_connections_are_cut() {
    let redis = Redis::start().await;
    let client = redis.client();
    let jobs = ferrokiq::client::Bulk::new(Payload::new("Nothing", []), (0..5_000).map(|_| ((),))).unwrap();
    client.push_bulk(jobs).await.unwrap();
    let server = Running::start(&redis, Server::builder().register_fn("Nothing", nothing).concurrency(4));
    // A start without Redis is an error; it is up once it works.
    eventually("it works", async || redis.size("queue:default").await < 5_000).await;
    // While it works: an answer that was on its way is lost, a script may have run all the same.
    for round in 1..=20 {
        let left = redis.size("queue:default").await;
        redis.call::<i64>("CLIENT", &["KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
        eventually(&format!("it works again after cut {round}"), async || {
            let now = redis.size("queue:default").await;
            now < left || now == 0
        })
        .await;
    }
    // What a lost answer left in a private list goes back to the queue first.
    eventually("all are done", async || {
        redis.private_jobs().await == 0 && redis.size("queue:default").await == 0 && redis.private_jobs().await == 0
    })
    .await;
    assert_eq!(redis.size("retry").await + redis.size("dead").await, 0);
    server.stop().await;
    assert_eq!(redis.size("queue:default").await, 0);
}

//! Somebody wrote something else in the place of a key that outcomes are stored under.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ferrokiq::job::RawArgs;
use ferrokiq::{Context, JobError, Payload, Server, ServerBuilder};

use crate::health::until;
use crate::support::{Redis, Running, eventually, free, nothing};

fn builder() -> ServerBuilder {
    let fails = |_: Context, _: RawArgs| async { Err(JobError::new("RuntimeError", "as always")) };
    Server::builder().register_fn("Fails", fails).register_fn("Works", nothing).concurrency(3)
}

async fn spoil(redis: &Redis, key: &str) {
    redis.call::<()>("SET", &[key, "something else"]).await;
}

async fn mend(redis: &Redis, key: &str) {
    redis.call::<()>("DEL", &[key]).await;
}

async fn push(redis: &Redis, class: &str, retry: bool, jobs: usize) {
    for _ in 0..jobs {
        let mut payload = Payload::new(class, []);
        payload.insert("retry", if retry { 25 } else { 0 });
        redis.client().push(payload).await.unwrap();
    }
}

async fn privately(redis: &Redis, jobs: usize) {
    eventually(&format!("{jobs} jobs are in private lists and none waits"), async || {
        redis.private_jobs().await == jobs && redis.size("queue:default").await == 0
    })
    .await;
}

/// Failed jobs and jobs that run are done, and the others are stored once the key is mended.
async fn heals(key: &str, retry: bool) {
    let (redis, deaths) = (Redis::start().await, Arc::new(AtomicUsize::new(0)));
    let died = Arc::clone(&deaths);
    spoil(&redis, key).await;
    let server = Running::start(
        &redis,
        builder().on_death(move |_| {
            died.fetch_add(1, Ordering::SeqCst);
            async {}
        }),
    );
    push(&redis, "Fails", retry, 10).await;
    // More than there are slots: those of the failed jobs are free.
    push(&redis, "Works", retry, 10).await;
    // The other destination has nothing to do with it.
    push(&redis, "Fails", !retry, 2).await;
    privately(&redis, 10).await;
    let other = if retry { "dead" } else { "retry" };
    eventually("the other set is written to", async || redis.size(other).await == 2).await;
    mend(&redis, key).await;
    eventually("they are stored", async || redis.size(key).await == 10 && redis.private_jobs().await == 0).await;
    assert_eq!(server.stop().await.left_for_recovery, 0);
    assert_eq!(deaths.load(Ordering::SeqCst), if retry { 2 } else { 10 }, "each death is reported once");
    assert_eq!(redis.size(other).await, 2);
}

#[tokio::test]
async fn failed_jobs_are_retried_once_the_retry_set_is_mended() {
    heals("retry", true).await;
}

#[tokio::test]
async fn dead_jobs_are_stored_once_the_dead_set_is_mended() {
    heals("dead", false).await;
}

#[tokio::test]
async fn jobs_that_are_too_many_to_be_withheld_hold_their_slots_until_the_key_is_mended() {
    let (redis, at) = (Redis::start().await, free());
    spoil(&redis, "retry").await;
    let server = Running::start(&redis, builder().health(at));
    push(&redis, "Fails", true, 60).await;
    until(at, "/ready", 503, "jobs hold their slots: the key they belong in has another type").await;
    until(at, "/live", 200, "ok").await;
    eventually("all slots are held", async || redis.size("queue:default").await + redis.private_jobs().await == 60)
        .await;
    mend(&redis, "retry").await;
    eventually("all are retried", async || redis.size("retry").await == 60 && redis.private_jobs().await == 0).await;
    until(at, "/ready", 200, "ok").await;
    server.stop().await;
}

#[tokio::test]
async fn jobs_that_cannot_be_stored_go_back_to_their_queue_when_the_server_stops() {
    let redis = Redis::start().await;
    spoil(&redis, "retry").await;
    let server = Running::start(&redis, builder());
    push(&redis, "Fails", true, 5).await;
    privately(&redis, 5).await;
    assert_eq!(server.stop().await.left_for_recovery, 0);
    assert_eq!((redis.size("queue:default").await, redis.private_jobs().await), (5, 0));
}

#[tokio::test]
async fn what_is_in_the_place_of_a_process_s_settlements_is_removed() {
    let redis = Redis::start().await;
    let server = Running::start(&redis, builder());
    eventually("it is up", async || redis.call::<usize>("SCARD", &["ferrokiq:processes"]).await == 1).await;
    let [identity] = &redis.call::<Vec<String>>("SMEMBERS", &["ferrokiq:processes"]).await[..] else {
        panic!("one process")
    };
    let key = format!("ferrokiq:settlements:{identity}");
    for (class, jobs) in [("Fails", 3), ("Large", 1)] {
        let before = redis.size("retry").await;
        spoil(&redis, &key).await;
        let ballast = "x".repeat(if class == "Large" { 300_000 } else { 10 });
        for _ in 0..jobs {
            redis.client().push(Payload::new(class, [ballast.as_str().into()])).await.unwrap();
        }
        eventually("they are retried", async || redis.size("retry").await == before + jobs).await;
        assert_eq!(redis.private_jobs().await, 0);
        let epoch: Option<String> = redis.call("HGET", &[&key, "epoch"]).await;
        assert_eq!(epoch.as_deref(), Some("0"));
    }
    server.stop().await;
}

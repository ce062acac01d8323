//! What a run may end with besides success and failure: snooze, kill, discard, requeue.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ferrokiq::server::Next;
use ferrokiq::{Context, JobError, JobResult, Outcome, Payload, Server};

use crate::support::{Redis, Running, eventually};

/// One payload without an optional key, as a Ruby process writes it; more digits than a float has.
fn raw(jid: &str, how: &str) -> String {
    format!(
        r#"{{"retry":true,"queue":"default","zzz":1.0e+20,"args":["{how}",123456789012345678901234],"class":"Ends","jid":"{jid}","created_at":1795408384695,"enqueued_at":1795408384695}}"#
    )
}

fn end(how: &str) -> JobResult {
    match how {
        "kill" => Err(JobError::kill(JobError::new("Gone", "no account"))),
        "discard" => Err(JobError::discard("not wanted")),
        "snooze" => Err(JobError::snooze(Duration::from_secs(1_000))),
        "for ever" => Err(JobError::snooze(Duration::MAX)),
        "fail" => Err("plain".into()),
        _ => Ok(()),
    }
}

async fn stats(redis: &Redis) -> (usize, usize) {
    let stats: Vec<Option<usize>> = redis.call("MGET", &["stat:processed", "stat:failed"]).await;
    (stats[0].unwrap_or(0), stats[1].unwrap_or(0))
}

#[tokio::test]
async fn a_job_ends_as_it_says() {
    let redis = Redis::start().await;
    let hows = ["kill", "discard", "snooze", "for ever", "fail", "work"];
    for how in hows {
        redis.call::<()>("LPUSH", &["queue:default", &raw(how, how)]).await;
    }
    let reported = Arc::new(AtomicUsize::new(0));
    let reports = Arc::clone(&reported);
    let running = Running::start(
        &redis,
        Server::builder().register_fn("Ends", async |_, (how, _): (String, serde_json::Number)| end(&how)).on_error(
            move |_| {
                reports.fetch_add(1, Ordering::SeqCst);
            },
        ),
    );
    eventually("all are settled", async || {
        redis.size("schedule").await == 2
            && redis.size("dead").await == 1
            && redis.size("retry").await == 1
            && redis.private_jobs().await == 0
    })
    .await;
    running.stop().await;

    let waiting = redis.members("schedule").await;
    assert_eq!(waiting, ["snooze", "for ever"].map(|how| raw(how, how).into_bytes()), "not a byte changes");
    let (now, _): (f64, f64) = redis.call("TIME", &[] as &[&str]).await;
    let score: f64 = redis.call("ZSCORE", &["schedule", &raw("snooze", "snooze")]).await;
    assert!((now + 900.0..now + 1_001.0).contains(&score), "by the clock of Redis: {score}");
    let dead = Payload::from_bytes(redis.members("dead").await.remove(0)).unwrap();
    assert_eq!(
        ["jid", "error_class", "error_message"].map(|key| dead.decode::<String>(key).unwrap()),
        ["kill", "Gone", "no account"]
    );
    assert_eq!(dead.get("retry_count"), Some("0"));
    // A snooze is no failure.
    assert_eq!((stats(&redis).await, reported.load(Ordering::SeqCst)), ((6, 3), 3));
}

/// A job that waits for something long: neither its payload nor what is sent for it grows.
#[tokio::test]
async fn a_job_may_snooze_again_and_again() {
    const RUNS: usize = 20;
    let redis = Redis::start().await;
    redis.call::<()>("LPUSH", &["queue:default", &raw("j", "x")]).await;
    let ran = Arc::new(AtomicUsize::new(0));
    let runs = Arc::clone(&ran);
    let job = move |cx: Context, _: ferrokiq::job::RawArgs| {
        let run = runs.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            assert_eq!((cx.failures(), cx.payload().as_str().len()), (0, raw("j", "x").len()));
            if run < RUNS { Err(JobError::snooze(Duration::ZERO)) } else { Ok(()) }
        }
    };
    let fast = Duration::from_millis(10);
    let builder = Server::builder().register_fn("Ends", job).redis(redis.options()).poll_interval_average(fast);
    let server = builder.build().unwrap();
    let handle = server.handle();
    let task = tokio::spawn(server.run(std::future::pending()));
    eventually("it succeeded", async || ran.load(Ordering::SeqCst) == RUNS).await;
    handle.stop();
    task.await.unwrap().unwrap();
    assert_eq!(stats(&redis).await, (RUNS, 0), "a success after snoozes is a success");
    for key in ["retry", "dead", "schedule", "queue:default"] {
        assert_eq!(redis.size(key).await, 0, "{key}");
    }
    assert_eq!(redis.private_jobs().await, 0);
    // A bounded number of commands for each run: into the schedule and out of it, into the private list and out of it.
    for command in ["zadd", "zrem", "lpush", "lrem", "hset"] {
        let calls = redis.calls(command).await;
        assert!(calls <= 4 * RUNS + 20, "{calls} {command} for {RUNS} runs");
    }
}

#[tokio::test]
async fn middleware_may_change_what_a_job_ends_with() {
    let redis = Redis::start().await;
    let client = redis.client();
    async fn patient(cx: Context, next: Next) -> JobResult {
        match Outcome::from(next.run(cx).await) {
            Outcome::Fail(error) if error.message() == "plain" => Outcome::Snooze(Duration::from_secs(60)).into(),
            Outcome::Kill(error) => Outcome::Fail(error).into(),
            outcome => outcome.into(),
        }
    }
    let builder =
        Server::builder().register_fn("Ends", async |_, (how,): (String,)| end(&how)).server_middleware(patient);
    for how in ["fail", "kill"] {
        client.push(Payload::new("Ends", [how.into()])).await.unwrap();
    }
    let running = Running::start(&redis, builder);
    eventually("one waits, one is retried", async || {
        redis.size("schedule").await == 1 && redis.size("retry").await == 1
    })
    .await;
    running.stop().await;
    assert_eq!(redis.size("dead").await, 0);
}

/// Behind the jobs that wait, with the time of its return; its retries are as they were.
#[tokio::test]
async fn a_requeued_job_runs_again_behind_the_others() {
    let redis = Redis::start().await;
    for (jid, how) in [("a", "again"), ("b", "work")] {
        redis.call::<()>("LPUSH", &["queue:default", &raw(jid, how)]).await;
    }
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let runs = Arc::clone(&order);
    let job = move |cx: Context, (how, _): (String, serde_json::Number)| {
        let mut runs = runs.lock().unwrap();
        runs.push((
            cx.jid().to_owned(),
            cx.failures(),
            cx.payload().decode::<u64>("enqueued_at") > Some(1_795_408_384_695),
        ));
        let outcome = if how == "again" && runs.len() == 1 { Err(JobError::requeue()) } else { Ok(()) };
        async move { outcome }
    };
    let running = Running::start(&redis, Server::builder().register_fn("Ends", job).concurrency(1));
    eventually("three runs", async || order.lock().unwrap().len() == 3).await;
    running.stop().await;
    let expected = [("a", false), ("b", false), ("a", true)].map(|(jid, later)| (jid.to_owned(), 0, later));
    assert_eq!(*order.lock().unwrap(), expected);
    assert_eq!(stats(&redis).await, (3, 1), "counted as an interrupted job in Ruby");
}

/// A job of 200 KB is settled in place: Redis has its bytes already.
#[tokio::test]
async fn a_large_job_snoozes_as_it_is() {
    let redis = Redis::start().await;
    let large = raw("l", "snooze").replace("123456789012345678901234", &format!("\"{}\"", "x".repeat(200_000)));
    redis.call::<()>("LPUSH", &["queue:default", &large]).await;
    let running =
        Running::start(&redis, Server::builder().register_fn("Ends", async |_, (how, _): (String, String)| end(&how)));
    eventually("it snoozes", async || redis.size("schedule").await == 1 && redis.private_jobs().await == 0).await;
    running.stop().await;
    assert_eq!(redis.members("schedule").await, [large.into_bytes()]);
}

/// The jobs wait in their private lists until the schedule is a sorted set again.
#[tokio::test]
async fn a_snooze_waits_for_a_schedule_that_is_something_else() {
    let redis = Redis::start().await;
    redis.call::<()>("SET", &["schedule", "text"]).await;
    redis.call::<()>("LPUSH", &["queue:default", &raw("s", "snooze")]).await;
    let ran = Arc::new(AtomicUsize::new(0));
    let runs = Arc::clone(&ran);
    let running = Running::start(
        &redis,
        Server::builder().register_fn("Ends", move |_, (how, _): (String, serde_json::Number)| {
            runs.fetch_add(1, Ordering::SeqCst);
            async move { end(&how) }
        }),
    );
    eventually("it ran", async || ran.load(Ordering::SeqCst) == 1).await;
    redis.call::<()>("DEL", &["schedule"]).await;
    eventually("it snoozes", async || redis.size("schedule").await == 1 && redis.private_jobs().await == 0).await;
    running.stop().await;
    assert_eq!(ran.load(Ordering::SeqCst), 1);
}

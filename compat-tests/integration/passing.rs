//! Client middleware that keeps, drops or delays jobs: at a push, and when a due job leaves its set.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ferrokiq::api::Api;
use ferrokiq::client::{Bulk, Next, Push};
use ferrokiq::{Client, Payload, Server, ServerBuilder};

use crate::support::{Redis, Running, eventually};

/// Answers as the class of a job says.
async fn by_class(mut payload: Payload, next: Next) -> ferrokiq::Result<Push> {
    payload.insert("due", next.is_promotion());
    match payload.class() {
        "Drop" => Ok(Push::Drop),
        "Delay" => Ok(Push::Delay(payload, Duration::from_secs(1_000))),
        "AtOnce" => {
            tokio::time::sleep(Duration::from_millis(11)).await;
            Ok(Push::Delay(payload, Duration::ZERO))
        }
        "ForEver" => Ok(Push::Delay(payload, Duration::MAX)),
        "Fail" => Err(ferrokiq::Error::middleware("quota")),
        "Hang" => std::future::pending().await,
        _ => next.run(payload).await,
    }
}

/// Promotes, and works no queue the jobs go to.
fn poller() -> ServerBuilder {
    Server::builder().queues(["nobody"]).client_middleware(by_class).hook_timeout(Duration::from_millis(50))
}

async fn add(redis: &Redis, set: &str, score: usize, class: &str, padding: usize) {
    let job = format!(
        r#"{{"class":"{class}","args":["{}"],"queue":"q","jid":"{score}","retry":true,"created_at":1795408384695}}"#,
        "x".repeat(padding)
    );
    redis.call::<()>("ZADD", &[set, &score.to_string(), &job]).await;
}

async fn classes(redis: &Redis, command: &str, key: &str) -> Vec<String> {
    let jobs: Vec<String> = redis.call(command, &[key, "0", "-1"]).await;
    jobs.into_iter().map(|job| Payload::parse(job).unwrap().class().to_owned()).collect()
}

/// Small jobs, and large ones, whose new bytes Redis makes.
#[tokio::test]
async fn a_due_job_is_kept_dropped_or_delayed_in_its_set() {
    let redis = Redis::start().await;
    let mut score = 0;
    for (set, padding) in [("retry", 0), ("retry", 300_000), ("schedule", 0), ("schedule", 300_000)] {
        for class in ["Keep", "Drop", "Delay", "ForEver", "Fail", "Hang", "Keep"] {
            score += 1;
            add(&redis, set, score, class, padding).await;
        }
    }
    let server = Running::start(&redis, poller());
    eventually("all have passed", async || redis.size("queue:q").await == 16).await;
    let (now, _): (f64, f64) = redis.call("TIME", &[] as &[&str]).await;
    for set in ["retry", "schedule"] {
        eventually("those that were dropped are gone", async || redis.size(set).await == 4).await;
        let classes = classes(&redis, "ZRANGE", set).await;
        assert_eq!(classes, ["Delay", "Delay", "ForEver", "ForEver"], "each stays in its set");
        let entries: Vec<(String, f64)> = redis.call("ZRANGE", &[set, "0", "-1", "WITHSCORES"]).await;
        for (at, (job, score)) in entries.iter().enumerate() {
            let expected = if at < 2 { 900.0..1_001.0 } else { 3.1e9..3.2e9 };
            assert!(expected.contains(&(score - now)), "{score}");
            assert!(job.contains(r#""due":true"#));
        }
    }
    let mut queued = classes(&redis, "LRANGE", "queue:q").await;
    queued.sort_unstable();
    assert_eq!(queued, [["Fail"; 4], ["Hang"; 4], ["Keep"; 4], ["Keep"; 4]].concat());
    assert_eq!(redis.size("dead").await, 0);
    server.stop().await;
}

/// Each is delayed by the shortest time, a second, and takes 11 ms: the first are due again before the last were read. A sweep that went on with them
/// would never come to the other set.
#[tokio::test]
async fn a_sweep_ends_though_every_job_is_delayed_at_once() {
    let redis = Redis::start().await;
    for score in 1..=120 {
        add(&redis, "retry", score, "AtOnce", 0).await;
    }
    add(&redis, "schedule", 1, "Keep", 0).await;
    let server = Running::start(&redis, poller());
    eventually("the other set had its turn", async || redis.size("queue:q").await == 1).await;
    assert_eq!((redis.size("retry").await, redis.size("schedule").await), (120, 0));
    server.stop().await;
}

/// Both see every job; each job is enqueued once, or dropped once, and none is lost.
#[tokio::test]
async fn two_pollers_with_middleware_move_each_job_once() {
    let redis = Redis::start().await;
    for score in 1..=300 {
        let class = ["Keep", "Drop", "Delay"][score % 3];
        add(&redis, ["retry", "schedule"][score % 2], score, class, 0).await;
    }
    let servers = [(); 2].map(|()| Running::start(&redis, poller()));
    eventually("all have passed", async || {
        redis.size("queue:q").await == 100 && redis.size("retry").await + redis.size("schedule").await == 100
    })
    .await;
    let [one, other] = servers;
    tokio::join!(one.stop(), other.stop());
    let queued: std::collections::HashSet<String> =
        redis.call::<Vec<String>>("LRANGE", &["queue:q", "0", "-1"]).await.into_iter().collect();
    assert_eq!((queued.len(), redis.size("queue:q").await), (100, 100), "none came twice");
}

#[tokio::test]
async fn a_push_is_kept_dropped_or_delayed() {
    let redis = Redis::start().await;
    let client = Client::builder().redis(redis.producer()).middleware(by_class).build().unwrap();
    let push = async |class: &str| client.push(Payload::new(class, []).with_queue("q")).await;
    assert!(push("Drop").await.unwrap().is_none());
    assert_eq!(redis.call::<usize>("DBSIZE", &[""; 0]).await, 0);
    assert!(push("Keep").await.unwrap().is_some() && push("Delay").await.unwrap().is_some());
    assert!(push("Fail").await.is_err());
    let mut later = Payload::new("Delay", []).with_queue("q");
    later.insert("at", 4_000_000_000_u64);
    client.push(later).await.unwrap();
    assert_eq!(classes(&redis, "LRANGE", "queue:q").await, ["Keep"]);
    let waiting: Vec<String> = redis.call("ZRANGE", &["schedule", "0", "-1", "WITHSCORES"]).await;
    let now = ferrokiq::time::EpochSecs::now().0;
    let score: f64 = waiting[1].parse().unwrap();
    assert!((now + 900.0..now + 1_001.0).contains(&score), "{score}");
    assert_eq!(waiting[3], "4000000000", "its own time is later");
    assert!(waiting.iter().step_by(2).all(|job| job.contains(r#""due":false"#) && !job.contains(r#""at""#)));
}

/// A round trip writes to the schedule or to queues. Before, a middleware that set `at` for some jobs of a bulk made Redis hold payloads with `at` in a queue.
#[tokio::test]
async fn some_jobs_of_a_bulk_are_delayed() {
    let redis = Redis::start().await;
    let every_third = async |payload: Payload, next: Next| match payload.args() {
        "[3]" | "[4]" | "[9]" => Ok(Push::Delay(payload, Duration::from_secs(60))),
        "[5]" => Ok(Push::Drop),
        _ => next.run(payload).await,
    };
    let client = Client::builder().redis(redis.producer()).middleware(every_third).build().unwrap();
    let bulk = Bulk::new(Payload::new("A", []).with_queue("q"), (0..10).map(|id| (id,))).unwrap();
    let jids = client.push_bulk(&bulk).await.unwrap();
    assert_eq!(jids.iter().filter(|jid| jid.is_none()).count(), 1);
    let args = |jobs: Vec<String>| {
        jobs.into_iter().map(|job| Payload::parse(job).unwrap().args().to_owned()).collect::<Vec<_>>().join("")
    };
    assert_eq!(args(redis.call("LRANGE", &["queue:q", "0", "-1"]).await), "[8][7][6][2][1][0]");
    assert_eq!(args(redis.call("ZRANGE", &["schedule", "0", "-1"]).await), "[3][4][9]");
    // What was written before an error counts, and no more.
    redis.call::<()>("DEL", &["queue:q", "schedule"]).await;
    redis.call::<()>("SET", &["schedule", "text"]).await;
    assert_eq!(client.push_bulk(&bulk).await.unwrap_err().pushed(), Some(3));
    assert_eq!(redis.size("queue:q").await, 3);
}

/// An operator's retry passes the middleware, too; what a middleware does not let through stays where it is.
#[tokio::test]
async fn an_operator_who_retries_a_job_is_told_what_the_middleware_answered() {
    let redis = Redis::start().await;
    for (score, class) in ["Drop", "Delay", "Keep"].into_iter().enumerate() {
        add(&redis, "retry", score + 1, class, 0).await;
    }
    let passed = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&passed);
    let client = redis
        .operator_builder()
        .middleware(move |payload: Payload, next: Next| {
            counter.fetch_add(usize::from(next.is_promotion()), Ordering::SeqCst);
            by_class(payload, next)
        })
        .build()
        .unwrap();
    let api = Api::new(&client);
    let mut answers = Vec::new();
    for entry in api.retries().from_lowest(0, 9).await.unwrap() {
        answers.push(api.retries().retry(&entry).await.map_err(|error| error.to_string()));
    }
    assert_eq!(passed.load(Ordering::SeqCst), 3);
    assert!(answers[0].as_ref().unwrap_err().contains("stopped"), "{answers:?}");
    assert!(answers[1].as_ref().unwrap_err().contains("delays"), "{answers:?}");
    assert_eq!((redis.size("retry").await, redis.size("queue:q").await), (2, 1));
}

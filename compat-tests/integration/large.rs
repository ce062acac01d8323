//! Jobs of hundreds of kilobytes, which are settled without sending their bytes back to Redis.

use std::sync::Arc;
use std::time::Duration;

use ferrokiq::job::RawArgs;
use ferrokiq::{Context, JobError, Server};
use tokio::sync::Semaphore;

use crate::support::{Redis, Running, eventually};

/// A payload with bytes that no edit may change.
fn payload(number: usize, retry: &str) -> String {
    format!(
        r#"{{ "class":"Waits", "args":[1.0e+20,"é{}"],"retry":{retry},"queue":"default","jid":"{number}"}}"#,
        "x".repeat(300_000)
    )
}

async fn push(redis: &Redis, payload: &str) {
    redis.call::<()>("LPUSH", &["queue:default", payload]).await;
}

/// Whether the stored bytes are these with keys behind them.
fn only_grew(stored: &[u8], pushed: &str) -> bool {
    let kept = &pushed.as_bytes()[..pushed.len() - 1];
    stored.starts_with(kept)
        && stored.ends_with(b"}")
        && stored.len() > pushed.len()
        && stored.len() < pushed.len() + 500
}

#[tokio::test]
async fn a_large_job_keeps_its_bytes_wherever_it_goes() {
    let redis = Redis::start().await;
    let (may_fail, begun) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (permits, starts) = (Arc::clone(&may_fail), Arc::clone(&begun));
    let builder = Server::builder().concurrency(4).timeout(Duration::from_millis(100)).register_fn(
        "Waits",
        move |_: Context, _: RawArgs| {
            let (permits, starts) = (Arc::clone(&permits), Arc::clone(&starts));
            async move {
                starts.add_permits(1);
                permits.acquire().await.unwrap().forget();
                Err(JobError::new("RuntimeError", "as always"))
            }
        },
    );
    let server = Running::start(&redis, builder);
    let run = async |pushed: &str| {
        push(&redis, pushed).await;
        tokio::time::timeout(Duration::from_secs(20), begun.acquire()).await.unwrap().unwrap().forget();
    };

    let (retried, dead) = (payload(1, "5"), payload(2, "0"));
    for (pushed, set) in [(&retried, "retry"), (&dead, "dead")] {
        run(pushed).await;
        may_fail.add_permits(1);
        eventually("it is settled", async || redis.size(set).await == 1 && redis.private_jobs().await == 0).await;
        assert!(only_grew(&redis.members(set).await[0], pushed), "{set}");
    }

    // Redis lost the private list: the bytes come from the process.
    let lost = payload(3, "5");
    run(&lost).await;
    for list in redis.call::<Vec<String>>("KEYS", &["ferrokiq:batch:*"]).await {
        redis.call::<()>("DEL", &[list]).await;
    }
    may_fail.add_permits(1);
    eventually("it is retried", async || redis.size("retry").await == 2).await;
    assert!(redis.members("retry").await.iter().any(|stored| only_grew(stored, &lost)));

    let interrupted = payload(4, "5");
    run(&interrupted).await;
    assert_eq!(server.stop().await.left_for_recovery, 0);
    assert_eq!(redis.call::<Vec<String>>("LRANGE", &["queue:default", "0", "-1"]).await, [interrupted]);
    assert_eq!(redis.private_jobs().await, 0);
}

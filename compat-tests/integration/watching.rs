//! Queues beyond the first eight: Redis reports pushes to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ferrokiq::{Context, Payload, Server, ServerBuilder};

use crate::support::{Redis, Running, eventually};

/// The shortest pause between two looks at a queue of which Redis reports nothing.
const NAP: Duration = Duration::from_millis(250);

/// A Redis on which an idle worker stops without waiting for its blocking commands.
async fn redis() -> Redis {
    let redis = Redis::start().await;
    redis.call::<()>("ACL", &["SETUSER", "ferrokiq-worker", "+client|unblock"]).await;
    redis
}

/// How many jobs were started.
#[derive(Clone, Default)]
pub(crate) struct Started(Arc<AtomicUsize>);

impl Started {
    pub(crate) fn jobs(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// Serves the queues `q0` to `q39` in strict order.
    pub(crate) fn builder(&self) -> ServerBuilder {
        let started = self.clone();
        let queues = (0..40).map(|number| format!("q{number}"));
        Server::builder().queues(queues).liveness(Duration::from_millis(1_500)).register_fn(
            "Counted",
            move |_cx: Context, (): ()| {
                started.0.fetch_add(1, Ordering::SeqCst);
                std::future::ready(Ok(()))
            },
        )
    }

    /// Pushes a job and waits until it starts.
    pub(crate) async fn push(&self, redis: &Redis, queue: &str) {
        let before = self.jobs();
        redis.client().push(Payload::new("Counted", []).with_queue(queue)).await.unwrap();
        eventually("it starts", async || self.jobs() == before + 1).await;
    }

    /// Whether jobs of a queue start without a pause: each is pushed once the one before has started, when the pause begins anew.
    async fn starts_at_once(&self, redis: &Redis, queue: &str) {
        const JOBS: u32 = 20;
        let began = Instant::now();
        for _ in 0..JOBS {
            self.push(redis, queue).await;
        }
        assert!(began.elapsed() < NAP * JOBS / 2, "{JOBS} jobs took {:?}", began.elapsed());
    }
}

/// The lines of `CLIENT LIST` with tracking connections.
async fn tracking(redis: &Redis) -> Vec<String> {
    let clients: String = redis.call("CLIENT", &["LIST"]).await;
    let tracks = |line: &&str| line.split(' ').any(|word| word.starts_with("flags=") && word.contains('t'));
    clients.lines().filter(tracks).map(str::to_owned).collect()
}

async fn watches(redis: &Redis) {
    eventually("it watches", async || !tracking(redis).await.is_empty()).await;
}

#[tokio::test]
async fn start_a_job_of_any_queue_at_once() {
    let redis = redis().await;
    let started = Started::default();
    let server = Running::start(&redis, started.builder());
    started.push(&redis, "q20").await;
    started.starts_at_once(&redis, "q39").await;
    started.starts_at_once(&redis, "q8").await;
    server.stop().await;
    assert_eq!(redis.private_jobs().await, 0);
}

#[tokio::test]
async fn start_a_job_at_once_after_the_connection_was_killed() {
    let redis = redis().await;
    let started = Started::default();
    let server = Running::start(&redis, started.builder());
    for _ in 0..3 {
        watches(&redis).await;
        let id = tracking(&redis).await[0].split(' ').find_map(|word| word.strip_prefix("id=")).unwrap().to_owned();
        assert_eq!(redis.call::<usize>("CLIENT", &["KILL", "ID", &id]).await, 1);
        started.push(&redis, "q39").await;
    }
    watches(&redis).await;
    started.starts_at_once(&redis, "q39").await;
    server.stop().await;
}

#[tokio::test]
async fn start_a_job_at_once_after_redis_lost_all_data() {
    let redis = redis().await;
    let started = Started::default();
    let server = Running::start(&redis, started.builder());
    watches(&redis).await;
    redis.call::<()>("FLUSHALL", &[] as &[&str]).await;
    // It joins again with the next sign of life.
    started.push(&redis, "q39").await;
    started.starts_at_once(&redis, "q39").await;
    server.stop().await;
}

#[tokio::test]
async fn stop_at_once_when_quiet() {
    let redis = redis().await;
    let started = Started::default();
    let server = Running::start(&redis, started.builder());
    watches(&redis).await;
    server.handle.quiet();
    eventually("it watches no more", async || tracking(&redis).await.is_empty()).await;
    redis.client().push(Payload::new("Counted", []).with_queue("q39")).await.unwrap();
    server.stop().await;
    assert_eq!((started.jobs(), redis.size("queue:q39").await), (0, 1));
}

#[tokio::test]
async fn neither_spin_nor_fall_asleep_over_a_key_that_is_no_list() {
    let redis = redis().await;
    redis.call::<()>("SET", &["queue:q30", "no list"]).await;
    let started = Started::default();
    let server = Running::start(&redis, started.builder());
    watches(&redis).await;
    started.starts_at_once(&redis, "q39").await;
    let before = redis.calls("exists").await + redis.calls("evalsha").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let calls = redis.calls("exists").await + redis.calls("evalsha").await - before;
    assert!(calls < 50, "{calls} calls in a second");
    server.stop().await;
}

#[tokio::test]
async fn cost_an_idle_process_little_when_another_takes_the_job() {
    const SERVERS: usize = 5;
    const JOBS: usize = 20;
    let redis = redis().await;
    let started = Started::default();
    let servers: Vec<Running> = (0..SERVERS).map(|_| Running::start(&redis, started.builder())).collect();
    eventually("all watch", async || tracking(&redis).await.len() == SERVERS).await;
    redis.call::<()>("CONFIG", &["RESETSTAT"]).await;
    for number in 0..JOBS {
        started.push(&redis, &format!("q{}", 20 + number)).await;
    }
    // One after the push, one after the winner's claim; and what the signs of life read meanwhile. Each wait and each claim asks once for
    // suspects besides.
    let for_suspects = redis.calls("blmove").await + redis.calls("evalsha").await;
    let (reads, most) = (redis.calls("exists").await.saturating_sub(for_suspects), 2 * SERVERS * JOBS + 100);
    assert!(reads <= most, "{reads} reads for {JOBS} jobs");
    servers.iter().for_each(|server| server.handle.stop());
    for server in servers {
        server.stop().await;
    }
    assert_eq!((started.jobs(), redis.private_jobs().await), (JOBS, 0));
}

//! Limits of sidekiq-limit_fetch: its lists are written here as the gem, 4.4.1, writes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ferrokiq::server::FetchMode;
use ferrokiq::{Context, Job, JobResult, Server};

use crate::support::{Redis, Running, eventually};

/// Counts how many run at a time, and runs for 20 ms.
#[derive(Clone, Default)]
struct Counted {
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    done: Arc<AtomicUsize>,
}

impl Job for Counted {
    const CLASS: &'static str = "Counted";
    type Args = (u32,);

    async fn perform(&self, _cx: Context, (n,): (u32,)) -> JobResult {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.running.fetch_sub(1, Ordering::SeqCst);
        self.done.fetch_add(1, Ordering::SeqCst);
        // Some fail, so that permits come back by every way.
        if n % 5 == 4 { Err("every fifth job fails".into()) } else { Ok(()) }
    }
}

const PROBED: &str = "limit_fetch:probed:default";
const BUSY: &str = "limit_fetch:busy:default";

async fn set(redis: &Redis, key: &str, value: &str) {
    redis.call::<()>("SET", &[key, value]).await;
}

async fn push(redis: &Redis, jobs: u32) {
    Counted::perform_bulk(&redis.client(), (0..jobs).map(|n| (n,))).await.unwrap();
}

fn builder(job: &Counted) -> ferrokiq::ServerBuilder {
    Server::builder().register(job.clone()).queues(["default"]).concurrency(8).liveness(Duration::from_secs(2))
}

#[tokio::test]
async fn no_more_jobs_run_at_a_time_than_a_limit_allows() {
    for kind in ["limit", "process_limit"] {
        let (redis, job) = (Redis::start().await, Counted::default());
        set(&redis, &format!("limit_fetch:{kind}:default"), "2").await;
        push(&redis, 20).await;
        let server = Running::start(&redis, builder(&job));
        eventually("all are done", async || {
            // What a Ruby process reads as `busy`.
            let (probed, busy) = (redis.size(PROBED).await, redis.size(BUSY).await);
            assert!(probed <= 2 && busy <= 2, "{probed} {busy}");
            job.done.load(Ordering::SeqCst) == 20
        })
        .await;
        assert_eq!(job.most.load(Ordering::SeqCst), 2, "{kind}");
        eventually("all permits are returned", async || redis.size(PROBED).await + redis.size(BUSY).await == 0).await;
        let processes: Vec<String> = redis.call("SMEMBERS", &["limit:processes"]).await;
        let alive: String = redis.call("GET", &[format!("limit:heartbeat:{}", processes[0])]).await;
        assert_eq!((processes.len(), alive.as_str()), (1, "1"), "the gem takes it for one of its processes");
        server.stop().await;
        assert_eq!(redis.call::<Vec<String>>("KEYS", &["limit:*"]).await, [] as [&str; 0], "it leaves nothing");
    }
}

#[tokio::test]
async fn two_workers_share_a_limit() {
    let (redis, job) = (Redis::start().await, Counted::default());
    set(&redis, "limit_fetch:limit:default", "3").await;
    push(&redis, 40).await;
    let servers = [(); 2].map(|()| Running::start(&redis, builder(&job)));
    eventually("all are done", async || job.done.load(Ordering::SeqCst) == 40).await;
    for server in servers {
        server.stop().await;
    }
    assert_eq!(job.most.load(Ordering::SeqCst), 3);
    assert_eq!(redis.size(PROBED).await + redis.size(BUSY).await, 0);
}

#[tokio::test]
async fn permits_of_a_live_ruby_process_count_and_those_of_a_dead_one_are_removed() {
    let (redis, job) = (Redis::start().await, Counted::default());
    set(&redis, "limit_fetch:limit:default", "2").await;
    for process in ["ruby", "dead", "unknown"] {
        redis.call::<()>("RPUSH", &[PROBED, process]).await;
        redis.call::<()>("RPUSH", &[BUSY, process]).await;
    }
    redis.call::<()>("SADD", &["limit:processes", "ruby", "dead"]).await;
    redis.call::<()>("SET", &["limit:heartbeat:ruby", "1", "EX", "20"]).await;
    push(&redis, 6).await;
    let server = Running::start(&redis, builder(&job));
    eventually("all are done", async || job.done.load(Ordering::SeqCst) == 6).await;
    server.stop().await;
    assert_eq!(job.most.load(Ordering::SeqCst), 1, "one permit is Ruby's");
    for list in [PROBED, BUSY] {
        assert_eq!(redis.call::<Vec<String>>("LRANGE", &[list, "0", "-1"]).await, ["ruby"], "{list}");
    }
    assert_eq!(redis.call::<Vec<String>>("SMEMBERS", &["limit:processes"]).await, ["ruby"]);
}

#[tokio::test]
async fn permits_that_redis_lost_or_kept_too_many_of_are_corrected() {
    let (redis, job) = (Redis::start().await, Counted::default());
    set(&redis, "limit_fetch:limit:default", "2").await;
    push(&redis, 2).await;
    let server = Running::start(&redis, builder(&job));
    eventually("it is known to the gem", async || redis.call::<usize>("SCARD", &["limit:processes"]).await == 1).await;
    let processes: Vec<String> = redis.call("SMEMBERS", &["limit:processes"]).await;
    eventually("all are done", async || job.done.load(Ordering::SeqCst) == 2).await;
    // As if answers had been lost: it has permits that it does not know of, as many as the limit.
    redis.call::<()>("RPUSH", &[PROBED, &processes[0], &processes[0]]).await;
    push(&redis, 4).await;
    eventually("all are done", async || job.done.load(Ordering::SeqCst) == 6).await;
    eventually("all permits are returned", async || redis.size(PROBED).await + redis.size(BUSY).await == 0).await;
    server.stop().await;
    assert!(job.most.load(Ordering::SeqCst) <= 2);
}

#[tokio::test]
async fn other_queues_are_served_while_a_limited_one_is_full() {
    let (redis, job) = (Redis::start().await, Counted::default());
    set(&redis, "limit_fetch:limit:full", "0").await;
    let client = redis.client();
    for queue in ["default", "full", "last"] {
        client.push(ferrokiq::Payload::new("Counted", [1.into()]).with_queue(queue)).await.unwrap();
    }
    let server = Running::start(&redis, builder(&job).queues(["default", "full", "last"]));
    eventually("two are done", async || job.done.load(Ordering::SeqCst) == 2).await;
    // An idle worker takes jobs of the others at once, and none of this one.
    for queue in ["full", "last"] {
        client.push(ferrokiq::Payload::new("Counted", [1.into()]).with_queue(queue)).await.unwrap();
    }
    eventually("another is done", async || job.done.load(Ordering::SeqCst) == 3).await;
    assert_eq!(redis.size("queue:full").await, 2);
    server.stop().await;
    assert_eq!(redis.size("queue:full").await, 2);
}

/// A worker with these rights on the keys of limits runs all jobs at its full concurrency.
async fn heeds_no_limit(fetch: FetchMode, rights: &str) {
    let (redis, job) = (Redis::start().await, Counted::default());
    let acl = include_str!("../../docs/acl/worker.acl").trim().replacen("~limit_fetch:*", rights, 1);
    let rights = acl.split(' ').skip(2).filter(|word| *word != "resetpass" && *word != "on");
    let words: Vec<&str> = ["SETUSER", "plain", "on", ">secret"].into_iter().chain(rights).collect();
    redis.call::<()>("ACL", &words).await;
    set(&redis, "limit_fetch:limit:default", "2").await;
    push(&redis, 20).await;
    let options = format!("{}?user=plain&pass=secret", redis.url());
    let server = Running::start_as_it_is(builder(&job).fetch(fetch).redis(options.parse().unwrap()));
    eventually("all are done", async || job.done.load(Ordering::SeqCst) == 20).await;
    assert!(job.most.load(Ordering::SeqCst) > 2);
    server.stop().await;
}

#[tokio::test]
async fn the_basic_fetcher_heeds_no_limit() {
    heeds_no_limit(FetchMode::Basic, "~limit_fetch:*").await;
}

#[tokio::test]
async fn a_worker_that_may_not_write_permits_heeds_no_limit() {
    heeds_no_limit(FetchMode::Reliable, "%R~limit_fetch:*").await;
}

#[tokio::test]
async fn a_worker_that_may_not_read_limits_heeds_none() {
    heeds_no_limit(FetchMode::Reliable, "%R~limit_fetch:pause:*").await;
}

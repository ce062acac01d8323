//! Redis comes back with older data than it had: from a snapshot, while jobs run that were claimed since.

use std::sync::Arc;
use std::time::Duration;

use ferrokiq::job::RawArgs;
use ferrokiq::{Context, JobError, JobResult, Payload, Server, ServerBuilder};
use tokio::sync::Semaphore;

use crate::support::{Redis, Running, eventually};

/// Jobs of class `Waits`, which fail once they may.
struct Jobs {
    may_fail: Arc<Semaphore>,
    begun: Arc<Semaphore>,
}

impl Jobs {
    fn new() -> Self {
        Self { may_fail: Arc::new(Semaphore::new(0)), begun: Arc::new(Semaphore::new(0)) }
    }

    fn server(&self) -> ServerBuilder {
        let (may_fail, begun) = (Arc::clone(&self.may_fail), Arc::clone(&self.begun));
        let waits = move |_: Context, _: RawArgs| {
            let (may_fail, begun) = (Arc::clone(&may_fail), Arc::clone(&begun));
            async move {
                begun.add_permits(1);
                may_fail.acquire().await.unwrap().forget();
                failure()
            }
        };
        Server::builder().register_fn("Waits", waits).concurrency(5)
    }

    /// Until so many more of `Waits` run.
    async fn begun(&self, jobs: u32) {
        tokio::time::timeout(crate::support::DEADLINE, self.begun.acquire_many(jobs)).await.unwrap().unwrap().forget();
    }
}

fn failure() -> JobResult {
    Err(JobError::new("RuntimeError", "as always"))
}

/// A Redis that keeps what `SAVE` wrote, and nothing else.
async fn redis() -> Redis {
    Redis::start_with(&["--appendonly", "no"]).await
}

async fn save(redis: &Redis) {
    assert_eq!(redis.call::<String>("SAVE", &[""; 0]).await, "OK");
}

async fn push(redis: &Redis, classes: &[&str]) {
    for &class in classes {
        redis.client().push(Payload::new(class, [])).await.unwrap();
    }
}

/// Registered, and idle: the snapshot that follows knows the process and no job.
async fn start(redis: &Redis, jobs: &Jobs) -> Running {
    let server = Running::start(redis, jobs.server());
    eventually("it is up", async || redis.call::<usize>("SCARD", &["ferrokiq:processes"]).await == 1).await;
    server
}

/// Three jobs run that the snapshot does not know, and Redis is down.
async fn run_three_unsaved(redis: &mut Redis, jobs: &Jobs) -> Running {
    let server = start(redis, jobs).await;
    save(redis).await;
    push(redis, &["Waits"; 3]).await;
    jobs.begun(3).await;
    redis.kill();
    server
}

async fn all_are_retried(redis: &Redis, server: Running) {
    eventually("all are retried", async || redis.size("retry").await == 3).await;
    server.stop().await;
    assert_eq!((redis.size("queue:default").await, redis.private_jobs().await), (0, 0));
}

#[tokio::test]
async fn a_job_that_fails_after_redis_lost_it_is_retried() {
    let (mut redis, jobs) = (redis().await, Jobs::new());
    let server = run_three_unsaved(&mut redis, &jobs).await;
    // One fails while Redis is down, the others afterwards.
    jobs.may_fail.add_permits(1);
    redis.revive().await;
    jobs.may_fail.add_permits(2);
    all_are_retried(&redis, server).await;
}

#[tokio::test]
async fn running_jobs_that_redis_lost_are_written_anew_so_that_another_process_can_recover_them() {
    let (mut redis, jobs) = (redis().await, Jobs::new());
    let server = run_three_unsaved(&mut redis, &jobs).await;
    redis.revive().await;
    eventually("they are in private lists", async || redis.private_jobs().await == 3).await;
    jobs.may_fail.add_permits(3);
    all_are_retried(&redis, server).await;
}

#[tokio::test]
async fn a_job_whose_retry_redis_lost_runs_again() {
    let (mut redis, jobs) = (redis().await, Jobs::new());
    // Pushed before the start: one claim takes all three into one private list.
    push(&redis, &["Waits"; 3]).await;
    let server = start(&redis, &jobs).await;
    jobs.begun(3).await;
    save(&redis).await;
    jobs.may_fail.add_permits(2);
    eventually("two are retried", async || redis.size("retry").await == 2 && redis.private_jobs().await == 1).await;
    redis.kill();
    redis.revive().await;
    // The snapshot knows nothing of the two retries, and still has the two jobs in the list of the third.
    jobs.begun(2).await;
    jobs.may_fail.add_permits(3);
    eventually("all are retried", async || redis.private_jobs().await == 0 && redis.size("retry").await == 3).await;
    server.stop().await;
    assert_eq!(redis.size("queue:default").await, 0);
}

#[tokio::test]
async fn jobs_that_go_back_at_a_stop_are_not_lost_with_old_data() {
    let (mut redis, jobs) = (redis().await, Jobs::new());
    let server = Running::start(&redis, jobs.server().timeout(Duration::from_millis(10)));
    eventually("it is up", async || redis.call::<usize>("SCARD", &["ferrokiq:processes"]).await == 1).await;
    save(&redis).await;
    push(&redis, &["Waits"; 3]).await;
    jobs.begun(3).await;
    redis.kill();
    redis.revive().await;
    server.stop().await;
    assert_eq!((redis.size("queue:default").await, redis.private_jobs().await), (3, 0));
}

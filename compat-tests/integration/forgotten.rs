//! Redis loses what it knew of a process, in whole or in part, while the process works on.

use std::sync::Arc;
use std::time::Duration;

use ferrokiq::server::Event;
use ferrokiq::{Context, Payload, Server, ServerBuilder};
use tokio::sync::Semaphore;

use crate::reliable::{leave_a_dead_process, recoverer};
use crate::support::{Redis, Running, eventually, nothing};

/// A worker whose jobs run until a permit is added.
fn holds(release: &Arc<Semaphore>) -> ServerBuilder {
    let release = Arc::clone(release);
    Server::builder().register_fn("Holds", move |_: Context, (): ()| {
        let release = Arc::clone(&release);
        async move {
            let _permit = release.acquire().await;
            Ok(())
        }
    })
}

async fn is_idle(redis: &Redis) -> bool {
    let clients: String = redis.call("INFO", &["clients"]).await;
    clients.contains("blocked_clients:1\r")
}

/// Whether other processes would find the one job of a private list, should its process die now.
async fn is_recoverable(redis: &Redis) -> bool {
    let lists: Vec<String> = redis.call("KEYS", &["ferrokiq:batch:*"]).await;
    let [list] = &lists[..] else { return false };
    let identity = list["ferrokiq:batch:".len()..].split('|').next().unwrap().to_owned();
    redis.call::<bool>("SISMEMBER", &[&format!("ferrokiq:batches:{identity}"), list]).await
        && redis.call::<bool>("SISMEMBER", &["ferrokiq:processes", &identity]).await
}

async fn forget(redis: &Redis) {
    for key in redis.call::<Vec<String>>("KEYS", &["ferrokiq:batches:*"]).await {
        redis.call::<()>("DEL", &[key.as_str(), "ferrokiq:processes", "ferrokiq:alive"]).await;
    }
}

#[tokio::test]
async fn the_first_job_after_a_loss_is_found_by_others_at_once() {
    for everything in [true, false] {
        let (redis, release) = (Redis::start().await, Arc::new(Semaphore::new(0)));
        // The next scheduled sign of life is minutes later.
        let server = Running::start(&redis, holds(&release).liveness(Duration::from_secs(3_600)));
        eventually("it waits for a job", async || is_idle(&redis).await).await;
        if everything {
            redis.call::<()>("FLUSHALL", &[""; 0]).await;
        } else {
            // As an older snapshot that is loaded under open connections.
            forget(&redis).await;
        }
        redis.client().push(Payload::new("Holds", [])).await.unwrap();
        eventually("others find the job", async || is_recoverable(&redis).await).await;
        release.add_permits(1);
        eventually("the job is acknowledged", async || redis.private_jobs().await == 0).await;
        server.stop().await;
    }
}

#[tokio::test]
async fn a_process_that_died_before_it_registered_again_is_found() {
    let redis = Redis::start().await;
    leave_a_dead_process(&redis, "host:1:dead", &["job"]).await;
    // As Redis has it after FLUSHALL, once its waiter took a job.
    redis.call::<()>("SREM", &["ferrokiq:processes", "host:1:dead"]).await;
    let server = Running::start(&redis, recoverer());
    eventually("the job is back", async || redis.size("queue:low").await == 1).await;
    server.stop().await;
}

#[tokio::test]
async fn a_private_list_that_lost_its_index_gets_it_back() {
    let (redis, release) = (Redis::start().await, Arc::new(Semaphore::new(0)));
    redis.client().push(Payload::new("Holds", [])).await.unwrap();
    let server = Running::start(&redis, holds(&release).liveness(Duration::from_millis(1_500)));
    eventually("the job runs", async || is_recoverable(&redis).await).await;
    forget(&redis).await;
    eventually("others find the job", async || is_recoverable(&redis).await).await;
    release.add_permits(1);
    server.stop().await;
    assert_eq!(redis.private_jobs().await, 0);
}

#[tokio::test]
async fn a_process_that_left_does_not_register_again_while_its_exit_hook_runs() {
    let (redis, release) = (Redis::start().await, Arc::new(Semaphore::new(0)));
    let hook = Arc::clone(&release);
    let builder = Server::builder().register_fn("Nothing", nothing).on(Event::Exit, move || {
        let release = Arc::clone(&hook);
        async move { drop(release.acquire().await) }
    });
    let server = Running::start(&redis, builder.liveness(Duration::from_secs(1)));
    eventually("it is registered", async || redis.call::<usize>("EXISTS", &["ferrokiq:processes"]).await == 1).await;
    server.handle.stop();
    eventually("it leaves", async || redis.call::<usize>("EXISTS", &["ferrokiq:processes"]).await == 0).await;
    // Each sign of life calls this once.
    let before = redis.calls("sismember").await;
    eventually("signs of life go on", async || redis.calls("sismember").await >= before + 3).await;
    release.add_permits(1);
    server.stop().await;
    assert_eq!(redis.call::<usize>("EXISTS", &["ferrokiq:processes", "ferrokiq:alive"]).await, 0);
}

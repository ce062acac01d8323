//! Rights that are taken away while a server runs: what is refused leaves every job where it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ferrokiq::server::{Stopped, UnknownClasses};
use ferrokiq::time::EpochSecs;
use ferrokiq::{Client, Context, JobError, JobResult, Payload, Server, ServerBuilder};

use crate::support::{Redis, Running, USERS, eventually, nothing};
use crate::watching::Started;

/// Changes what the worker may do, and forgets what it was refused.
async fn let_the_worker(redis: &Redis, rights: &[&str]) {
    let words: Vec<&str> = ["SETUSER", "ferrokiq-worker"].iter().chain(rights).copied().collect();
    redis.call::<()>("ACL", &words).await;
    redis.call::<()>("ACL", &["LOG", "RESET"]).await;
}

/// Whether the worker was refused a command since.
fn was_refused(redis: &Redis, command: &str) -> bool {
    redis.refusals().unwrap().iter().any(|refusal| refusal["object"] == command)
}

/// Stops a server, and forgets what it was refused.
async fn stop(running: Running, redis: &Redis) -> Stopped {
    let stopped = running.stop().await;
    redis.call::<()>("ACL", &["LOG", "RESET"]).await;
    stopped
}

/// Pushes jobs for a server that is [`counting`].
async fn push_counted(redis: &Redis, jobs: usize) {
    let jobs = (0..jobs).map(|number| format!(r#"{{"class":"Counts","args":[{number}]}}"#));
    redis.call::<()>("LPUSH", &["queue:default".to_owned()].into_iter().chain(jobs).collect::<Vec<_>>()).await;
}

/// A server that counts its jobs in `ran`.
fn counting(ran: &Arc<AtomicUsize>) -> ServerBuilder {
    let ran = Arc::clone(ran);
    Server::builder().register_fn("Counts", move |_cx: Context, (_number,): (u32,)| {
        ran.fetch_add(1, Ordering::Relaxed);
        std::future::ready(Ok(()))
    })
}

async fn fails(_cx: Context, _args: ferrokiq::job::RawArgs) -> JobResult {
    Err(JobError::new("RuntimeError", "as always"))
}

#[tokio::test]
async fn keep_jobs_in_their_queue_until_they_may_be_claimed() {
    let redis = Redis::start().await;
    for (without, with, refused) in
        [("-ltrim", "+ltrim", "ltrim"), ("-rename -sort -rpush", "+rename +sort +rpush", "rpush")]
    {
        let words = |rights: &'static str| rights.split(' ').collect::<Vec<_>>();
        let_the_worker(&redis, &words(without)).await;
        push_counted(&redis, 500).await;
        let ran = Arc::new(AtomicUsize::new(0));
        let running = Running::start(&redis, counting(&ran));
        eventually("it may not claim", async || was_refused(&redis, refused)).await;
        assert_eq!((redis.size("queue:default").await, redis.private_jobs().await), (500, 0), "{without}");
        let_the_worker(&redis, &words(with)).await;
        eventually("all are run", async || ran.load(Ordering::Relaxed) >= 500).await;
        stop(running, &redis).await;
        assert_eq!((ran.load(Ordering::Relaxed), redis.private_jobs().await), (500, 0), "{without}");
    }
}

#[tokio::test]
async fn keep_due_jobs_of_a_queue_that_may_not_be_written() {
    let redis = Redis::start().await;
    let keys = USERS[1].1.split_whitespace().filter(|word| word.starts_with(['~', '%']) && *word != "~queue:*");
    let rights: Vec<&str> = ["resetkeys", "~queue:default", "~queue:mine"].into_iter().chain(keys).collect();
    let_the_worker(&redis, &rights).await;
    let job = |queue: &str, number: usize| format!(r#"{{"class":"Nothing","args":[{number}],"queue":"{queue}"}}"#);
    for number in 0..10 {
        let at = format!("{number}.25");
        redis.call::<()>("ZADD", &["schedule", &at, &job("mine", number), &at, &job("other", number)]).await;
    }
    let running = Running::start(&redis, Server::builder().register_fn("Nothing", nothing));
    eventually("those that may go are promoted", async || redis.size("queue:mine").await == 10).await;
    let left: Vec<String> = redis.call("ZRANGE", &["schedule", "0", "-1", "WITHSCORES"]).await;
    let kept: Vec<String> = (0..10).flat_map(|number| [job("other", number), format!("{number}.25")]).collect();
    assert_eq!(left, kept, "the others stay, with their times");
    let_the_worker(&redis, &["~queue:other"]).await;
    eventually("the others, too", async || redis.size("queue:other").await == 10).await;
    stop(running, &redis).await;
    assert_eq!((redis.size("queue:mine").await, redis.size("schedule").await), (10, 0));
}

/// A job that may not go where it belongs, for want of one command, stays in its private list until it may.
async fn stays_until_allowed(builder: ServerBuilder, job: &str, command: &str, to: &str) {
    let redis = Redis::start().await;
    let running = Running::start(&redis, builder);
    // Without ZADD it could not register.
    eventually("it is up", async || redis.call::<usize>("SCARD", &["ferrokiq:processes"]).await == 1).await;
    let_the_worker(&redis, &[&format!("-{command}")]).await;
    redis.call::<()>("LPUSH", &["queue:default", job]).await;
    // A sign of life may be refused before the job was fetched.
    eventually("it may not go", async || redis.private_jobs().await == 1 && was_refused(&redis, command)).await;
    assert_eq!((redis.private_jobs().await, redis.size(to).await), (1, 0));
    let_the_worker(&redis, &[&format!("+{command}")]).await;
    eventually("it goes", async || redis.size(to).await == 1).await;
    stop(running, &redis).await;
    assert_eq!(redis.private_jobs().await, 0);
}

#[tokio::test]
async fn keep_a_failed_job_in_its_private_list_until_it_may_be_retried() {
    let builder = Server::builder().register_fn("Fails", fails);
    stays_until_allowed(builder, r#"{"class":"Fails","args":[],"retry":true}"#, "zadd", "retry").await;
}

#[tokio::test]
async fn keep_a_diverted_job_in_its_private_list_until_it_may_be_pushed() {
    let builder = Server::builder().unknown_classes(UnknownClasses::Divert("ruby".into()));
    stays_until_allowed(builder, r#"{"class":"Ruby","args":[],"queue":"default"}"#, "lpush", "queue:ruby").await;
}

#[tokio::test]
async fn keep_a_job_that_was_cut_off_and_may_not_be_put_back() {
    let redis = Redis::start().await;
    let_the_worker(&redis, &["-rpush"]).await;
    let endless = async |_cx: Context, (): ()| {
        std::future::pending::<()>().await;
        Ok(())
    };
    let builder = Server::builder().register_fn("Endless", endless).timeout(Duration::from_millis(10));
    let running = Running::start(&redis, builder);
    redis.call::<()>("LPUSH", &["queue:default", r#"{"class":"Endless","args":[]}"#]).await;
    eventually("it runs", async || redis.private_jobs().await == 1).await;
    let stopped = stop(running, &redis).await;
    assert_eq!((stopped.left_for_recovery, redis.private_jobs().await, redis.size("queue:default").await), (1, 1, 0));
}

#[tokio::test]
async fn take_a_push_that_was_refused_when_it_is_pushed_again() {
    let redis = Redis::start().await;
    let client = Client::builder().redis(redis.options()).idempotent().build().unwrap();
    let push = async |at: Option<f64>| {
        let mut payload = Payload::new("Nothing", []);
        payload.insert("jid", if at.is_some() { "later" } else { "now" });
        if let Some(at) = at {
            payload.insert("at", at);
        }
        client.push(payload).await.is_ok()
    };
    let push = async || (push(None).await, push(Some(EpochSecs::now().0 + 1_000.0)).await);
    let_the_worker(&redis, &["-lpush", "-zadd"]).await;
    assert_eq!(push().await, (false, false));
    let_the_worker(&redis, &["+lpush", "+zadd"]).await;
    for _ in 0..2 {
        assert_eq!(push().await, (true, true));
        assert_eq!((redis.size("queue:default").await, redis.size("schedule").await), (1, 1));
    }
}

#[tokio::test]
async fn acknowledge_jobs_where_silent_commands_are_refused() {
    let redis = Redis::start().await;
    let_the_worker(&redis, &["-client|reply"]).await;
    push_counted(&redis, 2_000).await;
    let ran = Arc::new(AtomicUsize::new(0));
    let running = Running::start(&redis, counting(&ran));
    eventually("all are run and acknowledged", async || {
        ran.load(Ordering::Relaxed) == 2_000 && redis.private_jobs().await == 0
    })
    .await;
    assert!(was_refused(&redis, "client|reply"));
    stop(running, &redis).await;
}

#[tokio::test]
async fn poll_queues_beyond_the_first_eight_where_tracking_is_refused() {
    let redis = Redis::start().await;
    let_the_worker(&redis, &["-client|tracking", "+client|unblock"]).await;
    let started = Started::default();
    let running = Running::start(&redis, started.builder());
    eventually("it may not track", async || was_refused(&redis, "client|tracking")).await;
    for _ in 0..3 {
        started.push(&redis, "q39").await;
    }
    let asked: usize = redis.refusals().unwrap().iter().map(|refusal| refusal["count"].parse::<usize>().unwrap()).sum();
    assert_eq!(asked, 1, "it is not tried again at once");
    stop(running, &redis).await;
}

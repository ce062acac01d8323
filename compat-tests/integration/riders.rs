//! Effects in Redis that take place with the settlement of a job: once for each, whatever happens on the way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use ferrokiq::job::RawArgs;
use ferrokiq::server::{FetchMode, Next};
use ferrokiq::{Context, Ending, JobError, JobResult, KeyType, Payload, Rider, Server, ServerBuilder};
use tokio::sync::Semaphore;

use crate::support::{Redis, Running, eventually, nothing};

/// The worker may write it.
const COUNTS: &str = "stat:rides";
const COUNT: &str = "redis.call('HINCRBY', KEYS[1], ARGV[1], 1)";

fn count(what: &str) -> Rider {
    Rider::new(COUNT).key(KeyType::Hash, COUNTS).arg(what)
}

async fn fails(_: Context, _: RawArgs) -> JobResult {
    Err(JobError::new("RuntimeError", "as always"))
}

fn builder() -> ServerBuilder {
    Server::builder().register_fn("Works", nothing).register_fn("Fails", fails).concurrency(5)
}

/// Counts every ending.
fn counting() -> ServerBuilder {
    builder().rider(|_, ending| Some(count(&format!("{ending:?}"))))
}

async fn push(redis: &Redis, class: &str, retry: &str, jobs: usize) {
    for number in 0..jobs {
        let job = format!(r#"{{"class":"{class}","args":[{number}],"retry":{retry}}}"#);
        redis.call::<()>("LPUSH", &["queue:default", &job]).await;
    }
}

async fn counted(redis: &Redis, what: &str) -> usize {
    redis.call::<Option<usize>>("HGET", &[COUNTS, what]).await.unwrap_or_default()
}

async fn idle(redis: &Redis) {
    eventually("nothing is left to do", async || redis.size("queue:default").await + redis.private_jobs().await == 0)
        .await;
}

#[tokio::test]
async fn are_applied_once_for_each_ending() {
    for fetch in [FetchMode::Reliable, FetchMode::Basic] {
        let redis = Redis::start().await;
        push(&redis, "Works", "true", 300).await;
        push(&redis, "Fails", "5", 20).await;
        push(&redis, "Fails", "0", 10).await;
        push(&redis, "Fails", "false", 7).await;
        let seen = Arc::new(AtomicUsize::new(0));
        let with_error = Arc::clone(&seen);
        let _server = Running::start(
            &redis,
            counting().fetch(fetch).rider(move |payload, ending| {
                let is_stored_so =
                    matches!(ending, Ending::Retried | Ending::Died) && payload.contains_key("error_class");
                with_error.fetch_add(usize::from(is_stored_so), Ordering::SeqCst);
                None
            }),
        );
        eventually("all are counted", async || {
            let mut all = [0; 4];
            for (count, ending) in all.iter_mut().zip(["Done", "Retried", "Died", "Discarded"]) {
                *count = counted(&redis, ending).await;
            }
            all == [300, 20, 10, 7]
        })
        .await;
        idle(&redis).await;
        assert_eq!((redis.size("retry").await, redis.size("dead").await), (20, 10), "{fetch:?}");
        assert_eq!(seen.load(Ordering::SeqCst), 30, "{fetch:?}: a failed job is seen as it is stored");
        assert_eq!(counted(&redis, "Done").await, 300);
    }
}

#[tokio::test]
async fn of_a_job_that_attaches_them_are_applied_if_it_succeeds() {
    async fn attaches(cx: Context, next: Next) -> JobResult {
        // Another payload is the same run.
        let other = cx.with_payload(cx.payload().clone());
        let outcome = next.run(other).await;
        cx.ride(count("middleware"))?;
        outcome
    }
    async fn rides(cx: Context, (fails,): (bool,)) -> JobResult {
        cx.ride(count("job"))?;
        cx.ride(count("job"))?;
        if fails { Err("this job fails".into()) } else { Ok(()) }
    }
    async fn too_many(cx: Context, _: RawArgs) -> JobResult {
        for _ in 0..17 {
            cx.ride(count("too many"))?;
        }
        Ok(())
    }
    let redis = Redis::start().await;
    for (class, args) in [("Rides", "[false]"), ("Rides", "[true]"), ("TooMany", "[]")] {
        let job = format!(r#"{{"class":"{class}","args":{args},"jid":"1","retry":true}}"#);
        redis.call::<()>("LPUSH", &["queue:default", &job]).await;
    }
    let jobs = Server::builder().register_fn("Rides", rides).register_fn("TooMany", too_many);
    let _server = Running::start(&redis, jobs.server_middleware(attaches));
    eventually("two are retried", async || redis.size("retry").await == 2).await;
    idle(&redis).await;
    assert_eq!((counted(&redis, "job").await, counted(&redis, "middleware").await), (2, 1));
    assert_eq!(counted(&redis, "too many").await, 0);
    let errors: Vec<Vec<u8>> = redis.members("retry").await;
    let bounded = errors.iter().filter(|job| String::from_utf8_lossy(job).contains("a job has at most 16 riders"));
    assert_eq!(bounded.count(), 1);
}

#[tokio::test]
async fn cost_a_job_without_one_nothing() {
    let commands = async |builder: ServerBuilder| {
        let redis = Redis::start().await;
        push(&redis, "Works", "true", 500).await;
        let _server = Running::start(&redis, builder.concurrency(1));
        idle(&redis).await;
        (redis.calls("lpos").await, redis.calls("hdel").await)
    };
    let (plain, asked) = (commands(builder()).await, commands(builder().rider(|_, _| None)).await);
    assert_eq!((plain, asked), ((0, 0), (0, 0)));
}

/// A server whose jobs wait for a permit of the gate, and how many have begun.
fn waiting() -> (ServerBuilder, Arc<Semaphore>, Arc<AtomicUsize>) {
    let (gate, began) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (waits, begins) = (Arc::clone(&gate), Arc::clone(&began));
    let wait = move |_: Context, _: RawArgs| {
        let (waits, begins) = (Arc::clone(&waits), Arc::clone(&begins));
        async move {
            begins.fetch_add(1, Ordering::SeqCst);
            waits.acquire().await.unwrap().forget();
            Ok(())
        }
    };
    (Server::builder().register_fn("Waits", wait), gate, began)
}

#[tokio::test]
async fn leave_in_rounds() {
    let redis = Redis::start().await;
    push(&redis, "Waits", "true", 50).await;
    let (builder, gate, began) = waiting();
    let jobs = builder.concurrency(50).rider(|_, _| Some(count("Done")));
    let _server = Running::start(&redis, jobs);
    eventually("all run", async || began.load(Ordering::SeqCst) == 50).await;
    let before = redis.calls("evalsha").await;
    gate.add_permits(50);
    idle(&redis).await;
    let scripts = redis.calls("evalsha").await - before;
    assert!(scripts <= 20, "{scripts} scripts for 50 jobs that end together, signs of life and claims included");
    assert_eq!(counted(&redis, "Done").await, 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn are_applied_once_though_answers_are_lost() {
    let redis = Redis::start().await;
    let over = Arc::new(AtomicBool::new(false));
    let _server = Running::start(&redis, counting());
    eventually("it is up", async || redis.call::<usize>("SCARD", &["ferrokiq:processes"]).await == 1).await;
    let (url, ends) = (redis.url(), Arc::clone(&over));
    // Cuts every connection but its own, again and again.
    let cutting = tokio::spawn(async move {
        let client = redis::Client::open(url).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        while !ends.load(Ordering::SeqCst) {
            let mut kill = redis::cmd("CLIENT");
            kill.arg("KILL").arg("USER").arg("ferrokiq-worker").exec_async(&mut connection).await.unwrap();
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    });
    for _ in 0..10 {
        let job = |class: &str, number: usize| format!(r#"{{"class":"{class}","args":[{number}],"retry":5}}"#);
        let jobs: Vec<String> = (0..40).map(|at| job(if at % 4 == 0 { "Fails" } else { "Works" }, at)).collect();
        redis.call::<()>("LPUSH", &["queue:default".to_owned()].into_iter().chain(jobs).collect::<Vec<_>>()).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    over.store(true, Ordering::SeqCst);
    cutting.await.unwrap();
    idle(&redis).await;
    let (done, retried) = (counted(&redis, "Done").await, counted(&redis, "Retried").await);
    assert_eq!((done, retried), (300, 100), "each of 400 jobs was settled once");
}

/// Jobs whose rider is refused wait, other jobs do not, and all are counted once Redis takes the rider.
async fn heals(redis: Redis, breaks: &[&str], mends: &[&str], key: &'static str) {
    let log = format!("{breaks:?}");
    let (command, words) = breaks.split_first().unwrap();
    redis.call::<()>(command, words).await;
    let rides = move |payload: &Payload, ending: Ending| {
        let key = if payload.get("args") == Some("[1]") { key } else { COUNTS };
        Some(Rider::new(COUNT).key(KeyType::Hash, key).arg(format!("{ending:?}")))
    };
    let _server = Running::start(&redis, builder().rider(rides));
    for (class, retry) in [("Works", "5"), ("Fails", "5"), ("Fails", "0"), ("Fails", "false")] {
        for jid in 0..8 {
            for args in ["[1]", "[2]"] {
                let job = format!(r#"{{"class":"{class}","args":{args},"retry":{retry},"jid":"{jid}"}}"#);
                redis.call::<()>("LPUSH", &["queue:default", &job]).await;
            }
        }
    }
    eventually("the others are done", async || {
        redis.size("queue:default").await == 0 && redis.private_jobs().await == 32
    })
    .await;
    for ending in ["Done", "Retried", "Died", "Discarded"] {
        let other: Option<usize> = redis.call("HGET", &[COUNTS, ending]).await;
        assert_eq!(other, Some(8), "{log} {ending}");
    }
    assert_eq!((redis.members("retry").await.len(), redis.members("dead").await.len()), (8, 8), "{log}");
    let (command, words) = mends.split_first().unwrap();
    redis.call::<()>(command, words).await;
    idle(&redis).await;
    redis.call::<()>("ACL", &["LOG", "RESET"]).await;
    let expected = if key == COUNTS { 16 } else { 8 };
    for ending in ["Done", "Retried", "Died", "Discarded"] {
        let counted: usize = redis.call("HGET", &[key, ending]).await;
        assert_eq!(counted, expected, "{log} {ending}");
    }
}

#[tokio::test]
async fn whose_key_has_another_type_are_applied_once_it_is_mended() {
    heals(Redis::start().await, &["SET", "stat:other", "text"], &["DEL", "stat:other"], "stat:other").await;
}

#[tokio::test]
async fn whose_key_may_not_be_written_are_applied_once_it_may() {
    let allows = ["ACL", "SETUSER", "ferrokiq-worker", "~other:*"];
    heals(Redis::start().await, &["PING"], &allows, "other:rides").await;
}

#[tokio::test]
async fn that_were_refused_run_again_with_their_jobs_after_a_stop() {
    let redis = Redis::start().await;
    redis.call::<()>("SET", &[COUNTS, "text"]).await;
    push(&redis, "Works", "true", 5).await;
    let server = Running::start(&redis, counting());
    eventually("they wait", async || redis.size("queue:default").await == 0 && redis.private_jobs().await == 5).await;
    assert_eq!(server.stop().await.left_for_recovery, 0);
    assert_eq!((redis.size("queue:default").await, redis.private_jobs().await), (5, 0));
    redis.call::<()>("DEL", &[COUNTS]).await;
    let _server = Running::start(&redis, counting());
    idle(&redis).await;
    assert_eq!(counted(&redis, "Done").await, 5);
}

#[tokio::test]
async fn of_jobs_that_another_process_has_by_now_are_not_applied() {
    let redis = Redis::start().await;
    let (builder, gate, began) = waiting();
    push(&redis, "Waits", "true", 3).await;
    let builder = builder.concurrency(3);
    let _server = Running::start(&redis, builder.rider(|_, ending| Some(count(&format!("{ending:?}")))));
    eventually("all run", async || began.load(Ordering::SeqCst) == 3).await;
    // As a recovery does it that fenced the process: the jobs are elsewhere, and the epoch is over.
    for list in redis.call::<Vec<String>>("KEYS", &["ferrokiq:batch:*"]).await {
        while redis.call::<Option<String>>("LMOVE", &[&list, "queue:others", "LEFT", "RIGHT"]).await.is_some() {}
    }
    for settlements in redis.call::<Vec<String>>("KEYS", &["ferrokiq:settlements:*"]).await {
        redis.call::<()>("HSET", &[&settlements, "epoch", "5"]).await;
    }
    gate.add_permits(3);
    eventually("it has let go of them", async || redis.calls("lpos").await >= 3).await;
    assert!(!redis.call::<bool>("EXISTS", &[COUNTS]).await);
    assert_eq!(redis.size("queue:others").await, 3);
}

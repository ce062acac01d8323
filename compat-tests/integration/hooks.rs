//! Hooks that see what jobs end with, and lifecycle hooks with a client.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use ferrokiq::server::{EndedJob, ServerContext};
use ferrokiq::{Context, Event, JobError, JobResult, Outcome, Payload, Server};

use crate::support::{Redis, Running, eventually, nothing};

async fn ends(_: Context, (how,): (String,)) -> JobResult {
    match how.as_str() {
        "fail" => Err(JobError::new("Broken", "no luck")),
        "kill" => Err(JobError::kill(JobError::new("Gone", "no account"))),
        "discard" => Err(JobError::discard("not wanted")),
        "snooze" => Err(JobError::snooze(Duration::from_secs(60))),
        "requeue" => Err(JobError::requeue()),
        _ => Ok(()),
    }
}

/// How many entries each of these has: private lists, `retry`, `dead`. On a connection of its own: hooks run beside the test.
async fn sizes(url: &str) -> (usize, usize, usize) {
    let mut connection = redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap();
    let script = "local jobs = 0 for _, key in ipairs(redis.call('KEYS', 'ferrokiq:batch:*')) do \
                  jobs = jobs + redis.call('LLEN', key) end \
                  return { jobs, redis.call('ZCARD', 'retry'), redis.call('ZCARD', 'dead') }";
    redis::cmd("EVAL").arg(script).arg(0).query_async(&mut connection).await.unwrap()
}

type Seen = Arc<Mutex<Vec<String>>>;

/// A hook that notes what it sees, and what Redis has at that time.
fn note(kind: &'static str, seen: &Seen, url: &str) -> impl Fn(EndedJob) -> futures_of::Boxed + Send + Sync + use<> {
    let (seen, url) = (Arc::clone(seen), url.to_owned());
    move |job| {
        let (seen, url) = (Arc::clone(&seen), url.clone());
        Box::pin(async move {
            let outcome = match job.outcome() {
                Outcome::Done => "done",
                Outcome::Fail(_) => "fail",
                Outcome::Kill(_) => "kill",
                Outcome::Discard(_) => "discard",
                _ => "another outcome",
            };
            let error = job.error().map(JobError::class).unwrap_or_default();
            let stored: Option<String> = job.payload().decode("error_class");
            assert_eq!(stored.as_deref().unwrap_or_default(), error, "the payload as it will be stored");
            assert_eq!((job.class(), job.queue()), ("Ends", "default"));
            let is_retried = job.retry_in().is_some_and(|span| span >= Duration::from_secs(15));
            let (private, retry, dead) = sizes(&url).await;
            let line = format!("{kind} {}: {outcome} {error}, {is_retried}, {private} {retry} {dead}", job.jid());
            seen.lock().unwrap().push(line);
            job.client().push(Payload::new("Follows", [job.identity().into()]).with_queue("other")).await.unwrap();
        })
    }
}

/// Futures in boxes.
mod futures_of {
    pub(super) type Boxed = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// While a hook runs, the job is in its private list: whatever ends the process, the job runs again and the hook is called again.
#[tokio::test]
async fn hooks_are_called_before_redis_knows_what_became_of_the_job() {
    let redis = Redis::start().await;
    let (seen, url) = (Seen::default(), redis.url());
    let builder = Server::builder()
        .register_fn("Ends", ends)
        .on_success(note("success", &seen, &url))
        .on_retry(note("retry", &seen, &url))
        .on_death(note("death", &seen, &url))
        .concurrency(1);
    let server = Running::start(&redis, builder);
    let mut expected = Vec::new();
    for (number, (how, said)) in [
        ("work", "success 0: done , false, 1 0 0"),
        ("fail", "retry 1: fail Broken, true, 1 0 0"),
        ("kill", "death 2: kill Gone, false, 1 1 0"),
        ("discard", "death 3: discard RuntimeError, false, 1 1 1"),
        ("snooze", ""),
        ("work", "success 5: done , false, 1 1 1"),
    ]
    .into_iter()
    .enumerate()
    {
        let job = format!(r#"{{"class":"Ends","args":["{how}"],"queue":"default","jid":"{number}","retry":3}}"#);
        redis.call::<()>("LPUSH", &["queue:default", &job]).await;
        eventually("it is settled", async || redis.size("queue:default").await + redis.private_jobs().await == 0).await;
        expected.extend((!said.is_empty()).then(|| said.to_owned()));
    }
    let identity: String = redis.call::<Vec<String>>("SMEMBERS", &["processes"]).await.remove(0);
    server.stop().await;
    assert_eq!(*seen.lock().unwrap(), expected);
    assert_eq!((redis.size("schedule").await, redis.size("queue:other").await), (1, 5));
    let follows: Vec<String> = redis.call("LRANGE", &["queue:other", "0", "-1"]).await;
    assert!(follows.iter().all(|job| job.contains(&identity)), "{follows:?}");
}

/// One that waits for ever, one that holds its thread and one that panics.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hook_that_hangs_or_panics_keeps_neither_the_job_nor_its_slot() {
    let redis = Redis::start().await;
    let (called, (release, held)) = (Arc::new(AtomicUsize::new(0)), mpsc::channel::<()>());
    let (count, held) = (Arc::clone(&called), Arc::new(Mutex::new(held)));
    let builder = Server::builder()
        .register_fn("Ends", ends)
        .on_success(async |_| std::future::pending().await)
        .on_success(move |job| {
            let held = Arc::clone(&held);
            async move {
                if job.jid() == "0" {
                    let _ = held.lock().unwrap().recv();
                }
            }
        })
        .on_success(async |_| panic!("a job hook must not hurt"))
        .on_success(|_| -> std::future::Ready<()> { panic!("nor one that has no future") })
        .on_success(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            async {}
        })
        .on_death(async |_| std::future::pending().await)
        .hook_timeout(Duration::from_millis(50))
        .concurrency(1);
    for (jid, how) in ["work", "kill", "work"].into_iter().enumerate() {
        let job = format!(r#"{{"class":"Ends","args":["{how}"],"queue":"default","jid":"{jid}","retry":3}}"#);
        redis.call::<()>("LPUSH", &["queue:default", &job]).await;
    }
    let server = Running::start(&redis, builder);
    eventually("all are settled, and the last hook was called", async || {
        called.load(Ordering::SeqCst) == 2 && redis.size("dead").await == 1 && redis.private_jobs().await == 0
    })
    .await;
    drop(release);
    assert_eq!(server.stop().await.left_for_recovery, 0);
}

/// The server stops while a hook runs: the job goes back, and so it and the hook run again.
#[tokio::test]
async fn a_stop_during_a_hook_puts_the_job_back() {
    let redis = Redis::start().await;
    let called = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&called);
    let builder = Server::builder()
        .register_fn("Ends", ends)
        .on_success(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            std::future::pending()
        })
        .timeout(Duration::from_millis(100));
    redis.client().push(Payload::new("Ends", ["work".into()])).await.unwrap();
    let server = Running::start(&redis, builder);
    eventually("the hook runs", async || called.load(Ordering::SeqCst) == 1).await;
    server.stop().await;
    assert_eq!((redis.size("queue:default").await, redis.private_jobs().await), (1, 0));
}

#[tokio::test]
async fn lifecycle_hooks_get_a_client_and_the_name_of_the_process() {
    let redis = Redis::start().await;
    let called = Arc::new(Mutex::new(BTreeSet::new()));
    let mut builder = Server::builder().register_fn("Nothing", nothing);
    for event in [Event::Startup, Event::Heartbeat, Event::Beat, Event::Quiet, Event::Shutdown, Event::Exit] {
        let called = Arc::clone(&called);
        builder = builder.on(event, move |server: ServerContext| {
            let called = Arc::clone(&called);
            async move {
                let payload = Payload::new(&format!("{event:?}"), [server.identity().into()]).with_queue("moments");
                server.client().push(payload).await.unwrap();
                called.lock().unwrap().insert(server.identity().to_owned());
            }
        });
    }
    let server = Running::start(&redis, builder);
    eventually("it beats", async || redis.size("queue:moments").await == 3).await;
    let processes: BTreeSet<String> = redis.call::<Vec<String>>("SMEMBERS", &["processes"]).await.into_iter().collect();
    server.stop().await;
    assert_eq!(*called.lock().unwrap(), processes);
    let jobs: Vec<String> = redis.call("LRANGE", &["queue:moments", "0", "-1"]).await;
    let classes: BTreeSet<String> =
        jobs.into_iter().map(|job| Payload::parse(job).unwrap().class().to_owned()).collect();
    assert_eq!(classes.into_iter().collect::<Vec<_>>(), ["Beat", "Exit", "Heartbeat", "Quiet", "Shutdown", "Startup"]);
}

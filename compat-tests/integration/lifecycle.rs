use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ferrokiq::server::{FetchMode, Next, UnknownClasses};
use ferrokiq::{Context, Event, Job, JobResult, Payload, Server};

use crate::support::{Redis, Running, eventually, nothing};

/// Waits until the test lets it end.
struct Held {
    running: Arc<AtomicUsize>,
    release: Arc<tokio::sync::Notify>,
}

impl Job for Held {
    const CLASS: &'static str = "Held";
    type Args = (u32,);

    async fn perform(&self, _cx: Context, _args: Self::Args) -> JobResult {
        self.running.fetch_add(1, Ordering::SeqCst);
        self.release.notified().await;
        Ok(())
    }
}

fn held() -> (Held, Arc<AtomicUsize>, Arc<tokio::sync::Notify>) {
    let (running, release) = (Arc::default(), Arc::default());
    (Held { running: Arc::clone(&running), release: Arc::clone(&release) }, running, release)
}

#[tokio::test]
async fn puts_back_what_does_not_end_in_time_in_its_order() {
    for fetch in [FetchMode::Reliable, FetchMode::Basic] {
        let redis = Redis::start().await;
        Held::perform_bulk(&redis.client(), (0..10).map(|n| (n,))).await.unwrap();
        let before: Vec<String> = redis.call("LRANGE", &["queue:default", "0", "-1"]).await;
        let (job, running, _release) = held();
        let builder = Server::builder().register(job).concurrency(4).timeout(Duration::from_millis(300)).fetch(fetch);
        let server = Running::start(&redis, builder);
        eventually("four run", async || running.load(Ordering::SeqCst) == 4).await;
        let stopped = server.stop().await;
        assert_eq!((stopped.left_for_recovery, stopped.cut_off), (0, 4));
        let after: Vec<String> = redis.call("LRANGE", &["queue:default", "0", "-1"]).await;
        let sorted = |mut jobs: Vec<String>| {
            jobs.sort();
            jobs
        };
        assert_eq!(sorted(after.clone()), sorted(before.clone()), "every job is there once ({fetch:?})");
        assert_eq!(after[..6], before[..6], "those that never ran stand where they stood ({fetch:?})");
        assert_eq!(redis.private_jobs().await, 0);
        assert_eq!(redis.call::<usize>("SCARD", &["processes"]).await, 0);
    }
}

#[tokio::test]
async fn waits_for_jobs_that_end_in_time() {
    let redis = Redis::start().await;
    Held::perform_async(&redis.client(), (1,)).await.unwrap();
    let (job, running, release) = held();
    let server = Running::start(&redis, Server::builder().register(job));
    eventually("it runs", async || running.load(Ordering::SeqCst) == 1).await;
    server.handle.stop();
    release.notify_one();
    assert_eq!(server.stop().await.cut_off, 0);
    assert_eq!(redis.size("queue:default").await, 0);
    let processed: u64 = redis.call("GET", &["stat:processed"]).await;
    assert_eq!(processed, 1);
}

#[tokio::test]
async fn fetches_nothing_when_quiet_and_stays_up() {
    let redis = Redis::start().await;
    let server = Running::start(&redis, Server::builder().register_fn("Nothing", nothing));
    eventually("it is up", async || redis.call::<usize>("SCARD", &["processes"]).await == 1).await;
    server.handle.quiet();
    // Whatever was being waited for when it was told comes back within the two seconds of a blocking command.
    let start = Instant::now();
    let client = redis.client();
    client.push(Payload::new("Nothing", [])).await.unwrap();
    eventually("it stopped waiting", async || {
        let clients: String = redis.call("CLIENT", &["LIST"]).await;
        !clients.contains("cmd=blmove")
    })
    .await;
    assert!(start.elapsed() < Duration::from_secs(5));
    client.push(Payload::new("Nothing", [])).await.unwrap();
    eventually("nothing is lost", async || redis.size("queue:default").await == 2).await;
    assert!(!server.handle.is_stopping());
    server.stop().await;
    assert_eq!(redis.size("queue:default").await, 2);
}

#[tokio::test]
async fn starts_a_job_at_once_when_idle() {
    let redis = Redis::start().await;
    let started = Arc::new(Mutex::new(Vec::new()));
    let starts = Arc::clone(&started);
    let builder = Server::builder().queues(["a", "b", "c"]).register_fn("Timed", move |_cx: Context, (): ()| {
        let starts = Arc::clone(&starts);
        async move {
            starts.lock().unwrap().push(Instant::now());
            Ok(())
        }
    });
    let server = Running::start(&redis, builder);
    eventually("it waits", async || redis.call::<String>("CLIENT", &["LIST"]).await.matches("cmd=blmove").count() == 3)
        .await;
    let client = redis.client();
    for queue in ["c", "b", "a", "c"] {
        let (pushed, before) = (Instant::now(), started.lock().unwrap().len());
        client.push(Payload::new("Timed", []).with_queue(queue)).await.unwrap();
        eventually("it starts", async || started.lock().unwrap().len() == before + 1).await;
        // Not a measure of speed: a poll would take its quarter of a second.
        assert!(started.lock().unwrap()[before] - pushed < Duration::from_millis(200));
    }
    server.stop().await;
}

#[tokio::test]
async fn runs_middleware_hooks_and_events_in_order() {
    let redis = Redis::start().await;
    let said = Arc::new(Mutex::new(Vec::<String>::new()));
    let say = |text: &'static str| {
        let said = Arc::clone(&said);
        move || {
            let said = Arc::clone(&said);
            async move { said.lock().unwrap().push(text.to_owned()) }
        }
    };
    let (outer, inner, job) = (Arc::clone(&said), Arc::clone(&said), Arc::clone(&said));
    let builder = Server::builder()
        .server_middleware(move |cx: Context, next: Next| {
            let said = Arc::clone(&outer);
            async move {
                said.lock().unwrap().push("outer".into());
                let outcome = next.run(cx).await;
                said.lock().unwrap().push("outer again".into());
                outcome
            }
        })
        .server_middleware(move |cx: Context, next: Next| {
            let said = Arc::clone(&inner);
            async move {
                said.lock().unwrap().push("inner".into());
                if cx.payload().args() == "[\"skip\"]" { Ok(()) } else { next.run(cx).await }
            }
        })
        .register_fn("Says", move |_cx: Context, (text,): (String,)| {
            let said = Arc::clone(&job);
            async move {
                said.lock().unwrap().push(text);
                Ok(())
            }
        })
        .on(Event::Startup, say("startup"))
        .on(Event::Shutdown, say("shutdown 1"))
        .on(Event::Shutdown, say("shutdown 2"))
        .on(Event::Startup, || async { panic!("a hook must not hurt") })
        .on(Event::Exit, say("exit"))
        .concurrency(1);
    let client = redis.client();
    client.push(Payload::new("Says", ["skip".into()])).await.unwrap();
    client.push(Payload::new("Says", ["work".into()])).await.unwrap();
    let server = Running::start(&redis, builder);
    eventually("both ran", async || said.lock().unwrap().iter().filter(|text| *text == "outer again").count() == 2)
        .await;
    server.stop().await;
    assert_eq!(
        *said.lock().unwrap(),
        [
            "startup",
            "outer",
            "inner",
            "outer again",
            "outer",
            "inner",
            "work",
            "outer again",
            "shutdown 2",
            "shutdown 1",
            "exit"
        ]
    );
}

#[tokio::test]
async fn keeps_capsules_apart() {
    let redis = Redis::start().await;
    let (job, running, _release) = held();
    let client = redis.client();
    Held::perform_bulk(&client, (0..5).map(|n| (n,))).await.unwrap();
    for n in 0..5 {
        Held::set(ferrokiq::JobOptions::new().queue("serial")).perform_async(&client, (n,)).await.unwrap();
    }
    let builder = Server::builder()
        .register(job)
        .concurrency(3)
        .capsule("serial", |capsule| capsule.concurrency(1).queues(["serial"]))
        .timeout(Duration::from_millis(100));
    let server = Running::start(&redis, builder);
    eventually("four run", async || running.load(Ordering::SeqCst) == 4).await;
    assert_eq!((redis.size("queue:default").await, redis.size("queue:serial").await), (2, 4));
    server.stop().await;
    assert_eq!((redis.size("queue:default").await, redis.size("queue:serial").await), (5, 5));
}

#[tokio::test]
async fn leaves_unknown_classes_to_others_if_told() {
    let redis = Redis::start().await;
    let client = redis.client();
    client.push(Payload::new("RubysOwn", [])).await.unwrap();
    client.push(Payload::new("Nothing", [])).await.unwrap();
    let builder = Server::builder().register_fn("Nothing", nothing).unknown_classes(UnknownClasses::Requeue);
    let server = Running::start(&redis, builder);
    eventually("the known one ran", async || redis.call::<Option<u64>>("LLEN", &["queue:default"]).await == Some(1))
        .await;
    server.stop().await;
    let left: Vec<String> = redis.call("LRANGE", &["queue:default", "0", "-1"]).await;
    assert!(left.len() == 1 && left[0].contains("RubysOwn") && !left[0].contains("retry_count"), "{left:?}");
    assert_eq!(redis.size("retry").await, 0);
}

#[tokio::test]
async fn fetches_nothing_from_a_paused_queue() {
    for fetch in [FetchMode::Reliable, FetchMode::Basic] {
        let redis = Redis::start().await;
        redis.call::<()>("SADD", &["paused", "asleep"]).await;
        let client = redis.client();
        client.push(Payload::new("Nothing", []).with_queue("asleep")).await.unwrap();
        client.push(Payload::new("Nothing", []).with_queue("awake")).await.unwrap();
        let builder = Server::builder().register_fn("Nothing", nothing).queues(["asleep", "awake"]).fetch(fetch);
        let server = Running::start(&redis, builder);
        eventually("the other queue is served", async || redis.size("queue:awake").await == 0).await;
        client.push(Payload::new("Nothing", []).with_queue("awake")).await.unwrap();
        eventually("it still is", async || redis.size("queue:awake").await == 0).await;
        assert_eq!(redis.size("queue:asleep").await, 1);
        redis.call::<()>("SREM", &["paused", "asleep"]).await;
        eventually("the next beat wakes it", async || redis.size("queue:asleep").await == 0).await;
        server.stop().await;
    }
}

#[tokio::test]
async fn fetches_nothing_from_a_queue_that_limit_fetch_paused() {
    let redis = Redis::start().await;
    redis.call::<()>("SET", &["limit_fetch:pause:asleep", "1"]).await;
    let client = redis.client();
    client.push(Payload::new("Nothing", []).with_queue("asleep")).await.unwrap();
    client.push(Payload::new("Nothing", []).with_queue("awake")).await.unwrap();
    let builder = Server::builder().register_fn("Nothing", nothing).queues(["asleep", "awake"]);
    let server = Running::start(&redis, builder);
    eventually("the other queue is served", async || redis.size("queue:awake").await == 0).await;
    client.push(Payload::new("Nothing", []).with_queue("awake")).await.unwrap();
    eventually("it still is", async || redis.size("queue:awake").await == 0).await;
    assert_eq!(redis.size("queue:asleep").await, 1);
    server.stop().await;
}

#[tokio::test]
async fn rejects_senseless_settings_before_anything_runs() {
    let error = |builder: ferrokiq::ServerBuilder| builder.build().unwrap_err();
    for (builder, culprit) in [
        (Server::builder().concurrency(0), "concurrency: 0"),
        (Server::builder().capsule("extra", |capsule| capsule), "capsule extra has no queues"),
        (Server::builder().queues(["a\nb"]), "a\\nb"),
        (Server::builder().queues(["a,x"]), "\"x\" is no weight for queue \"a\""),
        (Server::builder().queues([""]), "capsule default"),
        (Server::builder().timeout(Duration::ZERO), "timeout: 0"),
        (Server::builder().register_fn("A", nothing).register_fn("A", nothing), "class A is registered twice"),
    ] {
        let error = error(builder);
        assert!(error.is_config() && error.to_string().contains(culprit), "{error}");
    }
}

//! Code of users that panics where nobody expects it, never returns, or wants more time than there is: the worker goes on, and stops in time.

use std::panic::panic_any;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use ferrokiq::client::{Next, Push};
use ferrokiq::{BlockingJob, Context, ErrorKind, Event, Job, JobError, JobResult, Payload, Server};

use crate::support::{DEADLINE, Redis, Running, eventually, nothing};

/// Panics when it is dropped.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
#[serde(transparent)]
struct Bomb(u32);

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("bomb {} was dropped", self.0);
    }
}

impl std::fmt::Display for Bomb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a bomb")
    }
}

impl std::error::Error for Bomb {}

/// Does what its argument says, and has no time-out that a clock could count to.
struct Harm;

impl Job for Harm {
    const CLASS: &'static str = "Harm";
    type Args = (String,);

    async fn perform(&self, _cx: Context, (how,): Self::Args) -> JobResult {
        match how.as_str() {
            "error" => Err(JobError::from(Bomb(1))),
            "payload" => panic_any(Bomb(2)),
            _ => Ok(()),
        }
    }

    fn timeout(&self) -> Option<Duration> {
        Some(Duration::MAX)
    }
}

/// Its arguments are a bomb; it still has them when its time is over.
struct Slow;

impl Job for Slow {
    const CLASS: &'static str = "Slow";
    type Args = (Bomb,);

    async fn perform(&self, _cx: Context, _bomb: Self::Args) -> JobResult {
        std::future::pending().await
    }

    fn timeout(&self) -> Option<Duration> {
        Some(Duration::from_millis(10))
    }
}

/// The same on a thread, at once.
struct OnThread;

impl BlockingJob for OnThread {
    const CLASS: &'static str = "OnThread";
    type Args = (Bomb,);

    fn perform(&self, _cx: Context, (bomb,): Self::Args) -> JobResult {
        Err(bomb.into())
    }
}

/// Every hook of its class panics.
struct Hooked(#[expect(dead_code, reason = "it is dropped with the server")] Bomb);

impl Job for Hooked {
    const CLASS: &'static str = "Hooked";
    type Args = ();

    async fn perform(&self, _cx: Context, (): ()) -> JobResult {
        Ok(())
    }

    fn timeout(&self) -> Option<Duration> {
        panic_any(Bomb(3))
    }

    fn retry_in(&self, _: u32, _: &JobError) -> ferrokiq::RetryIn {
        panic_any(Bomb(4))
    }
}

#[tokio::test]
async fn goes_on_whatever_panics_when_it_is_dropped() {
    let redis = Redis::start().await;
    let (client, ran) = (redis.client(), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&ran);
    let builder = Server::builder()
        .register(Harm)
        .register(Slow)
        .register(Hooked(Bomb(5)))
        .register_blocking(OnThread)
        .register_fn("Ordinary", move |_cx: Context, (): ()| {
            let ran = Arc::clone(&counter);
            async move {
                ran.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
        })
        .on_error(|_| panic_any(Bomb(6)))
        .on_death(async |_| panic_any(Bomb(7)))
        .concurrency(5);
    for how in ["error", "payload", "well"] {
        Harm::perform_bulk(&client, (0..10).map(|_| (how.to_owned(),))).await.unwrap();
    }
    for number in 0..10 {
        for class in ["Slow", "OnThread"] {
            client.push(Payload::new(class, [number.into()])).await.unwrap();
        }
        client.push(Payload::new("Hooked", [])).await.unwrap();
    }
    let server = Running::start(&redis, builder);
    eventually("fifty failed", async || redis.size("retry").await == 50).await;
    for _ in 0..10 {
        client.push(Payload::new("Ordinary", [])).await.unwrap();
    }
    eventually("the ordinary ones ran", async || ran.load(Ordering::SeqCst) == 10).await;
    let stopped = server.stop().await;
    assert!(!stopped.failed && stopped.cut_off == 0 && stopped.left_for_recovery == 0, "{stopped:?}");
    assert_eq!((redis.size("queue:default").await, redis.private_jobs().await), (0, 0));
}

#[tokio::test]
async fn enqueues_due_jobs_though_a_middleware_panics() {
    let redis = Redis::start().await;
    for _ in 0..3 {
        let mut payload = Payload::new("Nothing", []);
        payload.insert("at", 1.0);
        redis.call::<()>("ZADD", &["schedule", "1", &payload.as_str()]).await;
        let mut later = Payload::new("Nothing", ["later".into()]);
        later.insert("jid", "0123456789abcdef01234567");
        redis.call::<()>("ZADD", &["retry", "1", &later.as_str()]).await;
    }
    let middleware = async |_: Payload, _: Next| -> ferrokiq::Result<Push> { panic_any(Bomb(1)) };
    let server =
        Running::start(&redis, Server::builder().register_fn("Nothing", nothing).client_middleware(middleware));
    eventually("they ran", async || redis.size("schedule").await + redis.size("retry").await == 0).await;
    assert!(!server.stop().await.failed);
}

#[tokio::test]
async fn stops_in_time_though_hooks_never_end() {
    let redis = Redis::start().await;
    let called = Arc::new(AtomicUsize::new(0));
    let mut builder = Server::builder().register_fn("Nothing", nothing).timeout(Duration::from_millis(100));
    for event in [Event::Quiet, Event::Shutdown, Event::Shutdown, Event::Exit] {
        let called = Arc::clone(&called);
        builder = builder.on(event, move || {
            called.fetch_add(1, Ordering::SeqCst);
            std::future::pending()
        });
    }
    builder = builder.on(Event::Shutdown, || -> std::future::Ready<()> { panic!("a hook that has no future") });
    let server = Running::start(&redis, builder);
    eventually("it is up", async || redis.call::<usize>("SCARD", &["processes"]).await == 1).await;
    let stopped = server.stop().await;
    assert_eq!((stopped.left_for_recovery, called.load(Ordering::SeqCst)), (0, 4), "each hook was called");
    assert_eq!(redis.call::<usize>("SCARD", &["processes"]).await, 0);
}

#[tokio::test]
async fn stops_though_a_startup_hook_never_ends() {
    let redis = Redis::start().await;
    let builder = Server::builder()
        .register_fn("Nothing", nothing)
        .timeout(Duration::from_millis(100))
        .on(Event::Startup, std::future::pending);
    let server = Running::start(&redis, builder);
    assert_eq!(server.stop().await.left_for_recovery, 0);
}

#[tokio::test]
async fn takes_times_that_no_clock_counts_to() {
    let redis = Redis::start().await;
    let builder = Server::builder()
        .register_fn("Nothing", nothing)
        .timeout(Duration::MAX)
        .average_scheduled_poll_interval(Duration::MAX)
        .max_iteration_runtime(Duration::MAX)
        .dead_timeout(Duration::MAX);
    let server = Running::start(&redis, builder);
    redis.client().push(Payload::new("Nothing", [])).await.unwrap();
    eventually("it is up", async || redis.call::<usize>("SCARD", &["processes"]).await == 1).await;
    eventually("it ran", async || redis.size("queue:default").await == 0).await;
    assert!(!server.stop().await.failed);
    let error = Server::builder().liveness(Duration::MAX).build().unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("liveness"), "{error}");
}

/// Blocks its thread until the gate opens, longer than its time-out.
struct Stuck(Arc<(Mutex<bool>, Condvar)>, Arc<AtomicUsize>);

impl BlockingJob for Stuck {
    const CLASS: &'static str = "Stuck";
    type Args = (bool,);

    fn perform(&self, _cx: Context, (stuck,): Self::Args) -> JobResult {
        let (open, opened) = &*self.0;
        if stuck {
            drop(opened.wait_while(open.lock().unwrap(), |open| !*open).unwrap());
        }
        let thread = std::thread::current();
        assert!(thread.name().is_some_and(|name| name.starts_with("ferrokiq-job-")), "{thread:?}");
        self.1.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn timeout(&self) -> Option<Duration> {
        Some(Duration::from_millis(100))
    }
}

#[test]
fn blocking_jobs_that_never_return_block_nothing_else() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).max_blocking_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let (redis, gate, ran) = (Redis::start().await, Arc::default(), Arc::default());
        let (client, at) = (redis.client(), crate::support::free());
        let job = Stuck(Arc::clone(&gate), Arc::clone(&ran));
        let server = Running::start(&redis, Server::builder().register_blocking(job).concurrency(2).health(at));
        Stuck::perform_bulk(&client, [(true,), (true,)]).await.unwrap();
        eventually("both timed out", async || redis.size("retry").await == 2).await;
        let resolved = tokio::time::timeout(DEADLINE, tokio::net::lookup_host("localhost:1")).await;
        assert!(resolved.is_ok(), "names are resolved while jobs block threads");
        Stuck::perform_async(&client, (false,)).await.unwrap();
        eventually("another one runs", async || ran.load(Ordering::SeqCst) == 1).await;

        crate::health::until(at, "/live", 200, "ok").await;
        Stuck::perform_async(&client, (true,)).await.unwrap();
        crate::health::until(at, "/live", 503, "jobs that were given up block too many threads").await;
        *gate.0.lock().unwrap() = true;
        gate.1.notify_all();
        crate::health::until(at, "/live", 200, "ok").await;
        eventually("each goes on to its end", async || ran.load(Ordering::SeqCst) == 4).await;
        server.stop().await;
    });
}

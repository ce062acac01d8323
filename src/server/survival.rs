//! Each part of a running server panics once: it is started again, and no job is lost.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::api::Api;
use crate::server::TickOptions;
use crate::server::report::vitals::Vitals;
use crate::testing::Redis;
use crate::{Context, Job, JobResult, Server};

/// Ends well, or fails; notes the ids of those that ended well.
struct Either(Arc<Mutex<BTreeSet<String>>>);

impl Job for Either {
    const CLASS: &'static str = "Either";
    type Args = (bool,);

    async fn perform(&self, cx: Context, (well,): (bool,)) -> JobResult {
        tokio::time::sleep(Duration::from_millis(5)).await;
        if !well {
            return Err("it was told to".into());
        }
        self.0.lock().unwrap().insert(cx.jid().to_owned());
        Ok(())
    }
}

const PARTS: [&str; 18] = [
    "acknowledgement",
    "acknowledger",
    "election",
    "fetcher",
    "health listener",
    "heartbeat",
    "memory watch",
    "permits",
    "poller",
    "processor",
    "pulse of the heartbeat",
    "pulse of the jobs",
    "reconciliation",
    "recovery",
    "rounds of settlements",
    "storing of withheld jobs",
    "tick",
    "waiter",
];

async fn until(what: &str, mut met: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !met().await {
        assert!(Instant::now() < deadline, "{what}: not within 20 s");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_part_survives_a_panic_and_no_job_is_lost() {
    let (redis, done, ticks) = (Redis::start().unwrap(), Arc::default(), Arc::new(AtomicUsize::new(0)));
    let ticked = Arc::clone(&ticks);
    let server = Server::builder()
        .register(Either(Arc::clone(&done)))
        .redis(redis.options().unwrap())
        .concurrency(3)
        .max_rss(1 << 40)
        .on_tick(TickOptions::every(Duration::from_millis(5)).leader_only(), move |_| {
            ticked.fetch_add(1, Ordering::Relaxed);
            async { Ok(()) }
        })
        .liveness(Duration::from_secs(1))
        .poll_interval_average(Duration::from_millis(10))
        .health("127.0.0.1:0".parse().unwrap())
        .build()
        .unwrap();
    let (process, client, handle) = (Arc::clone(&server.process), server.client(), server.handle());
    let retries = Api::new(&client).retries();
    let running = tokio::spawn(server.run(std::future::pending()));
    // A job that is done, or waits for its retry.
    let accounted = async || retries.size().await.unwrap() + done.lock().unwrap().len();
    let mut pushed = 0;
    let mut push = async || {
        Either::perform_bulk(&client, [true, false, true, false].map(|well| (well,))).await.unwrap();
        pushed += 4;
        pushed
    };
    let all = push().await;
    until("the first jobs ran", async || accounted().await == all).await;
    until("every part runs", async || process.shared.supervisor.failpoints().parts() == PARTS).await;
    assert_eq!(Vitals::new(Arc::clone(&process)).live(), Ok(()));

    for (part, faults) in PARTS.into_iter().zip(1..) {
        let all = push().await;
        until("some job runs", async || process.shared.stats.work.busy() > 0 || accounted().await == all).await;
        process.shared.supervisor.failpoints().panic(part);
        let all = push().await;
        until(part, async || process.shared.supervisor.restarts().total() == faults && accounted().await == all).await;
    }
    assert_eq!(Vitals::new(Arc::clone(&process)).live(), Err("parts of the server fail again and again"));
    let before = ticks.load(Ordering::Relaxed);
    until("the leader ticks on", async || ticks.load(Ordering::Relaxed) > before).await;
    handle.stop();
    let stopped = running.await.unwrap().unwrap();
    assert_eq!((stopped.left_for_recovery, stopped.cut_off, stopped.failed), (0, 0, true));
    assert_eq!(process.shared.store.private_lists(&process.shared.identity).await.unwrap(), []);
}

//! Jobs in steps (`ActiveJob::Continuable`) on a server that stops.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use ferrokiq::active_job::{ActiveJob, ActiveJobContext};
use ferrokiq::{JobResult, Server};

use crate::support::{Redis, Running, eventually};

/// Counts to ten, and waits at five until the server stops.
struct Count {
    seen: Arc<Mutex<Vec<i64>>>,
    waiting: Arc<AtomicUsize>,
}

impl ActiveJob for Count {
    const CLASS: &'static str = "CountJob";
    type Args = ();

    async fn perform(&self, cx: ActiveJobContext, (): ()) -> JobResult {
        cx.step("once", |_| async {
            self.seen.lock().unwrap().push(-1);
            Ok(())
        })
        .await?;
        let stop = &cx;
        cx.step("count", |step| async move {
            for number in step.cursor()?.unwrap_or(0)..10_i64 {
                if number == 5 && !step.is_resumed() {
                    self.waiting.fetch_add(1, Ordering::SeqCst);
                    stop.stopping().await;
                }
                self.seen.lock().unwrap().push(number);
                step.set(number + 1)?;
            }
            Ok(())
        })
        .await
    }
}

#[tokio::test]
async fn a_job_that_a_stop_interrupts_goes_on_where_it_stood() {
    let redis = Redis::start().await;
    let (seen, waiting) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
    let server =
        || Server::builder().register_active_job(Count { seen: Arc::clone(&seen), waiting: Arc::clone(&waiting) });
    Count::perform_later(&redis.client(), ()).await.unwrap();
    let first = Running::start(&redis, server());
    eventually("it waits", async || waiting.load(Ordering::SeqCst) == 1).await;
    assert_eq!(first.stop().await.cut_off, 0, "it ended by itself");
    assert_eq!((redis.size("queue:default").await, redis.private_jobs().await), (0, 0));

    let scheduled: Vec<String> = redis.call("ZRANGE", &["schedule", "0", "-1"]).await;
    let [payload] = scheduled.as_slice() else { panic!("{scheduled:?}") };
    assert!(
        payload.contains(r#""continuation":{"completed":["once"],"current":["count",6]},"resumptions":0"#),
        "{payload}"
    );
    // Five seconds later.
    redis.call::<usize>("LPUSH", &["queue:default", payload]).await;
    redis.call::<usize>("DEL", &["schedule"]).await;
    let second = Running::start(&redis, server());
    eventually("it is done", async || seen.lock().unwrap().last() == Some(&9)).await;
    second.stop().await;
    assert_eq!(*seen.lock().unwrap(), [vec![-1], (0..10).collect()].concat(), "nothing is skipped or done again");
    let stats: (String, Option<String>) =
        (redis.call("GET", &["stat:processed"]).await, redis.call("GET", &["stat:failed"]).await);
    assert!(stats.0 == "2" && stats.1.is_none_or(|failed| failed == "0"), "an interruption is no failure");
}

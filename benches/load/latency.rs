//! From the push of a job to the beginning of its run.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ferrokiq::{Client, Context, Payload};

use crate::drain::Countdown;
use crate::{Outcome, Setting, queue, raw, tell};

/// Microseconds by the clock that all processes of this machine share.
fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Works what [`produce`] of another process pushes.
pub(crate) async fn measure(setting: &Setting, _rate: u64) -> Outcome {
    let waited = Arc::new(Mutex::new(Vec::with_capacity(setting.jobs)));
    let (told, countdown) = (Arc::clone(&waited), Countdown::from(setting.jobs));
    let left = countdown.clone();
    let server = setting
        .server()?
        .register_fn("LatencyJob", move |_cx: Context, (pushed,): (u64,)| {
            told.lock().unwrap_or_else(PoisonError::into_inner).push(now_us().saturating_sub(pushed));
            left.one();
            async { Ok(()) }
        })
        .build()?;
    server.run(async move { countdown.over().await }).await?;
    let mut waited = std::mem::take(&mut *waited.lock().unwrap_or_else(PoisonError::into_inner));
    // The first tenth warms up.
    waited.drain(..waited.len() / 10);
    waited.sort_unstable();
    let percentile = |share: f64| waited[((waited.len() - 1) as f64 * share) as usize] as f64;
    tell("p50_us", percentile(0.5));
    tell("p99_us", percentile(0.99));
    Ok(())
}

/// Pushes at an even rate to one queue after the other, each job awaited. Begins once the worker has taken the first job, so that no job waits for
/// the start of a worker.
pub(crate) async fn produce(setting: &Setting, rate: u64) -> Outcome {
    let client = Client::from_env()?;
    let job = |number: usize| Payload::new("LatencyJob", [now_us().into()]).with_queue(&queue(number % setting.queues));
    client.push(job(0)).await?;
    let mut redis = raw::connection().await?;
    while redis::cmd("EXISTS").arg("queue:default").query_async::<usize>(&mut redis).await? > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / rate as f64));
    for number in 1..setting.jobs {
        ticks.tick().await;
        client.push(job(number)).await?;
    }
    Ok(())
}

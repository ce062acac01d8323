//! Jobs that wait: in the schedule, or asleep in the worker.

use std::time::{Duration, Instant};

use ferrokiq::client::Bulk;
use ferrokiq::time::EpochSecs;
use ferrokiq::{Client, Context, Payload};
use serde_json::{Value, json};

use crate::idle::rss_kb;
use crate::{Outcome, Setting, drain, raw, tell, tell_rate};

/// From the first look at the schedule to its end; nobody works the queue they go to.
pub(crate) async fn promote(setting: &Setting) -> Outcome {
    let client = Client::from_env()?;
    let due = EpochSecs(EpochSecs::now().0 + 3_600.0);
    let args = (0..setting.jobs).map(|index| ("string", index, json!({"mike": "bob"})));
    client.push_bulk(Bulk::new(Payload::new("LoadJob", []), args)?.all_at(due).batch_size(1_000)).await?;
    let mut redis = raw::connection().await?;
    // Due since long ago, each at a moment of its own.
    let script = "for at, job in ipairs(redis.call('ZRANGE', 'schedule', 0, -1)) do redis.call('ZADD', 'schedule', at / 1000, job) end";
    let _: () = redis::cmd("EVAL").arg(script).arg(0).query_async(&mut redis).await?;

    let server = setting.server()?.queues(["nobody"]).poll_interval_average(Duration::from_millis(50)).build()?;
    let span = async {
        let size = async |redis: &mut redis::aio::MultiplexedConnection| -> Result<usize, redis::RedisError> {
            redis::cmd("ZCARD").arg("schedule").query_async(redis).await
        };
        while size(&mut redis).await? == setting.jobs {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let began = Instant::now();
        while size(&mut redis).await? > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok::<_, redis::RedisError>(began.elapsed())
    };
    let (tell_span, told) = tokio::sync::oneshot::channel();
    tokio::join!(server.run(async { told.await.unwrap_or(()) }), async {
        match span.await {
            Ok(span) => tell_rate(setting.jobs, span),
            Err(error) => eprintln!("{error}"),
        }
        let _ = tell_span.send(());
    })
    .0?;
    Ok(())
}

/// As many jobs as there are slots, all of them asleep.
pub(crate) async fn sleepers(setting: &Setting) -> Outcome {
    drain::fill(setting, "SleepingJob").await?;
    let asleep = drain::Countdown::from(setting.jobs);
    let left = asleep.clone();
    let server = setting
        .server()?
        .timeout(Duration::from_millis(10))
        .register_fn("SleepingJob", move |_cx: Context, _args: (String, u64, Value)| {
            let left = left.clone();
            async move {
                left.one();
                tokio::time::sleep(Duration::from_secs(3_600)).await;
                Ok(())
            }
        })
        .build()?;
    server
        .run(async move {
            asleep.over().await;
            tokio::time::sleep(Duration::from_secs(2)).await;
            tell("rss_kb", rss_kb());
        })
        .await?;
    Ok(())
}

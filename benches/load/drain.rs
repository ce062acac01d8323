//! Jobs that lie ready, from the start of the server to the end of the last of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ferrokiq::client::Bulk;
use ferrokiq::{Client, Context, Ending, JobError, JobResult, KeyType, Payload, Rider, ServerBuilder};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::{Outcome, Setting, queue, raw, tell, tell_rate};

/// Counts jobs down.
#[derive(Clone)]
pub(crate) struct Countdown {
    left: Arc<AtomicUsize>,
    over: Arc<Notify>,
}

impl Countdown {
    pub(crate) fn from(jobs: usize) -> Self {
        Self { left: Arc::new(AtomicUsize::new(jobs)), over: Arc::default() }
    }

    pub(crate) fn one(&self) {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.over.notify_one();
        }
    }

    pub(crate) async fn over(&self) {
        self.over.notified().await;
    }
}

/// Jobs as Sidekiq's own load script pushes them, evenly over the queues.
pub(crate) async fn fill(setting: &Setting, class: &str) -> Outcome {
    let client = Client::from_env()?;
    for number in 0..setting.queues {
        let jobs = setting.jobs / setting.queues;
        let args = (0..jobs).map(|index| ("string", index, json!({"mike": "bob"})));
        client.push_bulk(Bulk::new(Payload::new(class, []).with_queue(&queue(number)), args)?).await?;
    }
    Ok(())
}

/// Runs a server until the jobs are counted down.
async fn run(
    setting: &Setting,
    builder: ServerBuilder,
    countdown: Countdown,
) -> Result<Duration, Box<dyn std::error::Error>> {
    let _logging = setting.log.then(|| ferrokiq::cli::init_logging(ferrokiq::cli::LogFormat::Pretty, false));
    let server = builder.build()?;
    let mut redis = raw::connection().await?;
    let (cpu, own_cpu) = (raw::cpu(&mut redis).await?, raw::own_cpu());
    let began = Instant::now();
    let (tell_span, span) = tokio::sync::oneshot::channel();
    let over = async move {
        countdown.over().await;
        let _ = tell_span.send(began.elapsed());
    };
    server.run(over).await?;
    let span = span.await?;
    tell("own_cpu_us", (raw::own_cpu() - own_cpu) / setting.jobs as f64 * 1e6);
    tell("redis_cpu_us", (raw::cpu(&mut redis).await? - cpu) / setting.jobs as f64 * 1e6);
    Ok(span)
}

pub(crate) async fn no_op(setting: &Setting) -> Outcome {
    drain(setting, setting.server()?).await
}

pub(crate) async fn riding(setting: &Setting) -> Outcome {
    let count =
        |_: &Payload, _: Ending| Some(Rider::new("redis.call('INCR', KEYS[1])").key(KeyType::String, "bench:rides"));
    drain(setting, setting.server()?.rider(count)).await
}

async fn drain(setting: &Setting, builder: ServerBuilder) -> Outcome {
    fill(setting, "LoadJob").await?;
    let jobs = setting.jobs / setting.queues * setting.queues;
    let (countdown, left) = (Countdown::from(jobs), Countdown::from(jobs));
    let left = Countdown { over: countdown.over.clone(), ..left };
    let builder = builder.register_fn("LoadJob", move |_cx: Context, _args: (String, u64, Value)| {
        left.one();
        async { Ok(()) }
    });
    let span = run(setting, builder, countdown).await?;
    tell_rate(jobs, span);
    Ok(())
}

pub(crate) async fn failing(setting: &Setting) -> Outcome {
    fill(setting, "FailingJob").await?;
    let countdown = Countdown::from(setting.jobs);
    let left = countdown.clone();
    // Settled, not only run: a failure is over when the retry set has it.
    let builder = setting.server()?.poll_interval_average(Duration::from_secs(600)).register_fn(
        "FailingJob",
        move |_cx: Context, _args: (String, u64, Value)| async {
            JobResult::Err(JobError::new("RuntimeError", "boom"))
        },
    );
    let builder = builder.on_error(move |_report| left.one());
    let span = run(setting, builder, countdown).await?;
    tell_rate(setting.jobs, span);
    Ok(())
}

/// A hundred kilobytes of records.
fn document() -> String {
    let record =
        |id: usize| json!({"id": id, "name": format!("customer {id}"), "tags": ["a", "b"], "sums": [1.5, 2.25, id]});
    Value::Array((0..1_250).map(record).collect()).to_string()
}

#[derive(serde::Deserialize)]
struct Record {
    id: u64,
    name: String,
    tags: Vec<String>,
    sums: Vec<f64>,
}

pub(crate) async fn reading(setting: &Setting) -> Outcome {
    let client = Client::from_env()?;
    let document = document();
    client
        .push_bulk(Bulk::new(Payload::new("ReadingJob", []), (0..setting.jobs).map(|_| (&document,)))?.batch_size(50))
        .await?;
    let countdown = Countdown::from(setting.jobs);
    let left = countdown.clone();
    let builder = setting.server()?.register_fn("ReadingJob", move |_cx: Context, (document,): (String,)| {
        let left = left.clone();
        async move {
            let records: Vec<Record> = serde_json::from_str(&document)?;
            let sum: f64 = records.iter().flat_map(|record| &record.sums).sum();
            let long =
                records.iter().filter(|record| record.name.len() + record.tags.len() > 12 && record.id > 0).count();
            assert!(sum > 0.0 && long > 0, "it was read");
            left.one();
            Ok(())
        }
    });
    let span = run(setting, builder, countdown).await?;
    tell_rate(setting.jobs, span);
    Ok(())
}

/// Jobs with one argument of a megabyte.
pub(crate) async fn large(setting: &Setting) -> Outcome {
    let (client, text) = (Client::from_env()?, "x".repeat(1_000_000));
    let jobs = Bulk::new(Payload::new("LargeJob", []), (0..setting.jobs).map(|_| (&text,)))?;
    client.push_bulk(jobs.batch_size(10)).await?;
    let countdown = Countdown::from(setting.jobs);
    let left = countdown.clone();
    let builder = setting.server()?.register_fn("LargeJob", move |_cx: Context, (text,): (String,)| {
        assert_eq!(text.len(), 1_000_000, "it arrived whole");
        left.one();
        async { Ok(()) }
    });
    let span = run(setting, builder, countdown).await?;
    tell("mb_per_s", setting.jobs as f64 / span.as_secs_f64());
    Ok(())
}

pub(crate) async fn sleeping(setting: &Setting) -> Outcome {
    fill(setting, "SleepingJob").await?;
    let countdown = Countdown::from(setting.jobs);
    let left = countdown.clone();
    let builder = setting.server()?.register_fn("SleepingJob", move |_cx: Context, _args: (String, u64, Value)| {
        let left = left.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            left.one();
            Ok(())
        }
    });
    let span = run(setting, builder, countdown).await?;
    tell("seconds", span.as_secs_f64());
    Ok(())
}

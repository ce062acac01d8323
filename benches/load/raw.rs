//! Redis without a worker.

use std::error::Error;
use std::time::Instant;

use redis::aio::MultiplexedConnection;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{Outcome, Setting, drain, tell_rate};

/// A connection of the bench's own, beside those of what it measures.
pub(crate) async fn connection() -> Result<MultiplexedConnection, Box<dyn Error>> {
    let url = std::env::var("REDIS_URL")?;
    Ok(redis::Client::open(url)?.get_multiplexed_async_connection().await?)
}

/// Seconds Redis has computed so far.
pub(crate) async fn cpu(redis: &mut MultiplexedConnection) -> Result<f64, Box<dyn Error>> {
    let said: String = redis::cmd("INFO").arg("cpu").query_async(redis).await?;
    let seconds = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
    Ok(seconds("used_cpu_sys:").unwrap_or(0.0) + seconds("used_cpu_user:").unwrap_or(0.0))
}

/// Seconds this process has computed so far, on all its threads.
pub(crate) fn own_cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name, which may hold anything: the 12th and 13th field, in hundredths.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Commands Redis has answered so far.
pub(crate) async fn commands(redis: &mut MultiplexedConnection) -> Result<f64, Box<dyn Error>> {
    stat(redis, "total_commands_processed").await
}

/// One figure of `INFO stats`.
pub(crate) async fn stat(redis: &mut MultiplexedConnection, name: &str) -> Result<f64, Box<dyn Error>> {
    let said: String = redis::cmd("INFO").arg("stats").query_async(redis).await?;
    let value = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok());
    value.ok_or_else(|| format!("Redis reports no {name}").into())
}

/// What a worker must at least read of a job.
#[derive(Deserialize)]
struct Job<'a> {
    class: &'a str,
    jid: &'a str,
    #[serde(borrow)]
    args: &'a RawValue,
}

/// Pops of one request, each of 50 jobs.
const TOGETHER: usize = 16;

/// Pops jobs as fast as Redis gives them, and reads of each what a worker must: on two connections, with many pops in each request.
#[expect(clippy::disallowed_methods, reason = "it awaits them")]
pub(crate) async fn ceiling(setting: &Setting) -> Outcome {
    drain::fill(setting, "LoadJob").await?;
    let began = Instant::now();
    let [one, other] = [tokio::spawn(pop_all()), tokio::spawn(pop_all())];
    let (one, other) = (one.await?, other.await?);
    let jobs = one.map_err(|error| error.to_string())? + other.map_err(|error| error.to_string())?;
    tell_rate(jobs, began.elapsed());
    Ok(())
}

/// Pops until the queue is empty. Returns how many jobs it read.
async fn pop_all() -> Result<usize, Box<dyn Error + Send + Sync>> {
    let client = redis::Client::open(std::env::var("REDIS_URL")?)?;
    let mut redis = client.get_multiplexed_async_connection().await?;
    let mut pops = redis::pipe();
    for _ in 0..TOGETHER {
        pops.cmd("LMPOP").arg(1).arg("queue:default").arg("RIGHT").arg("COUNT").arg(50);
    }
    let (mut jobs, mut bytes) = (0, 0);
    loop {
        let popped: Vec<Option<(String, Vec<Vec<u8>>)>> = pops.query_async(&mut redis).await?;
        let before = jobs;
        for (_, batch) in popped.into_iter().flatten() {
            for raw in &batch {
                let job: Job<'_> = serde_json::from_slice(raw)?;
                bytes += job.class.len() + job.jid.len() + job.args.get().len();
            }
            jobs += batch.len();
        }
        if jobs == before {
            break;
        }
    }
    assert!(bytes >= jobs, "every job was read");
    Ok(jobs)
}

//! The workloads of `benches/load/` with rusty-sidekiq: `drain`, `sleep`, `latency` and `idle`, on the Redis that REDIS_URL names.
//! Its best setting: a connection for each worker, and none of them tested before each use.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use serde_json::Value;
use sidekiq::{Processor, ProcessorConfig, RedisConnectionManager, Result, Worker};
use tokio::sync::Notify;

/// Counts jobs down, and remembers what they say.
#[derive(Clone, Default)]
struct Board {
    left: Arc<AtomicUsize>,
    over: Arc<Notify>,
    waited: Arc<Mutex<Vec<u64>>>,
}

impl Board {
    fn one(&self) {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.over.notify_one();
        }
    }
}

#[derive(Clone)]
struct LoadJob(Board, Duration);

#[async_trait]
impl Worker<(String, u64, Value)> for LoadJob {
    async fn perform(&self, _args: (String, u64, Value)) -> Result<()> {
        if !self.1.is_zero() {
            tokio::time::sleep(self.1).await;
        }
        self.0.one();
        Ok(())
    }
}

#[derive(Clone)]
struct LatencyJob(Board);

#[async_trait]
impl Worker<u64> for LatencyJob {
    async fn perform(&self, pushed: u64) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64;
        self.0.waited.lock().expect("nobody panicked with it").push(now.saturating_sub(pushed));
        self.0.one();
        Ok(())
    }
}

async fn fill(redis: &mut redis::aio::MultiplexedConnection, jobs: usize) -> redis::RedisResult<()> {
    redis::cmd("SADD").arg("queues").arg("default").exec_async(redis).await?;
    for first in (0..jobs).step_by(1_000) {
        let mut lpush = redis::cmd("LPUSH");
        lpush.arg("queue:default");
        for index in first..jobs.min(first + 1_000) {
            lpush.arg(format!(
                r#"{{"retry":true,"queue":"default","args":["string",{index},{{"mike":"bob"}}],"class":"LoadJob","jid":"{index:024x}","created_at":1795408228294,"enqueued_at":1795408228294}}"#
            ));
        }
        lpush.exec_async(redis).await?;
    }
    Ok(())
}

async fn info(redis: &mut redis::aio::MultiplexedConnection, section: &str, field: &str) -> f64 {
    let said: String = redis::cmd("INFO").arg(section).query_async(redis).await.unwrap_or_default();
    said.lines().find_map(|line| line.strip_prefix(field)?.trim().parse().ok()).unwrap_or(0.0)
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |flag: &str, default: usize| {
        arguments.iter().position(|word| word == flag).and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    let (jobs, concurrency) = (number("--jobs", 100_000), number("--concurrency", 10));
    let workload = arguments.get(1).map(String::as_str).unwrap_or_default();
    let url = std::env::var("REDIS_URL")?;
    let mut redis = redis::Client::open(url.as_str())?.get_multiplexed_async_connection().await?;
    let pool = bb8::Pool::builder()
        .max_size(concurrency as u32 + 10)
        .test_on_check_out(false)
        .build(RedisConnectionManager::new(url)?)
        .await?;

    let board = Board::default();
    board.left.store(jobs, Ordering::Relaxed);
    if matches!(workload, "drain" | "sleep") {
        fill(&mut redis, jobs).await?;
    }
    let config = ProcessorConfig::default().num_workers(concurrency);
    let mut processor = Processor::new(pool, vec!["default".to_owned()]).with_config(config);
    let pause = if workload == "sleep" { Duration::from_millis(100) } else { Duration::ZERO };
    processor.register(LoadJob(board.clone(), pause));
    processor.register(LatencyJob(board.clone()));
    let cpu = info(&mut redis, "cpu", "used_cpu_sys:").await + info(&mut redis, "cpu", "used_cpu_user:").await;
    let began = Instant::now();
    tokio::spawn(processor.run());
    match workload {
        "drain" | "sleep" => {
            board.over.notified().await;
            let secs = began.elapsed().as_secs_f64();
            let after = info(&mut redis, "cpu", "used_cpu_sys:").await + info(&mut redis, "cpu", "used_cpu_user:").await;
            eprintln!("per_s {}\nseconds {secs}\nredis_cpu_us {}", jobs as f64 / secs, (after - cpu) / jobs as f64 * 1e6);
        }
        "latency" => {
            board.over.notified().await;
            let mut waited = std::mem::take(&mut *board.waited.lock().expect("nobody panicked with it"));
            waited.drain(..waited.len() / 10);
            waited.sort_unstable();
            for (name, share) in [("p50_us", 0.5), ("p99_us", 0.99)] {
                eprintln!("{name} {}", waited[((waited.len() - 1) as f64 * share) as usize]);
            }
        }
        "idle" => {
            tokio::time::sleep(Duration::from_secs(3)).await;
            let before = info(&mut redis, "stats", "total_commands_processed:").await;
            tokio::time::sleep(Duration::from_secs(20)).await;
            let after = info(&mut redis, "stats", "total_commands_processed:").await;
            let status = std::fs::read_to_string("/proc/self/status")?;
            let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
            eprintln!("commands_per_s {}\nrss_kb {}", (after - before) / 20.0, rss.unwrap_or("0"));
        }
        other => return Err(format!("no workload {other}: drain, sleep, latency, idle").into()),
    }
    std::process::exit(0);
}

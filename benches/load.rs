//! Twin of Sidekiq's own load script: pushes no-op jobs, then drains them in this process and prints the same line.
//!
//! `REDIS_URL=redis://127.0.0.1:6390/0 cargo bench --bench load -- --concurrency 10`; `bin/bench` runs it beside Sidekiq.

#![expect(clippy::print_stdout, reason = "its report is its purpose")]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use ferrokiq::client::Bulk;
use ferrokiq::server::FetchMode;
use ferrokiq::{Context, Job, JobResult, Payload, RedisOptions, Server};
use serde_json::{Value, json};
use tokio::sync::Notify;

/// Drain no-op jobs from the Redis that REDIS_URL names. Its database must be empty.
#[derive(Debug, Parser)]
struct Arguments {
    /// Jobs
    #[arg(long, default_value_t = 500_000)]
    jobs: u64,
    /// Jobs run at the same time
    #[arg(long, default_value_t = 10)]
    concurrency: usize,
    /// How jobs leave the queue
    #[arg(long, value_enum, default_value = "reliable")]
    fetch: Fetch,
    /// Threads of the runtime; as many as there are cores unless said
    #[arg(long)]
    threads: Option<usize>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Fetch {
    Reliable,
    Basic,
}

struct LoadJob {
    left: Arc<AtomicU64>,
    done: Arc<Notify>,
}

impl Job for LoadJob {
    const CLASS: &'static str = "LoadJob";
    type Args = (String, u64, Value);

    async fn perform(&self, _cx: Context, _args: Self::Args) -> JobResult {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.done.notify_one();
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = arguments.threads {
        runtime.worker_threads(threads);
    }
    runtime.enable_all().build()?.block_on(load(arguments))
}

async fn load(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let Arguments { jobs, concurrency, fetch, .. } = arguments;
    let (left, done) = (Arc::new(AtomicU64::new(jobs)), Arc::new(Notify::new()));
    let server = Server::builder()
        .redis(RedisOptions::from_env()?)
        .register(LoadJob { left: Arc::clone(&left), done: Arc::clone(&done) })
        .concurrency(concurrency)
        .fetch(match fetch {
            Fetch::Reliable => FetchMode::Reliable,
            Fetch::Basic => FetchMode::Basic,
        })
        .build()?;

    let pushing = Instant::now();
    let args = (0..jobs).map(|index| ("string", index, json!({"mike": "bob"})));
    server.client().push_bulk(Bulk::new(Payload::new("LoadJob", []), args)?).await?;
    println!("Created {jobs} jobs in {:.1} sec", pushing.elapsed().as_secs_f64());

    let draining = Instant::now();
    let ended = Arc::new(std::sync::Mutex::new(Duration::ZERO));
    let end = Arc::clone(&ended);
    server
        .run(async move {
            done.notified().await;
            *end.lock().expect("nobody panicked with it") = draining.elapsed();
        })
        .await?;
    let secs = ended.lock().expect("nobody panicked with it").as_secs_f64();
    println!("Done, {jobs} jobs in {secs:.2} sec, {:.0} jobs/sec", jobs as f64 / secs);
    Ok(())
}

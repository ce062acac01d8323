//! A whole worker: `REDIS_URL=redis://127.0.0.1 cargo run --example worker -- -q default --health`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ferrokiq::server::Next;
use ferrokiq::{BlockingJob, Context, Event, Job, JobOptions, JobResult, Server};

/// What the jobs of this process share: a pool, a mailer, a cache.
#[derive(Clone, Default)]
struct Shared(Arc<AtomicU64>);

/// Waits for others most of its time.
struct HardJob(Shared);

impl Job for HardJob {
    const CLASS: &'static str = "HardJob";
    type Args = (String, u64);

    fn options() -> JobOptions {
        JobOptions::new().retry(5)
    }

    fn timeout(&self) -> Option<Duration> {
        Some(Duration::from_secs(60))
    }

    async fn perform(&self, cx: Context, (name, n): Self::Args) -> JobResult {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let done = self.0.0.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::info!(jid = cx.jid(), name, n, done, "worked hard");
        Ok(())
    }
}

/// Computes: on threads made for that.
struct SumJob;

impl BlockingJob for SumJob {
    const CLASS: &'static str = "SumJob";
    type Args = (u64,);

    fn perform(&self, _cx: Context, (to,): Self::Args) -> JobResult {
        tracing::info!(sum = (0..to).sum::<u64>(), "summed up");
        Ok(())
    }
}

/// Around every job.
async fn slow_ones(cx: Context, next: Next) -> JobResult {
    let (jid, began) = (cx.jid().to_owned(), Instant::now());
    let outcome = next.run(cx).await;
    if began.elapsed() > Duration::from_secs(1) {
        tracing::warn!(jid, took = ?began.elapsed(), "a slow job");
    }
    outcome
}

fn main() -> std::process::ExitCode {
    ferrokiq::cli::main(work())
}

async fn work() -> std::process::ExitCode {
    let shared = Shared::default();
    let server = Server::builder()
        .register(HardJob(shared.clone()))
        .register_blocking(SumJob)
        .server_middleware(slow_ones)
        .on_death(async |job| tracing::error!(jid = job.jid(), error = ?job.error(), "given up"))
        .on(Event::Exit, move || {
            let shared = shared.clone();
            async move { tracing::info!(done = shared.0.load(Ordering::Relaxed), "that was it") }
        });
    ferrokiq::cli::run(server).await
}

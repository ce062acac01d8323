//! The Rust worker of the Rails app in `ruby-fixtures/rails_app`: `bin/demo --rails`.

use std::process::ExitCode;

use ferrokiq::{Context, Job, JobResult, Payload, Server};

/// A plain `Sidekiq::Job`: `CountPrimesJob.perform_async(report.id, 2_000_000)`.
struct CountPrimes;

impl Job for CountPrimes {
    const CLASS: &'static str = "CountPrimesJob";
    type Args = (i64, usize);

    async fn perform(&self, cx: Context, (report_id, below): Self::Args) -> JobResult {
        let count = tokio::task::spawn_blocking(move || primes(below)).await?;
        // The answer is a job for Rails, which owns the database.
        let answer = Payload::try_new("RecordResultJob", &(report_id, format!("{count} primes"), "Rust"))?;
        cx.client().push(answer).await?;
        Ok(())
    }
}

fn primes(below: usize) -> usize {
    let mut composite = vec![false; below];
    (2..below)
        .filter(|&n| {
            let prime = !composite[n];
            if prime {
                (n * n..below).step_by(n).for_each(|multiple| composite[multiple] = true);
            }
            prime
        })
        .count()
}

#[tokio::main]
async fn main() -> ExitCode {
    ferrokiq::cli::run(Server::builder().register(CountPrimes)).await
}

//! The Rust worker of the Rails app in `ruby-fixtures/rails_app`: `bin/demo --rails`.

use std::fmt::Write;
use std::process::ExitCode;

use ferrokiq::active_job::{ActiveJob, ActiveJobContext, Date, GlobalId, MailDelivery, Symbol};
use ferrokiq::{Context, Job, JobError, JobResult, Payload, Server};

ferrokiq::keywords! {
    struct Rendering { format: Symbol, rows: u32, since: Option<Date> }
}

/// `RenderReportJob.perform_later(report, format: :csv, rows: 100_000, since: Date.new(2026, 1, 1))`
struct RenderReport;

impl ActiveJob for RenderReport {
    const CLASS: &'static str = "RenderReportJob";
    type Args = (GlobalId, Rendering);

    async fn perform(&self, cx: ActiveJobContext, (report, how): Self::Args) -> JobResult {
        if how.format.as_str() != "csv" {
            return Err(JobError::new("UnknownFormat", format!("a report is csv, not {}", how.format.as_str())));
        }
        let mut csv = String::from("row,square\n");
        for row in 0..u64::from(how.rows) {
            writeln!(csv, "{row},{}", row * row)?;
        }
        let since = how.since.map_or_else(String::new, |date| format!(" since {date}"));
        let result = format!("{} KB of csv{since}", csv.len() / 1000);
        // The answer is a job for Rails, which owns the database. It is still the user's who asked: CurrentAttributes come along.
        let (client, outcome) = (cx.client(), Outcome { ran_in: "Rust".into() });
        ReportReady::later().within(&cx).perform_later(client, (report.clone(), result, outcome)).await?;
        let subject = format!("From Rust, for {}", cx.current()?.get::<String>("user")?.unwrap_or_default());
        let mail = MailDelivery::new("ReportMailer", "ready").args((report, Subject { subject }));
        mail.set(|later| later.queue("mailers")).deliver_later(client).await?;
        Ok(())
    }
}

ferrokiq::keywords! {
    struct Outcome { ran_in: String }
}

/// Runs in Rails.
struct ReportReady;

impl ActiveJob for ReportReady {
    const CLASS: &'static str = "ReportReadyJob";
    type Args = (GlobalId, String, Outcome);

    async fn perform(&self, _: ActiveJobContext, _: Self::Args) -> JobResult {
        Err("runs in Rails".into())
    }
}

ferrokiq::keywords! {
    struct Subject { subject: String }
}

/// A plain `Sidekiq::Job`: `CountPrimesJob.perform_async(report.id, 2_000_000)`
struct CountPrimes;

impl Job for CountPrimes {
    const CLASS: &'static str = "CountPrimesJob";
    type Args = (i64, usize);

    #[expect(clippy::disallowed_methods, reason = "the job awaits it")]
    async fn perform(&self, cx: Context, (report_id, below): Self::Args) -> JobResult {
        let count = tokio::task::spawn_blocking(move || primes(below)).await?;
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

fn main() -> ExitCode {
    ferrokiq::cli::main(work())
}

async fn work() -> ExitCode {
    ferrokiq::cli::run(Server::builder().register_active_job(RenderReport).register(CountPrimes)).await
}

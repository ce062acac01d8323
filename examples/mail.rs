//! What middleware, hooks and jobs may decide, in a worker that sends mail: `REDIS_URL=redis://127.0.0.1 cargo run --example mail`.
//!
//! Push `MailJob` with a status, an address and a class to push afterwards: `ferrokiq push MailJob '[200, "a@example.com", "CountJob"]'`.

use std::time::Duration;

use ferrokiq::client::{Next as NextPush, Push};
use ferrokiq::server::{EndedJob, Next, ServerContext};
use ferrokiq::{Context, Event, Job, JobError, JobOptions, JobResult, Outcome, Payload, Server};

/// Sends one mail. The status stands for the answer of a mail service.
struct MailJob;

impl Job for MailJob {
    const CLASS: &'static str = "MailJob";
    type Args = (u16, String, Option<String>);

    fn options() -> JobOptions {
        JobOptions::new().retry(5)
    }

    async fn perform(&self, _cx: Context, (status, address, _): Self::Args) -> JobResult {
        match status {
            200 => Ok(()),
            // The service limits the rate: the same job again later. That is no failure, and uses up no retry.
            429 => Err(JobError::snooze(Duration::from_secs(30))),
            // Nobody reads it any more: not worth a place in the dead set.
            410 => Err(JobError::discard(format!("{address} has unsubscribed"))),
            // A retry cannot help, but a developer may.
            400 => Err(JobError::kill(format!("{address} is no address"))),
            _ => Err(JobError::new("Mail::Unavailable", format!("status {status}"))),
        }
    }
}

/// Around every job: a mail service that is down must not use up the retries of thousands of jobs.
async fn patient(cx: Context, next: Next) -> JobResult {
    match Outcome::from(next.run(cx).await) {
        Outcome::Fail(error) if error.class() == "Mail::Unavailable" => {
            Outcome::Snooze(Duration::from_secs(300)).into()
        }
        outcome => outcome.into(),
    }
}

/// Around every push, and around each job that becomes due: a code that waited for ten minutes is worthless, and news can wait.
async fn timely(payload: Payload, next: NextPush) -> ferrokiq::Result<Push> {
    match payload.class() {
        "CodeJob" if next.is_promotion() => Ok(Push::Drop),
        "NewsJob" if !next.is_promotion() => Ok(Push::Delay(payload, Duration::from_secs(3_600))),
        _ => next.run(payload).await,
    }
}

/// Pushes the job that follows. Called before the mail job is acknowledged: a crash repeats the mail, but never loses its successor.
async fn follow(job: EndedJob) {
    let Ok((_, address, Some(class))) = serde_json::from_str::<(u16, String, Option<String>)>(job.payload().args())
    else {
        return;
    };
    if let Err(error) = job.client().push(Payload::new(&class, [address.into()])).await {
        tracing::error!(jid = job.jid(), class, %error, "the next job is not pushed");
    }
}

async fn give_up(job: EndedJob) {
    tracing::error!(jid = job.jid(), class = job.class(), error = ?job.error(), "given up");
}

fn main() -> std::process::ExitCode {
    ferrokiq::cli::main(work())
}

async fn work() -> std::process::ExitCode {
    let server = Server::builder()
        .register(MailJob)
        .server_middleware(patient)
        .client_middleware(timely)
        .on_success(follow)
        .on_retry(async |job: EndedJob| tracing::info!(jid = job.jid(), retry_in = ?job.retry_in(), "later"))
        .on_death(give_up)
        .hook_timeout(Duration::from_secs(5))
        .on(Event::Startup, async |server: ServerContext| {
            if let Err(error) = server.client().push(Payload::new("WarmUpJob", [])).await {
                tracing::error!(process = server.identity(), %error, "the caches stay cold");
            }
        });
    ferrokiq::cli::run(server).await
}

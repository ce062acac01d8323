//! The operator's tool: talks to any Sidekiq's Redis, needs no app.

mod arguments;
mod busy;
mod cancel;
mod completions;
mod deploy_mark;
mod doctor;
mod frame;
mod health;
mod jobs;
mod keepers;
mod man;
mod metrics;
mod processes;
mod push;
mod queues;
mod record;
mod sets;
mod stats;
mod top;

use std::process::ExitCode;

// The worker thread receives Ctrl-C while this one is busy.
#[tokio::main(worker_threads = 1)]
async fn main() -> ExitCode {
    arguments::Arguments::parse().run().await
}

//! The operator's tool: talks to any Sidekiq's Redis, needs no app.

mod ops;

use std::process::ExitCode;

// The worker thread hears Ctrl-C while this one is busy.
#[tokio::main(worker_threads = 1)]
async fn main() -> ExitCode {
    ops::Arguments::parse().run().await
}

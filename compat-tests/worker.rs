//! The Rust half of the compat suite and of the demo: a worker that knows the jobs of `ruby-fixtures/jobs.rb`.

mod jobs;

use std::process::ExitCode;
use std::time::Duration;

use ferrokiq::Server;
use jobs::Proof;

#[tokio::main]
async fn main() -> ExitCode {
    let url = std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379/0".to_owned());
    let mut server = Server::builder();
    // Without Redis the worker itself says so, in its own words.
    if let Ok(proof) = Proof::open(&url).await {
        server = jobs::register(server, &proof);
    }
    // The suite does not wait fifteen seconds for a look at the schedule.
    if let Some(secs) = std::env::var("POLL_INTERVAL").ok().and_then(|secs| secs.parse().ok()) {
        server = server.poll_interval_average(Duration::from_secs_f64(secs));
    }
    ferrokiq::cli::run(server).await
}

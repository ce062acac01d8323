//! The Rust half of the compat suite and of the demo: a worker that knows the jobs of `ruby-fixtures/jobs.rb`.

#[cfg(feature = "active-job")]
mod active_jobs;
mod jobs;

use std::process::ExitCode;
use std::time::Duration;

use ferrokiq::{Event, Server, ServerBuilder};
use jobs::Proof;

fn main() -> ExitCode {
    ferrokiq::cli::main(work())
}

async fn work() -> ExitCode {
    // The jobs write what a worker has no right to: they may come as somebody else.
    let url = ["PROOF_URL", "REDIS_URL"].iter().find_map(|name| std::env::var(name).ok());
    let url = url.unwrap_or_else(|| "redis://127.0.0.1:6379/0".to_owned());
    let mut server = Server::builder();
    // Without Redis the worker itself says so, in its own words.
    if let Ok(proof) = Proof::open(&url).await {
        server = jobs::register(server, &proof);
        #[cfg(feature = "active-job")]
        {
            server = active_jobs::register(server, &proof);
        }
        if std::env::var_os("TELL_EVENTS").is_some() {
            server = tell_events(server, &proof);
        }
    }
    server = server.embedded(std::env::var_os("EMBEDDED").is_some());
    // The suite does not wait fifteen seconds for a look at the schedule.
    if let Some(secs) = std::env::var("POLL_INTERVAL").ok().and_then(|secs| secs.parse().ok()) {
        server = server.poll_interval_average(Duration::from_secs_f64(secs));
    }
    ferrokiq::cli::run(server).await
}

/// Tells Redis what happens in the life of a process.
fn tell_events(mut server: ServerBuilder, proof: &Proof) -> ServerBuilder {
    for (event, name) in [
        (Event::Startup, "startup"),
        (Event::Quiet, "quiet"),
        (Event::Shutdown, "shutdown"),
        (Event::Exit, "exit"),
        (Event::Heartbeat, "heartbeat"),
    ] {
        let proof = proof.clone();
        server = server.on(event, move || {
            let proof = proof.clone();
            async move { proof.tell_of("events", name.into()).await.expect("Redis is there") }
        });
    }
    server
}

//! Samples how long jobs wait, once for all workers, for an autoscaler: `cargo run --example backlog`, as often as you like.
//!
//! The process that leads appends a line of JSON to the list `app:backlog` every ten seconds. The append is fenced: a process that was paused
//! and replaced adds no line behind those of the new leader.

use std::process::ExitCode;
use std::time::Duration;

use ferrokiq::api::Api;
use ferrokiq::server::{FencedScript, TickContext, TickOptions};
use ferrokiq::{Context, JobResult, Server, ServerBuilder};

/// Appends a line and keeps the last day of lines, six a minute.
const APPEND: &str = "
    redis.call('RPUSH', KEYS[1], ARGV[1])
    redis.call('LTRIM', KEYS[1], -8640, -1)
    redis.call('EXPIRE', KEYS[1], 86400)
";

/// Adds the tick to a server.
pub(crate) fn sample_every(interval: Duration, server: ServerBuilder) -> ServerBuilder {
    let append = FencedScript::new(APPEND);
    server.on_tick(TickOptions::every(interval).leader_only().name("backlog"), move |cx: TickContext| {
        let append = append.clone();
        async move {
            let line = sample(&cx).await?;
            cx.run_fenced(&append, &["app:backlog"], &[line]).await?;
            Ok(())
        }
    })
}

/// The jobs in each queue and the seconds that the next one has waited.
async fn sample(cx: &TickContext) -> ferrokiq::Result<String> {
    let queues = Api::new(cx.client()).queues().await?;
    let queues: serde_json::Map<String, serde_json::Value> = queues
        .into_iter()
        .map(|queue| (queue.name, serde_json::json!({ "size": queue.size, "latency": queue.latency.as_secs_f64() })))
        .collect();
    Ok(serde_json::json!({ "by": cx.identity(), "queues": queues }).to_string())
}

#[tokio::main]
async fn main() -> ExitCode {
    let server = Server::builder().register_fn("SlowJob", async |_: Context, (secs,): (f64,)| -> JobResult {
        tokio::time::sleep(Duration::from_secs_f64(secs)).await;
        Ok(())
    });
    ferrokiq::cli::run(sample_every(Duration::from_secs(10), server)).await
}

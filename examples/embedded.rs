//! A server inside an app that does other work, a web server's say: `cargo run --example embedded`.
//!
//! The app owns `main`, the signals and the log; the server is told when to stop, and the app waits for it.

#![expect(clippy::print_stdout, reason = "it is a program")]
#![expect(clippy::disallowed_methods, reason = "it awaits what it spawns")]

use ferrokiq::{Context, Job, JobResult, Server};

struct Ping;

impl Job for Ping {
    const CLASS: &'static str = "PingJob";
    type Args = (u32,);

    async fn perform(&self, _cx: Context, (n,): Self::Args) -> JobResult {
        println!("ping {n}");
        Ok(())
    }
}

/// The rest of the app: here it pushes a job a second; in yours, it answers requests.
async fn app(client: ferrokiq::Client) -> ferrokiq::Result<()> {
    let mut seconds = tokio::time::interval(std::time::Duration::from_secs(1));
    for n in 0.. {
        seconds.tick().await;
        Ping::perform_async(&client, (n,)).await?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> ferrokiq::Result<()> {
    // Few slots: the app needs its threads, too. `embedded` keeps the Web UI from offering to stop the whole app.
    let server = Server::builder().register(Ping).concurrency(5).embedded(true).build()?;
    let (client, handle) = (server.client(), server.handle());
    let working = tokio::spawn(server.run(std::future::pending()));

    tokio::select! {
        ended = app(client) => ended?,
        _ = tokio::signal::ctrl_c() => {}
    }
    // Jobs that run get the timeout to end; the rest goes back to its queue.
    handle.stop();
    if let Ok(ended) = working.await {
        println!("{:?}", ended?);
    }
    Ok(())
}

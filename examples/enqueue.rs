//! Pushes jobs for whoever runs them, Ruby or Rust: `cargo run --example enqueue -- HardJob default`.
//!
//! An app that does nothing else takes ferrokiq with `default-features = false`.

#![expect(clippy::print_stdout, reason = "it is a program")]

use std::time::Duration;

use ferrokiq::client::Bulk;
use ferrokiq::{Client, Payload};
use serde_json::json;

#[tokio::main]
async fn main() -> ferrokiq::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let class = arguments.next().unwrap_or_else(|| "HardJob".to_owned());
    let queue = arguments.next().unwrap_or_else(|| "default".to_owned());
    // REDIS_URL or REDIS_PROVIDER, as Sidekiq. One client for the whole app: clones share its connection.
    let client = Client::from_env()?;

    let jid = client.push(Payload::new(&class, [json!("now"), json!(1)]).with_queue(&queue)).await?;
    println!("pushed {}", jid.map_or("nothing: a middleware stopped it".to_owned(), |jid| jid.to_string()));

    // A thousand in one round trip, spread over an hour.
    let template = Payload::new(&class, []).with_queue(&queue);
    let bulk = Bulk::new(template, (0..1_000).map(|n| ("later", n)))?.spread(Duration::from_secs(3_600));
    println!("scheduled {}", client.push_bulk(bulk).await?.len());
    Ok(())
}

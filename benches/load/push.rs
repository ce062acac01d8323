//! The pushing side.

use std::time::Instant;

use ferrokiq::client::Bulk;
use ferrokiq::{Client, Payload};
use serde_json::json;

use crate::{Outcome, Setting, tell_rate};

/// Each job awaited before the next; `concurrency` tasks do so.
#[expect(clippy::disallowed_methods, reason = "it awaits them")]
pub(crate) async fn one_by_one(setting: &Setting) -> Outcome {
    let client = Client::from_env()?;
    client.push(Payload::new("LoadJob", [])).await?;
    let each = setting.jobs / setting.concurrency;
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..setting.concurrency {
        let client = client.clone();
        tasks.spawn(async move {
            for index in 0..each {
                let payload = Payload::try_new("LoadJob", &("string", index, json!({"mike": "bob"})))?;
                client.push(payload).await?;
            }
            Ok::<_, ferrokiq::Error>(())
        });
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    tell_rate(each * setting.concurrency, began.elapsed());
    Ok(())
}

pub(crate) async fn in_bulk(setting: &Setting) -> Outcome {
    let client = Client::from_env()?;
    client.push(Payload::new("LoadJob", [])).await?;
    let began = Instant::now();
    for first in (0..setting.jobs).step_by(1_000) {
        let args = (first..(first + 1_000).min(setting.jobs)).map(|index| ("string", index, json!({"mike": "bob"})));
        client.push_bulk(Bulk::new(Payload::new("LoadJob", []), args)?).await?;
    }
    tell_rate(setting.jobs, began.elapsed());
    Ok(())
}

use clap::Args;
use ferrokiq::api::Api;
use ferrokiq::{Client, Result};
use serde_json::json;

use super::printable;

/// Counters, sizes and queues
#[derive(Debug, Args)]
pub(crate) struct Stats {
    /// One JSON line
    #[arg(long)]
    json: bool,
}

impl Stats {
    pub(crate) async fn run(self, client: &Client) -> Result<String> {
        let api = Api::new(client);
        let (stats, queues) = (api.stats().await?, api.queues().await?);
        if self.json {
            let queues: Vec<_> = queues
                .iter()
                .map(|queue| {
                    let latency = queue.latency.as_secs_f64();
                    json!({"name": queue.name, "size": queue.size, "latency": latency, "paused": queue.paused})
                })
                .collect();
            return Ok(json!({
                "processed": stats.processed, "failed": stats.failed, "busy": stats.busy, "enqueued": stats.enqueued,
                "scheduled": stats.scheduled, "retries": stats.retries, "dead": stats.dead, "processes": stats.processes,
                "queues": queues,
            })
            .to_string());
        }
        let mut lines: Vec<String> = [
            ("processed", stats.processed),
            ("failed", stats.failed),
            ("busy", stats.busy as u64),
            ("enqueued", stats.enqueued as u64),
            ("scheduled", stats.scheduled as u64),
            ("retries", stats.retries as u64),
            ("dead", stats.dead as u64),
            ("processes", stats.processes as u64),
        ]
        .iter()
        .map(|(name, count)| format!("{name:<12}{count:>12}"))
        .collect();
        let names: Vec<String> = queues.iter().map(|queue| printable(&queue.name)).collect();
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(11);
        if !queues.is_empty() {
            lines.push(format!("\n{:<width$} {:>12} {:>12}", "queue", "size", "latency s"));
        }
        for (queue, name) in queues.iter().zip(names) {
            let paused = if queue.paused { "  paused" } else { "" };
            lines.push(format!("{name:<width$} {:>12} {:>12.1}{paused}", queue.size, queue.latency.as_secs_f64()));
        }
        Ok(lines.join("\n"))
    }
}

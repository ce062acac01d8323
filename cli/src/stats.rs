use clap::Args;
use ferrokiq::api::QueueSummary;
use serde_json::{Value, json};

use super::frame::{Code, Done, Style, Table, Tool, cell, span};

/// Counters, sizes and queues
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ferrokiq stats\n  ferrokiq stats --json | jq .retries")]
pub(crate) struct Stats {}

impl Stats {
    pub(crate) async fn run(self, tool: &mut Tool) -> Done {
        let api = tool.api()?;
        let (stats, queues) = (api.stats().await?, api.queues().await?);
        let screen = &mut tool.screen;
        if screen.is_json() {
            screen.json(&json!({
                "processed": stats.processed, "failed": stats.failed, "busy": stats.busy, "enqueued": stats.enqueued,
                "scheduled": stats.scheduled, "retries": stats.retries, "dead": stats.dead, "processes": stats.processes,
                "queues": queues.iter().map(described).collect::<Vec<_>>(),
            }))?;
            return Ok(Code::Fine);
        }
        for (name, count) in [
            ("processed", stats.processed),
            ("failed", stats.failed),
            ("busy", stats.busy as u64),
            ("enqueued", stats.enqueued as u64),
            ("scheduled", stats.scheduled as u64),
            ("retries", stats.retries as u64),
            ("dead", stats.dead as u64),
            ("processes", stats.processes as u64),
        ] {
            screen.line(&format!("{name:<12}{count:>12}"))?;
        }
        if !queues.is_empty() {
            screen.line("")?;
        }
        table(tool, &queues)?;
        Ok(Code::Fine)
    }
}

/// A queue as JSON.
pub(super) fn described(queue: &QueueSummary) -> Value {
    let latency = queue.latency.as_secs_f64();
    json!({"name": queue.name, "size": queue.size, "latency": latency, "paused": queue.paused})
}

/// Queues as a table.
pub(super) fn table(tool: &mut Tool, queues: &[QueueSummary]) -> std::io::Result<()> {
    let mut table = Table::new(["~queue", ">size", ">latency", ""]);
    for queue in queues {
        let latency = span(queue.latency.as_secs_f64());
        let paused = cell(if queue.paused { "paused" } else { "" }).style(Style::Yellow);
        table.row(&mut tool.screen, [cell(&queue.name), cell(queue.size), cell(latency), paused])?;
    }
    table.end(&mut tool.screen)
}

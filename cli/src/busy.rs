use clap::Args;
use ferrokiq::time::EpochSecs;
use serde_json::{Value, json};

use super::frame::{Code, Done, Table, Tool, cell, span};
use super::record::Found;

/// What runs now, as of the last beats
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ferrokiq busy\n  ferrokiq busy --json | jq -r .jid")]
pub(crate) struct Busy {}

impl Busy {
    pub(crate) async fn run(self, tool: &mut Tool) -> Done {
        let work = tool.api()?.work().await?;
        let mut table = Table::new(["~process", "tid", "~queue", "jid", "~class", ">for", "~arguments"]);
        for work in &work {
            let found = Found::queued(&work.queue, &work.record);
            if tool.screen.is_json() {
                let payload = work.record.payload().map_or(Value::Null, Value::from);
                tool.screen.json(&json!({
                    "identity": work.identity, "tid": work.tid, "queue": work.queue, "jid": work.record.jid(),
                    "class": work.record.class(), "display_class": work.record.display_class(), "run_at": work.run_at.0, "payload": payload,
                }))?;
                continue;
            }
            let cells = [
                cell(&work.identity),
                cell(&work.tid),
                cell(&work.queue),
                cell(work.record.jid()),
                cell(work.record.display_class()),
                cell(span(EpochSecs::now().0 - work.run_at.0)),
                cell(found.arguments()),
            ];
            table.row(&mut tool.screen, cells)?;
        }
        table.end_or(&mut tool.screen, "no job is running")?;
        Ok(Code::Fine)
    }
}

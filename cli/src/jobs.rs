mod find;

use std::io;

use clap::{Args, Subcommand};
use ferrokiq::api::Api;
use serde_json::json;

use super::frame::{Code, Done, Failure, Table, Tool, cell, span};
use super::record::Found;
use find::{Find, Hit, Wanted};

/// Jobs in queues: list, show, delete, find
#[derive(Debug, Args)]
pub(crate) struct Jobs {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Show(Show),
    Delete(Delete),
    Find(Find),
}

/// The jobs of a queue, the newest first; without a queue, of every queue; also without `list`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ferrokiq jobs list\n  ferrokiq jobs list default\n  ferrokiq jobs list default --limit 10000 --json | jq -r .jid"
)]
struct List {
    /// The queue [default: every queue]
    queue: Option<String>,

    /// How many at most; 0 is all
    #[arg(short = 'n', long, value_name = "N", default_value_t = LIMIT)]
    limit: usize,
}

/// Default of `--limit`.
const LIMIT: usize = 100;

/// All about a job, whether it is in a queue, scheduled, to be retried or dead
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ferrokiq jobs show 6fac50c1db3c621b388a7e46")]
struct Show {
    /// Its jid
    jid: String,
}

/// Delete jobs from their queues
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ferrokiq jobs delete 6fac50c1db3c621b388a7e46\n  ferrokiq jobs delete 6fac50c1db3c621b388a7e46 --yes"
)]
struct Delete {
    /// Their jids
    #[arg(required = true, value_name = "JID")]
    jids: Vec<String>,
}

impl Jobs {
    pub(crate) async fn run(self, tool: &mut Tool) -> Done {
        let api = tool.api()?;
        match self.command.unwrap_or(Command::List(List { queue: None, limit: LIMIT })) {
            Command::List(list) => list.run(tool, &api).await,
            Command::Show(show) => show.run(tool, &api).await,
            Command::Delete(delete) => delete.run(tool, &api).await,
            Command::Find(find) => find.run(tool, &api).await,
        }
    }
}

impl List {
    async fn run(self, tool: &mut Tool, api: &Api) -> Done {
        let (queues, nothing) = match &self.queue {
            Some(queue) => (vec![queue.clone()], format!("no jobs in the queue {queue}")),
            None => {
                let queues = api.queues().await?.into_iter().map(|queue| queue.name).collect();
                (queues, "no jobs in any queue".to_owned())
            }
        };
        let mut left = if self.limit == 0 { usize::MAX } else { self.limit };
        let mut table = Table::new(["jid", "~queue", "~class", ">waits", "~arguments"]);
        for queue in queues {
            let place = format!("queue:{queue}");
            let mut pages = api.queue(&queue).pages().of(find::PAGE.min(left));
            while left > 0
                && let Some(page) = pages.next().await?
            {
                for record in page.iter().take(left) {
                    left -= 1;
                    let found = Found::queued(&place, record);
                    if tool.screen.is_json() {
                        found.json(tool, false)?;
                        continue;
                    }
                    let cells = [
                        cell(record.jid()),
                        cell(&queue),
                        cell(record.display_class()),
                        cell(span(record.latency().as_secs_f64())),
                        cell(found.arguments()),
                    ];
                    table.row(&mut tool.screen, cells)?;
                }
            }
        }
        table.end_or(&mut tool.screen, &nothing)?;
        Ok(Code::Fine)
    }
}

impl Show {
    async fn run(self, tool: &mut Tool, api: &Api) -> Done {
        let mut shown = false;
        find::each(tool, api, &Wanted::Jid(self.jid.clone()), async |tool: &mut Tool, hit: Hit<'_>| {
            if shown && !tool.screen.is_json() {
                tool.screen.line("")?;
            }
            shown = true;
            hit.found.show(tool)
        })
        .await?;
        if shown { Ok(Code::Fine) } else { Err(Failure::failed(format!("there is no job {}", self.jid))) }
    }
}

impl Delete {
    async fn run(self, tool: &mut Tool, api: &Api) -> Done {
        let mut missing = 0;
        for jid in &self.jids {
            let mut found = Vec::new();
            for queue in api.queues().await? {
                let queue = api.queue(&queue.name);
                found.extend(queue.find_job(jid).await?.map(|record| (queue, record)));
            }
            if found.is_empty() {
                missing += 1;
                told(tool, jid, "", false)?;
            }
            for (queue, record) in &found {
                tool.confirm(&format!("Delete {} {jid} from the queue {}?", record.display_class(), queue.name()))?;
                let deleted = queue.delete(record).await?;
                missing += usize::from(!deleted);
                told(tool, jid, queue.name(), deleted)?;
            }
        }
        if missing == 0 {
            return Ok(Code::Fine);
        }
        Err(Failure::failed(format!(
            "{missing} of {} jobs were in no queue: they may run, or lie in a set",
            self.jids.len()
        )))
    }
}

fn told(tool: &mut Tool, jid: &str, queue: &str, deleted: bool) -> io::Result<()> {
    match (tool.screen.is_json(), deleted) {
        (true, _) => tool.screen.json(&json!({"jid": jid, "queue": queue, "deleted": deleted})),
        (false, true) => tool.screen.line(&format!("{jid} is deleted from {queue}")),
        (false, false) => Ok(()),
    }
}

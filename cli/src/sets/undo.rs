use std::path::PathBuf;

use clap::Args;
use ferrokiq::api::{Return, SortedSet};
use serde_json::json;

use super::Kind;
use super::journal::Pages;
use crate::frame::{Code, Done, Failure, Progress, Tool};

/// Put jobs of a replay back where they were, as far as they are still in their queues
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ferrokiq SET undo replay.jsonl\n\nJobs that a process took meanwhile are named, and the exit code is 1. Undoing twice does no harm."
)]
pub(super) struct Undo {
    /// The journal of the replay
    journal: PathBuf,
}

/// Bytes of the journal that are read together; for each of these steps the queues are read once, until all of its jobs are found.
const STEP: u64 = 8 << 20;

impl Undo {
    pub(super) async fn run(self, tool: &mut Tool, kind: Kind, set: &SortedSet) -> Done {
        let mut pages = Pages::open(&self.journal, kind)?;
        let mut progress = Progress::new("putting back", Some(pages.len() as u64));
        let (mut back, mut taken, mut stayed) = (0, 0, 0);
        tool.interrupt.watch();
        while pages.len() > 0 {
            if tool.interrupt.is_noted() {
                let told = format!("interrupted; {back} are back, {} were not looked at", pages.len());
                return Err(Failure::Told(Code::Interrupted, told));
            }
            let (jids, departures): (Vec<_>, Vec<_>) = pages.next(STEP)?.into_iter().unzip();
            let returns = set.put_back(&departures).await?;
            progress.add(returns.len());
            for ((jid, of), what) in jids.iter().zip(&departures).zip(returns) {
                match what {
                    Return::Back => back += 1,
                    Return::Stayed => stayed += 1,
                    Return::Taken => {
                        taken += 1;
                        told_taken(tool, jid, &of.queue)?;
                    }
                    other => return Err(Failure::failed(format!("{jid}: {other:?}"))),
                }
            }
        }
        drop(progress);
        if tool.screen.is_json() {
            tool.screen.json(&json!({"back": back, "taken": taken, "stayed": stayed}))?;
        } else {
            let stayed =
                if stayed > 0 { format!(", {stayed} had not left or were back already") } else { String::new() };
            tool.screen.line(&format!("{back} are back{stayed}"))?;
        }
        if taken > 0 {
            return Err(Failure::failed(format!("{taken} were taken by processes already")));
        }
        Ok(Code::Fine)
    }
}

fn told_taken(tool: &mut Tool, jid: &str, queue: &str) -> std::io::Result<()> {
    if tool.screen.is_json() {
        return tool.screen.json(&json!({"jid": jid, "queue": queue, "taken": true}));
    }
    tool.screen.line(&format!("taken: {jid} from {queue}"))
}

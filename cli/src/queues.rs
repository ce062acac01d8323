use clap::{Args, Subcommand};
use ferrokiq::api::Queue;
use serde_json::json;

use super::frame::{Code, Done, Failure, Tool};
use super::stats::{described, table};

/// Queues: how long they are, and how long their next job has waited
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Queues {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Size, latency, and whether it is paused, of each; what `ferrokiq queues` does alone
    #[command(
        after_help = "Examples:\n  ferrokiq queues list\n  ferrokiq queues list --json | jq 'select(.latency > 60)'"
    )]
    List,
    /// Keep Sidekiq Pro's workers and ferrokiq's from fetching from queues; open-source Sidekiq does not heed it
    #[command(
        after_help = "A ferrokiq worker reads it with its next beat, within ten seconds.\n\nExamples:\n  ferrokiq queues pause reports\n  ferrokiq queues pause reports mails"
    )]
    Pause(Names),
    /// Have them fetch again
    #[command(after_help = "Examples:\n  ferrokiq queues unpause reports")]
    Unpause(Names),
    /// Delete queues with all their jobs
    #[command(after_help = "Examples:\n  ferrokiq queues clear reports\n  ferrokiq queues clear reports --yes")]
    Clear(Names),
}

#[derive(Debug, Args)]
struct Names {
    /// The queues
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

impl Queues {
    pub(crate) async fn run(self, tool: &mut Tool) -> Done {
        match self.command {
            None | Some(Command::List) => list(tool).await,
            Some(Command::Pause(names)) => names.pause(tool).await,
            Some(Command::Unpause(names)) => names.unpause(tool).await,
            Some(Command::Clear(names)) => names.clear(tool).await,
        }
    }
}

async fn list(tool: &mut Tool) -> Done {
    let queues = tool.api()?.queues().await?;
    if !tool.screen.is_json() {
        if queues.is_empty() {
            tool.screen.nothing("no queues")?;
        }
        table(tool, &queues)?;
        return Ok(Code::Fine);
    }
    for queue in &queues {
        tool.screen.json(&described(queue))?;
    }
    Ok(Code::Fine)
}

impl Names {
    async fn pause(self, tool: &mut Tool) -> Done {
        let api = tool.api()?;
        for name in &self.names {
            let changed = api.queue(name).pause().await?;
            told(tool, name, "paused", if changed { "paused" } else { "was paused already" })?;
        }
        Ok(Code::Fine)
    }

    async fn unpause(self, tool: &mut Tool) -> Done {
        let api = tool.api()?;
        for name in &self.names {
            let changed = api.queue(name).unpause().await?;
            told(tool, name, "unpaused", if changed { "goes on" } else { "was not paused" })?;
        }
        Ok(Code::Fine)
    }

    async fn clear(self, tool: &mut Tool) -> Done {
        let api = tool.api()?;
        let queues: Vec<Queue> = self.names.iter().map(|name| api.queue(name)).collect();
        for queue in &queues {
            let counted = queue.count().await?;
            tool.confirm(&format!("Delete the queue {} with {} jobs?", queue.name(), counted.size))?;
            let cleared = queue.clear_counted(&counted).await?;
            let words = match cleared.left {
                0 => format!("is deleted, with {} jobs", cleared.deleted),
                left => format!("keeps {left} jobs that came later or came back; {} are deleted", cleared.deleted),
            };
            told(tool, queue.name(), "cleared", &words)?;
        }
        Ok(Code::Fine)
    }
}

fn told(tool: &mut Tool, name: &str, what: &str, words: &str) -> Result<(), Failure> {
    if tool.screen.is_json() {
        tool.screen.json(&json!({"queue": name, "done": what}))?;
    } else {
        tool.screen.line(&format!("{name} {words}"))?;
    }
    Ok(())
}

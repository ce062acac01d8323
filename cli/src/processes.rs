use std::collections::BTreeSet;

use clap::{Args, Subcommand};
use ferrokiq::api::{Api, Process};
use serde_json::json;

use super::frame::{Code, Done, Failure, Style, Table, Tool, ago, cell};

/// Live processes, Ruby's and ours
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Processes {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What each is and does; what `ferrokiq processes` does alone
    #[command(after_help = "Examples:\n  ferrokiq processes list\n  ferrokiq processes list --json | jq -r .identity")]
    List,
    /// Tell processes to fetch nothing more; they learn with their next beat, within ten seconds
    #[command(
        after_help = "Examples:\n  ferrokiq processes quiet web1:4711:6fac50c1db3c\n  ferrokiq processes quiet --all"
    )]
    Quiet(Which),
    /// Tell processes to stop
    #[command(after_help = "Examples:\n  ferrokiq processes stop web1:4711\n  ferrokiq processes stop --all --yes")]
    Stop(Which),
    /// Tell processes to log what they are doing
    #[command(after_help = "Examples:\n  ferrokiq processes dump web1:4711")]
    Dump(Which),
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// Their identities, or what these begin with: HOST:PID
    #[arg(value_name = "ID")]
    ids: Vec<String>,

    /// Every process
    #[arg(long)]
    all: bool,
}

impl Processes {
    pub(crate) async fn run(self, tool: &mut Tool) -> Done {
        let api = tool.api()?;
        match self.command {
            None | Some(Command::List) => list(tool, &api).await,
            Some(Command::Quiet(which)) => {
                for process in which.found(&api).await? {
                    remote(&process)?;
                    process.quiet().await?;
                    told(tool, &process, "quiet")?;
                }
                Ok(Code::Fine)
            }
            Some(Command::Stop(which)) => {
                let processes = which.found(&api).await?;
                let names: Vec<&str> = processes.iter().map(|process| process.identity.as_str()).collect();
                if !names.is_empty() {
                    tool.confirm(&format!("Stop {}?", names.join(", ")))?;
                }
                for process in &processes {
                    remote(process)?;
                    process.stop().await?;
                    told(tool, process, "stop")?;
                }
                Ok(Code::Fine)
            }
            Some(Command::Dump(which)) => {
                for process in which.found(&api).await? {
                    process.dump().await?;
                    told(tool, &process, "dump")?;
                }
                Ok(Code::Fine)
            }
        }
    }
}

impl Which {
    async fn found(&self, api: &Api) -> Result<Vec<Process>, Failure> {
        let processes = api.processes().await?;
        if self.all {
            return Ok(processes);
        }
        let mut chosen = Vec::new();
        for id in &self.ids {
            let begins = |process: &&Process| {
                process.identity.strip_prefix(id.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
            };
            let found: Vec<&Process> = processes.iter().filter(begins).collect();
            match found.as_slice() {
                [] => return Err(Failure::failed(format!("there is no process {id}"))),
                found => chosen.extend(found.iter().map(|process| (*process).clone())),
            }
        }
        Ok(chosen)
    }
}

/// One that is part of an application does not take signals, as Sidekiq says.
fn remote(process: &Process) -> Result<(), Failure> {
    match process.info["embedded"].as_bool() {
        Some(true) => {
            Err(Failure::failed(format!("{} is embedded in an application, which alone can stop it", process.identity)))
        }
        _ => Ok(()),
    }
}

async fn list(tool: &mut Tool, api: &Api) -> Done {
    let (processes, leader) = (api.processes().await?, api.leader().await?);
    let mut table = Table::new(["~process", "~tag", "~queues", ">busy", ">of", ">rss MB", ">started", ">beat", ""]);
    for process in &processes {
        let info = &process.info;
        let text = |key: &str| info[key].as_str().unwrap_or_default().to_owned();
        let queues: Vec<String> = queues(process);
        let started = ferrokiq::time::EpochSecs(info["started_at"].as_f64().unwrap_or(0.0));
        let is_leader = leader.as_deref() == Some(process.identity.as_str());
        if tool.screen.is_json() {
            tool.screen.json(&json!({
                "identity": process.identity, "tag": text("tag"), "queues": queues, "busy": process.busy, "concurrency": process.concurrency,
                "rss_kb": process.rss_kb, "started_at": started.0, "beat": process.beat.0, "quiet": process.quiet, "leader": is_leader,
                "version": info["version"], "embedded": info["embedded"].as_bool().unwrap_or(false),
            }))?;
            continue;
        }
        // The Web UI's labels.
        let labels =
            [(info["embedded"].as_bool() == Some(true), "embedded"), (process.quiet, "quiet"), (is_leader, "leader")];
        let labels: Vec<&str> = labels.into_iter().filter_map(|(holds, label)| holds.then_some(label)).collect();
        let style = if process.quiet { Style::Yellow } else { Style::Green };
        let state = cell(labels.join(" ")).style(style);
        let rss = process.rss_kb / 1024;
        let cells = [
            cell(&process.identity),
            cell(text("tag")),
            cell(queues.join(",")),
            cell(process.busy),
            cell(process.concurrency),
            cell(rss),
            cell(ago(started)),
            cell(ago(process.beat)),
            state,
        ];
        table.row(&mut tool.screen, cells)?;
    }
    table.end_or(&mut tool.screen, "no live processes")?;
    Ok(Code::Fine)
}

/// Returns the queues it fetches from: `queues`, which is in their order, or those of its capsules, of a version that writes these alone.
fn queues(process: &Process) -> Vec<String> {
    let info = &process.info;
    if let Some(names) = info["queues"].as_array() {
        return names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect();
    }
    let weights =
        info["capsules"].as_object().into_iter().flatten().filter_map(|(_, capsule)| capsule["weights"].as_object());
    let names: BTreeSet<&String> = weights.flat_map(|weights| weights.keys()).collect();
    names.into_iter().cloned().collect()
}

fn told(tool: &mut Tool, process: &Process, signal: &str) -> std::io::Result<()> {
    if tool.screen.is_json() {
        return tool.screen.json(&json!({"identity": process.identity, "told": signal}));
    }
    tool.screen.line(&format!("{} is told to {signal}", process.identity))
}

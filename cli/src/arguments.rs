//! The command line of the tool.

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::frame::{Code, Common, Done, Tool};
use crate::sets::{self, Kind};
use crate::{
    busy, cancel, completions, deploy_mark, doctor, health, jobs, man, metrics, processes, push, queues, stats, top,
};

/// Look at and change the jobs of any Sidekiq, Ruby's or ours, on the Redis that REDIS_URL names.
#[derive(Debug, Parser)]
#[command(name = "ferrokiq", version, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum Command {
    Stats(stats::Stats),
    Queues(queues::Queues),
    Jobs(jobs::Jobs),
    /// Failed jobs that are tried again
    Retries(sets::Sets),
    /// Jobs to be run at a time
    Scheduled(sets::Sets),
    /// Jobs that were given up
    Dead(sets::Sets),
    Processes(processes::Processes),
    Busy(busy::Busy),
    Metrics(metrics::Metrics),
    Health(health::Health),
    Push(push::Push),
    Cancel(cancel::Cancel),
    DeployMark(deploy_mark::DeployMark),
    Doctor(doctor::Doctor),
    Top(top::Top),
    Completions(completions::Completions),
    Man(man::Man),
}

/// What can be said on the command line.
fn cli() -> clap::Command {
    let mut cli = Arguments::command();
    for kind in Kind::ALL {
        cli = cli.mut_subcommand(kind.command(), |command| sets::named(command, kind));
    }
    cli.after_long_help(format!(
        "Redis is found as Sidekiq finds it: REDIS_PROVIDER names the variable that holds the URL, else REDIS_URL, else redis://127.0.0.1:6379/0; \
         REDIS_PASSWORD_FILE, REDIS_SSL_CA_FILE and others for TLS.\nNO_COLOR is honoured; tables fit the terminal, and are not cut where the output is none.\n\n{}",
        Code::explained()
    ))
}

impl Arguments {
    /// Ends the process where they make no sense, or ask for help.
    pub(crate) fn parse() -> Self {
        let mut cli = cli();
        let matches = cli.clone().get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut cli).exit())
    }

    pub(crate) async fn run(self) -> std::process::ExitCode {
        let mut tool = Tool::new(self.common);
        let done = match self.command.needs_redis() {
            true => tool.wait_for_redis().await.map_err(Into::into),
            false => Ok(()),
        };
        let done = match done {
            Ok(()) => Box::pin(self.command.run(&mut tool)).await,
            Err(failure) => Err(failure),
        };
        tool.end(done)
    }
}

impl Command {
    /// Whether it connects to Redis.
    fn needs_redis(&self) -> bool {
        !matches!(self, Self::Health(_) | Self::Completions(_) | Self::Man(_))
    }

    async fn run(self, tool: &mut Tool) -> Done {
        match self {
            Self::Stats(stats) => stats.run(tool).await,
            Self::Queues(queues) => queues.run(tool).await,
            Self::Jobs(jobs) => jobs.run(tool).await,
            Self::Retries(sets) => sets.run(tool, Kind::Retries).await,
            Self::Scheduled(sets) => sets.run(tool, Kind::Scheduled).await,
            Self::Dead(sets) => sets.run(tool, Kind::Dead).await,
            Self::Processes(processes) => processes.run(tool).await,
            Self::Busy(busy) => busy.run(tool).await,
            Self::Metrics(metrics) => metrics.run(tool).await,
            Self::Health(health) => health.run(tool),
            Self::Push(push) => push.run(tool).await,
            Self::Cancel(cancel) => cancel.run(tool).await,
            Self::DeployMark(mark) => mark.run(tool).await,
            Self::Doctor(doctor) => doctor.run(tool).await,
            Self::Top(top) => top.run(tool).await,
            Self::Completions(completions) => completions.run(tool, cli()),
            Self::Man(man) => man.run(tool, cli()),
        }
    }
}

#[cfg(test)]
mod tests;

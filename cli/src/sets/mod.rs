//! `retries`, `scheduled` and `dead`: the same for three sets.
//!
//! What goes through a whole set does so with ZSCAN: whatever is there from beginning to end is seen, however many entries come and go
//! meanwhile, and one that is seen twice is moved or deleted once, since that takes that its bytes are still there. Pages by rank would pass
//! over entries whenever others vanish, and windows of scores break where a million entries share one. Only `list` goes by rank, for the
//! order. Either way a page is all that is in memory.

mod act;
mod chosen;
mod filter;
mod group;
mod journal;
mod list;
mod replay;
mod tally;
mod undo;

use clap::{Args, Subcommand};
use ferrokiq::api::{Api, SortedSet};

use super::frame::{Done, Failure, Tool};

use chosen::Chosen;

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Retries,
    Scheduled,
    Dead,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Retries, Self::Scheduled, Self::Dead];

    /// As a command.
    pub(super) fn command(self) -> &'static str {
        match self {
            Self::Retries => "retries",
            Self::Scheduled => "scheduled",
            Self::Dead => "dead",
        }
    }

    /// As a key.
    fn key(self) -> &'static str {
        match self {
            Self::Retries => "retry",
            Self::Scheduled => "schedule",
            Self::Dead => "dead",
        }
    }

    /// Returns the line for an empty list: of all jobs, or of those that match a filter.
    fn nothing(self, is_all: bool) -> String {
        let set = match self {
            Self::Retries => "retry",
            Self::Scheduled => "scheduled",
            Self::Dead => "dead",
        };
        if is_all { format!("no jobs in the {set} set") } else { format!("no job in the {set} set matches the filter") }
    }

    fn set(self, api: &Api) -> SortedSet {
        match self {
            Self::Retries => api.retries(),
            Self::Scheduled => api.scheduled(),
            Self::Dead => api.dead(),
        }
    }
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Sets {
    #[command(subcommand)]
    command: Option<Command>,

    /// Options of `list`, which is the command if none is named.
    #[command(flatten)]
    list: list::List,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(list::List),
    Show(list::Show),
    /// Run jobs now: to their queues, of failed ones with one retry less
    #[command(
        after_help = "Examples:\n  ferrokiq SET retry 6fac50c1db3c621b388a7e46\n  ferrokiq SET retry --where 'class=ReportJob,age>1h' --dry-run\n  ferrokiq SET retry --all --yes"
    )]
    Retry(act::Act),
    /// Move jobs to the dead set, byte for byte; workers trim it when a job dies
    #[command(
        after_help = "Examples:\n  ferrokiq SET kill 6fac50c1db3c621b388a7e46\n  ferrokiq SET kill --where error=NoMethodError"
    )]
    Kill(act::Act),
    /// Delete jobs
    #[command(
        after_help = "Examples:\n  ferrokiq SET delete 6fac50c1db3c621b388a7e46\n  ferrokiq SET delete --where 'class=ReportJob,message~timeout' --dry-run\n  ferrokiq SET delete --all --yes"
    )]
    Delete(act::Act),
    Group(group::Group),
    Replay(replay::Replay),
    Undo(undo::Undo),
}

impl Sets {
    pub(super) async fn run(self, tool: &mut Tool, kind: Kind) -> Done {
        let api = tool.api()?;
        let set = kind.set(&api);
        match self.command.unwrap_or(Command::List(self.list)) {
            Command::List(list) => list.run(tool, kind, &set).await,
            Command::Show(show) => show.run(tool, kind, &set).await,
            Command::Retry(act) => act.run(tool, kind, &set, act::Verb::Retry).await,
            Command::Kill(_) if kind == Kind::Dead => Err(Failure::usage("they are dead")),
            Command::Kill(act) => act.run(tool, kind, &set, act::Verb::Kill).await,
            Command::Delete(act) => act.run(tool, kind, &set, act::Verb::Delete).await,
            Command::Group(group) => group.run(tool, kind, &set).await,
            Command::Replay(replay) => replay.run(tool, kind, &set).await,
            Command::Undo(undo) => undo.run(tool, kind, &set).await,
        }
    }
}

/// The commands below a set's, with its own name in their examples and the language of filters where one is taken.
pub(super) fn named(mut command: clap::Command, kind: Kind) -> clap::Command {
    for sub in command.get_subcommands_mut() {
        let mut help = sub.get_after_help().map(ToString::to_string).unwrap_or_default().replace("SET", kind.command());
        if sub.get_arguments().any(|argument| argument.get_id() == "filter") {
            help = format!("{help}\n\n{}", filter::HELP);
        }
        *sub = std::mem::take(sub).after_help(help);
    }
    command = command.after_help(filter::HELP);
    if kind == Kind::Dead { command.mut_subcommand("kill", |kill| kill.hide(true)) } else { command }
}

use clap::Args;
use ferrokiq::api::{Departure, Moved, SortedEntry, SortedSet};
use ferrokiq::{ErrorKind, Result};

use super::list::Rows;
use super::tally::Tally;
use super::{Chosen, Kind};
use crate::frame::{Code, Done, Progress, Tool};

/// What is done to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Retry,
    Kill,
    Delete,
}

#[derive(Debug, Args)]
pub(super) struct Act {
    #[command(flatten)]
    chosen: Chosen,

    /// Only show which jobs they are
    #[arg(long)]
    dry_run: bool,
}

/// Entries that are moved together.
const BATCH: usize = 100;
/// Rows of a dry run for people.
const SHOWN: usize = 20;

impl Verb {
    fn name(self) -> &'static str {
        match self {
            Self::Retry => "Retry",
            Self::Kill => "Kill",
            Self::Delete => "Delete",
        }
    }

    fn doing(self) -> &'static str {
        match self {
            Self::Retry => "retrying",
            Self::Kill => "killing",
            Self::Delete => "deleting",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Retry => "retried",
            Self::Kill => "killed",
            Self::Delete => "deleted",
        }
    }

    async fn act(self, set: &SortedSet, kind: Kind, entries: &[SortedEntry]) -> Result<Moved> {
        match self {
            Self::Kill => set.kill_many(entries).await,
            Self::Delete => set.delete_many(entries).await,
            Self::Retry => {
                let departures = departures(set, kind, entries).await?;
                let mut moved = set.depart(&departures).await?;
                moved.stuck += entries.len() - departures.len();
                Ok(moved)
            }
        }
    }
}

/// How entries go to their queues; without those that cannot.
pub(super) async fn departures(set: &SortedSet, kind: Kind, entries: &[SortedEntry]) -> Result<Vec<Departure>> {
    let mut departures = Vec::with_capacity(entries.len());
    for entry in entries {
        let departure = if kind == Kind::Scheduled { set.queued(entry).await } else { set.retried(entry).await };
        match departure {
            Ok(departure) => departures.push(departure),
            Err(error) if error.kind() == ErrorKind::Payload => {}
            Err(error) => return Err(error),
        }
    }
    Ok(departures)
}

impl Act {
    pub(super) async fn run(self, tool: &mut Tool, kind: Kind, set: &SortedSet, verb: Verb) -> Done {
        if self.dry_run {
            return dry_run(tool, kind, set, &self.chosen, verb.done()).await;
        }
        if verb == Verb::Delete && self.chosen.is_all() && tool.says_yes() {
            // Nothing can come in between.
            let mut all = Tally::new(verb.done());
            all.done(set.clear().await?);
            return all.end(tool, 0, Ok(()));
        }
        // Running one job again is what it is there for; all else is asked.
        let asks = (verb != Verb::Retry || !self.chosen.are_named()).then(|| verb.name());
        let mut choosing = self.chosen.confirmed(tool, set, kind, asks).await?;
        tool.interrupt.watch();
        let mut tally = Tally::new(verb.done());
        let mut progress = Progress::new(verb.doing(), Some(set.size().await? as u64));
        while let Some((seen, page)) = choosing.next().await.map_err(|error| tally.stopped(error.into()))? {
            for batch in page.chunks(BATCH) {
                if tool.interrupt.is_noted() {
                    drop(progress);
                    return Err(tally.interrupted());
                }
                tally.add(verb.act(set, kind, batch).await.map_err(|error| tally.stopped(error.into()))?);
            }
            progress.add(seen);
        }
        drop(progress);
        tally.end(tool, choosing.later(), choosing.found_all())
    }
}

/// Shows what would be chosen.
pub(super) async fn dry_run(tool: &mut Tool, kind: Kind, set: &SortedSet, chosen: &Chosen, done: &str) -> Done {
    let mut choosing = chosen.of(set, kind);
    let (mut rows, mut count) = (Rows::new(kind), 0);
    let mut progress = Progress::new("looking at", Some(set.size().await? as u64));
    while let Some((seen, page)) = choosing.next().await? {
        for entry in &page {
            count += 1;
            if tool.screen.is_json() || count <= SHOWN {
                rows.row(tool, entry)?;
            }
        }
        progress.add(seen);
    }
    drop(progress);
    rows.end(tool)?;
    if !tool.screen.is_json() {
        if count > SHOWN {
            tool.screen.line(&format!("... and {} more", count - SHOWN))?;
        }
        tool.screen.line(&format!("{count} would be {done}"))?;
    }
    choosing.found_all().map(|()| Code::Fine)
}

use std::collections::HashSet;

use clap::Args;
use ferrokiq::Result;
use ferrokiq::api::{Snapshot, SortedEntry, SortedScan, SortedSet};
use ferrokiq::time::EpochSecs;

use super::Kind;
use super::filter::Filter;
use crate::frame::{Failure, Progress, Tool};

/// Which entries.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Chosen {
    /// Their jids
    #[arg(value_name = "JID")]
    jids: Vec<String>,

    /// All there are
    #[arg(long)]
    all: bool,

    /// Those a filter takes, see below; several must all take them
    #[arg(long = "where", value_name = "FILTER", value_parser = Filter::parse)]
    filter: Vec<Filter>,
}

impl Chosen {
    pub(super) fn is_all(&self) -> bool {
        self.all
    }

    /// Whether they were named one by one.
    pub(super) fn are_named(&self) -> bool {
        !self.jids.is_empty()
    }

    /// In a question, before they are counted.
    fn told(&self, kind: Kind, size: usize) -> String {
        let set = kind.command();
        match (self.all, self.are_named()) {
            (true, _) => format!("all {size} jobs of {set}"),
            (false, true) => format!("{} of {set}", self.jids.join(", ")),
            (false, false) => format!("those of the {size} jobs of {set} that the filter takes"),
        }
    }

    /// Counts the entries and asks whether to act on them, unless `asks` is `None`: the verb of the question. What is returned goes through
    /// exactly the entries that were counted.
    pub(super) async fn confirmed(
        &self,
        tool: &Tool,
        set: &SortedSet,
        kind: Kind,
        asks: Option<&str>,
    ) -> Result<Choosing, Failure> {
        let size = set.size().await?;
        if let Some(verb) = asks {
            tool.check_confirm(&format!("{verb} {}?", self.told(kind, size)))?;
        }
        let counted = self.count(set, kind, size).await?;
        if let Some(verb) = asks.filter(|_| !counted.is_empty()) {
            let told = match (self.all, self.are_named()) {
                (false, false) => format!("{} of the {size} jobs of {}", counted.len(), kind.command()),
                (true, _) | (_, true) => self.told(kind, counted.len()),
            };
            tool.confirm(&format!("{verb} {told}?"))?;
        }
        Ok(Choosing { counted: Some(counted), ..self.of(set, kind) })
    }

    async fn count(&self, set: &SortedSet, kind: Kind, size: usize) -> Result<Snapshot, Failure> {
        if self.all {
            return Ok(set.snapshot().await?);
        }
        let (mut counted, mut choosing) = (Snapshot::default(), self.of(set, kind));
        let mut progress = Progress::new("counting", Some(size as u64));
        while let Some((seen, page)) = choosing.next().await? {
            page.iter().for_each(|entry| counted.add(entry));
            progress.add(seen);
        }
        Ok(counted)
    }

    /// Goes through a set.
    pub(super) fn of(&self, set: &SortedSet, kind: Kind) -> Choosing {
        let scan = match self.jids.as_slice() {
            [jid] => set.jid_scanner(jid),
            _ => set.scanner(None),
        };
        Choosing {
            scan,
            jids: self.jids.iter().cloned().collect(),
            missing: self.jids.iter().cloned().collect(),
            filter: self.filter.clone(),
            is_dead: kind == Kind::Dead,
            now: EpochSecs::now(),
            counted: None,
            later: 0,
        }
    }
}

/// The entries that are chosen, page by page.
pub(super) struct Choosing {
    scan: SortedScan,
    jids: HashSet<String>,
    missing: HashSet<String>,
    filter: Vec<Filter>,
    is_dead: bool,
    now: EpochSecs,
    /// The entries to keep to, where they were counted before.
    counted: Option<Snapshot>,
    /// Entries that would have been chosen, but came after that.
    later: usize,
}

impl Choosing {
    /// How many entries were looked at, and those that are chosen; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<(usize, Vec<SortedEntry>)>> {
        let Some(mut page) = self.scan.next().await? else { return Ok(None) };
        let seen = page.len();
        page.retain(|entry| self.takes(entry));
        Ok(Some((seen, page)))
    }

    fn takes(&mut self, entry: &SortedEntry) -> bool {
        let is_chosen = if self.jids.is_empty() {
            self.filter.iter().all(|filter| filter.takes(entry, self.is_dead, self.now))
        } else {
            self.jids.contains(entry.record.jid())
        };
        if !is_chosen {
            return false;
        }
        let is_counted = self.counted.as_ref().is_none_or(|counted| counted.holds(entry));
        if is_counted {
            self.missing.remove(entry.record.jid());
        } else {
            self.later += 1;
        }
        is_counted
    }

    /// Entries seen that would have been chosen if they had not come after the counting.
    pub(super) fn later(&self) -> usize {
        self.later
    }

    /// At the end: an error if some that were named are not there.
    pub(super) fn found_all(&self) -> Result<(), Failure> {
        let mut missing: Vec<&str> = self.missing.iter().map(String::as_str).collect();
        missing.sort_unstable();
        if missing.is_empty() { Ok(()) } else { Err(Failure::failed(format!("not there: {}", missing.join(", ")))) }
    }
}

use std::collections::HashSet;

use clap::Args;
use ferrokiq::Result;
use ferrokiq::api::{SortedEntry, SortedScan, SortedSet};
use ferrokiq::time::EpochSecs;

use super::Kind;
use super::filter::Filter;
use crate::ops::frame::Failure;

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

    /// In a question.
    pub(super) fn told(&self, kind: Kind, size: usize) -> String {
        let set = kind.command();
        match (self.all, self.are_named()) {
            (true, _) => format!("all {size} jobs of {set}"),
            (false, true) => format!("{} of {set}", self.jids.join(", ")),
            (false, false) => format!("those of the {size} jobs of {set} that the filter takes"),
        }
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
        if !self.jids.is_empty() {
            let jid = entry.record.jid();
            self.missing.remove(jid);
            return self.jids.contains(jid);
        }
        self.filter.iter().all(|filter| filter.takes(entry, self.is_dead, self.now))
    }

    /// At the end: an error if some that were named are not there.
    pub(super) fn found_all(&self) -> Result<(), Failure> {
        let mut missing: Vec<&str> = self.missing.iter().map(String::as_str).collect();
        missing.sort_unstable();
        if missing.is_empty() { Ok(()) } else { Err(Failure::failed(format!("not there: {}", missing.join(", ")))) }
    }
}

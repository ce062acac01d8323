use std::collections::HashSet;

use super::PAGE;
use super::sorted_set::{SortedEntry, SortedSet};
use crate::error::Result;

/// The jobs of a set while it changes: the place is corrected by how much the set has shrunk.
#[derive(Debug)]
pub struct SortedPages {
    set: SortedSet,
    entries: usize,
    seen: usize,
    size: Option<usize>,
    last: HashSet<Vec<u8>>,
}

impl SortedPages {
    pub(super) fn new(set: SortedSet) -> Self {
        Self { set, entries: PAGE, seen: 0, size: None, last: HashSet::new() }
    }

    /// Jobs of a page; 50 unless said, at least 1.
    #[must_use]
    pub fn of(mut self, jobs: usize) -> Self {
        self.entries = jobs.max(1);
        self
    }

    /// The next page; `None` at the end.
    ///
    /// # Errors
    ///
    /// As [`SortedSet::size`].
    pub async fn next(&mut self) -> Result<Option<Vec<SortedEntry>>> {
        let size = self.set.size().await?;
        let shrunk = self.size.get_or_insert(size).saturating_sub(size);
        let page = self.set.from_highest(self.seen.saturating_sub(shrunk), self.entries).await?;
        if page.is_empty() {
            return Ok(None);
        }
        self.seen += page.len();
        let fresh: Vec<SortedEntry> =
            page.into_iter().filter(|entry| !self.last.contains(entry.record.bytes())).collect();
        self.last = fresh.iter().map(|entry| entry.record.bytes().to_owned()).collect();
        Ok(Some(fresh))
    }
}

/// The jobs of a set in no order, while it changes: each that is there from beginning to end is seen at least once, whatever else
/// comes or goes meanwhile. One may be seen twice, which does no harm: it is only once that it can be taken away.
#[derive(Debug)]
pub struct SortedScan {
    set: SortedSet,
    glob: Option<String>,
    /// `None` at the end.
    cursor: Option<u64>,
}

impl SortedScan {
    pub(super) fn new(set: SortedSet, glob: Option<String>) -> Self {
        Self { set, glob, cursor: Some(0) }
    }

    /// The next page, which may be empty; `None` at the end.
    ///
    /// # Errors
    ///
    /// As [`SortedSet::size`].
    pub async fn next(&mut self) -> Result<Option<Vec<SortedEntry>>> {
        let Some(cursor) = self.cursor else { return Ok(None) };
        let (next, found) = self.set.scan_from(cursor, self.glob.as_deref()).await?;
        self.cursor = (next != 0).then_some(next);
        Ok(Some(found))
    }
}

use std::collections::HashSet;

use tokio::task::JoinHandle;

use super::PAGE;
use super::sorted_set::{SortedEntry, SortedSet};
use crate::error::{Error, ErrorKind, Result};

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
///
/// While a page is looked at, the next one is fetched.
#[derive(Debug)]
pub struct SortedScan {
    set: SortedSet,
    glob: Option<String>,
    /// `None` before the beginning.
    fetching: Option<Fetching>,
    is_over: bool,
}

type Fetched = Result<(u64, Vec<SortedEntry>)>;

/// Ends when dropped.
#[derive(Debug)]
struct Fetching(JoinHandle<Fetched>);

impl Drop for Fetching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl SortedScan {
    pub(super) fn new(set: SortedSet, glob: Option<String>) -> Self {
        Self { set, glob, fetching: None, is_over: false }
    }

    /// The next page, which may be empty; `None` at the end.
    ///
    /// # Errors
    ///
    /// As [`SortedSet::size`]; it is over then.
    pub async fn next(&mut self) -> Result<Option<Vec<SortedEntry>>> {
        if self.is_over {
            return Ok(None);
        }
        let mut fetching = match self.fetching.take() {
            Some(fetching) => fetching,
            None => self.fetch(0),
        };
        let fetched = (&mut fetching.0).await;
        let fetched = fetched.map_err(|error| Error::new(ErrorKind::Redis, "search a set failed").because(error));
        match fetched.and_then(|page| page) {
            Ok((0, page)) => {
                self.is_over = true;
                Ok(Some(page))
            }
            Ok((cursor, page)) => {
                self.fetching = Some(self.fetch(cursor));
                Ok(Some(page))
            }
            Err(error) => {
                self.is_over = true;
                Err(error)
            }
        }
    }

    fn fetch(&self, cursor: u64) -> Fetching {
        let (set, glob) = (self.set.clone(), self.glob.clone());
        Fetching(tokio::spawn(async move { set.scan_from(cursor, glob.as_deref()).await }))
    }
}

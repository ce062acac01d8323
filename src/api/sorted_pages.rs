use std::collections::HashSet;

use tokio::task::JoinHandle;

use super::PAGE;
use super::sorted_set::{SortedEntry, SortedSet};
use crate::error::{Error, ErrorKind, Result};
use crate::store::sets::BUDGET;
use crate::time::EpochSecs;

impl SortedSet {
    /// Its jobs, the highest score first, page by page.
    pub fn pages(&self) -> SortedPages {
        SortedPages::new(self.clone())
    }

    /// The jobs whose bytes hold a text, in no order; a text with `*` is a glob of its own.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size).
    pub async fn scan(&self, text: &str, mut each: impl FnMut(SortedEntry)) -> Result<()> {
        let mut scan = self.scanner(Some(text));
        while let Some(page) = scan.next().await? {
            page.into_iter().for_each(&mut each);
        }
        Ok(())
    }

    /// As [`scan`](Self::scan), page by page; all jobs without a text.
    pub fn scanner(&self, text: Option<&str>) -> SortedScan {
        let glob = text.map(|text| if text.contains('*') { text.to_owned() } else { format!("*{text}*") });
        SortedScan::new(self.clone(), glob)
    }

    /// All jobs among which those of an id are: few others, where Redis can look for the id itself.
    pub fn jid_scanner(&self, jid: &str) -> SortedScan {
        // Other characters may be escaped in the payload, or mean something in a glob.
        let is_plain = !jid.is_empty() && jid.bytes().all(|byte| byte.is_ascii_alphanumeric());
        self.scanner(is_plain.then_some(jid))
    }

    /// The job of an id.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size).
    pub async fn find_job(&self, jid: &str) -> Result<Option<SortedEntry>> {
        let mut scan = self.jid_scanner(jid);
        while let Some(page) = scan.next().await? {
            if let Some(found) = page.into_iter().find(|entry| entry.record.jid() == jid) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

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

    /// Jobs of a page at most; 50 unless said, at least 1. A page of large jobs has fewer: about 1 MB.
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
    pace: Pace,
}

type Page = Vec<(Vec<u8>, EpochSecs)>;
type Fetched = Result<(u64, Page)>;

/// How many entries a step of a scan looks at: as many as are about [`BUDGET`] bytes by what was read so far, and a few at first. ZSCAN takes
/// no limit in bytes; it reads in no order, so large entries are spread over all steps.
#[derive(Debug)]
struct Pace {
    count: usize,
    entries: usize,
    bytes: usize,
}

/// Entries that the first step of a scan looks at, and any step at most: a fraction of a millisecond.
const FIRST: usize = 8;
const MOST: usize = 500;

impl Pace {
    fn note(&mut self, page: &Page) {
        self.entries += page.len();
        self.bytes += page.iter().map(|(bytes, _)| bytes.len()).sum::<usize>();
        let fit = BUDGET.saturating_mul(self.entries).checked_div(self.bytes).unwrap_or(MOST);
        self.count = fit.min(self.count * 8).clamp(1, MOST);
    }
}

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
        let pace = Pace { count: FIRST, entries: 0, bytes: 0 };
        Self { set, glob, fetching: None, is_over: false, pace }
    }

    /// The next page, which may be empty; `None` at the end.
    ///
    /// # Errors
    ///
    /// As [`SortedSet::size`]; it is over then.
    pub async fn next(&mut self) -> Result<Option<Vec<SortedEntry>>> {
        let page = self.next_raw().await?;
        Ok(page.map(|page| page.into_iter().map(|(bytes, score)| SortedEntry::new(bytes, score)).collect()))
    }

    /// The same as bytes with their scores.
    pub(super) async fn next_raw(&mut self) -> Result<Option<Page>> {
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
                self.pace.note(&page);
                self.fetching = Some(self.fetch(cursor));
                Ok(Some(page))
            }
            Err(error) => {
                self.is_over = true;
                Err(error)
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the next page awaits it")]
    fn fetch(&self, cursor: u64) -> Fetching {
        let (set, glob, count) = (self.set.clone(), self.glob.clone(), self.pace.count);
        Fetching(tokio::spawn(async move {
            let (next, found) = set.api.store.set_scan(set.set, cursor, count, glob.as_deref()).await?;
            Ok((next, found.into_iter().map(|(bytes, score)| (bytes, EpochSecs(score))).collect()))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_looks_at_as_many_entries_as_fit_into_the_budget() {
        let page = |entries: usize, bytes: usize| vec![(vec![0; bytes], EpochSecs(1.0)); entries];
        let mut pace = Pace { count: FIRST, entries: 0, bytes: 0 };
        pace.note(&page(8, 300));
        assert_eq!(pace.count, 64);
        pace.note(&page(64, 300));
        assert_eq!(pace.count, MOST);
        pace.note(&page(10, 0));
        assert_eq!(pace.count, MOST);
        let mut pace = Pace { count: FIRST, entries: 0, bytes: 0 };
        pace.note(&page(2, 3 * BUDGET));
        assert_eq!(pace.count, 1, "one at least");
        pace.note(&Vec::new());
        assert_eq!(pace.count, 1);
    }
}

use std::collections::HashSet;

use super::{Api, JobRecord, PAGE};
use crate::error::{Error, ErrorKind, Result};
use crate::payload::Payload;
use crate::store::sets::{DeadLimits, Promotion, WaitingSet};
use crate::time::{EpochSecs, StampForm};

/// The schedule, the retry set or the dead set, as `Sidekiq::ScheduledSet`, `RetrySet` and `DeadSet`.
#[derive(Clone, Debug)]
pub struct SortedSet {
    api: Api,
    set: WaitingSet,
}

/// A job in one of them.
#[derive(Clone, Debug)]
pub struct SortedEntry {
    /// The job.
    pub record: JobRecord,
    /// When it is due, or when it died.
    pub score: EpochSecs,
}

/// What Sidekiq keeps of the dead unless told otherwise.
const DEAD_AGE: f64 = 180.0 * 24.0 * 60.0 * 60.0;
const DEAD_JOBS: u64 = 10_000;

impl SortedSet {
    pub(super) fn new(api: Api, set: WaitingSet) -> Self {
        Self { api, set }
    }

    /// Jobs in it.
    ///
    /// # Errors
    ///
    /// As every call here, [`ErrorKind::Redis`](crate::ErrorKind::Redis).
    pub async fn size(&self) -> Result<usize> {
        self.api.store.set_size(self.set).await
    }

    /// Its jobs, the highest score first, page by page.
    pub fn pages(&self) -> SortedPages {
        SortedPages { set: self.clone(), seen: 0, size: None, last: HashSet::new(), entries: PAGE }
    }

    /// Up to `n` jobs after passing over `skip`, the lowest score first.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size).
    pub async fn from_lowest(&self, skip: usize, n: usize) -> Result<Vec<SortedEntry>> {
        let found = self.api.store.set_page_from_lowest(self.set, skip, n.max(1)).await?;
        Ok(found.into_iter().map(|(bytes, score)| entry(bytes, score)).collect())
    }

    /// Up to `n` jobs after passing over `skip`, the highest score first.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size).
    pub async fn from_highest(&self, skip: usize, n: usize) -> Result<Vec<SortedEntry>> {
        let found = self.api.store.set_page(self.set, skip, n.max(1)).await?;
        Ok(found.into_iter().map(|(bytes, score)| entry(bytes, score)).collect())
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
        SortedScan { set: self.clone(), glob, cursor: Some(0) }
    }

    /// The job of an id.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size).
    pub async fn find_job(&self, jid: &str) -> Result<Option<SortedEntry>> {
        let mut found = None;
        self.scan(jid, |entry| {
            if entry.record.jid() == jid {
                found = Some(entry);
            }
        })
        .await?;
        Ok(found)
    }

    /// Deletes a job; whether it was still there.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size).
    pub async fn delete(&self, entry: &SortedEntry) -> Result<bool> {
        self.api.store.delete_from_set(self.set, entry.record.bytes()).await
    }

    /// Runs a failed job again now, and counts one retry less, as Sidekiq does; whether it was still there.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size); [`ErrorKind::Payload`](crate::ErrorKind::Payload) for what is no payload, which stays.
    pub async fn retry(&self, entry: &SortedEntry) -> Result<bool> {
        let mut payload = readable(entry)?;
        if let Some(count) = payload.retry_count() {
            payload.insert("retry_count", count - 1);
        }
        self.push(entry, payload).await
    }

    /// Runs a scheduled job now; whether it was still there.
    ///
    /// # Errors
    ///
    /// As [`retry`](Self::retry).
    pub async fn add_to_queue(&self, entry: &SortedEntry) -> Result<bool> {
        self.push(entry, readable(entry)?).await
    }

    /// Moves a job to the dead set, byte for byte; whether it was still there.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size).
    pub async fn kill(&self, entry: &SortedEntry) -> Result<bool> {
        self.promote(entry, Promotion::Bury { score: EpochSecs::now().to_string() }).await
    }

    /// Makes a job due at another time; whether it was still there. Its bytes stay, so it does not split in two as in Ruby.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size).
    pub async fn reschedule(&self, entry: &SortedEntry, at: EpochSecs) -> Result<bool> {
        self.api.store.reschedule(self.set, entry.record.bytes(), &at.to_string()).await
    }

    /// Puts another payload in the place of a job, at the same time; whether the job was still there.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size).
    pub async fn replace(&self, entry: &SortedEntry, payload: Payload) -> Result<bool> {
        self.api.store.replace_in_set(self.set, entry.record.bytes(), payload.into_string().as_bytes()).await
    }

    /// Entries whose time is in this range, both ends included.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size).
    pub async fn fetch(&self, from: EpochSecs, to: EpochSecs) -> Result<Vec<SortedEntry>> {
        let found = self.api.store.set_range(self.set, &from.to_string(), &to.to_string()).await?;
        Ok(found.into_iter().map(|(bytes, score)| entry(bytes, score)).collect())
    }

    /// [Retries](Self::retry) all, page by page; returns how many. What is no payload stays.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size); those before have been retried.
    pub async fn retry_all(&self) -> Result<usize> {
        let (mut done, mut stay) = (0, 0);
        loop {
            let page = self.api.store.set_page(self.set, stay, PAGE).await?;
            if page.is_empty() {
                return Ok(done);
            }
            for (bytes, score) in page {
                match self.retry(&entry(bytes, score)).await {
                    Ok(moved) => done += usize::from(moved),
                    Err(error) if error.kind() == ErrorKind::Payload => stay += 1,
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// [Kills](Self::kill) all, page by page; returns how many. The dead stay where they are.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size); those before are dead.
    pub async fn kill_all(&self) -> Result<usize> {
        let mut done = 0;
        if self.set == WaitingSet::Dead {
            return Ok(done);
        }
        loop {
            let page = self.api.store.set_page(self.set, 0, PAGE).await?;
            if page.is_empty() {
                return Ok(done);
            }
            for (bytes, score) in page {
                done += usize::from(self.kill(&entry(bytes, score)).await?);
            }
        }
    }

    /// Deletes all.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size).
    pub async fn clear(&self) -> Result<()> {
        self.api.store.clear_set(self.set).await
    }

    async fn push(&self, entry: &SortedEntry, mut payload: Payload) -> Result<bool> {
        payload.remove("at");
        let Some(mut payload) = self.api.client.through_middleware(payload).await? else {
            return Err(Error::payload("a middleware stopped the job; it stays where it is"));
        };
        if payload.queue().is_empty() {
            payload.insert("queue", "default");
        }
        let form = payload.stamp_form().unwrap_or(StampForm::Millis);
        payload.insert_raw("enqueued_at", form.stamp(EpochSecs::now()));
        let queue = payload.queue().to_owned();
        let bytes = payload.into_string();
        self.promote(entry, Promotion::Push { queue: &queue, bytes: &bytes }).await
    }

    async fn promote(&self, entry: &SortedEntry, promotion: Promotion<'_>) -> Result<bool> {
        let limits = DeadLimits { before: EpochSecs::now().0 - DEAD_AGE, keep: DEAD_JOBS };
        let (moved, stuck) = self.api.store.promote(self.set, &[(entry.record.bytes(), promotion)], limits).await?;
        if stuck > 0 {
            return Err(Error::payload("the key of the job's queue is no list; the job stays where it is"));
        }
        Ok(moved == 1)
    }
}

fn readable(entry: &SortedEntry) -> Result<Payload> {
    entry.record.payload().cloned().ok_or_else(|| Error::payload("this is no job payload; it can only be deleted"))
}

fn entry(bytes: Vec<u8>, score: f64) -> SortedEntry {
    SortedEntry { record: JobRecord::new(bytes), score: EpochSecs(score) }
}

/// The jobs of a set while it changes: the place is corrected by how much the set has shrunk.
#[derive(Debug)]
pub struct SortedPages {
    set: SortedSet,
    seen: usize,
    size: Option<usize>,
    last: HashSet<Vec<u8>>,
    entries: usize,
}

impl SortedPages {
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
        let page = self.set.api.store.set_page(self.set.set, self.seen.saturating_sub(shrunk), self.entries).await?;
        if page.is_empty() {
            return Ok(None);
        }
        self.seen += page.len();
        let fresh: Vec<(Vec<u8>, f64)> = page.into_iter().filter(|(bytes, _)| !self.last.contains(bytes)).collect();
        self.last = fresh.iter().map(|(bytes, _)| bytes.clone()).collect();
        Ok(Some(fresh.into_iter().map(|(bytes, score)| entry(bytes, score)).collect()))
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
    /// The next page, which may be empty; `None` at the end.
    ///
    /// # Errors
    ///
    /// As [`SortedSet::size`].
    pub async fn next(&mut self) -> Result<Option<Vec<SortedEntry>>> {
        let Some(cursor) = self.cursor else { return Ok(None) };
        let (next, found) = self.set.api.store.set_scan(self.set.set, cursor, self.glob.as_deref()).await?;
        self.cursor = (next != 0).then_some(next);
        Ok(Some(found.into_iter().map(|(bytes, score)| entry(bytes, score)).collect()))
    }
}

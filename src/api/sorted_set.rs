use super::{Api, JobRecord};
use crate::error::Result;
use crate::payload::Payload;
use crate::store::pages::End;
use crate::store::sets::{BATCH, WaitingSet};
use crate::time::EpochSecs;

/// The schedule, the retry set or the dead set, as `Sidekiq::ScheduledSet`, `RetrySet` and `DeadSet`.
#[derive(Clone, Debug)]
pub struct SortedSet {
    pub(super) api: Api,
    pub(super) set: WaitingSet,
}

/// A job in one of them.
#[derive(Clone, Debug)]
pub struct SortedEntry {
    /// The job.
    pub record: JobRecord,
    /// When it is due, or when it died.
    pub score: EpochSecs,
}

impl SortedEntry {
    /// A job as it may lie in a set.
    pub fn new(bytes: Vec<u8>, score: EpochSecs) -> Self {
        Self { record: JobRecord::new(bytes), score }
    }

    /// The bytes, by which it is taken away.
    pub fn bytes(&self) -> &[u8] {
        self.record.bytes()
    }
}

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

    /// Up to `n` jobs after passing over `skip`, the lowest score first; fewer where they are large: about 1 MB, but at least one.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size).
    pub async fn from_lowest(&self, skip: usize, n: usize) -> Result<Vec<SortedEntry>> {
        Ok(entries(self.api.store.set_page(self.set, End::Low, skip, n.max(1)).await?))
    }

    /// Up to `n` jobs after passing over `skip`, the highest score first; fewer where they are large: about 1 MB, but at least one.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size).
    pub async fn from_highest(&self, skip: usize, n: usize) -> Result<Vec<SortedEntry>> {
        Ok(entries(self.api.store.set_page(self.set, End::High, skip, n.max(1)).await?))
    }

    /// Deletes a job; whether it was still there.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size).
    pub async fn delete(&self, entry: &SortedEntry) -> Result<bool> {
        self.api.store.delete_from_set(self.set, entry.record.bytes()).await
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
        let mut skip = self.api.store.set_count(self.set, "-inf", &format!("({from}")).await?;
        let mut found = Vec::new();
        loop {
            let page = self.from_lowest(skip, BATCH).await?;
            skip += page.len();
            let is_last = page.last().is_none_or(|entry| entry.score.0 > to.0);
            found.extend(page.into_iter().filter(|entry| (from.0..=to.0).contains(&entry.score.0)));
            if is_last {
                return Ok(found);
            }
        }
    }

    /// Deletes all at once, whenever they came; returns how many they were.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size).
    pub async fn clear(&self) -> Result<usize> {
        self.api.store.clear_set(self.set).await
    }
}

fn entries(found: Vec<(Vec<u8>, f64)>) -> Vec<SortedEntry> {
    found.into_iter().map(|(bytes, score)| SortedEntry::new(bytes, EpochSecs(score))).collect()
}

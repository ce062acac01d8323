use std::collections::HashSet;
use std::time::Duration;

use super::{JobRecord, PAGE};
use crate::error::Result;
use crate::payload::Payload;
use crate::store::Store;

/// A queue, as `Sidekiq::Queue`.
#[derive(Clone, Debug)]
pub struct Queue {
    store: Store,
    name: String,
}

impl Queue {
    pub(super) fn new(store: Store, name: &str) -> Self {
        Self { store, name: name.to_owned() }
    }

    /// Its name, without prefix.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Jobs in it.
    ///
    /// # Errors
    ///
    /// As every call here, [`ErrorKind::Redis`](crate::ErrorKind::Redis).
    pub async fn size(&self) -> Result<usize> {
        Ok(self.store.queue_states(vec![self.name.clone()]).await?.first().map_or(0, |state| state.size))
    }

    /// How long its next job has waited.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size).
    pub async fn latency(&self) -> Result<Duration> {
        let states = self.store.queue_states(vec![self.name.clone()]).await?;
        let oldest = states.into_iter().next().and_then(|state| state.oldest);
        Ok(oldest.map_or(Duration::ZERO, |bytes| JobRecord::new(bytes).latency()))
    }

    /// Its jobs, newest first, page by page.
    pub fn pages(&self) -> QueuePages {
        QueuePages { queue: self.clone(), entries: PAGE, seen: 0, size: None, last: HashSet::new() }
    }

    /// The job of an id; looks through the whole queue.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size).
    pub async fn find_job(&self, jid: &str) -> Result<Option<JobRecord>> {
        let mut pages = self.pages();
        while let Some(page) = pages.next().await? {
            if let Some(found) = page.into_iter().find(|record| record.jid() == jid) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Deletes one job; whether it was still there.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size).
    pub async fn delete(&self, record: &JobRecord) -> Result<bool> {
        self.store.delete_from_queue(&self.name, record.bytes()).await
    }

    /// Keeps processes from fetching from it, as Sidekiq Pro does: its own and ours heed it, those of open-source Sidekiq do not.
    /// Whether it was not paused before.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size).
    pub async fn pause(&self) -> Result<bool> {
        self.store.pause_queue(&self.name).await
    }

    /// Has processes fetch from it again; whether it was paused.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size).
    pub async fn unpause(&self) -> Result<bool> {
        self.store.unpause_queue(&self.name).await
    }

    /// Puts another payload in the place of a job; whether the job was still there.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size).
    pub async fn replace(&self, record: &JobRecord, payload: Payload) -> Result<bool> {
        self.store.replace_in_queue(&self.name, record.bytes(), payload.into_string().as_bytes()).await
    }

    /// Adds a queue that holds jobs to Sidekiq's list of queues, where a push that did not name it left it out; whether it was missing
    /// there.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size).
    pub async fn announce(&self) -> Result<bool> {
        self.store.announce_queue(&self.name).await
    }

    /// Deletes the queue and all its jobs.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size).
    pub async fn clear(&self) -> Result<()> {
        self.store.clear_queue(&self.name).await
    }
}

/// The jobs of a queue while it moves: jobs that are fetched or deleted meanwhile shift the rest, so the place is corrected by how
/// much the queue has shrunk, and what was seen on the page before is not shown again.
#[derive(Debug)]
pub struct QueuePages {
    queue: Queue,
    entries: usize,
    seen: usize,
    size: Option<usize>,
    last: HashSet<Vec<u8>>,
}

impl QueuePages {
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
    /// As [`Queue::size`].
    pub async fn next(&mut self) -> Result<Option<Vec<JobRecord>>> {
        let size = self.queue.size().await?;
        let began = *self.size.get_or_insert(size);
        // Pushes come in at the front and move what was seen back. Where jobs went is not known: rather twice than never.
        let skip = (self.seen + size.saturating_sub(began)).saturating_sub(began.saturating_sub(size));
        let page = self.queue.store.queue_page(&self.queue.name, skip, self.entries).await?;
        if page.is_empty() {
            return Ok(None);
        }
        self.seen += page.len();
        let fresh: Vec<Vec<u8>> = page.into_iter().filter(|bytes| !self.last.contains(bytes)).collect();
        self.last = fresh.iter().cloned().collect();
        Ok(Some(fresh.into_iter().map(JobRecord::new).collect()))
    }
}

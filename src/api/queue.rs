use std::collections::HashSet;
use std::time::Duration;

use super::{JobRecord, PAGE};
use crate::error::Result;
use crate::payload::Payload;
use crate::store::Store;
use crate::store::pages::Seen;

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
        Ok(self.store.queue_page(&self.name, 0, 0).await?.0)
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
        QueuePages { walk: Walk::of(self, PAGE) }
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

    /// Deletes one job; whether it was still there. The job is looked for where its page showed it; a record that comes from elsewhere has the
    /// queue read until it is found. In a queue of more than 200,000 jobs, the newest job takes the place of one in the middle.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size).
    pub async fn delete(&self, record: &JobRecord) -> Result<bool> {
        let mut place = record.place();
        for _ in 0..TRIES {
            let Some(seen) = self.place_of(record, place.take()).await? else { return Ok(false) };
            if self.store.delete_from_queue(&self.name, seen, record.bytes()).await? {
                return Ok(true);
            }
        }
        Ok(false)
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

    /// Puts another payload in the place of a job; whether the job was still there. It is looked for as in [`delete`](Self::delete).
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size).
    pub async fn replace(&self, record: &JobRecord, payload: Payload) -> Result<bool> {
        let (mut place, payload) = (record.place(), payload.into_string());
        for _ in 0..TRIES {
            let Some(seen) = self.place_of(record, place.take()).await? else { return Ok(false) };
            if self.store.replace_in_queue(&self.name, seen, record.bytes(), payload.as_bytes()).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Where a job is: where it was seen, or where a walk through the queue finds it.
    async fn place_of(&self, record: &JobRecord, seen: Option<usize>) -> Result<Option<usize>> {
        if seen.is_some() {
            return Ok(seen);
        }
        let mut walk = Walk::of(self, WALK);
        while let Some(page) = walk.next().await? {
            if let Some(found) = page.iter().find(|seen| seen.bytes == record.bytes()) {
                return Ok(Some(found.place));
            }
        }
        Ok(None)
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

    /// Deletes the queue and all its jobs, whenever they came.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size); [`ErrorKind::Partial`](crate::ErrorKind::Partial) if `queues` holds another type than a set: the jobs are
    /// deleted, the name is not.
    pub async fn clear(&self) -> Result<()> {
        self.store.clear_queue(&self.name).await
    }

    /// What is in the queue now, for [`clear_counted`](Self::clear_counted).
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size).
    pub async fn count(&self) -> Result<QueueCount> {
        let (size, newest, oldest) = self.store.queue_ends(&self.name).await?;
        Ok(QueueCount { size, newest, oldest })
    }

    /// Deletes the jobs that were counted, ten thousand at a time, and none that was pushed later; the name of the queue, too, once it is empty.
    /// If ten thousand were pushed meanwhile, nothing is deleted.
    ///
    /// Jobs that were put back meanwhile to the end that is fetched next stay, too. If the oldest counted job was fetched, they cannot be
    /// distinguished from counted ones: then no more are deleted than were counted, the newest of them. If 50,000 were put back, nothing is deleted.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size); those before are deleted.
    pub async fn clear_counted(&self, counted: &QueueCount) -> Result<Cleared> {
        let mut deleted = 0;
        loop {
            let (rest, ends) =
                (counted.size.saturating_sub(deleted), (counted.newest.as_deref(), counted.oldest.as_deref()));
            let (gone, left) = self.store.clear_oldest(&self.name, STEP.min(rest), rest, ends).await?;
            deleted += gone;
            if left == 0 || gone == 0 || deleted >= counted.size {
                return Ok(Cleared { deleted, left: self.size().await? });
            }
        }
    }
}

/// Jobs that a script deletes from the end of a queue.
const STEP: usize = 10_000;
/// How often a job is looked for that others move meanwhile.
const TRIES: usize = 3;
/// Jobs of a page of a walk.
pub(super) const WALK: usize = 1_000;

/// The jobs of a queue at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueCount {
    /// How many there were.
    pub size: usize,
    /// By which those that came later are told apart.
    newest: Option<Vec<u8>>,
    /// Marks where jobs begin that were put back after the count.
    oldest: Option<Vec<u8>>,
}

impl QueueCount {
    /// So many jobs, the oldest, whatever came later.
    pub fn oldest(jobs: usize) -> Self {
        Self { size: jobs, newest: None, oldest: None }
    }
}

/// What [`Queue::clear_counted`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cleared {
    /// Jobs deleted.
    pub deleted: usize,
    /// Jobs in the queue now: they were pushed or put back after the count.
    pub left: usize,
}

/// The jobs of a queue while it moves: jobs that are fetched or deleted meanwhile shift the rest, so the place is corrected by how
/// much the queue has shrunk, and what was seen on the page before is not shown again.
#[derive(Debug)]
pub struct QueuePages {
    walk: Walk,
}

impl QueuePages {
    /// Jobs of a page at most; 50 unless said, at least 1. A page of large jobs has fewer: about 1 MB.
    #[must_use]
    pub fn of(mut self, jobs: usize) -> Self {
        self.walk.entries = jobs.max(1);
        self
    }

    /// The next page; `None` at the end.
    ///
    /// # Errors
    ///
    /// As [`Queue::size`].
    pub async fn next(&mut self) -> Result<Option<Vec<JobRecord>>> {
        let page = self.walk.next().await?;
        Ok(page.map(|page| page.into_iter().map(JobRecord::seen).collect()))
    }
}

/// The jobs of a queue as bytes, page by page.
#[derive(Debug)]
pub(super) struct Walk {
    queue: Queue,
    entries: usize,
    seen: usize,
    size: Option<usize>,
    last: HashSet<Vec<u8>>,
}

impl Walk {
    pub(super) fn of(queue: &Queue, entries: usize) -> Self {
        Self { queue: queue.clone(), entries, seen: 0, size: None, last: HashSet::new() }
    }

    /// The next page; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Seen>>> {
        let size = self.queue.size().await?;
        let began = *self.size.get_or_insert(size);
        // Pushes come in at the front and move what was seen back. Where jobs went is not known: rather twice than never.
        let skip = (self.seen + size.saturating_sub(began)).saturating_sub(began.saturating_sub(size));
        let (_, page) = self.queue.store.queue_page(&self.queue.name, skip, self.entries).await?;
        if page.is_empty() {
            return Ok(None);
        }
        self.seen += page.len();
        let last = page.iter().map(|seen| seen.bytes.clone()).collect();
        let last = std::mem::replace(&mut self.last, last);
        Ok(Some(page.into_iter().filter(|seen| !last.contains(&seen.bytes)).collect()))
    }
}

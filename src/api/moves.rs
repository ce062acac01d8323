//! Jobs on their way from a sorted set to a queue or to the dead set: one, many, and back.

use super::{SortedEntry, SortedSet};
use crate::error::{Error, ErrorKind, Result};
use crate::payload::Payload;
use crate::store::sets::{Promotion, WaitingSet};
use crate::time::{EpochSecs, StampForm};

/// Entries one script moves.
const BATCH: usize = 100;

/// What became of entries that were to be moved or deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Moved {
    /// They were.
    pub done: usize,
    /// They were not there any more: others were faster.
    pub gone: usize,
    /// They stay: no payload, stopped by a middleware, or the key they would go to is of another type.
    pub stuck: usize,
}

impl std::ops::AddAssign for Moved {
    fn add_assign(&mut self, other: Self) {
        self.done += other.done;
        self.gone += other.gone;
        self.stuck += other.stuck;
    }
}

/// A job on its way from a set to its queue, and all it takes to [put it back](SortedSet::put_back).
#[derive(Clone, Debug, PartialEq)]
pub struct Departure {
    /// The queue it goes to.
    pub queue: String,
    /// The bytes it goes there as.
    pub pushed: String,
    /// The bytes it is in the set as.
    pub bytes: Vec<u8>,
    /// Its score there.
    pub score: EpochSecs,
}

/// What became of a [`Departure`] that was to be put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// It is in the set again, as it was.
    Back,
    /// It is not in its queue any more: a process took it.
    Taken,
    /// It is in the set and had never left.
    Stayed,
}

impl SortedSet {
    /// Runs a failed job again now, and counts one retry less, as Sidekiq does; whether it was still there.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size); [`ErrorKind::Payload`](crate::ErrorKind::Payload) for what is no payload, which stays.
    pub async fn retry(&self, entry: &SortedEntry) -> Result<bool> {
        self.depart_alone(self.retried(entry).await?).await
    }

    /// Runs a scheduled job now; whether it was still there.
    ///
    /// # Errors
    ///
    /// As [`retry`](Self::retry).
    pub async fn add_to_queue(&self, entry: &SortedEntry) -> Result<bool> {
        self.depart_alone(self.queued(entry).await?).await
    }

    /// Moves a job to the dead set, byte for byte; whether it was still there.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size).
    pub async fn kill(&self, entry: &SortedEntry) -> Result<bool> {
        let Moved { done, stuck, .. } = self.kill_many(std::slice::from_ref(entry)).await?;
        if stuck > 0 {
            return Err(Error::payload("the key of the dead set is no sorted set; the job stays where it is"));
        }
        Ok(done == 1)
    }

    /// How a job would be [retried](Self::retry). Nothing is written; [`depart`](Self::depart) does that.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Payload`](crate::ErrorKind::Payload) for what is no payload or is stopped by a middleware.
    pub async fn retried(&self, entry: &SortedEntry) -> Result<Departure> {
        let mut payload = readable(entry)?;
        if let Some(count) = payload.retry_count() {
            payload.insert("retry_count", count - 1);
        }
        self.departure(entry, payload).await
    }

    /// How a job would be [added to its queue](Self::add_to_queue); as [`retried`](Self::retried).
    ///
    /// # Errors
    ///
    /// As [`retried`](Self::retried).
    pub async fn queued(&self, entry: &SortedEntry) -> Result<Departure> {
        self.departure(entry, readable(entry)?).await
    }

    /// Moves jobs to their queues, a hundred in one script. Of each batch all that can go do.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size); the batches before are through.
    pub async fn depart(&self, departures: &[Departure]) -> Result<Moved> {
        let mut moved = Moved::default();
        for batch in departures.chunks(BATCH) {
            let batch: Vec<_> =
                batch.iter().map(|of| (&*of.bytes, Promotion::Push { queue: &of.queue, bytes: &of.pushed })).collect();
            moved += self.promote(&batch).await?;
        }
        Ok(moved)
    }

    /// Puts jobs back into the set as they were, if they are still in their queues.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size); asking again does no harm.
    pub async fn put_back(&self, departures: &[Departure]) -> Result<Vec<Return>> {
        let mut returns = Vec::with_capacity(departures.len());
        for batch in departures.chunks(BATCH) {
            let scores: Vec<String> = batch.iter().map(|departure| departure.score.to_string()).collect();
            let jobs: Vec<_> = batch
                .iter()
                .zip(&scores)
                .map(|(of, score)| (of.queue.as_str(), of.pushed.as_bytes(), score.as_str(), &*of.bytes))
                .collect();
            let answers = self.api.store.put_back(self.set, &jobs).await?;
            returns.extend(answers.into_iter().map(|answer| match answer {
                1 => Return::Back,
                2 => Return::Stayed,
                _ => Return::Taken,
            }));
        }
        Ok(returns)
    }

    /// Moves jobs to the dead set, a hundred in one script, and trims it to 10,000 jobs of 180 days, as Sidekiq does.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size); the batches before are dead.
    pub async fn kill_many(&self, entries: &[SortedEntry]) -> Result<Moved> {
        let mut moved = Moved::default();
        for batch in entries.chunks(BATCH) {
            let batch: Vec<_> = batch.iter().map(|entry| (entry.bytes(), Promotion::Bury)).collect();
            moved += self.promote(&batch).await?;
        }
        Ok(moved)
    }

    /// Deletes jobs, many with one command.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size).
    pub async fn delete_many(&self, entries: &[SortedEntry]) -> Result<Moved> {
        let mut moved = Moved::default();
        for batch in entries.chunks(BATCH) {
            let members: Vec<&[u8]> = batch.iter().map(|entry| entry.bytes()).collect();
            let done = self.api.store.delete_many_from_set(self.set, &members).await?;
            moved += Moved { done, gone: batch.len().saturating_sub(done), stuck: 0 };
        }
        Ok(moved)
    }

    /// [Retries](Self::retry) all, page by page; returns how many. What is no payload stays.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size); those before have been retried.
    pub async fn retry_all(&self) -> Result<usize> {
        let (mut done, mut stay) = (0, 0);
        loop {
            let page = self.from_highest(stay, BATCH).await?;
            if page.is_empty() {
                return Ok(done);
            }
            let mut departures = Vec::with_capacity(page.len());
            for entry in &page {
                match self.retried(entry).await {
                    Ok(departure) => departures.push(departure),
                    Err(error) if error.kind() == ErrorKind::Payload => stay += 1,
                    Err(error) => return Err(error),
                }
            }
            let moved = self.depart(&departures).await?;
            done += moved.done;
            stay += moved.stuck;
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
        let mut stay = 0;
        loop {
            let page = self.from_highest(stay, BATCH).await?;
            if page.is_empty() {
                return Ok(done);
            }
            let moved = self.kill_many(&page).await?;
            done += moved.done;
            stay += moved.stuck;
        }
    }

    async fn departure(&self, entry: &SortedEntry, mut payload: Payload) -> Result<Departure> {
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
        let bytes = entry.record.bytes().to_owned();
        Ok(Departure { queue, pushed: payload.into_string(), bytes, score: entry.score })
    }

    async fn depart_alone(&self, departure: Departure) -> Result<bool> {
        let Moved { done, stuck, .. } = self.depart(&[departure]).await?;
        if stuck > 0 {
            return Err(Error::payload("the key of the job's queue is no list; the job stays where it is"));
        }
        Ok(done == 1)
    }

    async fn promote(&self, promotions: &[(&[u8], Promotion<'_>)]) -> Result<Moved> {
        let (done, stuck) = self.api.store.promote(self.set, promotions, None).await?;
        Ok(Moved { done, gone: promotions.len().saturating_sub(done + stuck), stuck })
    }
}

fn readable(entry: &SortedEntry) -> Result<Payload> {
    entry.record.payload().cloned().ok_or_else(|| Error::payload("this is no job payload; it can only be deleted"))
}

//! Jobs on their way from a sorted set to a queue or to the dead set: one, many, and back.

use std::collections::{BTreeMap, HashMap};

use super::queue::{WALK, Walk};
use super::{SortedEntry, SortedSet};
use crate::client::{Moment, Push, fill_in};
use crate::error::{Error, ErrorKind, Result};
use crate::payload::{Payload, RetryCount, is_routable_queue};
use crate::store::pages::Returning;
use crate::store::sets::{Promotion, WaitingSet, batches};
use crate::time::{EpochSecs, StampForm};

/// How often a queue is read for jobs that are to be put back.
const WALKS: usize = 3;

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
#[non_exhaustive]
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
    /// [`ErrorKind::Payload`](crate::ErrorKind::Payload) for what is no payload, names no queue, or is stopped by a middleware.
    pub async fn retried(&self, entry: &SortedEntry) -> Result<Departure> {
        let mut payload = readable(entry)?;
        if let Some(count) = payload.get("retry_count").and_then(RetryCount::from_json) {
            payload.insert_raw("retry_count", count.plus(-1).to_string());
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

    /// Moves jobs to their queues, with one script for a hundred or about 1 MB. Of each batch all that can go do.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size); the batches before are through.
    pub async fn depart(&self, departures: &[Departure]) -> Result<Moved> {
        let promotions: Vec<_> =
            departures.iter().map(|of| (&*of.bytes, Promotion::Push { queue: &of.queue, bytes: &of.pushed })).collect();
        self.promote(&promotions).await
    }

    /// Puts jobs back into the set as they were, if they are still in their queues. Each of these is read once, from its newest job on, until
    /// all jobs are found.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size); asking again does no harm.
    pub async fn put_back(&self, departures: &[Departure]) -> Result<Vec<Return>> {
        let mut returns = vec![Return::Taken; departures.len()];
        let mut queues: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, departure) in departures.iter().enumerate() {
            queues.entry(&departure.queue).or_default().push(at);
        }
        for (queue, mut wanted) in queues {
            // A job that left its place while it was looked for is looked for again.
            for _ in 0..WALKS {
                let missed = self.put_back_to(queue, departures, &wanted, &mut returns).await?;
                wanted.retain(|at| returns[*at] != Return::Back);
                if !missed {
                    break;
                }
            }
            let unseen: Vec<_> = wanted.into_iter().map(|at| (at, None)).collect();
            self.put_back_seen(queue, departures, &unseen, &mut returns).await?;
        }
        Ok(returns)
    }

    /// Reads a queue and puts back what is wanted; whether a job that was seen was gone from its place.
    async fn put_back_to(
        &self,
        queue: &str,
        departures: &[Departure],
        wanted: &[usize],
        returns: &mut [Return],
    ) -> Result<bool> {
        let mut wanting: HashMap<&[u8], Vec<usize>> = HashMap::new();
        for at in wanted {
            wanting.entry(departures[*at].pushed.as_bytes()).or_default().push(*at);
        }
        let (mut missed, mut left) = (false, wanted.len());
        let mut walk = Walk::of(&self.api.queue(queue), WALK);
        while left > 0
            && let Some(page) = walk.next().await?
        {
            let found = page.iter().filter_map(|seen| Some((wanting.get_mut(&*seen.bytes)?.pop()?, Some(seen.place))));
            let found: Vec<_> = found.collect();
            left -= found.len();
            self.put_back_seen(queue, departures, &found, returns).await?;
            missed |= found.iter().any(|(at, _)| returns[*at] != Return::Back);
        }
        Ok(missed)
    }

    /// Puts back jobs, each by its place in the queue where it was seen there, and notes what became of each.
    async fn put_back_seen(
        &self,
        queue: &str,
        departures: &[Departure],
        jobs: &[(usize, Option<usize>)],
        returns: &mut [Return],
    ) -> Result<()> {
        let scores: Vec<String> = jobs.iter().map(|(at, _)| departures[*at].score.to_string()).collect();
        let returning: Vec<Returning<'_>> = jobs
            .iter()
            .zip(&scores)
            .map(|((at, place), score)| Returning {
                pushed: departures[*at].pushed.as_bytes(),
                place: *place,
                bytes: &departures[*at].bytes,
                score,
            })
            .collect();
        for ((at, _), answer) in jobs.iter().zip(self.api.store.put_back(self.set, queue, &returning).await?) {
            returns[*at] = match answer {
                1 => Return::Back,
                2 => Return::Stayed,
                _ => Return::Taken,
            };
        }
        Ok(())
    }

    /// Moves jobs to the dead set, with one script for a hundred or about 1 MB. Unlike Sidekiq, it does not trim the dead set: workers do, when
    /// a job dies.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size); the batches before are dead.
    pub async fn kill_many(&self, entries: &[SortedEntry]) -> Result<Moved> {
        let promotions: Vec<_> = entries.iter().map(|entry| (entry.bytes(), Promotion::Bury)).collect();
        self.promote(&promotions).await
    }

    /// Deletes jobs, many with one command.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size).
    pub async fn delete_many(&self, entries: &[SortedEntry]) -> Result<Moved> {
        let mut moved = Moved::default();
        for batch in batches(entries, |entry| entry.bytes().len()) {
            let members: Vec<&[u8]> = batch.iter().map(|entry| entry.bytes()).collect();
            let done = self.api.store.delete_many_from_set(self.set, &members).await?;
            moved += Moved { done, gone: batch.len().saturating_sub(done), stuck: 0 };
        }
        Ok(moved)
    }

    /// [Retries](Self::retry) all that are in the set when it is called; returns how many. One that fails again meanwhile is not retried a
    /// second time. What is no payload stays.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size); those before have been retried.
    pub async fn retry_all(&self) -> Result<usize> {
        let (all, mut scan, mut done) = (self.snapshot().await?, self.scanner(None), 0);
        while let Some(page) = scan.next().await? {
            let mut departures = Vec::with_capacity(page.len());
            for entry in page.iter().filter(|entry| all.holds(entry)) {
                match self.retried(entry).await {
                    Ok(departure) => departures.push(departure),
                    Err(error) if error.kind() == ErrorKind::Payload => {}
                    Err(error) => return Err(error),
                }
            }
            done += self.depart(&departures).await?.done;
        }
        Ok(done)
    }

    /// [Kills](Self::kill) all that are in the set when it is called; returns how many. The dead stay where they are.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size); those before are dead.
    pub async fn kill_all(&self) -> Result<usize> {
        let mut done = 0;
        if self.set == WaitingSet::Dead {
            return Ok(done);
        }
        let (all, mut scan) = (self.snapshot().await?, self.scanner(None));
        while let Some(mut page) = scan.next().await? {
            page.retain(|entry| all.holds(entry));
            done += self.kill_many(&page).await?.done;
        }
        Ok(done)
    }

    async fn departure(&self, entry: &SortedEntry, mut payload: Payload) -> Result<Departure> {
        payload.remove("at");
        let form = payload.stamp_form().unwrap_or(StampForm::Millis);
        let stamp = form.stamp(EpochSecs::now());
        fill_in(&mut payload, || stamp.clone());
        let mut payload = match self.api.client.through_middleware(payload, Moment::Promotion).await? {
            Push::Keep(payload) => payload,
            Push::Drop => return Err(Error::payload("a middleware stopped the job; it stays where it is")),
            Push::Delay(..) => return Err(Error::payload("a middleware delays the job; it stays where it is")),
        };
        payload.insert_raw("enqueued_at", stamp);
        let queue = payload.queue().to_owned();
        if !is_routable_queue(&queue) {
            return Err(Error::payload("the job names no queue that a process can serve; it stays where it is"));
        }
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

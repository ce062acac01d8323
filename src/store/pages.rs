//! Pages of queues and sets, and changes of jobs that were seen on one. A page is bounded by bytes; a change looks where the job was seen and
//! walks through no list.

use super::sets::{BUDGET, WaitingSet, batches};
use super::{Store, keys, scripts};
use crate::error::Result;

/// From which end a sorted set is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Low,
    High,
}

/// A job as it was seen in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) bytes: Vec<u8>,
    /// Jobs that were behind it, and so are to run before it.
    pub(crate) place: usize,
}

/// A job that goes from its queue back into a sorted set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Returning<'a> {
    /// Its bytes in the queue, and where it was seen there, if it was.
    pub(crate) pushed: &'a [u8],
    pub(crate) place: Option<usize>,
    /// Its bytes in the set, and its score.
    pub(crate) bytes: &'a [u8],
    pub(crate) score: &'a str,
}

impl Store {
    /// Reads up to `n` jobs of a queue behind the `skip` newest, newest first, as Sidekiq shows them; fewer where they are large: about
    /// [`BUDGET`] bytes, but at least one. With them the size of the queue.
    pub(crate) async fn queue_page(&self, name: &str, skip: usize, n: usize) -> Result<(usize, Vec<Seen>)> {
        let mut page = scripts::PAGE.key(keys::queue(name));
        page.arg(skip).arg(n).arg(BUDGET).arg("list");
        let (size, jobs): (usize, Vec<Vec<u8>>) = self.link.eval("read a queue", &page).await?;
        let place = |at: usize| size.saturating_sub(skip).saturating_sub(at).saturating_sub(1);
        Ok((size, jobs.into_iter().enumerate().map(|(at, bytes)| Seen { bytes, place: place(at) }).collect()))
    }

    /// Reads up to `n` members of a set after passing over `skip`, with their scores; fewer where they are large, as
    /// [`queue_page`](Self::queue_page).
    pub(crate) async fn set_page(
        &self,
        set: WaitingSet,
        from: End,
        skip: usize,
        n: usize,
    ) -> Result<Vec<(Vec<u8>, f64)>> {
        let mut page = scripts::PAGE.key(set.key());
        page.arg(skip).arg(n).arg(BUDGET).arg(if from == End::Low { "low" } else { "high" });
        let (_size, members): (usize, Vec<(Vec<u8>, f64)>) = self.link.eval("read a set", &page).await?;
        Ok(members)
    }

    /// How many members of a set have a score from `from` to `to`; each may be what Redis calls a limit, `(5` or `+inf`.
    pub(crate) async fn set_count(&self, set: WaitingSet, from: &str, to: &str) -> Result<usize> {
        self.link.query("measure a set", redis::cmd("ZCOUNT").arg(set.key()).arg(from).arg(to)).await
    }

    /// Deletes a job from a queue; whether it was where it was seen, or near.
    pub(crate) async fn delete_from_queue(&self, name: &str, place: usize, job: &[u8]) -> Result<bool> {
        let mut delete = scripts::DELETE_FROM_LIST.key(keys::queue(name));
        self.link.eval("delete a job", delete.arg(place).arg(job)).await
    }

    /// Puts other bytes in the place of a job in a queue; whether it was where it was seen, or near.
    pub(crate) async fn replace_in_queue(&self, name: &str, place: usize, job: &[u8], other: &[u8]) -> Result<bool> {
        let mut replace = scripts::REPLACE_IN_LIST.key(keys::queue(name));
        self.link.eval("rewrite a job", replace.arg(place).arg(job).arg(other)).await
    }

    /// Moves jobs from a queue back into a set, those with most jobs behind them first. Of each: 1 if it is back; else it was not where it was
    /// seen, or near, and 2 if it is in the set already, 0 if it is not.
    pub(crate) async fn put_back(&self, set: WaitingSet, queue: &str, jobs: &[Returning<'_>]) -> Result<Vec<u8>> {
        let mut back = Vec::with_capacity(jobs.len());
        for batch in batches(jobs, |job| job.pushed.len() + job.bytes.len()) {
            let mut put_back = scripts::PUT_BACK.key(set.key());
            put_back.key(keys::queue(queue));
            for Returning { pushed, place, bytes, score } in batch {
                let place = place.map_or(String::new(), |place| place.to_string());
                put_back.arg(place).arg(*pushed).arg(*score).arg(*bytes);
            }
            let answers: Vec<u8> = self.link.eval("put jobs back", &put_back).await?;
            back.extend(answers);
        }
        Ok(back)
    }

    /// Deletes up to `most` of the oldest jobs of a queue, none that is newer than `newest`; its name, too, once it is empty. Returns how many
    /// were deleted and how many are left that may go.
    pub(crate) async fn clear_oldest(&self, name: &str, most: usize, newest: Option<&[u8]>) -> Result<(usize, usize)> {
        let mut clear = scripts::CLEAR_QUEUE.key(keys::queue(name));
        clear.key(keys::QUEUES).arg(name).arg(most).arg(newest.unwrap_or_default());
        self.link.eval("clear a queue", &clear).await
    }
}

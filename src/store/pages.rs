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

/// Entries of one read at most, once their size is known.
const WINDOW: usize = 256;

/// A page that is read in windows: one entry, some, then as many as fit into what is left of [`BUDGET`]. Needs no right to run scripts. Entries
/// that are added or removed meanwhile may be read twice or passed over.
pub(super) struct Page<T> {
    pub(super) entries: Vec<T>,
    /// How many entries it is to have at most.
    most: usize,
    room: usize,
    largest: usize,
}

impl<T> Page<T> {
    pub(super) fn of(most: usize) -> Self {
        Self { entries: Vec::new(), most, room: BUDGET, largest: 0 }
    }

    /// How many entries to read next, behind those that are here; `None` once it is full.
    pub(super) fn window(&self) -> Option<usize> {
        let most = match self.entries.len() {
            0 => 1,
            1 => 15,
            _ => WINDOW,
        };
        let fits = (self.room / self.largest.max(1)).max(1);
        Some(most.min(self.most.saturating_sub(self.entries.len())).min(fits)).filter(|count| *count > 0)
    }

    /// Adds a window for which `count` entries were requested.
    pub(super) fn add(&mut self, window: Vec<T>, count: usize, size_of: impl Fn(&T) -> usize) {
        let mut is_full = window.len() < count;
        for entry in window {
            let size = size_of(&entry);
            if size > self.room && !self.entries.is_empty() {
                is_full = true;
                break;
            }
            self.room = self.room.saturating_sub(size);
            self.largest = self.largest.max(size);
            self.entries.push(entry);
        }
        if is_full || self.room == 0 {
            self.most = self.entries.len();
        }
    }
}

impl Store {
    /// Reads up to `n` jobs of a queue behind the `skip` newest, newest first, as Sidekiq shows them; fewer where they are large: about
    /// [`BUDGET`] bytes, but at least one. With them the size of the queue.
    pub(crate) async fn queue_page(&self, name: &str, skip: usize, n: usize) -> Result<(usize, Vec<Seen>)> {
        let key = keys::queue(name);
        let size: usize = self.link.query("measure a queue", redis::cmd("LLEN").arg(&key)).await?;
        let mut page = Page::of(n.min(size.saturating_sub(skip)));
        while let Some(count) = page.window() {
            let from = skip + page.entries.len();
            let lrange = redis::cmd("LRANGE").arg(&key).arg(from).arg(from + count - 1).take();
            page.add(self.link.query::<Vec<Vec<u8>>>("read a queue", &lrange).await?, count, Vec::len);
        }
        let place = |at: usize| size.saturating_sub(skip).saturating_sub(at).saturating_sub(1);
        Ok((size, page.entries.into_iter().enumerate().map(|(at, bytes)| Seen { bytes, place: place(at) }).collect()))
    }

    /// Reads up to `n` jobs of any list behind the `skip` newest, as [`queue_page`](Self::queue_page).
    pub(crate) async fn list_page(&self, key: &str, skip: usize, n: usize) -> Result<Vec<Vec<u8>>> {
        let mut page = Page::of(n);
        while let Some(count) = page.window() {
            let from = skip + page.entries.len();
            let lrange = redis::cmd("LRANGE").arg(key).arg(from).arg(from + count - 1).take();
            page.add(self.link.query::<Vec<Vec<u8>>>("read a list", &lrange).await?, count, Vec::len);
        }
        Ok(page.entries)
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
        let mut page = Page::of(n);
        while let Some(count) = page.window() {
            let rank = skip + page.entries.len();
            let mut zrange = redis::cmd("ZRANGE");
            zrange.arg(set.key()).arg(rank).arg(rank + count - 1);
            if from == End::High {
                zrange.arg("REV");
            }
            let window = self.link.query::<Vec<(Vec<u8>, f64)>>("read a set", zrange.arg("WITHSCORES")).await?;
            page.add(window, count, |(member, _)| member.len());
        }
        Ok(page.entries)
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

    /// The size of a queue, its newest job and its oldest one.
    pub(crate) async fn queue_ends(&self, name: &str) -> Result<(usize, Option<Vec<u8>>, Option<Vec<u8>>)> {
        let (key, mut pipeline) = (keys::queue(name), redis::Pipeline::with_capacity(3));
        pipeline.atomic();
        pipeline.cmd("LLEN").arg(&key).cmd("LINDEX").arg(&key).arg(0).cmd("LINDEX").arg(&key).arg(-1);
        self.link.read("count a queue", &pipeline).await
    }

    /// Deletes up to `most` of the oldest `counted` jobs of a queue, none that is newer than the newest of `ends` or older than the oldest, where
    /// these are there; the name of the queue, too, once it is empty. Returns how many were deleted and how many are left that may go.
    pub(crate) async fn clear_oldest(
        &self,
        name: &str,
        most: usize,
        counted: usize,
        (newest, oldest): (Option<&[u8]>, Option<&[u8]>),
    ) -> Result<(usize, usize)> {
        let mut clear = scripts::CLEAR_QUEUE.key(keys::queue(name));
        clear.key(keys::QUEUES).arg(name).arg(most).arg(newest.unwrap_or_default()).arg(oldest.unwrap_or_default());
        clear.arg(counted);
        self.link.eval("clear a queue", &clear).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The windows in which a page of such sizes is read, and how many entries it has then.
    fn read(sizes: &[usize], most: usize) -> (Vec<usize>, usize) {
        let (mut page, mut windows) = (Page::of(most), Vec::new());
        while let Some(count) = page.window() {
            windows.push(count);
            let from = page.entries.len();
            page.add(sizes[from..(from + count).min(sizes.len())].to_vec(), count, |size| *size);
        }
        (windows, page.entries.len())
    }

    #[test]
    fn a_page_is_bounded_by_entries_and_by_bytes_and_has_one_in_any_case() {
        assert_eq!(read(&[100; 50], 30), (vec![1, 15, 14], 30));
        assert_eq!(read(&[100; 5], 30), (vec![1, 15], 5), "there are no more");
        assert_eq!(read(&[7 * BUDGET; 5], 30), (vec![1], 1));
        assert_eq!(read(&[BUDGET / 4; 50], 30), (vec![1, 3], 4));
        assert_eq!(read(&[1, BUDGET, 1, 1], 30).1, 1, "the next page begins with the large one");
        assert_eq!(read(&[], 30), (vec![1], 0));
        assert_eq!(read(&[1; 5], 0), (vec![], 0));
    }
}

//! How many bytes of jobs one claim moves and one answer of Redis brings.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use redis::{Cmd, RedisError, ScriptInvocation, cmd};

use super::refusal::redis_error;
use super::wire::Request;
use super::{Store, keys, scripts};
use crate::error::Result;

/// Bytes of one window where Redis answers in time: 1 MiB. A job that is larger has a window of its own.
pub(crate) const CLAIM_BYTES: usize = 1_024 * 1_024;

/// Halvings after which a window holds one job, whatever its size.
const LEVELS: u32 = CLAIM_BYTES.ilog2();
/// Answers in a row after which the window doubles.
const ANSWERS: u32 = 8;

/// The window of one Redis: it halves with each time-out, down to one job, and doubles after eight answers.
#[derive(Clone, Debug, Default)]
pub(super) struct Window(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// How often it was halved.
    level: AtomicU32,
    /// Answers since the last time-out or doubling.
    answers: AtomicU32,
}

impl Window {
    fn level(&self) -> u32 {
        self.0.level.load(Ordering::Relaxed)
    }

    /// Bytes of payloads in one answer; the first job comes even if it is larger.
    pub(super) fn bytes(&self) -> usize {
        CLAIM_BYTES >> self.level()
    }

    /// Learns from the outcome of a read.
    pub(super) fn learn<T>(&self, outcome: &Result<T>) {
        match outcome {
            Ok(_) => self.answered(),
            Err(error) if redis_error(error).is_some_and(RedisError::is_timeout) => self.timed_out(),
            Err(_) => {}
        }
    }

    fn answered(&self) {
        let level = self.level();
        // The usual case: there is nothing to win back.
        if level == 0 || self.0.answers.fetch_add(1, Ordering::Relaxed) + 1 < ANSWERS {
            return;
        }
        self.0.answers.store(0, Ordering::Relaxed);
        // Unless another read timed out meanwhile.
        let _ = self.0.level.compare_exchange(level, level - 1, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn timed_out(&self) {
        self.0.answers.store(0, Ordering::Relaxed);
        let _ = self.0.level.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |level| Some((level + 1).min(LEVELS)));
    }
}

impl Store {
    /// Up to `n` jobs of a private list, the one to run first first; no more than fit into one window, but one job in any case. Returns none
    /// only if the list is empty.
    pub(crate) async fn private_jobs(&self, list: &str, n: usize) -> Result<Vec<Vec<u8>>> {
        self.window_of(list, 0, n).await
    }

    /// All jobs of a private list, the one to run first first, read window by window.
    pub(crate) async fn all_private_jobs(&self, list: &str) -> Result<Vec<Vec<u8>>> {
        let mut jobs = Vec::new();
        loop {
            let more = self.window_of(list, jobs.len(), usize::MAX).await?;
            if more.is_empty() {
                return Ok(jobs);
            }
            jobs.extend(more);
        }
    }

    async fn window_of(&self, list: &str, skip: usize, n: usize) -> Result<Vec<Vec<u8>>> {
        let script = window_script(list, skip, n, self.window.bytes());
        self.read_list(Request::Script(&script)).await
    }

    /// The jobs that a claim just moved into a private list, `n` at most, the one to run first first. The claim bounded their bytes.
    pub(super) async fn claimed_jobs(&self, list: &str, n: usize) -> Result<Vec<Vec<u8>>> {
        let mut jobs = self.read_list(Request::Command(&last_jobs(list, n))).await?;
        jobs.reverse();
        Ok(jobs)
    }

    async fn read_list(&self, request: Request<'_>) -> Result<Vec<Vec<u8>>> {
        let jobs: Result<Vec<Vec<u8>>> = self.link.run("read a private list", request).await;
        self.window.learn(&jobs);
        if let Ok(jobs) = &jobs {
            self.release_after(jobs);
        }
        jobs
    }

    /// Releases the buffers of the connection if it carried large jobs.
    pub(super) fn release_after(&self, jobs: &[Vec<u8>]) {
        if are_large(jobs) {
            self.release_buffers();
        }
    }

    /// To be called after a large request or answer: the connection keeps as much memory while it lasts.
    pub(crate) fn release_buffers(&self) {
        self.link.renew();
    }

    /// Moves all jobs of a private list back to their queue, the oldest to run first, window by window; returns how many. Safe to repeat after
    /// silence.
    pub(crate) async fn requeue_list(&self, list: &str, queue: &str) -> Result<usize> {
        let mut requeue = scripts::REQUEUE_LIST.key(list);
        requeue.key(keys::queue(queue)).key(keys::QUEUES).arg(queue).arg(MOST_JOBS).arg(CLAIM_BYTES);
        let mut moved = 0;
        loop {
            match self.eval::<usize>("requeue", &requeue).await? {
                0 => return Ok(moved),
                some => moved += some,
            }
        }
    }
}

/// Whether a connection that carried these jobs keeps so much memory that a new one is worth it.
pub(crate) fn are_large(jobs: &[Vec<u8>]) -> bool {
    jobs.iter().map(Vec::len).sum::<usize>() > 2 * CLAIM_BYTES
}

/// Jobs one script reads or moves at most, however small they are: it holds Redis for less than two milliseconds.
const MOST_JOBS: usize = 1_600;

/// Reads jobs of a private list by bytes, behind the `skip` that are to run first.
pub(super) fn window_script(list: &str, skip: usize, n: usize, bytes: usize) -> ScriptInvocation<'static> {
    let mut script = scripts::WINDOW.key(list);
    script.arg(skip).arg(n.min(MOST_JOBS)).arg(bytes);
    script
}

/// Reads the jobs of a private list that are to run first, the first of them last.
fn last_jobs(list: &str, n: usize) -> Cmd {
    cmd("LRANGE").arg(list).arg(isize::try_from(n).map_or(0, |n| -n)).arg(-1).take()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_halves_with_each_time_out_down_to_one_byte_so_one_job() {
        let window = Window::default();
        let sizes: Vec<usize> = (0..25).map(|_| (window.bytes(), window.timed_out()).0).collect();
        assert_eq!(sizes[..3], [CLAIM_BYTES, CLAIM_BYTES / 2, CLAIM_BYTES / 4]);
        assert_eq!(sizes[20..], [1; 5]);
    }

    #[test]
    fn a_window_grows_slowly_and_to_its_largest() {
        let window = Window::default();
        (0..3).for_each(|_| window.timed_out());
        let mut answers = 0;
        while window.bytes() < CLAIM_BYTES {
            window.answered();
            answers += 1;
        }
        assert_eq!(answers, 3 * ANSWERS);
        (0..100).for_each(|_| window.answered());
        assert_eq!(window.bytes(), CLAIM_BYTES);
        window.timed_out();
        (1..ANSWERS).for_each(|_| window.answered());
        window.timed_out();
        (1..ANSWERS).for_each(|_| window.answered());
        assert_eq!(window.bytes(), CLAIM_BYTES / 4, "a time-out ends the row of answers");
    }

    #[test]
    fn only_time_outs_make_a_window_smaller() {
        use super::super::error::Applied;
        use super::super::error::failed;
        let window = Window::default();
        let outcome = |kind: std::io::ErrorKind| {
            Result::<()>::Err(failed("read", Applied::Unknown, std::io::Error::from(kind).into()))
        };
        window.learn(&outcome(std::io::ErrorKind::ConnectionRefused));
        window.learn(&outcome(std::io::ErrorKind::BrokenPipe));
        assert_eq!(window.bytes(), CLAIM_BYTES);
        window.learn(&outcome(std::io::ErrorKind::TimedOut));
        assert_eq!(window.bytes(), CLAIM_BYTES / 2);
    }
}

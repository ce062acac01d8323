//! How much of a private list one command reads.

use std::sync::atomic::{AtomicUsize, Ordering};

use redis::{Cmd, cmd};

use super::Store;
use crate::error::Result;

/// Bytes of payloads that end a claim: the job that goes beyond it is the last.
pub(crate) const CLAIM_BYTES: usize = 1_024 * 1_024;

/// Jobs one command reads: more than a claim moves, until a command times out.
const MOST: usize = 2_048;

/// Shrinks after each time-out, down to one job, and grows again with each answer.
#[derive(Debug)]
pub(super) struct Windows(AtomicUsize);

impl Default for Windows {
    fn default() -> Self {
        Self(AtomicUsize::new(MOST))
    }
}

impl Windows {
    /// Jobs the next command may read.
    pub(super) fn jobs(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// A command with this window was answered, or timed out.
    fn learn(&self, window: usize, answered: bool) {
        let next = if answered { window.saturating_mul(2).min(MOST) } else { (window / 2).max(1) };
        // Another command may have learned meanwhile: the first one counts.
        let _ = self.0.compare_exchange(window, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

impl Store {
    /// Up to `n` jobs of a private list, the one to run first first.
    pub(crate) async fn private_jobs(&self, list: &str, n: usize) -> Result<Vec<Vec<u8>>> {
        self.window_of(list, 0, n).await
    }

    /// Up to `n` jobs of a private list, those that run last; of these, the one to run first first.
    pub(crate) async fn newest_private_jobs(&self, list: &str, n: usize) -> Result<Vec<Vec<u8>>> {
        let window = self.windows.jobs();
        let read = cmd("LRANGE").arg(list).arg(0).arg(n.min(window).saturating_sub(1)).take();
        self.read_window(window, &read).await
    }

    /// All jobs of a private list, the one to run first first, read in windows.
    pub(crate) async fn all_private_jobs(&self, list: &str) -> Result<Vec<Vec<u8>>> {
        let mut jobs = Vec::new();
        loop {
            let window = self.windows.jobs();
            let more = self.window_of(list, jobs.len(), window).await?;
            let last = more.len() < window;
            jobs.extend(more);
            if last {
                return Ok(jobs);
            }
        }
    }

    async fn window_of(&self, list: &str, from: usize, n: usize) -> Result<Vec<Vec<u8>>> {
        self.read_window(self.windows.jobs(), &last_jobs(list, from, n)).await
    }

    /// Reads jobs, the one to run first first.
    async fn read_window(&self, window: usize, command: &Cmd) -> Result<Vec<Vec<u8>>> {
        let read = self.link.query::<Vec<Vec<u8>>>("read a private list", command).await;
        match &read {
            Ok(_) => self.windows.learn(window, true),
            Err(error) if error.is_ambiguous() => self.windows.learn(window, false),
            Err(_) => {}
        }
        let mut jobs = read?;
        jobs.reverse();
        Ok(jobs)
    }
}

/// Reads jobs of a private list that are to run first, behind the first `from`; the first of them last.
pub(super) fn last_jobs(list: &str, from: usize, n: usize) -> Cmd {
    let position = |jobs: usize| isize::try_from(jobs).map_or(isize::MIN, |jobs| -jobs);
    cmd("LRANGE").arg(list).arg(position(from.saturating_add(n))).arg(position(from + 1)).take()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_halves_with_each_time_out_down_to_one_job_and_grows_again() {
        let windows = Windows::default();
        let mut seen = vec![windows.jobs()];
        for _ in 0..12 {
            windows.learn(windows.jobs(), false);
            seen.push(windows.jobs());
        }
        assert_eq!((seen[1], seen[2], *seen.last().unwrap()), (MOST / 2, MOST / 4, 1));
        windows.learn(1, false);
        assert_eq!(windows.jobs(), 1);
        for _ in 0..20 {
            windows.learn(windows.jobs(), true);
        }
        assert_eq!(windows.jobs(), MOST);
    }

    #[cfg(feature = "testing")]
    #[tokio::test]
    async fn reads_a_long_list_window_by_window_in_order() {
        let redis = crate::testing::Redis::start().unwrap();
        let store = Store::new(redis.options().unwrap());
        let jobs: Vec<Vec<u8>> = (0..10_u32).map(|number| number.to_string().into_bytes()).collect();
        store.link.query::<()>("test", cmd("LPUSH").arg("list").arg(&jobs)).await.unwrap();
        for window in [1, 2, 3, 10, 11] {
            store.windows.0.store(window, Ordering::Relaxed);
            assert_eq!(store.all_private_jobs("list").await.unwrap(), jobs, "first in windows of {window}");
            store.windows.0.store(window, Ordering::Relaxed);
            assert_eq!(store.private_jobs("list", 3).await.unwrap(), jobs[..3]);
            store.windows.0.store(window, Ordering::Relaxed);
            assert_eq!(store.newest_private_jobs("list", 4).await.unwrap(), jobs[10 - window.min(4)..]);
        }
        assert!(store.all_private_jobs("none").await.unwrap().is_empty());
    }
}

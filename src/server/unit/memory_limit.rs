//! How much memory this process may use: ends it in good order above the limit, and before that has it fetch less.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::server::settings::cgroup;
use crate::server::settings::config::MaxRss;
use crate::server::settings::os::rss;

/// How old the size may be that decides about a claim.
const FRESH: Duration = Duration::from_millis(5);
/// A job that runs takes so many times its payload: the bytes from Redis, the arguments as read, and what the job makes of them.
const TIMES: u64 = 4;

/// The limit of one process; all its capsules share it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryLimit(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    limit: u64,
    /// Bytes of the payloads that all capsules hold.
    held: AtomicUsize,
    /// All payloads ever held: what came after the last look is not in `rss`.
    came: AtomicU64,
    seen: Mutex<Seen>,
    /// Whether the process stops since it uses more than the limit.
    exceeded: AtomicBool,
}

/// The process at the last look.
#[derive(Clone, Copy, Debug)]
struct Seen {
    at: Instant,
    rss: u64,
    came: u64,
}

impl MemoryLimit {
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config): this system does not report the memory of a process, or no limit for `auto`.
    pub(crate) fn of(max: Option<MaxRss>) -> Result<Self> {
        max.map_or_else(
            || Ok(Self::default()),
            |max| Self::resolve(max, rss(), || cgroup::memory_limit(Path::new("/"))),
        )
    }

    /// The limit of a process that uses so much now and has the control group's limit that `group` returns.
    fn resolve(max: MaxRss, rss: Option<u64>, group: impl FnOnce() -> io::Result<Option<u64>>) -> Result<Self> {
        let rss = rss.ok_or_else(|| {
            Error::config(
                "max_rss: this system does not report how much memory the process uses; on Linux, /proc must be mounted",
            )
        })?;
        let limit = match max {
            MaxRss::Bytes(bytes) => Some(bytes),
            MaxRss::Auto => group().map(|limit| limit.map(part_of)).map_err(|error| {
                let text = "max_rss: auto: the memory limit of the control group cannot be read; name a size";
                Error::config(text).because(error)
            })?,
        };
        if limit.is_none() {
            tracing::warn!(
                "max_rss: auto: the control group of this process has no memory limit, so the process has none"
            );
        }
        Ok(limit.map(|limit| Self::at(limit, rss)).unwrap_or_default())
    }

    pub(crate) fn at(limit: u64, rss: u64) -> Self {
        let seen = Mutex::new(Seen { at: Instant::now(), rss, came: 0 });
        Self(Some(Arc::new(Shared {
            limit,
            held: AtomicUsize::new(0),
            came: AtomicU64::new(0),
            seen,
            exceeded: AtomicBool::new(false),
        })))
    }

    /// The limit in bytes, if there is one.
    pub(crate) fn bytes(&self) -> Option<u64> {
        self.0.as_ref().map(|shared| shared.limit)
    }

    /// Whether the process stops since it uses more than the limit.
    pub(crate) fn is_exceeded(&self) -> bool {
        self.0.as_ref().is_some_and(|shared| shared.exceeded.load(Ordering::Relaxed))
    }

    /// Notes that the process uses so much. Returns the limit if that is more.
    pub(crate) fn exceeded_by(&self, rss: u64) -> Option<u64> {
        let shared = self.0.as_ref().filter(|shared| rss > shared.limit)?;
        shared.exceeded.store(true, Ordering::Relaxed);
        Some(shared.limit)
    }

    /// Counts bytes of payloads that a capsule now holds.
    pub(crate) fn hold(&self, bytes: usize) {
        if let Some(shared) = &self.0 {
            shared.came.fetch_add(bytes as u64, Ordering::Relaxed);
            shared.held.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Takes back what [`hold`](Self::hold) counted.
    pub(crate) fn release(&self, bytes: usize) {
        if let Some(shared) = &self.0 {
            shared.held.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Whether a claim of so many bytes may lead above the limit. A process that holds no job may always claim: else it would never again.
    pub(crate) fn is_near(&self, claim: usize) -> bool {
        let Some(shared) = &self.0 else { return false };
        let held = shared.held.load(Ordering::Relaxed) as u64;
        held > 0 && shared.at_worst(shared.seen(), held, claim as u64) > shared.limit
    }
}

impl Shared {
    /// The process, as it was no longer ago than `FRESH`.
    fn seen(&self) -> Seen {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.at.elapsed() >= FRESH
            && let Some(rss) = rss()
        {
            *seen = Seen { at: Instant::now(), rss, came: self.came.load(Ordering::Relaxed) };
        }
        *seen
    }

    /// What the process uses if each job that it holds, and those of the claim, take their most.
    fn at_worst(&self, seen: Seen, held: u64, claim: u64) -> u64 {
        let since = self.came.load(Ordering::Relaxed).saturating_sub(seen.came);
        seen.rss
            .saturating_add((TIMES - 1).saturating_mul(held))
            .saturating_add(since)
            .saturating_add(TIMES.saturating_mul(claim))
    }
}

/// The part of a group's limit that the process may use: four fifths. The rest is for what the kernel counts besides, and for a job that takes
/// more than expected.
fn part_of(limit: u64) -> u64 {
    limit / 5 * 4
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    #[test]
    fn counts_what_is_held_what_came_since_the_look_and_the_claim_itself() {
        let limit = MemoryLimit::at(50 * MB, 10 * MB);
        let shared = limit.0.as_ref().unwrap();
        let seen = Seen { at: Instant::now(), rss: 10 * MB, came: 0 };
        assert_eq!(shared.at_worst(seen, 0, MB), 14 * MB);
        limit.hold(5 << 20);
        assert_eq!(shared.at_worst(seen, 5 * MB, MB), 34 * MB, "five times four, and the claim");
        let later = Seen { rss: 30 * MB, came: 5 * MB, ..seen };
        assert_eq!(shared.at_worst(later, 5 * MB, MB), 49 * MB, "30 for now, and the jobs may not have begun");
        limit.release(5 << 20);
        assert_eq!(shared.held.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_process_that_holds_nothing_may_always_claim() {
        let limit = MemoryLimit::at(MB, 10 * MB);
        assert!(!limit.is_near(1 << 20));
        limit.hold(1);
        assert!(limit.is_near(1));
        assert!(!MemoryLimit::default().is_near(usize::MAX), "no limit, never near");
    }

    #[test]
    fn a_limit_that_cannot_be_watched_or_read_is_an_error() {
        let resolve = |max, rss, group: io::Result<Option<u64>>| MemoryLimit::resolve(max, rss, || group);
        let error = resolve(MaxRss::Bytes(MB), None, Ok(None)).unwrap_err();
        assert!(error.is_config() && error.to_string().contains("/proc must be mounted"), "{error}");
        let error = resolve(MaxRss::Auto, Some(MB), Err(io::ErrorKind::NotFound.into())).unwrap_err();
        assert!(error.is_config() && error.to_string().contains("name a size"), "{error}");
        let limit = |max, group| resolve(max, Some(MB), Ok(group)).unwrap().bytes();
        assert_eq!(limit(MaxRss::Bytes(5), Some(MB)), Some(5));
        assert_eq!(limit(MaxRss::Auto, Some(500 * MB)), Some(400 * MB), "a fifth is left");
        assert_eq!(limit(MaxRss::Auto, None), None);
    }
}

//! Whether the runtimes of a server move.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Without a sign of the two runtimes for so long, the process counts as hung.
const HUNG: Duration = Duration::from_secs(20);

/// When the runtimes of a server last moved. Redis has no part in this: to start a process anew brings Redis back no sooner.
#[derive(Debug)]
pub(crate) struct Pulse {
    since: Instant,
    /// Milliseconds from `since` to the last sign of the runtime that runs jobs.
    pub(super) jobs: AtomicU64,
    /// The same of the heartbeat's.
    pub(super) heart: AtomicU64,
    /// A beat reached Redis.
    pub(super) beaten: AtomicBool,
}

impl Default for Pulse {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            jobs: AtomicU64::default(),
            heart: AtomicU64::default(),
            beaten: AtomicBool::default(),
        }
    }
}

impl Pulse {
    /// A beat reached Redis.
    pub(crate) fn beaten(&self) {
        self.beaten.store(true, Ordering::Relaxed);
    }

    pub(super) fn sign(&self, of: &AtomicU64) {
        of.store(u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn is_hung(&self, of: &AtomicU64) -> bool {
        self.since.elapsed().saturating_sub(Duration::from_millis(of.load(Ordering::Relaxed))) > HUNG
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_runtime_for_hung_that_gives_no_sign() {
        let pulse = Pulse { since: Instant::now() - Duration::from_secs(30), ..Pulse::default() };
        assert!(pulse.is_hung(&pulse.jobs));
        pulse.sign(&pulse.jobs);
        assert!(!pulse.is_hung(&pulse.jobs) && pulse.is_hung(&pulse.heart));
        assert!(!Pulse::default().is_hung(&AtomicU64::default()), "it has only begun");
    }
}

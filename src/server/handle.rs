use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

/// Quiets and stops a running server. Cheap to clone; works before `run` too.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    phase: AtomicU8,
    changed: Notify,
}

/// How a server ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// Jobs that could be neither finished nor put back before the end. They lie in this process's private lists and
    /// another ferrokiq process puts them back within a minute.
    pub left_for_recovery: usize,
}

const RUNNING: u8 = 0;
const QUIET: u8 = 1;
const STOPPING: u8 = 2;
const NOW: u8 = 3;

impl Handle {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared { phase: AtomicU8::new(RUNNING), changed: Notify::new() }))
    }

    /// Fetch nothing more; what runs goes on, and the process stays up and visible. Sidekiq's TSTP.
    pub fn quiet(&self) {
        self.advance(QUIET);
    }

    /// Finish what runs, up to the shutdown timeout, put back the rest, and end. Sidekiq's TERM.
    pub fn stop(&self) {
        self.advance(STOPPING);
    }

    /// As [`stop`](Self::stop), without waiting for the timeout.
    pub fn stop_now(&self) {
        self.advance(NOW);
    }

    /// Whether it was told to fetch nothing more.
    pub fn is_quiet(&self) -> bool {
        self.phase() >= QUIET
    }

    /// Whether it was told to stop.
    pub fn is_stopping(&self) -> bool {
        self.phase() >= STOPPING
    }

    fn phase(&self) -> u8 {
        self.0.phase.load(Ordering::Acquire)
    }

    /// Phases only go forward.
    fn advance(&self, phase: u8) {
        if self.0.phase.fetch_max(phase, Ordering::AcqRel) < phase {
            self.0.changed.notify_waiters();
        }
    }
}

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Bytes of payloads a capsule may hold, waiting and running. One job it takes in any case.
pub(crate) const LIMIT: usize = 256 * 1_024 * 1_024;

/// Bytes of payloads that a capsule holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    used: AtomicUsize,
    /// The fetcher waits here while too much is held.
    freed: Notify,
}

/// The bytes of one batch; they count until this is dropped.
#[derive(Debug)]
pub(super) struct Portion {
    of: Memory,
    bytes: usize,
}

impl Memory {
    pub(super) fn add(&self, bytes: usize) -> Portion {
        self.0.used.fetch_add(bytes, Ordering::Relaxed);
        Portion { of: self.clone(), bytes }
    }

    /// Bytes that may be added.
    pub(crate) fn left(&self) -> usize {
        LIMIT.saturating_sub(self.0.used.load(Ordering::Relaxed))
    }

    /// Resolves when bytes were freed that stood in the way. Cancel safe.
    pub(crate) async fn freed(&self) {
        self.0.freed.notified().await;
    }
}

impl Drop for Portion {
    fn drop(&mut self) {
        if self.of.0.used.fetch_sub(self.bytes, Ordering::Relaxed) > LIMIT / 2 {
            self.of.0.freed.notify_one();
        }
    }
}

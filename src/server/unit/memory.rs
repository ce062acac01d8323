use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::server::unit::memory_limit::MemoryLimit;

/// Between two looks whether the process is further from its limit: memory is freed by jobs that run on, and by other capsules.
const LOOK: Duration = Duration::from_millis(10);

/// Bytes of payloads from which on a capsule fetches no more: 256 MiB. One job it takes in any case.
const FULL: usize = 256 * 1_024 * 1_024;

/// Bytes of payloads that a capsule holds. A batch counts from the claim until its last job is settled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    held: AtomicUsize,
    /// That of the process.
    limit: MemoryLimit,
    /// The fetcher waits here while it is full.
    freed: Notify,
}

impl Memory {
    /// Of a process with this limit.
    pub(crate) fn within(limit: MemoryLimit) -> Self {
        Self(Arc::new(Shared { limit, ..Shared::default() }))
    }

    /// Whether so much is held that no claim of `claim` bytes may be made.
    pub(crate) fn is_full(&self, claim: usize) -> bool {
        self.0.held.load(Ordering::Relaxed) >= FULL || self.0.limit.is_near(claim)
    }

    /// Resolves when it may no longer be full. Cancel safe.
    pub(crate) async fn freed(&self) {
        tokio::select! {
            () = self.0.freed.notified() => {}
            () = tokio::time::sleep(LOOK), if self.0.limit.bytes().is_some() => {}
        }
    }

    /// Counts bytes as held until the return value is dropped.
    pub(crate) fn hold(&self, bytes: usize) -> Portion {
        self.0.held.fetch_add(bytes, Ordering::Relaxed);
        self.0.limit.hold(bytes);
        Portion { memory: self.clone(), bytes }
    }
}

/// The bytes of one batch.
#[derive(Debug)]
pub(crate) struct Portion {
    memory: Memory,
    bytes: usize,
}

impl Portion {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Portion {
    fn drop(&mut self) {
        let Shared { held, freed, limit } = &*self.memory.0;
        limit.release(self.bytes);
        if held.fetch_sub(self.bytes, Ordering::Relaxed) >= FULL {
            freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn counts_real_bytes_and_reports_when_there_is_room() {
        let memory = Memory::default();
        let small = memory.hold(FULL / 2);
        assert!(!memory.is_full(0));
        let large = memory.hold(FULL / 2 + 1);
        assert!(memory.is_full(0));
        drop(small);
        assert!(!memory.is_full(0));
        // It was freed before anybody waited.
        memory.freed().await;
        drop(large);
        assert_eq!(memory.0.held.load(Ordering::Relaxed), 0);
    }
}

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Bytes of payloads from which on a capsule fetches no more: 256 MiB. One job it takes in any case.
const FULL: usize = 256 * 1_024 * 1_024;

/// Bytes of payloads that a capsule holds. A batch counts from the claim until its last job is settled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    held: AtomicUsize,
    /// The fetcher waits here while it is full.
    freed: Notify,
}

impl Memory {
    /// Whether so much is held that no more may be fetched.
    pub(crate) fn is_full(&self) -> bool {
        self.0.held.load(Ordering::Relaxed) >= FULL
    }

    /// Resolves when it is no longer full. Cancel safe.
    pub(crate) async fn freed(&self) {
        self.0.freed.notified().await;
    }

    /// Counts bytes as held until the return value is dropped.
    pub(crate) fn hold(&self, bytes: usize) -> Portion {
        self.0.held.fetch_add(bytes, Ordering::Relaxed);
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
        let Shared { held, freed } = &*self.memory.0;
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
        assert!(!memory.is_full());
        let large = memory.hold(FULL / 2 + 1);
        assert!(memory.is_full());
        drop(small);
        assert!(!memory.is_full());
        // It was freed before anybody waited.
        memory.freed().await;
        drop(large);
        assert_eq!(memory.0.held.load(Ordering::Relaxed), 0);
    }
}

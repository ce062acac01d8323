use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::keys;

/// The registration of one process in Redis, and the settlements whose answers this process has.
///
/// The epoch counts how often the process found out that it had been fenced. Redis keeps the epoch of the present registration; a job that was
/// claimed in an earlier epoch may have been recovered by another process.
#[derive(Debug)]
pub(crate) struct Registration {
    identity: String,
    settlements: String,
    epoch: AtomicU64,
    /// Numbers of settlements that Redis still records and need not any more. The next settlement takes them along.
    answered: Mutex<Vec<u64>>,
}

/// The epoch of nobody: what a process settles for another one is never stored unless the job was in its list.
pub(super) const FOREIGN: u64 = u64::MAX;

/// Numbers one settlement takes along at most. Lua's `unpack` allows some thousands.
const ANSWERED_AT_ONCE: usize = 1_000;

/// Fewer numbers than these wait for others: removing them costs Redis one command, however many they are.
pub(super) const ANSWERED_TOGETHER: usize = 16;

impl Registration {
    pub(crate) fn of(identity: &str) -> Self {
        Self {
            identity: identity.to_owned(),
            settlements: keys::settlements(identity),
            epoch: AtomicU64::new(0),
            answered: Mutex::default(),
        }
    }

    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }

    /// The present epoch. To be read before a claim is sent, not after its answer.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Redis registered this process in `epoch`.
    pub(super) fn entered(&self, epoch: u64) {
        self.epoch.fetch_max(epoch, Ordering::AcqRel);
    }

    /// The key under which Redis records the epoch and the settlements.
    pub(super) fn settlements(&self) -> &str {
        &self.settlements
    }

    /// The answers to these settlements arrived: Redis need not record them any more.
    pub(super) fn answered(&self, numbers: impl Iterator<Item = u64>) {
        self.numbers().extend(numbers);
    }

    /// Takes numbers that Redis need not record any more, once they are enough. The caller returns them if Redis did not get them.
    pub(super) fn take_answered(&self) -> Vec<u64> {
        let mut numbers = self.numbers();
        if numbers.len() < ANSWERED_TOGETHER {
            return Vec::new();
        }
        let from = numbers.len().saturating_sub(ANSWERED_AT_ONCE);
        numbers.split_off(from)
    }

    fn numbers(&self) -> std::sync::MutexGuard<'_, Vec<u64>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

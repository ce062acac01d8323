//! Keys that Redis reported as changed.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redis::Value;
use tokio::sync::Notify;

/// Keys that Redis reported as changed on one connection, until they are taken. The connection's driver adds them.
#[derive(Debug, Default)]
pub(super) struct Invalidations {
    changed: Mutex<Changed>,
    arrived: Notify,
}

/// Keys that changed since they were last read.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    /// The names of single keys. Those that are not UTF-8 are not ours and are left out.
    pub(crate) keys: HashSet<String>,
    /// Whether every key may have changed: after `FLUSHDB`, or when more names arrived than are kept.
    pub(crate) all: bool,
    bytes: usize,
}

/// Bytes of names that are kept until they are taken. The names of 10,000 queues of 100 bytes fit; of more, none is kept.
const MAX_BYTES: usize = 1_024 * 1_024;

impl Changed {
    fn is_empty(&self) -> bool {
        self.keys.is_empty() && !self.all
    }

    fn add(&mut self, key: String) {
        if self.all {
            return;
        }
        self.bytes += key.len();
        self.keys.insert(key);
        if self.bytes > MAX_BYTES {
            *self = Self { all: true, ..Self::default() };
        }
    }
}

impl Invalidations {
    fn changed(&self) -> MutexGuard<'_, Changed> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what an `invalidate` push holds: one list of keys, or nil after a flush.
    pub(super) fn add(&self, data: Vec<Value>) {
        let mut changed = self.changed();
        for value in data {
            match value {
                Value::Array(keys) => {
                    for key in keys {
                        if let Value::BulkString(key) = key
                            && let Ok(key) = String::from_utf8(key)
                        {
                            changed.add(key);
                        }
                    }
                }
                Value::Nil => *changed = Changed { all: true, ..Changed::default() },
                _ => {}
            }
        }
        drop(changed);
        self.wake();
    }

    /// Wakes the task that waits for changes; also called when the connection ended.
    pub(super) fn wake(&self) {
        self.arrived.notify_one();
    }

    /// Takes what was reported so far; `None` if nothing was.
    pub(super) fn take(&self) -> Option<Changed> {
        let changed = std::mem::take(&mut *self.changed());
        (!changed.is_empty()).then_some(changed)
    }

    /// Returns once something was reported or the connection ended, possibly before this call. Cancel safe.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(keys: &[&str]) -> Vec<Value> {
        vec![Value::Array(keys.iter().map(|key| Value::BulkString(key.as_bytes().to_vec())).collect())]
    }

    #[tokio::test]
    async fn keeps_each_key_once_until_it_is_taken() {
        let invalidations = Invalidations::default();
        assert!(invalidations.take().is_none());
        invalidations.add(push(&["queue:a", "queue:b"]));
        invalidations.add(push(&["queue:a"]));
        invalidations.arrived().await;
        let changed = invalidations.take().unwrap();
        assert_eq!((changed.keys.len(), changed.all), (2, false));
        assert!(invalidations.take().is_none());
    }

    #[test]
    fn a_flush_concerns_every_key() {
        let invalidations = Invalidations::default();
        invalidations.add(push(&["queue:a"]));
        invalidations.add(vec![Value::Nil]);
        let changed = invalidations.take().unwrap();
        assert_eq!((changed.keys.len(), changed.all), (0, true));
    }

    #[test]
    fn keeps_no_more_than_a_megabyte_of_names() {
        let invalidations = Invalidations::default();
        let long = "x".repeat(1_000);
        for number in 0..3_000 {
            invalidations.add(push(&[&format!("{long}{number}")]));
            assert!(invalidations.changed().bytes <= MAX_BYTES);
        }
        let changed = invalidations.take().unwrap();
        assert_eq!((changed.keys.len(), changed.all), (0, true), "every key may have changed");
    }
}

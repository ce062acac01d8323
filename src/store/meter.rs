//! How much of what was said on a connection is out of the process's hands.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the bytes the system took off a connection's hands: what it has, it delivers, even if the process is killed.
#[derive(Clone, Default)]
pub(super) struct Meter(Arc<Counter>);

#[derive(Default)]
struct Counter {
    written: AtomicU64,
    on_write: Option<Box<dyn Fn(u64) + Send + Sync>>,
}

impl Meter {
    /// One that tells `on_write` how many bytes went out so far, each time some do.
    #[cfg(feature = "server")]
    pub(super) fn new(on_write: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self(Arc::new(Counter { written: AtomicU64::new(0), on_write: Some(Box::new(on_write)) }))
    }

    /// Bytes written since the connection was made.
    pub(super) fn written(&self) -> u64 {
        self.0.written.load(Ordering::Acquire)
    }

    pub(super) fn count(&self, bytes: usize) {
        let written = self.0.written.fetch_add(bytes as u64, Ordering::AcqRel) + bytes as u64;
        if let Some(on_write) = &self.0.on_write {
            on_write(written);
        }
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Meter").field(&self.written()).finish()
    }
}

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Queues that are paused: nothing is fetched from them. Sidekiq Pro pauses a queue by naming it in the set `paused`; it is
/// read on every beat. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paused(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Whether any is: nearly never, so the rest is nearly never looked at.
    any: AtomicBool,
    names: RwLock<HashSet<String>>,
}

impl Paused {
    pub(crate) fn set(&self, names: HashSet<String>) {
        let mut current = self.0.names.write().unwrap_or_else(PoisonError::into_inner);
        for name in names.symmetric_difference(&current) {
            tracing::info!(queue = name, "{}", if names.contains(name) { "Queue paused" } else { "Queue unpaused" });
        }
        self.0.any.store(!names.is_empty(), Ordering::Release);
        *current = names;
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.any.load(Ordering::Acquire) && self.0.names.read().unwrap_or_else(PoisonError::into_inner).contains(name)
    }
}

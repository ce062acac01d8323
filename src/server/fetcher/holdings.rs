use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Batch, UnitOfWork};

/// The batches of this process whose jobs lie in private lists, by list: what ought to be in Redis, to be held against what is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holdings(Arc<Mutex<HashMap<String, Arc<Batch>>>>);

impl Holdings {
    fn batches(&self) -> MutexGuard<'_, HashMap<String, Arc<Batch>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, batch: &Arc<Batch>) {
        self.batches().insert(batch.list().to_owned(), Arc::clone(batch));
    }

    pub(super) fn remove(&self, batch: &Batch) {
        self.batches().remove(batch.list());
    }

    /// Whether the jobs of a private list are known and were delivered.
    pub(crate) fn has(&self, list: &str) -> bool {
        self.batches().get(list).is_some_and(|batch| batch.is_delivered())
    }

    /// The jobs of this list went back to their queue, and were never delivered.
    pub(crate) fn forget(&self, list: &str) {
        self.batches().remove(list);
    }

    pub(crate) fn all(&self) -> Vec<Arc<Batch>> {
        self.batches().values().cloned().collect()
    }

    /// How many jobs besides this one lie in private lists.
    pub(crate) fn others(&self, unit: &UnitOfWork) -> usize {
        self.batches().values().map(|batch| batch.held_but(unit)).sum()
    }
}

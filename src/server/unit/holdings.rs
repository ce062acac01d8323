use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::server::unit::{Batch, UnitOfWork};
use crate::store::Store;

/// The batches of this process whose jobs lie in private lists, by list: what ought to be in Redis, to be held against what is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holdings {
    batches: Arc<Mutex<HashMap<String, Arc<Batch>>>>,
    /// What the names of private lists begin with whose jobs are still on their way here: a large answer takes its time.
    expected: Arc<Mutex<HashSet<String>>>,
}

/// Private lists that a command may fill. While this exists, the reconciliation does not put their jobs back as unknown.
#[derive(Debug)]
pub(crate) struct Expected {
    name: String,
    expected: Arc<Mutex<HashSet<String>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Holdings {
    fn batches(&self) -> MutexGuard<'_, HashMap<String, Arc<Batch>>> {
        lock(&self.batches)
    }

    /// Jobs may come into private lists whose names begin like this.
    pub(crate) fn expect(&self, name: String) -> Expected {
        lock(&self.expected).insert(name.clone());
        Expected { name, expected: Arc::clone(&self.expected) }
    }

    /// Nothing is on its way any more, whatever was expected.
    pub(crate) fn expect_nothing(&self) {
        lock(&self.expected).clear();
    }

    pub(crate) fn add(&self, batch: &Arc<Batch>) {
        self.batches().insert(batch.list().to_owned(), Arc::clone(batch));
    }

    pub(crate) fn remove(&self, batch: &Batch) {
        self.batches().remove(batch.list());
    }

    /// Whether the jobs of a private list are known and were delivered, or are still on their way.
    pub(crate) fn has(&self, list: &str) -> bool {
        self.batches().get(list).is_some_and(|batch| batch.is_delivered())
            || lock(&self.expected).iter().any(|name| list.starts_with(name.as_str()))
    }

    /// The jobs of this list went back to their queue, and were never delivered.
    pub(crate) fn forget(&self, list: &str) {
        self.batches().remove(list);
    }

    pub(crate) fn all(&self) -> Vec<Arc<Batch>> {
        self.batches().values().cloned().collect()
    }

    /// Whether this process has a private list.
    pub(crate) fn any(&self) -> bool {
        !self.batches().is_empty()
    }

    /// How many jobs of this process lie in private lists.
    pub(crate) fn jobs(&self) -> usize {
        self.batches().values().map(|batch| batch.held()).sum()
    }

    /// How many jobs of a queue this process runs or is to run, of those whose private lists it knows; and the private lists that jobs of
    /// the queue may be on their way in.
    pub(crate) fn of_queue(&self, queue: &str) -> (usize, Vec<String>) {
        let batches = self.batches();
        let jobs = batches.values().filter(|batch| batch.queue() == queue).map(|batch| batch.open()).sum();
        let expected = lock(&self.expected);
        let lists = expected.iter().filter_map(|name| match Store::queue_of_batch(name) {
            // That of a claim, which may bring jobs of any queue.
            Some("") => Some(format!("{name}{queue}")),
            Some(of) if of == queue => Some(name.clone()),
            _ => None,
        });
        let lists = lists.filter(|list| !batches.contains_key(list)).collect();
        (jobs, lists)
    }

    /// How many jobs besides this one lie in private lists.
    pub(crate) fn others(&self, unit: &UnitOfWork) -> usize {
        self.batches().values().map(|batch| batch.held_but(unit)).sum()
    }
}

impl Expected {
    /// The name of the list, or what it begins with.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        lock(&self.expected).remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_known_while_its_jobs_are_on_their_way() {
        let holdings = Holdings::default();
        let claim = holdings.expect("batch:me|7.69|".to_owned());
        let waits = holdings.expect("batch:me|8.69|q".to_owned());
        assert!(["batch:me|7.69|q", "batch:me|7.69|a|b", "batch:me|8.69|q"].iter().all(|list| holdings.has(list)));
        assert!(!holdings.has("batch:me|9.69|q"));
        drop(claim);
        assert!(!holdings.has("batch:me|7.69|q") && holdings.has(waits.name()));
        holdings.expect_nothing();
        assert!(!holdings.has(waits.name()));
    }

    #[test]
    fn jobs_of_a_queue_are_those_that_are_not_over_and_those_on_their_way() {
        let (holdings, q) = (Holdings::default(), "ferrokiq:batch:me|1.69|q");
        let add = |list: &str, queue: &str| {
            let batch = Batch::new(list.to_owned(), queue.into(), vec![b"{}".to_vec(); 3]);
            holdings.add(&batch);
            batch.units().collect::<Vec<_>>()
        };
        let expected = ["me|1.69|", "me|2.69|", "me|3.69|q", "me|4.69|other"]
            .map(|name| holdings.expect(format!("ferrokiq:batch:{name}")));
        let units = add(q, "q");
        add("ferrokiq:batch:me|1.69|other", "other");
        units[0].finish();
        assert!(units[1].start_moving());
        let (jobs, mut lists) = holdings.of_queue("q");
        lists.sort_unstable();
        assert_eq!(jobs, 2, "one is done");
        assert_eq!(lists, ["ferrokiq:batch:me|2.69|q", "ferrokiq:batch:me|3.69|q"], "the first claim brought its jobs");
        units[1].leave();
        drop(expected);
        assert_eq!(holdings.of_queue("q"), (1, Vec::new()));
    }
}

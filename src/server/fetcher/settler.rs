use std::sync::Arc;

use tokio::sync::mpsc;

use super::retrier::Retrier;
use super::{Batch, Unacknowledged, UnitOfWork};
use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;
use crate::store::claims::{Moved, Owned};
use crate::store::sets::DeadLimits;

/// Tells Redis what became of a job: done, to be retried, dead, or put back.
///
/// Every move out of a private list happens only if the exact bytes were still in it, so a reply that got lost can be
/// asked for again, and a process that was taken for dead changes nothing.
#[derive(Clone, Debug)]
pub(crate) struct Settler {
    store: Store,
    /// Whose the private lists are.
    identity: Arc<str>,
    acknowledger: mpsc::UnboundedSender<Arc<Batch>>,
    unacknowledged: Unacknowledged,
    retrier: Retrier,
}

/// What a settled job found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// It is where it belongs.
    Moved,
    /// It was no longer this process's: somebody put it back, or it was moved before.
    NotOurs,
}

/// Where a failed job goes, as which bytes, at which score.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Destination<'a> {
    Retry {
        bytes: &'a [u8],
        score: &'a str,
    },
    Dead {
        bytes: &'a [u8],
        score: &'a str,
        limits: DeadLimits,
    },
    /// The end of a queue.
    Queue {
        bytes: &'a [u8],
        queue: &'a str,
    },
}

impl Settler {
    pub(crate) fn new(store: Store, identity: &str, acknowledger: mpsc::UnboundedSender<Arc<Batch>>) -> Self {
        let identity: Arc<str> = identity.into();
        let retrier = Retrier::new(store.clone(), Arc::clone(&identity));
        Self { store, identity, acknowledger, unacknowledged: Unacknowledged::default(), retrier }
    }

    /// The same through other connections.
    #[cfg(feature = "cli")]
    pub(crate) fn over(&self, store: Store) -> Self {
        let retrier = Retrier::new(store.clone(), Arc::clone(&self.identity));
        Self { store, retrier, ..self.clone() }
    }

    /// The jobs that were [acknowledged](Self::acknowledge) here and that Redis does not know of yet.
    pub(crate) fn unacknowledged(&self) -> &Unacknowledged {
        &self.unacknowledged
    }

    /// The job is done. Never waits: the acknowledgement goes out with those of its batch.
    pub(crate) fn acknowledge(&self, unit: &UnitOfWork) {
        if let Some(last) = unit.finish() {
            if unit.lies_in_redis() {
                self.unacknowledged.add();
            }
            self.report(unit.batch(), last);
        }
    }

    /// The job is not done: it goes somewhere else. Whoever asks first decides; asking again after a failure is safe.
    pub(crate) async fn settle(&self, unit: &UnitOfWork, to: &Destination<'_>) -> Result<Settled> {
        if !unit.start_moving() {
            return Ok(Settled::NotOurs);
        }
        match self.send(unit, to).await {
            Ok(Moved::Unknown) => {
                unit.stay();
                Err(Error::new(ErrorKind::Redis, "this process is no longer registered"))
            }
            Ok(moved) => {
                self.left(unit);
                Ok(if moved == Moved::Yes { Settled::Moved } else { Settled::NotOurs })
            }
            Err(error) => {
                unit.stay();
                Err(error)
            }
        }
    }

    async fn send(&self, unit: &UnitOfWork, to: &Destination<'_>) -> Result<Moved> {
        let store = &self.store;
        let of = Owned { identity: &self.identity, list: unit.batch().list(), raw: unit.bytes() };
        if of.list.is_empty() {
            match *to {
                Destination::Retry { bytes, score } => store.retry_unowned(bytes, score).await,
                Destination::Dead { bytes, score, limits } => store.bury_unowned(bytes, score, limits).await,
                Destination::Queue { bytes, queue } => store.again_unowned(queue, bytes).await,
            }?;
            return Ok(Moved::Yes);
        }
        match *to {
            Destination::Retry { bytes, score } => self.retrier.retry(unit, bytes, score).await,
            Destination::Dead { bytes, score, limits } => store.bury(of, bytes, score, limits).await,
            Destination::Queue { bytes, queue } => store.again(of, queue, bytes).await,
        }
    }

    /// Puts jobs back to where they were fetched from, the first to run first. Those that finished or were settled
    /// meanwhile stay so. Returns how many went back.
    pub(crate) async fn requeue(&self, units: &[UnitOfWork]) -> Result<usize> {
        let mut moved = 0;
        let units: Vec<&UnitOfWork> = units.iter().filter(|unit| unit.start_moving()).collect();
        let mut failure = None;
        // What lies in one list goes back together; the last list first, so that the first job ends up next.
        let lists = units.chunk_by(|one, other| Arc::ptr_eq(one.batch(), other.batch())).collect::<Vec<_>>();
        for of_list in lists.into_iter().rev() {
            let (list, queue) = (of_list[0].batch().list(), &**of_list[0].queue());
            let jobs: Vec<&[u8]> = of_list.iter().map(|unit| unit.bytes()).collect();
            let requeued = if list.is_empty() {
                self.store.requeue_unowned(queue, &jobs).await.map(|()| jobs.len())
            } else {
                self.store.requeue(list, queue, &jobs).await
            };
            match requeued {
                Ok(count) => {
                    moved += count;
                    of_list.iter().for_each(|unit| self.left(unit));
                }
                Err(error) => {
                    of_list.iter().for_each(|unit| unit.stay());
                    failure = Some(error);
                }
            }
        }
        failure.map_or(Ok(moved), Err)
    }

    fn left(&self, unit: &UnitOfWork) {
        let last = unit.leave();
        if last {
            self.report(unit.batch(), true);
        }
    }

    fn report(&self, batch: &Arc<Batch>, last: bool) {
        if batch.list().is_empty() {
            return;
        }
        if last || batch.watch() {
            // The acknowledger ends only when the last settler is gone.
            let _ = self.acknowledger.send(Arc::clone(batch));
        }
    }
}

use std::sync::Arc;

use tokio::sync::mpsc;

use super::retrier::Retrier;
use super::{Batch, Unacknowledged, UnitOfWork};
use crate::error::{Error, ErrorKind, Result};
use crate::server::supervisor::Supervisor;
use crate::store::Store;
use crate::store::claims::Moved;
use crate::store::registration::Registration;
use crate::store::sets::DeadLimits;
use crate::store::settle::{TOGETHER, To};

/// Writes the outcome of jobs to Redis: done, to be retried, dead, or put back.
///
/// A job moves out of a private list only if its exact bytes were still in it, and Redis records the move until this process has the answer.
/// So a move whose answer was lost is done once, however often it is repeated, and a process that was taken for dead changes nothing. If Redis
/// came back with older data and lost the list, the outcome is stored all the same, unless another process may have recovered the job.
#[derive(Clone, Debug)]
pub(crate) struct Settler {
    store: Store,
    /// Of the process whose private lists these are.
    registration: Arc<Registration>,
    acknowledger: mpsc::UnboundedSender<Arc<Batch>>,
    unacknowledged: Unacknowledged,
    retrier: Retrier,
}

/// The outcome of settling a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// It is where it belongs.
    Moved,
    /// It was no longer this process's: another process recovered it.
    NotOurs,
}

/// Where a failed job goes, and as which bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Destination<'a> {
    Retry {
        bytes: &'a [u8],
        /// Seconds until it is due, by the clock of Redis.
        delay: f64,
    },
    Dead {
        bytes: &'a [u8],
        limits: DeadLimits,
    },
    /// The end of a queue.
    Queue {
        bytes: &'a [u8],
        queue: &'a str,
    },
}

impl Settler {
    pub(crate) fn new(
        store: Store,
        registration: Arc<Registration>,
        acknowledger: mpsc::UnboundedSender<Arc<Batch>>,
        supervisor: Supervisor,
    ) -> Self {
        let retrier = Retrier::new(store.clone(), Arc::clone(&registration), supervisor);
        Self { store, registration, acknowledger, unacknowledged: Unacknowledged::default(), retrier }
    }

    /// The same through other connections.
    #[cfg(feature = "cli")]
    pub(crate) fn over(&self, store: Store) -> Self {
        let retrier = self.retrier.over(store.clone());
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

    /// Moves a job that is not done to another place. The first caller decides where; after a failure the call may be repeated.
    pub(crate) async fn settle(&self, unit: &UnitOfWork, to: &Destination<'_>) -> Result<Settled> {
        if !unit.start_moving() {
            return Ok(Settled::NotOurs);
        }
        match self.send(unit, to).await {
            Ok(Moved::Unknown) => {
                unit.stay();
                Err(unregistered())
            }
            Ok(moved) => {
                self.left(unit);
                if moved == Moved::Restored {
                    tracing::warn!(queue = &**unit.queue(), "Redis had lost a running job; its outcome is stored");
                }
                Ok(if moved == Moved::NotOurs { Settled::NotOurs } else { Settled::Moved })
            }
            Err(error) => {
                unit.stay();
                Err(error)
            }
        }
    }

    async fn send(&self, unit: &UnitOfWork, to: &Destination<'_>) -> Result<Moved> {
        let (to, bytes) = match *to {
            Destination::Retry { bytes, delay } => return self.retrier.retry(unit, bytes, delay).await,
            Destination::Dead { bytes, limits } => (To::Dead(limits), bytes),
            Destination::Queue { bytes, queue } => (To::Last(queue), bytes),
        };
        let moved =
            self.store.settle(&self.registration, to, unit.batch().epoch(), &[unit.leaving(bytes, 0.0)]).await?;
        Ok(moved.first().copied().unwrap_or(Moved::Unknown))
    }

    /// Puts jobs back to where they were fetched from, the first to run first. Those that finished or were settled
    /// meanwhile stay so. Returns how many went back.
    pub(crate) async fn requeue(&self, units: &[UnitOfWork]) -> Result<usize> {
        let mut moved = 0;
        let units: Vec<&UnitOfWork> = units.iter().filter(|unit| unit.start_moving()).collect();
        let mut failure = None;
        // Jobs of one list go back together; the last list first, so that the first job ends up next.
        let lists = units.chunk_by(|one, other| Arc::ptr_eq(one.batch(), other.batch())).collect::<Vec<_>>();
        for of_list in lists.into_iter().rev().flat_map(|units| units.rchunks(TOGETHER)) {
            let jobs: Vec<_> = of_list.iter().rev().map(|unit| unit.leaving(unit.bytes(), 0.0)).collect();
            let to = To::First(of_list[0].queue());
            match self.store.settle(&self.registration, to, of_list[0].batch().epoch(), &jobs).await {
                Ok(answers) => {
                    for (unit, answer) in of_list.iter().rev().zip(answers) {
                        if answer == Moved::Unknown {
                            unit.stay();
                            failure = Some(unregistered());
                            continue;
                        }
                        moved += usize::from(answer != Moved::NotOurs);
                        self.left(unit);
                    }
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

/// Redis lost the registration, or another process fenced this one: the heartbeat registers it again.
fn unregistered() -> Error {
    Error::new(ErrorKind::Redis, "this process is no longer registered")
}

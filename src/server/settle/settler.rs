use std::borrow::Cow;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::error::{Error, ErrorKind, Result};
use crate::payload::{Payload, unreadable};
use crate::server::control::supervisor::Supervisor;
use crate::server::fetch::limits::Limits;
use crate::server::settle::rounds::Rounds;
use crate::server::unit::{Batch, Unacknowledged, UnitOfWork};
use crate::store::claims::Moved;
use crate::store::registration::Registration;
use crate::store::rider::Riders;
use crate::store::sets::{DeadLimits, WaitingSet};
use crate::store::settle::{TOGETHER, To};
use crate::store::{Store, queue_key};

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
    /// Where each job of a limited queue that is over is reported.
    limits: Limits,
    /// Of jobs that go to the retry set.
    retries: Rounds,
    /// Of jobs with riders that are done.
    rides: Rounds,
    /// Held while a large job is settled: what that takes, here and in Redis, is taken once.
    large: Arc<tokio::sync::Mutex<()>>,
}

/// The outcome of settling a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// It is where it belongs.
    Moved,
    /// It was no longer this process's: another process recovered it.
    NotOurs,
}

/// Where a job goes that is not done, and as which payload; without one, as its bytes were fetched.
#[derive(Debug)]
pub(crate) enum Destination {
    Retry {
        payload: Payload,
        /// Seconds until it is due, by the clock of Redis.
        delay: f64,
    },
    /// The schedule, as a job that snoozes.
    Schedule {
        payload: Payload,
        /// Seconds until it is due, by the clock of Redis.
        delay: f64,
    },
    Dead {
        payload: Option<Payload>,
        limits: DeadLimits,
    },
    /// The end of a queue.
    Queue {
        payload: Option<Payload>,
        queue: String,
    },
    /// Back to where it was fetched from.
    Origin,
    /// Nowhere: it is done, or discarded. Without riders it is [acknowledged](Settler::acknowledge) instead.
    Done {
        riders: Riders,
    },
}

impl Destination {
    /// The key it is stored under.
    pub(crate) fn key(&self, unit: &UnitOfWork) -> String {
        match self {
            Self::Retry { .. } => WaitingSet::Retry.key().to_owned(),
            Self::Schedule { .. } => WaitingSet::Schedule.key().to_owned(),
            Self::Dead { .. } => WaitingSet::Dead.key().to_owned(),
            Self::Queue { queue, .. } => queue_key(queue),
            Self::Origin => queue_key(unit.queue()),
            Self::Done { .. } => unit.batch().list().to_owned(),
        }
    }
}

impl Settler {
    pub(crate) fn new(
        store: Store,
        registration: Arc<Registration>,
        acknowledger: mpsc::UnboundedSender<Arc<Batch>>,
        supervisor: Supervisor,
        limits: Limits,
    ) -> Self {
        let rounds = |to| Rounds::new(store.clone(), Arc::clone(&registration), supervisor.clone(), to);
        let (retries, rides) = (rounds(To::Retry), rounds(To::Done));
        Self {
            store,
            registration,
            acknowledger,
            unacknowledged: Unacknowledged::default(),
            limits,
            retries,
            rides,
            large: Arc::default(),
        }
    }

    /// The same through other connections.
    #[cfg(feature = "cli")]
    pub(crate) fn over(&self, store: Store) -> Self {
        let (retries, rides) = (self.retries.over(store.clone()), self.rides.over(store.clone()));
        // What blocks the other runtime may hold the turn.
        Self { store, retries, rides, large: Arc::default(), ..self.clone() }
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
            self.limits.differ(unit.queue());
        }
    }

    /// Moves a job to another place, or to nowhere, and applies its riders. The first caller decides where; after a failure the call may be
    /// repeated with the same riders.
    pub(crate) async fn settle(&self, unit: &UnitOfWork, to: &Destination, riders: &Riders) -> Result<Settled> {
        if !unit.start_moving() {
            return Ok(Settled::NotOurs);
        }
        match self.send(unit, to, riders).await {
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

    async fn send(&self, unit: &UnitOfWork, to: &Destination, riders: &Riders) -> Result<Moved> {
        let (to, payload, delay) = match to {
            Destination::Retry { payload, delay } => (To::Retry, Some(payload), *delay),
            Destination::Schedule { payload, delay } => (To::Schedule, Some(payload), *delay),
            Destination::Dead { payload, limits } => (To::Dead(*limits), payload.as_ref(), 0.0),
            Destination::Queue { payload, queue } => (To::Last(queue), payload.as_ref(), 0.0),
            Destination::Origin => (To::First(unit.queue()), None, 0.0),
            Destination::Done { .. } => (To::Done, None, 0.0),
        };
        if unit.is_large() {
            return self.send_large(unit, to, payload, delay, riders).await;
        }
        match (to, payload) {
            (To::Retry, Some(payload)) => {
                self.retries.settle(unit, payload.as_str().into_owned().into(), delay, riders.clone()).await
            }
            (To::Done, _) => self.rides.settle(unit, Vec::new(), 0.0, riders.clone()).await,
            _ => self.send_whole(unit, to, payload, delay, riders).await,
        }
    }

    async fn send_whole(
        &self,
        unit: &UnitOfWork,
        to: To<'_>,
        payload: Option<&Payload>,
        delay: f64,
        riders: &Riders,
    ) -> Result<Moved> {
        let text = payload.map(Payload::as_str);
        let bytes = match (&text, to) {
            (Some(text), _) => Cow::Borrowed(text.as_bytes()),
            (None, To::Dead(_)) => unreadable(unit.bytes()),
            (None, _) => Cow::Borrowed(unit.bytes()),
        };
        let (epoch, job) = (unit.batch().epoch(), unit.leaving(&bytes, delay));
        if !riders.is_empty() {
            let job = (job, riders.as_slice());
            let moved = self.store.settle_riding(&self.registration, to, epoch, &[job]).await?;
            return moved.into_iter().next().unwrap_or(Ok(Moved::Unknown));
        }
        let moved = self.store.settle(&self.registration, to, epoch, &[job]).await?;
        Ok(moved.first().copied().unwrap_or(Moved::Unknown))
    }

    /// One large job at a time. Its bytes are sent only if Redis does not have them, or if it has riders.
    async fn send_large(
        &self,
        unit: &UnitOfWork,
        to: To<'_>,
        payload: Option<&Payload>,
        delay: f64,
        riders: &Riders,
    ) -> Result<Moved> {
        let _turn = self.large.lock().await;
        if riders.is_empty()
            && let Some(edits) = unit.edits(payload)
        {
            let job = unit.leaving_in_place(&edits, delay);
            if let Some(moved) = self.store.settle_in_place(&self.registration, to, &job).await? {
                return Ok(moved);
            }
        }
        let moved = self.send_whole(unit, to, payload, delay, riders).await;
        self.store.release_buffers();
        moved
    }

    /// Puts jobs back to where they were fetched from, the first to run first. Those that finished or were settled
    /// meanwhile stay so. Returns how many went back.
    pub(crate) async fn requeue(&self, units: &[UnitOfWork]) -> Result<usize> {
        let mut moved = 0;
        let units: Vec<&UnitOfWork> = units.iter().filter(|unit| unit.start_moving()).collect();
        let mut failure = None;
        // Jobs of one list go back together; the last list first, so that the first job ends up next.
        let together = |one: &&UnitOfWork, other: &&UnitOfWork| {
            Arc::ptr_eq(one.batch(), other.batch()) && !one.is_large() && !other.is_large()
        };
        let lists = units.chunk_by(together).collect::<Vec<_>>();
        for of_list in lists.into_iter().rev().flat_map(|units| units.rchunks(TOGETHER)) {
            match self.send_first(of_list).await {
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

    /// Puts jobs of one list back to the end of their queue that is fetched next: small ones, or a large one.
    async fn send_first(&self, units: &[&UnitOfWork]) -> Result<Vec<Moved>> {
        let to = To::First(units[0].queue());
        if let [unit] = units
            && unit.is_large()
        {
            return self.send_large(unit, to, None, 0.0, &Riders::default()).await.map(|moved| vec![moved]);
        }
        let jobs: Vec<_> = units.iter().rev().map(|unit| unit.leaving(unit.bytes(), 0.0)).collect();
        self.store.settle(&self.registration, to, units[0].batch().epoch(), &jobs).await
    }

    fn left(&self, unit: &UnitOfWork) {
        let last = unit.leave();
        if last {
            self.report(unit.batch(), true);
        }
        self.limits.differ(unit.queue());
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

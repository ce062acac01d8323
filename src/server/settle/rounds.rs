use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::error::{Error, ErrorKind, Result};
use crate::server::control::supervisor::{Part, Supervisor};
use crate::server::unit::UnitOfWork;
use crate::store::claims::Moved;
use crate::store::registration::Registration;
use crate::store::rider::Riders;
use crate::store::settle::{Leaving, TOGETHER, To};
use crate::store::{Store, is_denied, is_wrong_type};

/// Settles jobs that end at the same time together, each such round with one script: failed jobs that go to the retry set, or jobs with riders
/// that are done.
///
/// Each job waits for its answer. Two scripts are under way at a time, so that Redis and this process work at the same time: with one, 50 slots
/// of failing jobs do a fifth less.
#[derive(Clone, Debug)]
pub(super) struct Rounds(Arc<Shared>, Supervisor);

#[derive(Debug)]
struct Shared {
    store: Store,
    registration: Arc<Registration>,
    to: To<'static>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// Scripts under way, each with a task that sends the next one afterwards.
    under_way: usize,
}

#[derive(Debug)]
struct Waiting {
    unit: UnitOfWork,
    bytes: Vec<u8>,
    delay: f64,
    riders: Riders,
    answer: oneshot::Sender<Result<Moved>>,
}

/// Bytes of payloads and riders one script may have; one job it takes in any case.
const BYTES: usize = 256 * 1_024;
/// Scripts under way at most.
const AT_ONCE: usize = 2;
/// Jobs of one script, unless more wait than [`AT_ONCE`] scripts of that size have room for.
const FEW: usize = 16;

impl Rounds {
    /// For jobs of the process with this registration that go to this destination.
    pub(super) fn new(store: Store, registration: Arc<Registration>, supervisor: Supervisor, to: To<'static>) -> Self {
        Self(Arc::new(Shared { store, registration, to, state: Mutex::default() }), supervisor)
    }

    /// The same through other connections.
    #[cfg(feature = "cli")]
    pub(super) fn over(&self, store: Store) -> Self {
        Self::new(store, Arc::clone(&self.0.registration), self.1.clone(), self.0.to)
    }

    /// Moves a job out of its private list, as these bytes, due in `delay` seconds, and applies its riders. Safe to repeat after silence.
    ///
    /// # Cancel safety
    ///
    /// The job is moved, or not, whoever still waits for it.
    pub(super) async fn settle(&self, unit: &UnitOfWork, bytes: Vec<u8>, delay: f64, riders: Riders) -> Result<Moved> {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { unit: unit.clone(), bytes, delay, riders, answer };
        if self.0.line_up(waiting) {
            drop(self.1.spawn(Carrier(Arc::clone(&self.0))));
        }
        answered
            .await
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Ambiguous, "nobody knows whether the job is settled")))
    }
}

/// Sends what waits until nothing does. A panic costs the jobs at hand their answer; each asks again.
struct Carrier(Arc<Shared>);

impl Part for Carrier {
    fn name(&self) -> &'static str {
        "rounds of settlements"
    }

    async fn run(&mut self) {
        self.0.carry().await;
    }

    fn may_end(&self) -> bool {
        true
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody must set out to carry it.
    fn line_up(&self, waiting: Waiting) -> bool {
        let mut state = self.state();
        state.waiting.push_back(waiting);
        let needed = state.under_way < AT_ONCE;
        state.under_way += usize::from(needed);
        needed
    }

    /// Until nobody waits.
    async fn carry(&self) {
        while let Some(jobs) = self.next() {
            match self.send(&jobs).await {
                Err(error) if jobs.len() > 1 && concerns_one(&jobs, &error) => {
                    // The others have nothing to do with it.
                    for job in jobs {
                        let moved = self.send(std::slice::from_ref(&job)).await;
                        tell(vec![job], moved);
                    }
                }
                moved => tell(jobs, moved),
            }
        }
    }

    /// Who goes together next.
    fn next(&self) -> Option<Vec<Waiting>> {
        let mut state = self.state();
        let mut bytes = 0;
        let epoch = state.waiting.front().map(Waiting::epoch);
        let fits = |job: &&Waiting| {
            bytes += job.unit.bytes().len() + job.bytes.len() + job.riders.bytes();
            bytes <= BYTES && Some(job.epoch()) == epoch
        };
        let most = FEW.max(state.waiting.len() / AT_ONCE).min(TOGETHER);
        let jobs = state.waiting.iter().take(most).take_while(fits).count().max(1).min(state.waiting.len());
        state.under_way -= usize::from(jobs == 0);
        (jobs > 0).then(|| state.waiting.drain(..jobs).collect())
    }

    async fn send(&self, jobs: &[Waiting]) -> Result<Vec<Result<Moved>>> {
        let epoch = jobs[0].epoch();
        if jobs.iter().all(|job| job.riders.is_empty()) {
            let leaving: Vec<_> = jobs.iter().map(Waiting::leaving).collect();
            let moved = self.store.settle(&self.registration, self.to, epoch, &leaving).await?;
            return Ok(moved.into_iter().map(Ok).collect());
        }
        let leaving: Vec<_> = jobs.iter().map(|job| (job.leaving(), job.riders.as_slice())).collect();
        self.store.settle_riding(&self.registration, self.to, epoch, &leaving).await
    }
}

/// Whether what Redis refused may concern one of these jobs alone: its private list is none, or it has a rider with a key that the user has no
/// right to.
fn concerns_one(jobs: &[Waiting], error: &Error) -> bool {
    is_wrong_type(error) || is_denied(error) && jobs.iter().any(|job| !job.riders.is_empty())
}

impl Waiting {
    fn epoch(&self) -> u64 {
        self.unit.batch().epoch()
    }

    fn leaving(&self) -> Leaving<'_> {
        // A job that is done has no others.
        let bytes = if self.bytes.is_empty() { self.unit.bytes() } else { &self.bytes };
        self.unit.leaving(bytes, self.delay)
    }
}

/// Whoever waited may have been ended meanwhile.
fn tell(jobs: Vec<Waiting>, moved: Result<Vec<Result<Moved>>>) {
    match moved {
        Ok(moved) => {
            for (job, moved) in jobs.into_iter().zip(moved) {
                let _ = job.answer.send(moved);
            }
        }
        Err(error) => {
            for job in jobs {
                let _ = job.answer.send(Err(error.copy()));
            }
        }
    }
}

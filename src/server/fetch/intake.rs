//! Jobs between the fetcher and the processors of a capsule, and how many more the fetcher should bring.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::timeout;

use crate::server::fetch::isolation::SuspectSlots;
use crate::server::fetch::pace::Pace;
use crate::server::unit::{Batch, MARGIN, Memory, Unacknowledged, UnitOfWork};
use crate::store::CLAIM_BYTES;

/// Fetched jobs in their order.
///
/// The fetcher brings as many as processors are free, plus what they will have finished by the time the next claim is
/// back: long jobs are not fetched ahead.
#[derive(Debug)]
pub(crate) struct Intake {
    state: Mutex<State>,
    unacknowledged: Unacknowledged,
    /// Suspects that were fetched, and the processors they may have.
    suspects: Arc<SuspectSlots>,
    /// Jobs that may run or be done and not acknowledged.
    exposed: u64,
    memory: Memory,
    /// Processors wait here for jobs.
    arrivals: Notify,
    /// The fetcher waits here for free processors.
    room: Notify,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<UnitOfWork>,
    /// The bytes of their payloads.
    ready_bytes: usize,
    /// Processors that wait for a job.
    idle: usize,
    /// Jobs taken, and jobs finished by those who came for another, since the server started.
    taken: u64,
    finished: u64,
    /// What a job of those that came last has on average; 0 while none came.
    bytes_per_job: usize,
    /// Processors that wait for others to be done and acknowledged.
    held_up: usize,
    pace: Pace,
    closed: bool,
}

/// Jobs fetched ahead at most where Redis is near: what goes in a millisecond while jobs take no time at all. As many more as a round trip
/// is longer than `NEAR`, up to `FAR` times.
const MAX_AHEAD: usize = 400;
const NEAR: Duration = Duration::from_micros(300);
const FAR: f64 = 8.0;
/// Bytes of payloads one claim may have that brings more than half of that. Redis adds up to a quarter as it counts, and moves a claim that
/// fills its window job by job.
const FEW_BYTES: usize = CLAIM_BYTES / 4 * 3;
/// How long a job that was fetched ahead may lie here before it is put back for somebody else.
pub(crate) const PATIENCE: Duration = Duration::from_millis(5);

/// How long a processor waits for a job before it takes a suspect although suspects have their part.
const IN_VAIN: Duration = Duration::from_millis(250);

/// Bytes of payloads that lie ready and keep the fetcher from another claim. A claim brings one window more, or one job that is larger.
const READY: usize = 2 * CLAIM_BYTES;

impl Intake {
    /// For so many processors, without a limit of memory for the process.
    #[cfg(test)]
    pub(crate) fn new(processors: usize, unacknowledged: Unacknowledged) -> Self {
        Self::within(Memory::default(), processors, unacknowledged)
    }

    /// For so many processors.
    pub(crate) fn within(memory: Memory, processors: usize, unacknowledged: Unacknowledged) -> Self {
        Self {
            state: Mutex::default(),
            unacknowledged,
            suspects: SuspectSlots::new(processors),
            exposed: processors as u64 + MARGIN,
            memory,
            arrivals: Notify::new(),
            room: Notify::new(),
        }
    }

    /// The processors that suspects may have.
    pub(crate) fn suspects(&self) -> &Arc<SuspectSlots> {
        &self.suspects
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts fetched jobs in, oldest first.
    pub(crate) fn push(&self, batches: &[Arc<Batch>]) {
        let bytes: usize = batches.iter().map(|batch| batch.count_in(&self.memory)).sum();
        let wake = {
            let mut state = self.state();
            let before = state.ready.len();
            batches.iter().for_each(|batch| batch.deliver());
            state.ready.extend(batches.iter().flat_map(Batch::units));
            state.ready_bytes += bytes;
            state.bytes_per_job = bytes / (state.ready.len() - before).max(1);
            let State { taken, finished, .. } = *state;
            state.pace.comes(taken, finished);
            (state.ready.len() - before).min(state.idle)
        };
        for _ in 0..wake {
            self.arrivals.notify_one();
        }
    }

    /// The next job, for a processor that `finished` so many since it last came; `None` once the intake is closed.
    ///
    /// # Cancel safety
    ///
    /// Safe: a job is taken in the poll that returns it.
    pub(crate) async fn next(&self, mut finished: u64) -> Option<UnitOfWork> {
        let mut held_up = false;
        loop {
            let taken = self.take(std::mem::take(&mut finished), held_up);
            if held_up && !matches!(taken, Taken::TooManyExposed) {
                self.unacknowledged.pass_on();
            }
            held_up = matches!(taken, Taken::TooManyExposed);
            match taken {
                Taken::Job(unit) => return Some(unit),
                Taken::Closed => return None,
                Taken::TooManyExposed => self.unacknowledged.freed().await,
                Taken::Nothing(arrival) => {
                    self.room.notify_one();
                    let _idle = IdleProcessor(self);
                    if self.suspects.set_aside() == 0 {
                        arrival.await;
                    } else if timeout(IN_VAIN, arrival).await.is_err()
                        && let Some(unit) = self.suspects.take(true)
                    {
                        self.state().taken += 1;
                        return Some(unit);
                    }
                }
            }
        }
    }

    /// For a processor that `finished` so many, and was `held_up` before.
    fn take(&self, finished: u64, held_up: bool) -> Taken<'_> {
        let mut state = self.state();
        state.finished += finished;
        state.held_up -= usize::from(held_up);
        if finished > 0 && state.held_up > 0 {
            // A job that failed is acknowledged by nobody, but makes room all the same.
            self.unacknowledged.pass_on();
        }
        if state.closed {
            return Taken::Closed;
        }
        if let Some(unit) = self.suspects.take(false) {
            state.taken += 1;
            return Taken::Job(unit);
        }
        if state.ready.is_empty() {
            state.idle += 1;
            return Taken::Nothing(self.arrivals.notified());
        }
        let running = state.taken.saturating_sub(state.finished);
        if running + self.unacknowledged.count() >= self.exposed {
            state.held_up += 1;
            return Taken::TooManyExposed;
        }
        let unit = state.ready.pop_front().expect("there is one: it is not empty");
        state.taken += 1;
        let much = state.ready_bytes >= READY;
        state.ready_bytes -= unit.bytes().len();
        let left = state.ready.len();
        if left == 0 {
            let finished = state.finished;
            state.pace.emptied(finished);
        }
        let low = left == state.pace.ahead() / 2 || much && state.ready_bytes < READY;
        drop(state);
        if low {
            self.room.notify_one();
        }
        Taken::Job(unit)
    }

    /// Whether a processor is free and nothing lies ready for it.
    pub(crate) fn has_room(&self) -> bool {
        let state = self.state();
        state.idle > state.ready.len() && self.has_memory(&state)
    }

    /// How many jobs the fetcher should bring now; 0 if it should wait for [`room`](Self::room). `round_trip` is what the
    /// last claim took.
    pub(crate) fn wanted(&self, round_trip: Duration) -> usize {
        let mut state = self.state();
        let far = (round_trip.as_secs_f64() / NEAR.as_secs_f64()).clamp(1.0, FAR);
        let most = (MAX_AHEAD as f64 * far) as usize;
        let State { finished, bytes_per_job, ref mut pace, .. } = *state;
        let ahead = pace.measure(finished, round_trip, most);
        let ready = state.ready.len();
        if ready > ahead / 2 && ready >= state.idle || !self.has_memory(&state) {
            return 0;
        }
        // One claim holds Redis for half a microsecond a job, and for longer if the jobs are large.
        let at_once = (MAX_AHEAD / 2).max((most / 2).min(FEW_BYTES / bytes_per_job.max(1)));
        (state.idle + ahead).saturating_sub(ready).min(at_once)
    }

    /// Whether there is memory for one claim more.
    fn has_memory(&self, state: &State) -> bool {
        state.ready_bytes < READY && !self.memory.is_full(state.bytes_per_job.max(CLAIM_BYTES))
    }

    /// Waits until [`wanted`](Self::wanted) is worth asking again. Cancel safe.
    pub(crate) async fn room(&self) {
        tokio::select! {
            () = self.room.notified() => {}
            () = self.memory.freed() => {}
        }
    }

    /// Jobs taken so far; two equal numbers mean that nothing moved in between.
    pub(crate) fn taken(&self) -> u64 {
        self.state().taken
    }

    /// Takes back every job that was fetched and not set aside, and that no processor has taken yet.
    pub(crate) fn take_ready(&self) -> Vec<UnitOfWork> {
        let mut state = self.state();
        state.ready_bytes = 0;
        state.ready.drain(..).collect()
    }

    /// Whether jobs lie here.
    pub(crate) fn holds_jobs(&self) -> bool {
        !self.state().ready.is_empty()
    }

    /// Nothing more is handed out: processors end with the job they have, and what lies here or comes is to be taken back.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.arrivals.notify_waiters();
        self.unacknowledged.wake_all();
    }
}

/// What a processor finds.
enum Taken<'a> {
    Job(UnitOfWork),
    /// No job; the processor counts as idle until it has waited for one.
    Nothing(Notified<'a>),
    /// Jobs, but too many that would run twice if the process died now.
    TooManyExposed,
    Closed,
}

/// A processor that waits; it no longer does when this is dropped.
struct IdleProcessor<'a>(&'a Intake);

impl Drop for IdleProcessor<'_> {
    fn drop(&mut self) {
        self.0.state().idle -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(jobs: usize) -> Arc<Batch> {
        Batch::new(String::new(), "q".into(), vec![b"{}".to_vec(); jobs])
    }

    #[tokio::test]
    async fn hands_jobs_to_waiting_processors_and_ends_when_closed() {
        let intake = Arc::new(Intake::new(4, Unacknowledged::default()));
        let processors: Vec<_> = (0..4)
            .map(|_| {
                let intake = Arc::clone(&intake);
                tokio::spawn(async move {
                    let mut done = 0;
                    while intake.next(done.min(1)).await.is_some() {
                        done += 1;
                        tokio::task::yield_now().await;
                    }
                    done
                })
            })
            .collect();
        for _ in 0..10 {
            intake.push(&[batch(3), batch(2)]);
            tokio::task::yield_now().await;
        }
        while intake.holds_jobs() {
            tokio::task::yield_now().await;
        }
        intake.close();
        intake.push(&[batch(1)]);
        let mut done = 0;
        for processor in processors {
            done += processor.await.unwrap();
        }
        assert_eq!((done, intake.taken()), (50, 50));
        assert_eq!(intake.take_ready().len(), 1, "what comes after the end is not run");
    }

    /// Three that come for a job and never end with it.
    async fn three_processors(intake: &Arc<Intake>) {
        for _ in 0..3 {
            let intake = Arc::clone(intake);
            tokio::spawn(async move {
                let _unit = intake.next(0).await;
                std::future::pending::<()>().await;
            });
        }
        tokio::task::yield_now().await;
    }

    #[tokio::test]
    async fn asks_for_as_many_as_are_free_while_jobs_are_slow() {
        let intake = Arc::new(Intake::new(4, Unacknowledged::default()));
        assert_eq!(intake.wanted(Duration::from_micros(100)), 0, "nobody waits");
        three_processors(&intake).await;
        assert_eq!(intake.wanted(Duration::from_micros(100)), 3);
        intake.push(&[batch(2)]);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(intake.has_room());
    }

    fn large(bytes: usize) -> Arc<Batch> {
        Batch::new(String::new(), "q".into(), vec![vec![b'x'; bytes]])
    }

    #[tokio::test]
    async fn fetches_no_more_while_the_jobs_it_holds_are_too_large() {
        let intake = Arc::new(Intake::new(3, Unacknowledged::default()));
        intake.push(&[large(255 << 20)]);
        three_processors(&intake).await;
        assert_eq!(intake.wanted(Duration::ZERO), 2, "one runs, and there is room for a window");
        assert!(intake.has_room());
        // Small jobs came last, and say nothing of the large one.
        intake.push(&[large(1 << 20), batch(1)]);
        tokio::task::yield_now().await;
        intake.take_ready();
        assert_eq!((intake.wanted(Duration::ZERO), intake.has_room()), (0, false));
    }

    #[tokio::test]
    async fn fetches_again_once_what_it_held_is_settled() {
        let intake = Intake::new(1, Unacknowledged::default());
        intake.push(&[large(256 << 20)]);
        let unit = intake.next(0).await;
        {
            let mut next = std::pin::pin!(intake.next(1));
            assert!(futures_now(next.as_mut()).is_none());
            // The processor is idle, and the acknowledgement is still on its way.
            intake.room().await;
            assert_eq!(intake.wanted(Duration::ZERO), 0);
            drop(unit);
            intake.room().await;
            assert_eq!(intake.wanted(Duration::ZERO), 1);
        }
    }

    /// The outcome of a future, if it has one now.
    fn futures_now<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        match future.poll(&mut cx) {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn what_lies_ready_is_four_windows_at_most() {
        let (intake, mut most) = (Intake::new(3, Unacknowledged::default()), 0);
        for _ in 0..50 {
            {
                // As if jobs of half a window took no time at all.
                let mut state = intake.state();
                state.pace = Pace::seen(1_000_000, Duration::from_millis(1));
            }
            while intake.wanted(Duration::from_millis(1)) > 0 {
                // A claim brings a window.
                intake.push(&[large(CLAIM_BYTES / 2), large(CLAIM_BYTES / 2)]);
                intake.state().pace = Pace::seen(1_000_000, Duration::from_millis(1));
            }
            let ready: usize = intake.state().ready.iter().map(|unit| unit.bytes().len()).sum();
            assert_eq!(intake.state().ready_bytes, ready);
            most = most.max(ready);
            intake.next(0).await;
        }
        assert!((CLAIM_BYTES..=4 * CLAIM_BYTES).contains(&most), "{most} bytes");
    }

    #[test]
    fn asks_for_more_where_redis_is_far_and_for_few_large_jobs() {
        let wanted = |bytes_per_job, round_trip| {
            let intake = Intake::new(4, Unacknowledged::default());
            {
                let mut state = intake.state();
                state.bytes_per_job = bytes_per_job;
                state.pace = Pace::seen(1_000_000, Duration::from_millis(1));
            }
            intake.wanted(round_trip)
        };
        assert_eq!(wanted(100, NEAR), MAX_AHEAD / 2);
        assert_eq!(wanted(100, NEAR * 2), MAX_AHEAD, "twice as far, twice as many");
        assert_eq!(wanted(100, Duration::from_secs(1)), MAX_AHEAD / 2 * FAR as usize);
        assert_eq!(wanted(3_000, Duration::from_secs(1)), FEW_BYTES / 3_000);
    }

    #[tokio::test]
    async fn fetches_ahead_while_those_that_came_are_taken() {
        let intake = Intake::new(4, Unacknowledged::default());
        // Longer than this test takes.
        let round_trip = Duration::from_secs(60);
        intake.push(&[batch(50)]);
        for _ in 0..50 {
            intake.next(1).await;
        }
        intake.push(&[batch(40)]);
        assert_eq!(intake.wanted(round_trip), 160, "200 ahead, 40 of them here");
        for _ in 0..40 {
            intake.next(0).await;
        }
        assert_eq!(intake.wanted(round_trip), 0, "40 were taken and none is finished: they are slow");
    }

    #[tokio::test]
    async fn hands_out_no_more_than_may_run_twice() {
        let unacknowledged = Unacknowledged::default();
        let intake = Intake::new(3, unacknowledged.clone());
        intake.push(&[batch(200)]);
        let drain = async || {
            let mut taken = 0;
            while let Ok(Some(_)) = tokio::time::timeout(Duration::from_millis(20), intake.next(taken.min(1))).await {
                unacknowledged.add();
                taken += 1;
            }
            taken
        };
        assert_eq!(drain().await, 3 + MARGIN);
        unacknowledged.acknowledged(10);
        assert!((9..=10).contains(&drain().await), "as many as were acknowledged");
    }
}

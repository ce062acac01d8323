//! Acknowledgements on their way to Redis, and which of them no longer need this process.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use redis::Pipeline;
use tokio::task::JoinHandle;

use super::Store;
use super::claims::{Acknowledgement, Private};
use super::link::Link;
use super::meter::Meter;
use super::wire::{Request, Wire};
use crate::contain::Contained;
use crate::error::Result;

/// Is told what became of jobs on their way.
pub(crate) trait Tally: Send + Sync + 'static {
    /// So many more are out of this process's hands: Redis gets them even if the process is killed now.
    fn handed_over(&self, jobs: u64);

    /// So many that were handed over may not have arrived.
    fn taken_back(&self, jobs: u64);

    /// The attempt to connect panicked.
    fn panicked(&self, message: &str);
}

/// Carries acknowledgements on a connection of their own.
///
/// What the system has of them it delivers, whatever becomes of the process, so jobs count as acknowledged from then on and not only once
/// Redis has answered. The connection is made in the background when there is first something to carry; until then, and while it is broken,
/// nothing is carried.
pub(crate) struct Courier {
    link: Link,
    tally: Arc<dyn Tally>,
    line: Option<Line>,
    connecting: Option<JoinHandle<std::result::Result<Result<Line>, String>>>,
    /// No connection is tried before.
    not_before: Instant,
}

struct Line {
    wire: Wire,
    parcels: Arc<Parcels>,
    meter: Meter,
    /// The bytes that will have been written once all that was sent is.
    sent: u64,
}

/// Acknowledgements that were sent and not written yet: up to which byte each reaches, and of how many jobs it is.
struct Parcels {
    waiting: Mutex<VecDeque<(u64, u64)>>,
    tally: Arc<dyn Tally>,
    broken: AtomicBool,
}

/// An acknowledgement under way: how many of the lists to take away were there, or `None` if Redis may not have heard of it.
pub(crate) enum Carrying {
    Over(Option<usize>),
    Going(Pin<Box<dyn Future<Output = Option<usize>> + Send>>),
}

/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_secs(1);

impl Store {
    /// Carries acknowledgements, and tells `tally` of them.
    pub(crate) fn courier(&self, tally: impl Tally) -> Courier {
        Courier {
            link: self.link.clone(),
            tally: Arc::new(tally),
            line: None,
            connecting: None,
            not_before: Instant::now(),
        }
    }
}

impl Courier {
    /// Whether what is handed over is counted as it is written, not only as it is answered.
    pub(crate) fn counts(&self) -> bool {
        self.line.as_ref().is_some_and(|line| line.meter.written() > 0)
    }

    /// Sends an acknowledgement of so many jobs; those sent before arrive before. `None` if it was not sent. Never waits.
    pub(crate) async fn carry(&mut self, private: &Private, done: &Acknowledgement<'_>, jobs: u64) -> Option<Carrying> {
        self.connect().await;
        let line = self.line.as_mut()?;
        let pipeline = done.pipeline(private);
        line.sent += pipeline.get_packed_pipeline().len() as u64;
        let mut carrying = Box::pin(send(line.wire.clone(), pipeline, Arc::clone(&line.parcels), line.sent, jobs));
        line.parcels.waiting().push_back((line.sent, jobs));
        // Polled once it is in line behind those before it; the budget of this task is not to be in the way.
        let first = std::future::poll_fn(|cx| {
            Poll::Ready(std::pin::pin!(tokio::task::unconstrained(carrying.as_mut())).poll(cx))
        });
        Some(match first.await {
            Poll::Ready(answer) => Carrying::Over(answer),
            Poll::Pending => Carrying::Going(carrying),
        })
    }

    /// Looks after the connection.
    async fn connect(&mut self) {
        if self.line.as_ref().is_some_and(|line| line.wire.has_ended() || line.parcels.broken.load(Ordering::Acquire)) {
            self.line = None;
        }
        if self.line.is_some() {
            return;
        }
        match self.connecting.take_if(|connecting| connecting.is_finished()) {
            Some(connected) => match connected.await {
                Ok(Ok(Ok(line))) => self.line = Some(line),
                Ok(Ok(Err(error))) => {
                    tracing::debug!(%error, "no connection for acknowledgements; they go with everything else");
                    self.not_before = Instant::now() + PAUSE;
                }
                Ok(Err(panic)) => {
                    self.tally.panicked(&panic);
                    self.not_before = Instant::now() + PAUSE;
                }
                // The runtime is on its way down.
                Err(_) => {}
            },
            None if self.connecting.is_none() && Instant::now() >= self.not_before => {
                self.connecting = Some(self.start_connecting());
            }
            None => {}
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the next `connect` looks how it ended")]
    fn start_connecting(&self) -> JoinHandle<std::result::Result<Result<Line>, String>> {
        tokio::spawn(Contained::new(Box::pin(Line::open(self.link.clone(), Arc::clone(&self.tally)))))
    }
}

impl Line {
    async fn open(link: Link, tally: Arc<dyn Tally>) -> Result<Self> {
        let parcels = Arc::new(Parcels { waiting: Mutex::default(), tally, broken: AtomicBool::new(false) });
        let told = Arc::clone(&parcels);
        let meter = Meter::new(move |written| told.written(written));
        let wire = link.metered(&meter).await?;
        let sent = meter.written();
        Ok(Self { wire, parcels, meter, sent })
    }
}

async fn send(mut wire: Wire, pipeline: Pipeline, parcels: Arc<Parcels>, end: u64, jobs: u64) -> Option<usize> {
    match wire.send::<Vec<usize>>(Request::Pipeline(&pipeline)).await {
        Ok(there) => {
            parcels.written(end);
            Some(there.first().copied().unwrap_or_default())
        }
        Err(error) => {
            tracing::debug!(%error, "an acknowledgement was not answered");
            parcels.lost(end, jobs);
            None
        }
    }
}

impl Parcels {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<(u64, u64)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything up to a byte is out of our hands.
    fn written(&self, until: u64) {
        let mut waiting = self.waiting();
        let mut jobs = 0;
        while let Some((_, of)) = waiting.front().copied().filter(|(end, _)| *end <= until) {
            waiting.pop_front();
            jobs += of;
        }
        drop(waiting);
        if jobs > 0 {
            self.tally.handed_over(jobs);
        }
    }

    /// One was not answered, or refused.
    fn lost(&self, end: u64, jobs: u64) {
        self.broken.store(true, Ordering::Release);
        let mut waiting = self.waiting();
        match waiting.iter().position(|(at, _)| *at == end) {
            Some(at) => drop(waiting.remove(at)),
            None => {
                drop(waiting);
                self.tally.taken_back(jobs);
            }
        }
    }
}

impl std::fmt::Debug for Courier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Courier").field("line", &self.line.as_ref().map(|line| &line.wire)).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicI64;

    #[derive(Clone, Default)]
    struct Count(Arc<AtomicI64>);

    impl Tally for Count {
        fn handed_over(&self, jobs: u64) {
            self.0.fetch_add(jobs.cast_signed(), Ordering::Relaxed);
        }

        fn taken_back(&self, jobs: u64) {
            self.0.fetch_sub(jobs.cast_signed(), Ordering::Relaxed);
        }

        fn panicked(&self, _: &str) {}
    }

    fn parcels(of: &[(u64, u64)]) -> (Parcels, Count) {
        let count = Count::default();
        let tally = Arc::new(count.clone());
        (Parcels { waiting: Mutex::new(of.iter().copied().collect()), tally, broken: AtomicBool::new(false) }, count)
    }

    #[test]
    fn counts_what_is_written_whole() {
        let (parcels, count) = parcels(&[(100, 3), (150, 5), (300, 7)]);
        for (written, handed_over) in [(99, 0), (100, 3), (149, 3), (299, 8), (301, 15), (400, 15)] {
            parcels.written(written);
            assert_eq!(count.0.load(Ordering::Relaxed), handed_over, "{written} bytes");
        }
    }

    #[test]
    fn takes_back_what_was_written_and_not_answered() {
        let (parcels, count) = parcels(&[(100, 3), (150, 5)]);
        parcels.written(100);
        parcels.lost(100, 3);
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        parcels.lost(150, 5);
        assert_eq!(count.0.load(Ordering::Relaxed), 0, "it was never counted");
        parcels.written(200);
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        assert!(parcels.broken.load(Ordering::Relaxed));
    }
}

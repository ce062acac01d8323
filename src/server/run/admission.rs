//! Whether a job may start while there are suspects, and how it is run then.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::server::fetch::isolation::{Admission, Begun, Hold, Seat, SuspectSlots, Turn};
use crate::server::run::Runner;
use crate::server::settle::Destination;
use crate::server::unit::UnitOfWork;

/// Between two looks whether a suspect is alone.
const LOOK: Duration = Duration::from_millis(10);
/// Between two looks whether a sign of life got through.
const SIGN: Duration = Duration::from_millis(100);
/// How long a processor rests that has sent a suspect away: perhaps nothing else is in the queue.
const REST: Duration = Duration::from_millis(250);

/// How a job that was admitted is to be run.
#[derive(Debug)]
pub(crate) enum Admitted<'a> {
    Ordinary,
    Suspect(Suspect<'a>),
}

/// A suspect that is named in Redis and may begin.
#[derive(Debug)]
pub(crate) struct Suspect<'a> {
    runner: &'a Runner,
    fingerprint: String,
    alone: Option<AloneUntil<'a>>,
    _begun: Begun<'a>,
    _seat: Seat,
}

/// Nothing else begins until this is dropped.
#[derive(Debug)]
struct AloneUntil<'a> {
    end: Instant,
    _hold: Hold<'a>,
    _turn: Turn<'a>,
}

impl Runner {
    /// Whether a job may start now, and how. `None` if it went elsewhere: its processor goes on with the next.
    ///
    /// Only to be asked while the [`Isolation`](crate::server::fetch::isolation::Isolation) is alert.
    pub(crate) async fn admit(&self, unit: &UnitOfWork, slots: &Arc<SuspectSlots>) -> Option<Admitted<'_>> {
        match self.fetch.isolation.admission(unit) {
            Admission::Go => {
                slots.see_ordinary();
                Some(Admitted::Ordinary)
            }
            Admission::Held => {
                self.settle.put_back(std::slice::from_ref(unit)).await;
                tokio::select! {
                    () = self.fetch.isolation.released() => {}
                    () = self.shared.handle.quieted() => {}
                }
                None
            }
            Admission::Suspect(fingerprint) => match slots.seat() {
                Some(seat) => tokio::select! {
                    suspect = self.prepare(unit, fingerprint, seat) => suspect.map(Admitted::Suspect),
                    () = self.shared.handle.quieted() => {
                        self.settle.put_back(std::slice::from_ref(unit)).await;
                        None
                    }
                },
                None => {
                    self.set_aside(unit, slots).await;
                    None
                }
            },
        }
    }

    /// Keeps a suspect until there is a seat for it, or sends it to the end of its queue if too many wait.
    async fn set_aside(&self, unit: &UnitOfWork, slots: &SuspectSlots) {
        if slots.keep(unit) {
            return;
        }
        if self.shared.handle.is_quiet() {
            self.settle.put_back(std::slice::from_ref(unit)).await;
            return;
        }
        self.settle
            .settle_until_stored(unit, Destination::Queue { payload: None, queue: unit.queue().to_string() })
            .await;
        self.rest().await;
    }

    async fn rest(&self) {
        tokio::select! {
            () = tokio::time::sleep(REST) => {}
            () = self.shared.handle.quieted() => {}
        }
    }

    /// Waits for the turn of a suspect, for solitude where it is due, and names it in Redis before it begins. `None` if Redis does not take
    /// that; then the job is back in its queue.
    async fn prepare<'a>(&'a self, unit: &UnitOfWork, fingerprint: String, seat: Seat) -> Option<Suspect<'a>> {
        let isolation = &self.fetch.isolation;
        let (turn, test) = isolation.turn(&fingerprint, self.shared.stats.telemetry.concurrency).await;
        let mut hold = None;
        if let Some(alone) = test.alone {
            hold = isolation.hold(&turn).await;
            if hold.is_some() && !self.is_alone_within(unit, alone.drain).await {
                hold = None;
            }
        }
        let named = self.shared.store.suspect_begins(&self.shared.identity, &fingerprint, hold.is_some()).await;
        if let Err(error) = named {
            tracing::debug!(%error, "a suspect cannot be named; it goes back");
            drop(hold);
            self.settle.put_back(std::slice::from_ref(unit)).await;
            self.rest().await;
            return None;
        }
        tracing::warn!(
            queue = &**unit.queue(),
            alone = hold.is_some(),
            "a job that two processes died with runs; if it ends, it is no suspect any more"
        );
        let begun = isolation.begin(test.company);
        let span = test.alone.map_or(Duration::ZERO, |alone| alone.hold);
        let alone = hold.map(|hold| AloneUntil { end: Instant::now() + span, _hold: hold, _turn: turn });
        Some(Suspect { runner: self, fingerprint, alone, _begun: begun, _seat: seat })
    }

    /// Whether, within so long, every other job that has begun here ends.
    async fn is_alone_within(&self, unit: &UnitOfWork, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            // In this order: a suspect that comes to wait meanwhile counts as begun. None of those begins while this one has the turn.
            let others = self.fetch.holdings.others(unit);
            if others <= self.fetch.isolation.waiting() {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until Redis took a sign of life again, or the server is quieted.
    pub(crate) async fn wait_for_sign_of_life(&self) {
        while self.shared.stats.liveness.is_silent() && !self.shared.handle.is_quiet() {
            tokio::select! {
                () = tokio::time::sleep(SIGN) => {}
                () = self.shared.handle.quieted() => {}
            }
        }
    }

    /// Nothing was heard of this process for so long that others may run what it has fetched. A job that has not begun is not begun any
    /// more: it goes back to its queue if it is still ours.
    pub(crate) async fn put_back_unbegun(&self, unit: &UnitOfWork) {
        self.wait_for_sign_of_life().await;
        self.settle.put_back(std::slice::from_ref(unit)).await;
    }
}

impl Suspect<'_> {
    /// Runs the suspect to its end, which acquits it. Others may begin before that if it takes long.
    pub(crate) async fn run(mut self, job: impl Future<Output = ()>) {
        let mut job = std::pin::pin!(job);
        if let Some(alone) = &self.alone {
            tokio::select! {
                () = &mut job => {}
                () = self.has_company(alone.end) => {
                    self.alone = None;
                    job.await;
                }
            }
        } else {
            job.await;
        }
        self.acquit().await;
    }

    /// From `end` on, and once Redis has it, others may begin.
    async fn has_company(&self, end: Instant) {
        tokio::time::sleep_until(end).await;
        let mut outage = self.runner.shared.stats.outages.part();
        while let Err(error) =
            self.runner.shared.store.suspect_has_company(&self.runner.shared.identity, &self.fingerprint).await
        {
            outage.note("naming the company of a suspect failed", &error);
            outage.wait().await;
        }
        outage.over();
    }

    /// It ended, and its process did not: whatever became of it, these bytes are no suspect any more. Others begin only once Redis has
    /// it: a death from now on is not its doing.
    async fn acquit(&self) {
        let mut outage = self.runner.shared.stats.outages.part();
        while let Err(error) = self.runner.shared.store.acquit(&self.runner.shared.identity, &self.fingerprint).await {
            outage.note("acquitting a job failed", &error);
            if self.runner.shared.handle.is_quiet() {
                return;
            }
            outage.wait().await;
        }
        outage.over();
        self.runner.fetch.isolation.forget(&self.fingerprint);
    }
}

//! Which server of a group leads: the one that holds the lease in Redis.
//!
//! Redis decides who has the lease, by its own clock. A server counts its lease from the moment it sent the request, by a clock that nobody
//! sets, and for four fifths of its length. So at most one server takes itself for the leader unless a server is paused; and a write of a
//! leader is safe in any case if Redis checks its token ([`Store::run_fenced`](crate::store::Store::run_fenced)).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::error::RedisFault;
use crate::job::StopSignal;
use crate::server::control::events::{Event, LifecycleHooks, ServerContext};
use crate::server::control::supervisor::{Part, spawn};
use crate::server::run::Runner;
use crate::server::shared::Shared;
use crate::server::stats::outage::Outage;
use crate::store::is_refusal;
use crate::store::lease::{Campaign, Candidate};

/// Candidates that take turns within a third of a lease: the turn of the next one comes so much sooner.
const TURNS: u32 = 10;

/// The lease of this server. The [`Election`] writes it, ticks read it.
#[derive(Debug, Default)]
pub(crate) struct Leadership {
    lease: watch::Sender<Option<Lease>>,
    /// The greatest token that this server knows; 0 for none.
    known: AtomicU64,
    /// Wakes the election: Redis refused a write under the lease.
    doubts: Notify,
    /// Set once no tick runs any more: the election gives the lease back.
    over: StopSignal,
}

#[derive(Clone, Copy, Debug)]
struct Lease {
    token: u64,
    /// Until when this server takes itself for the leader.
    until: Instant,
}

impl Leadership {
    /// The token of the lease, while this server leads.
    pub(crate) fn token(&self) -> Option<u64> {
        self.lease.borrow().filter(|lease| Instant::now() < lease.until).map(|lease| lease.token)
    }

    /// Resolves with the token of the lease once this server leads. Cancel safe.
    pub(crate) async fn gained(&self) -> u64 {
        let mut changes = self.lease.subscribe();
        loop {
            changes.mark_unchanged();
            if let Some(token) = self.token() {
                return token;
            }
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Resolves once this server does not lead under this token any more. Cancel safe.
    pub(crate) async fn lost(&self, token: u64) {
        let mut changes = self.lease.subscribe();
        loop {
            let lease = *changes.borrow_and_update();
            let Some(lease) = lease.filter(|lease| lease.token == token && Instant::now() < lease.until) else {
                return;
            };
            tokio::select! {
                () = tokio::time::sleep_until(lease.until) => {}
                _ = changes.changed() => {}
            }
        }
    }

    /// Redis refused a write under this token: the server does not lead under it, and campaigns at once.
    pub(crate) fn refused(&self, token: u64) {
        let is_current = |lease: &mut Option<Lease>| lease.take_if(|lease| lease.token == token).is_some();
        if self.lease.send_if_modified(is_current) {
            self.doubts.notify_one();
        }
    }

    /// Has the election give the lease back and end.
    pub(crate) fn end(&self) {
        self.over.trigger();
    }

    fn known(&self) -> u64 {
        self.known.load(Ordering::Relaxed)
    }

    fn set(&self, lease: Option<Lease>) {
        self.lease.send_replace(lease);
    }
}

/// Campaigns for the lead until the server ends it, then gives the lease back.
pub(crate) struct Election {
    shared: Arc<Shared>,
    candidate: Candidate,
    leadership: Arc<Leadership>,
    hooks: LifecycleHooks,
    /// What the hooks take.
    server: ServerContext,
    /// The leader hooks called last.
    fired: Option<JoinHandle<()>>,
    outage: Outage,
    /// The token of the lease as of the last answer; 0 for none.
    leads: u64,
    /// Whether the refusal of Redis is logged that repeats.
    complained: bool,
}

impl Part for Election {
    fn name(&self) -> &'static str {
        "election"
    }

    async fn run(&mut self) {
        while !self.may_end() {
            let next = self.campaign().await;
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                () = self.leadership.doubts.notified() => {}
                () = self.leadership.over.wait() => {}
            }
        }
        self.resign().await;
    }

    fn may_end(&self) -> bool {
        self.leadership.over.is_set()
    }
}

impl Election {
    pub(crate) fn new(runner: &Runner, group: String, leadership: Arc<Leadership>, hooks: LifecycleHooks) -> Self {
        let (shared, server) = (Arc::clone(&runner.shared), runner.server_context());
        let lasts = shared.stats.liveness.span() / 2;
        let candidate = Candidate { group, identity: shared.identity.clone(), lasts, turn: lasts / (3 * TURNS) };
        let outage = shared.stats.outages.part();
        Self { shared, candidate, leadership, hooks, server, fired: None, outage, leads: 0, complained: false }
    }

    /// Campaigns once. Returns when to do so again.
    async fn campaign(&mut self) -> Instant {
        let (sent, period, known) = (Instant::now(), self.candidate.lasts / 3, self.leadership.known());
        match self.shared.store.campaign(&self.candidate, known).await {
            Ok(Campaign::Leads { token }) => {
                self.answered(token);
                self.leadership.set(Some(Lease { token, until: sent + self.candidate.lasts * 4 / 5 }));
                if std::mem::replace(&mut self.leads, token) != token {
                    tracing::info!(group = self.candidate.group, token, "this process leads");
                    self.fire();
                }
                sent + period
            }
            Ok(Campaign::Waits { token, pause }) => {
                self.answered(token);
                self.leadership.set(None);
                if std::mem::take(&mut self.leads) != 0 {
                    tracing::warn!(group = self.candidate.group, "another process leads now");
                }
                Instant::now() + pause.min(period) + self.candidate.turn.mul_f64(rand::random())
            }
            // For good, by its rights or the type of the key. The other parts of the server may work.
            Err(error) if is_refusal(&error) && error.redis_fault() != Some(RedisFault::Unwilling) => {
                if !std::mem::replace(&mut self.complained, true) {
                    tracing::error!(group = self.candidate.group, error = error.with_causes(), "no process can lead");
                }
                sent + period
            }
            Err(error) => {
                self.outage.note("campaigning for the lead failed", &error);
                Instant::now() + self.outage.pause().clamp(self.candidate.turn, period)
            }
        }
    }

    fn answered(&mut self, token: u64) {
        self.outage.over();
        self.complained = false;
        self.leadership.known.fetch_max(token, Ordering::Relaxed);
    }

    /// Calls the leader hooks, unless those of an earlier lease still run.
    fn fire(&mut self) {
        if self.hooks.is_empty(Event::Leader) {
            return;
        }
        if self.fired.as_ref().is_some_and(|hooks| !hooks.is_finished()) {
            return tracing::warn!(event = ?Event::Leader, "hooks of an earlier lease still run; they are not called again");
        }
        let (hooks, server) = (self.hooks.clone(), self.server.clone());
        self.fired = Some(spawn(async move { hooks.fire(Event::Leader, &server, None).await }));
    }

    async fn resign(&mut self) {
        self.leadership.set(None);
        if let Err(error) = self.shared.store.resign(&self.candidate).await {
            let lasts = self.candidate.lasts;
            tracing::warn!(%error, ?lasts, "cannot give the lead back; another process takes it when the lease ends");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn lease(token: u64, millis: u64) -> Option<Lease> {
        Some(Lease { token, until: Instant::now() + Duration::from_millis(millis) })
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_ends_by_itself_when_it_is_not_renewed() {
        let leadership = Leadership::default();
        assert_eq!(leadership.token(), None);
        leadership.set(lease(1, 100));
        assert_eq!(leadership.gained().await, 1);
        let began = Instant::now();
        leadership.lost(1).await;
        assert_eq!(began.elapsed().as_millis(), 100);
        assert_eq!(leadership.token(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewed_lease_goes_on_and_another_one_ends_it() {
        let leadership = Arc::new(Leadership::default());
        let gained = tokio::spawn({
            let leadership = Arc::clone(&leadership);
            async move { leadership.gained().await }
        });
        tokio::task::yield_now().await;
        leadership.set(lease(1, 100));
        assert_eq!(gained.await.unwrap(), 1, "a waiting tick learns of it");
        let mut lost = std::pin::pin!(leadership.lost(1));
        assert!(tokio::time::timeout(Duration::from_millis(90), &mut lost).await.is_err());
        leadership.set(lease(1, 100));
        assert!(tokio::time::timeout(Duration::from_millis(90), &mut lost).await.is_err(), "it was renewed");
        leadership.refused(2);
        assert_eq!(leadership.token(), Some(1), "another token was refused");
        leadership.set(lease(2, 100));
        lost.await;
        leadership.refused(2);
        assert_eq!(leadership.token(), None);
        tokio::time::timeout(Duration::from_secs(1), leadership.doubts.notified()).await.unwrap();
    }
}

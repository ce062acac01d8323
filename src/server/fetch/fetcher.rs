//! Brings the jobs of a capsule's queues, by one of two ways.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::server::control::handle::Handle;
use crate::server::control::supervisor::Supervisor;
use crate::server::fetch::basic::Basic;
use crate::server::fetch::intake::Intake;
use crate::server::fetch::isolation::{FEW, Isolation};
use crate::server::fetch::paused::Paused;
use crate::server::fetch::reliable::Reliable;
use crate::server::settings::capsule::Capsule;
use crate::server::settings::config::FetchMode;
use crate::server::stats::liveness::Liveness;
use crate::server::unit::{Batch, Holdings};
use crate::store::Store;
use crate::store::claims::{ConnectionId, Private};
use crate::store::registration::Registration;
use crate::store::suspects::fingerprint;

/// Brings jobs of a capsule's queues.
#[derive(Debug)]
pub(crate) enum Fetcher {
    Reliable(Reliable),
    Basic(Basic),
}

/// What a [`Fetcher`] works with.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) store: Store,
    pub(crate) private: Private,
    pub(crate) capsule: Arc<Capsule>,
    pub(crate) intake: Arc<Intake>,
    pub(crate) handle: Handle,
    pub(crate) paused: Paused,
    pub(crate) holdings: Holdings,
    pub(crate) isolation: Arc<Isolation>,
    pub(crate) liveness: Arc<Liveness>,
    pub(crate) registration: Arc<Registration>,
    pub(crate) supervisor: Supervisor,
    /// Numbers the private lists of this process.
    pub(crate) numbers: Arc<std::sync::atomic::AtomicU64>,
}

impl Source {
    /// Writes into `order` the positions of the queues to ask now, first to last; none of those that are paused or left alone.
    pub(super) fn order(&self, order: &mut Vec<usize>) {
        self.capsule.order(&mut rand::rng(), order);
        order.retain(|at| !self.paused.contains(&self.capsule.weights()[*at].0));
    }

    /// Jobs that are now in a private list of this process. `epoch` is that of the registration before they were claimed.
    pub(super) fn hold(&self, epoch: u64, list: String, queue: Arc<str>, jobs: Vec<Vec<u8>>) -> Arc<Batch> {
        let batch = Batch::claimed_in(epoch, list, queue, jobs);
        self.holdings.add(&batch);
        batch
    }

    /// Looks up which of these jobs are suspects, if there are any at all. `lookups` is from before they were fetched. Unless this succeeds, none
    /// of them may begin.
    pub(super) async fn look_for_suspects(
        &self,
        (there, lookups): (bool, u64),
        jobs: impl Iterator<Item = &[u8]> + Send,
    ) -> Result<()> {
        if !there {
            self.isolation.learn_of_none(lookups);
            return Ok(());
        }
        let fingerprints: Vec<String> = jobs.map(fingerprint).collect();
        let suspects = self.store.suspects(&fingerprints, FEW + 1).await?;
        self.isolation.learn(&fingerprints, suspects);
        Ok(())
    }

    /// Waits a little: nothing may be fetched from any queue.
    pub(super) async fn rest(&self) {
        tokio::select! {
            () = tokio::time::sleep(self.paused.rest().unwrap_or(Duration::from_millis(500))) => {}
            () = self.handle.quieted() => {}
        }
    }

    /// Awaits a blocking command to its end, and has Redis end it once the server is quieted or one of these queues is paused.
    pub(super) async fn until_quiet<T>(
        &self,
        id: Option<ConnectionId>,
        queues: &[Arc<str>],
        command: impl Future<Output = T>,
    ) -> T {
        let mut command = pin!(command);
        tokio::select! {
            answer = &mut command => return answer,
            () = self.handle.quieted() => {}
            () = self.paused.paused(queues) => {}
        }
        let Some(id) = id else { return command.await };
        loop {
            self.store.unblock(id).await;
            // Asked again: the first one may have come before the command.
            tokio::select! {
                answer = &mut command => return answer,
                () = tokio::time::sleep(Duration::from_millis(100)) => {}
            }
        }
    }
}

impl Fetcher {
    pub(crate) fn new(mode: FetchMode, source: Source) -> Self {
        match mode {
            FetchMode::Reliable => Self::Reliable(Reliable::new(source)),
            FetchMode::Basic => Self::Basic(Basic::new(source)),
        }
    }

    /// Up to `want` jobs, waiting a few seconds for the first of them. Comes back with none when there are none, when
    /// jobs went into the intake by another way, and when the server was quieted.
    ///
    /// # Cancel safety
    ///
    /// None: always await it to the end, or jobs are stranded.
    pub(crate) async fn retrieve_work(&mut self, want: usize) -> Result<Vec<Arc<Batch>>> {
        match self {
            Self::Reliable(fetcher) => fetcher.retrieve_work(want).await,
            Self::Basic(fetcher) => fetcher.retrieve_work(want).await,
        }
    }

    /// Waits for commands that are still with Redis, so that nothing arrives afterwards.
    pub(crate) async fn close(self) {
        match self {
            Self::Reliable(fetcher) => fetcher.close().await,
            Self::Basic(_) => {}
        }
    }
}

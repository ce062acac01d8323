//! How jobs come out of Redis and how they leave this process.
//!
//! A capsule has one [`Fetcher`]; it puts [`UnitOfWork`]s into the capsule's [`Intake`](crate::server::intake::Intake).
//! Whatever became of a unit is told to the [`Settler`]. Neither the processor nor the manager knows whether jobs lie in
//! private lists meanwhile (`reliable`) or nowhere (`basic`).

mod acknowledger;
mod basic;
mod batch;
mod holdings;
mod idle;
mod memory;
mod reliable;
mod retrier;
mod settler;
mod unacknowledged;
mod watcher;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use acknowledger::Acknowledger;
pub(crate) use batch::{Batch, UnitOfWork};
pub(crate) use holdings::Holdings;
pub(crate) use memory::Memory;
pub(crate) use settler::{Destination, Settled, Settler};
pub(crate) use unacknowledged::{MARGIN, Unacknowledged};

use crate::error::Result;
use crate::server::capsule::Capsule;
use crate::server::config::FetchMode;
use crate::server::handle::Handle;
use crate::server::intake::Intake;
use crate::server::isolation::{FEW, Isolation};
use crate::server::liveness::Liveness;
use crate::server::paused::Paused;
use crate::server::supervisor::Supervisor;
use crate::store::Store;
use crate::store::claims::{ConnectionId, Private};
use crate::store::registration::Registration;
use crate::store::suspects::fingerprint;

/// Brings jobs of a capsule's queues.
#[derive(Debug)]
pub(crate) enum Fetcher {
    Reliable(reliable::Reliable),
    Basic(basic::Basic),
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
    fn order(&self, order: &mut Vec<usize>) {
        self.capsule.order(&mut rand::rng(), order);
        order.retain(|at| !self.paused.contains(&self.capsule.weights()[*at].0));
    }

    /// Jobs that are now in a private list of this process. `epoch` is that of the registration before they were claimed.
    fn hold(&self, epoch: u64, list: String, queue: Arc<str>, jobs: Vec<Vec<u8>>) -> Arc<Batch> {
        let batch = Batch::claimed_in(epoch, list, queue, jobs);
        self.holdings.add(&batch);
        batch
    }

    /// Looks up which of these jobs are suspects, if there are any at all. `lookups` is from before they were fetched. Unless this succeeds, none
    /// of them may begin.
    async fn look_for_suspects(
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
    async fn rest(&self) {
        tokio::select! {
            () = tokio::time::sleep(self.paused.rest().unwrap_or(Duration::from_millis(500))) => {}
            () = self.handle.quieted() => {}
        }
    }

    /// Awaits a blocking command to its end, and has Redis end it once the server is quieted or one of these queues is paused.
    async fn until_quiet<T>(
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
            FetchMode::Reliable => Self::Reliable(reliable::Reliable::new(source)),
            FetchMode::Basic => Self::Basic(basic::Basic::new(source)),
        }
    }

    /// Returns up to `want` jobs, or `None` if there was nothing to ask Redis for: then it is unknown whether Redis works. Without jobs, call
    /// [`wait`](Self::wait).
    ///
    /// # Cancel safety
    ///
    /// None: always await it to the end, or jobs are stranded.
    pub(crate) async fn retrieve_work(&mut self, want: usize) -> Result<Option<Vec<Arc<Batch>>>> {
        match self {
            Self::Reliable(fetcher) => fetcher.retrieve_work(want).await,
            Self::Basic(fetcher) => fetcher.retrieve_work(want).await,
        }
    }

    /// Waits a few seconds for jobs: until there may be some, jobs went into the intake by another way, or the server was quieted. Returns at
    /// once from the basic fetcher, whose [`retrieve_work`](Self::retrieve_work) waits.
    pub(crate) async fn wait(&mut self) {
        match self {
            Self::Reliable(fetcher) => fetcher.wait().await,
            Self::Basic(_) => {}
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

//! What a fetcher works with.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::server::control::handle::Handle;
use crate::server::control::supervisor::Supervisor;
use crate::server::fetch::intake::Intake;
use crate::server::fetch::isolation::{FEW, Isolation};
use crate::server::fetch::limits::Limits;
use crate::server::fetch::paused::Paused;
use crate::server::settings::capsule::Capsule;
use crate::server::stats::liveness::Liveness;
use crate::server::unit::{Batch, Holdings};
use crate::store::Store;
use crate::store::claims::{ConnectionId, Private};
use crate::store::registration::Registration;
use crate::store::suspects::fingerprint;

/// What a [`Fetcher`] works with.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) store: Store,
    pub(crate) private: Private,
    pub(crate) capsule: Arc<Capsule>,
    pub(crate) intake: Arc<Intake>,
    pub(crate) handle: Handle,
    pub(crate) paused: Paused,
    pub(crate) limits: Limits,
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

    /// Awaits a blocking command to its end, and has Redis end it once the server is quieted or one of these queues is paused
    /// or gets a limit.
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
            () = self.limits.limited(queues) => {}
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

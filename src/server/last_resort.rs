//! The end of a process whose runtime is blocked by jobs that cannot be cancelled: it must end in time all the same, and lose nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::server::core::Core;
use crate::server::fetcher::UnitOfWork;
use crate::server::launcher::put_back;
use crate::store::Store;
use crate::store::claims::{Acknowledgement, Private};

/// What the orderly stop may take beyond the timeout.
const PATIENCE: Duration = Duration::from_millis(2_500);
/// What Redis may take.
const PATIENCE_WITH_REDIS: Duration = Duration::from_secs(1);

/// Watches the stop of a server from a thread whose runtime no job can block.
#[derive(Debug)]
pub(crate) struct LastResort(Arc<Core>);

impl LastResort {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self(core)
    }

    /// Resolves once the server was told to stop, has had its time, and the jobs that still run went back to their queues: then the
    /// process may end without more ado. An orderly stop is over before. Tells whether memory was the reason.
    pub(crate) async fn due(self) -> bool {
        let Self(core) = self;
        core.handle.stopping().await;
        tokio::select! {
            () = tokio::time::sleep(core.config.timeout) => {}
            () = core.handle.now() => {}
        }
        tokio::time::sleep(PATIENCE).await;
        // Connections belong to the runtime that made them.
        let store = core.store.fresh();
        if tokio::time::timeout(PATIENCE_WITH_REDIS, leave(&core, &store)).await.is_err() {
            tracing::error!(
                "Redis did not answer; jobs stay in private lists, another ferrokiq process puts them back"
            );
        }
        core.over_memory.load(Ordering::Relaxed)
    }
}

async fn leave(core: &Core, store: &Store) {
    put_back(core, &core.settler.over(store.clone())).await;
    let done: Vec<UnitOfWork> = core.holdings.all().iter().flat_map(|batch| batch.done().collect::<Vec<_>>()).collect();
    let jobs: Vec<(&str, &[u8])> = done.iter().map(|unit| (unit.batch().list(), unit.bytes())).collect();
    let left = async {
        if !jobs.is_empty() {
            let done = Acknowledgement { lists: Vec::new(), trims: Vec::new(), jobs };
            store.acknowledge(&Private::of(&core.identity), &done).await?;
        }
        store.bye(&core.identity).await?;
        store.clear_heartbeat(&core.identity).await
    };
    if let Err(error) = left.await {
        tracing::error!(%error, "leaving failed");
    }
}

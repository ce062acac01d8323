//! Holds the private lists of this process against what it knows, in both directions.
//!
//! A list that this process does not know, twice in a row, is the outcome of a command whose answer was lost: its jobs go back. A batch
//! whose list Redis forgot, with everything else, is written anew: its jobs run on, and must not be lost if one fails or the process dies.

use std::collections::HashSet;
use std::sync::Arc;

use crate::error::Result;
use crate::server::core::Core;
use crate::server::recovery;
use crate::store::Store;

/// Looks now and then until the server is quieted.
pub(crate) async fn run(core: Arc<Core>) {
    let (mut outage, mut strangers) = (core.outages.part(), HashSet::new());
    loop {
        tokio::select! {
            () = tokio::time::sleep(core.liveness.span() / 2) => {}
            () = core.handle.quieted() => return,
        }
        match put_back_strangers(&core, &strangers).await {
            Ok(now) => {
                strangers = now;
                outage.over();
            }
            Err(error) => outage.note("looking through the private lists failed", &error),
        }
    }
}

/// Puts back the jobs of lists that are unknown and were `strangers` before; returns those that are unknown for the first time. An answer
/// that is still on its way has long arrived by the second look.
async fn put_back_strangers(core: &Core, strangers: &HashSet<String>) -> Result<HashSet<String>> {
    let mut unknown = HashSet::new();
    for (list, queue) in core.store.private_lists(&core.identity).await? {
        if core.holdings.has(&list) {
            continue;
        }
        let jobs = core.store.private_jobs(&list, usize::MAX).await?;
        if jobs.is_empty() {
            continue;
        }
        if !strangers.contains(&list) {
            unknown.insert(list);
            continue;
        }
        if list == Store::convicts(&core.identity, &queue) {
            recovery::bury_convicts(core, &core.identity, &list).await?;
            continue;
        }
        let jobs: Vec<&[u8]> = jobs.iter().map(Vec::as_slice).collect();
        let back = core.store.requeue(&list, &queue, &jobs).await?;
        core.telemetry.requeued.add(back);
        tracing::warn!(queue, jobs = back, "put back jobs that were fetched for nobody: an answer of Redis was lost");
    }
    Ok(unknown)
}

/// Puts back the jobs of every unknown list: nothing is on its way any more.
pub(crate) async fn put_back_all_strangers(core: &Core) -> Result<()> {
    let strangers = put_back_strangers(core, &HashSet::new()).await?;
    put_back_strangers(core, &strangers).await.map(drop)
}

/// Writes the lists of jobs that run anew, after Redis forgot this process.
pub(crate) async fn hold_everything_again(core: &Core, store: &Store) -> Result<()> {
    let mut jobs_held = 0;
    for batch in core.holdings.all() {
        let jobs: Vec<&[u8]> = batch.unfinished().collect();
        if !jobs.is_empty() && store.hold_again(&core.identity, batch.list(), &jobs).await? {
            jobs_held += jobs.len();
        }
    }
    if jobs_held > 0 {
        tracing::warn!(jobs = jobs_held, "Redis had forgotten jobs that run here; they are written again");
    }
    Ok(())
}

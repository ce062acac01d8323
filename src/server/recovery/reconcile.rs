//! Holds the private lists of this process against what it knows, in both directions.
//!
//! A list that this process does not know, twice in a row, is the outcome of a command whose answer was lost, or of a fetcher that panicked
//! with the jobs in hand: its jobs go back. A batch whose list Redis lost is written anew: its jobs run on, and must not be lost if the
//! process dies.

use std::collections::HashSet;
use std::sync::Arc;

use crate::error::Result;
use crate::server::control::supervisor::Part;
use crate::server::fetch::FetchState;
use crate::server::recovery::lookout;
use crate::server::recovery::stuck::Stuck;
use crate::server::unit::{Batch, UnitOfWork};
use crate::store::Store;
use crate::store::claims::{Acknowledgement, Private};

/// Looks now and then until the server is quieted.
pub(crate) struct Reconciliation(pub(crate) Arc<FetchState>);

impl Part for Reconciliation {
    fn name(&self) -> &'static str {
        "reconciliation"
    }

    async fn run(&mut self) {
        run(&self.0).await;
    }

    fn may_end(&self) -> bool {
        self.0.shared.handle.is_quiet()
    }
}

async fn run(fetch: &FetchState) {
    let (mut outage, mut strangers, mut stuck) = (fetch.shared.stats.outages.part(), HashSet::new(), Stuck::default());
    loop {
        tokio::select! {
            () = tokio::time::sleep(fetch.shared.stats.liveness.span() / 2) => {}
            () = fetch.shared.handle.quieted() => return,
        }
        match put_back_strangers(fetch, &fetch.shared.store, &strangers, &mut stuck).await {
            Ok(now) => {
                strangers = now;
                outage.answered();
            }
            Err(error) => outage.note("looking through the private lists failed", &error),
        }
    }
}

/// Puts back the jobs of lists that are unknown and were `strangers` before; returns those that are unknown for the first time.
async fn put_back_strangers(
    fetch: &FetchState,
    store: &Store,
    strangers: &HashSet<String>,
    stuck: &mut Stuck,
) -> Result<HashSet<String>> {
    let mut unknown = HashSet::new();
    let mut lists = store.private_lists(&fetch.shared.identity).await?;
    lists.retain(|(list, _)| !fetch.holdings.has(list));
    let lengths = store.private_lengths(&lists.iter().map(|(list, _)| list.as_str()).collect::<Vec<_>>()).await?;
    for ((list, queue), length) in lists.into_iter().zip(lengths) {
        if length == 0 {
            continue;
        }
        if !strangers.contains(&list) {
            unknown.insert(list);
            continue;
        }
        match put_back_list(fetch, store, &list, &queue).await {
            Ok(()) => stuck.works(&list),
            Err(error) => {
                stuck.note(&list, error)?;
                unknown.insert(list);
            }
        }
    }
    Ok(unknown)
}

/// Puts back the jobs of one list.
async fn put_back_list(fetch: &FetchState, store: &Store, list: &str, queue: &str) -> Result<()> {
    if list == Store::convicts(&fetch.shared.identity, queue) {
        return lookout::bury_convicts(&fetch.shared, store, &fetch.shared.identity, list).await.map(drop);
    }
    let back = store.requeue_list(list, queue).await?;
    fetch.holdings.forget(list);
    fetch.shared.stats.telemetry.requeued.add(back);
    tracing::warn!(queue, jobs = back, "put back jobs that were fetched for nobody: an answer of Redis was lost");
    Ok(())
}

/// Puts back the jobs of every unknown list: nothing is on its way any more.
pub(crate) async fn put_back_all_strangers(fetch: &FetchState, store: &Store) -> Result<()> {
    fetch.holdings.expect_nothing();
    let mut stuck = Stuck::default();
    let strangers = put_back_strangers(fetch, store, &HashSet::new(), &mut stuck).await?;
    put_back_strangers(fetch, store, &strangers, &mut stuck).await.map(drop)
}

/// Compares the private lists of this process with what it holds, after Redis may have come back with older data: a restart from a snapshot, a
/// failover to a replica that lagged, `FLUSHALL`.
///
/// Adds each list that exists to the index, where other processes find it. Writes a list that is gone anew, with the jobs that are not done. A
/// list that holds jobs which were moved elsewhere is from a time before that move, so their destination has lost them: requeues them. Ignores
/// lists that were claimed before another process fenced this one; their jobs may have been recovered.
pub(crate) async fn restore_holdings(fetch: &FetchState, store: &Store) -> Result<()> {
    let epoch = fetch.shared.registration.epoch();
    let batches: Vec<_> = fetch.holdings.all().into_iter().filter(|batch| batch.epoch() == epoch).collect();
    let lists: Vec<&str> = batches.iter().map(|batch| batch.list()).collect();
    let lengths = store.private_lengths(&lists).await?;
    // Redis may have lost the index and kept the list.
    let there: Vec<&str> =
        lists.iter().zip(&lengths).filter(|(_, length)| **length > 0).map(|(list, _)| *list).collect();
    store.index_lists(&fetch.shared.identity, &there).await?;
    let (mut restored, mut requeued) = (0, 0);
    for (batch, length) in batches.iter().zip(lengths) {
        let expected = batch.expected();
        if length == 0 && !expected.unfinished.is_empty() {
            restored += write_anew(fetch, store, batch, &expected.unfinished).await?;
        } else if length > expected.jobs && !expected.settled.is_empty() {
            let jobs: Vec<&[u8]> = expected.settled.iter().map(UnitOfWork::bytes).collect();
            requeued += store.requeue(batch.list(), batch.queue(), &jobs).await?;
        }
    }
    if restored + requeued > 0 {
        fetch.shared.stats.telemetry.requeued.add(requeued);
        tracing::warn!(restored, requeued, "Redis came back with older data; the jobs of this process are restored");
    }
    Ok(())
}

/// Writes a private list anew; returns how many jobs it now holds.
async fn write_anew(fetch: &FetchState, store: &Store, batch: &Arc<Batch>, units: &[UnitOfWork]) -> Result<usize> {
    let jobs: Vec<(u64, &[u8])> = units.iter().map(|unit| (unit.settlement(), unit.bytes())).collect();
    let written = store.hold_again(&fetch.shared.registration, batch.list(), &jobs).await?;
    if written == 0 {
        return Ok(0);
    }
    // Those that ended while the list was written are acknowledged already: nobody would take them out again.
    let over: Vec<&UnitOfWork> = units.iter().filter(|unit| unit.is_over()).collect();
    if !over.is_empty() {
        let lists = if over.len() == units.len() { vec![batch.list()] } else { Vec::new() };
        let jobs = over.iter().map(|unit| (batch.list(), unit.bytes())).collect();
        let done = Acknowledgement { lists, trims: Vec::new(), jobs };
        store.acknowledge(&Private::of(&fetch.shared.identity), &done).await?;
    }
    Ok(written.saturating_sub(over.len()))
}

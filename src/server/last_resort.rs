//! The end of a process whose runtime is blocked by jobs that cannot be cancelled: it must end in time all the same, and lose nothing.

use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::server::control::handle::Stopped;
use crate::server::launcher::{put_back_running, requeue};
use crate::server::recovery::reconcile;
use crate::server::report::Process;
use crate::server::unit::UnitOfWork;
use crate::store::Store;
use crate::store::claims::{Acknowledgement, Private};

/// What the orderly stop may take beyond the timeout.
const PATIENCE: Duration = Duration::from_millis(2_500);
/// What Redis may take.
const PATIENCE_WITH_REDIS: Duration = Duration::from_secs(1);

/// Watches the stop of a server from a thread whose runtime no job can block.
#[derive(Debug)]
pub(crate) struct LastResort(Arc<Process>);

impl LastResort {
    pub(crate) fn new(process: Arc<Process>) -> Self {
        Self(process)
    }

    /// Resolves once the server was told to stop, has had its time, and every job it held went back to its queue: then the process may end
    /// without more ado. An orderly stop is over before.
    pub(crate) async fn due(&self) -> Stopped {
        let Self(process) = self;
        process.shared.handle.stopping().await;
        tokio::select! {
            () = tokio::time::sleep(process.shared.config.timeout) => {}
            () = process.shared.handle.now() => {}
        }
        tokio::time::sleep(PATIENCE).await;
        // Connections belong to the runtime that made them.
        let store = process.shared.store.fresh();
        let cut_off = process.shared.stats.work.busy();
        let left_for_recovery = match tokio::time::timeout(PATIENCE_WITH_REDIS, leave(process, &store)).await {
            Ok(Ok(left)) => left,
            Ok(Err(error)) => {
                tracing::error!(%error, "leaving failed");
                1
            }
            Err(_) => {
                tracing::error!("Redis did not answer");
                1
            }
        };
        if left_for_recovery > 0 {
            tracing::error!("jobs stay in private lists; another ferrokiq process puts them back");
        }
        Stopped {
            left_for_recovery,
            cut_off,
            over_memory: process.runner.fetch.memory_limit.is_exceeded(),
            failed: process.shared.supervisor.is_failing(),
        }
    }
}

/// Puts back everything this process holds and leaves; returns how many jobs it still holds.
async fn leave(process: &Process, store: &Store) -> Result<usize> {
    let settler = process.runner.settle.settler.over(store.clone());
    // First those that have not begun: they end up behind those that run.
    process.shared.stats.telemetry.requeued.add(requeue(&settler, not_begun(process)).await);
    put_back_running(process, &settler).await;
    reconcile::put_back_all_strangers(&process.runner.fetch, store).await?;
    let done: Vec<UnitOfWork> =
        process.runner.fetch.holdings.all().iter().flat_map(|batch| batch.done().collect::<Vec<_>>()).collect();
    let jobs: Vec<(&str, &[u8])> = done.iter().map(|unit| (unit.batch().list(), unit.bytes())).collect();
    if !jobs.is_empty() {
        let done = Acknowledgement { lists: Vec::new(), trims: Vec::new(), jobs };
        store.acknowledge(&Private::of(&process.shared.identity), &done).await?;
    }
    process.shared.stats.liveness.set_leaving(true);
    let left = store.bye(&process.shared.identity).await?;
    store.clear_heartbeat(&process.shared.identity).await?;
    Ok(left)
}

/// The jobs no processor has begun: those in the intakes, which are closed, and those in private lists that a task holds which cannot go on.
fn not_begun(process: &Process) -> Vec<UnitOfWork> {
    let mut units = Vec::new();
    for intake in process.runner.fetch.progress.intakes() {
        intake.close();
        units.extend(intake.take_ready());
    }
    let known = |unit: &UnitOfWork, units: &[UnitOfWork]| {
        units.iter().any(|other| Arc::ptr_eq(unit.batch(), other.batch()) && unit.place() == other.place())
    };
    let running: Vec<UnitOfWork> = process.shared.stats.work.running().into_iter().map(|(_, work)| work.unit).collect();
    for batch in process.runner.fetch.holdings.all() {
        for unit in batch.units().filter(UnitOfWork::is_held) {
            if !known(&unit, &units) && !known(&unit, &running) {
                units.push(unit);
            }
        }
    }
    units
}

#[cfg(test)]
#[cfg(all(feature = "api", feature = "testing"))]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::time::Instant;

    use super::*;
    use crate::api::Api;
    use crate::server::FetchMode;
    use crate::testing::Redis;
    use crate::{Context, Payload, Server};

    /// Two of four jobs block both threads; the other two were fetched and cannot begin.
    async fn all_are_put_back(fetch: FetchMode) {
        let redis = Redis::start().unwrap();
        let (running, release) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (runs, released) = (Arc::clone(&running), Arc::clone(&release));
        let block = move |_: Context, (_number,): (u32,)| {
            let (runs, released) = (Arc::clone(&runs), Arc::clone(&released));
            async move {
                runs.fetch_add(1, Ordering::SeqCst);
                while !released.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Ok(())
            }
        };
        let builder = Server::builder().register_fn("Blocks", block).redis(redis.options().unwrap()).fetch(fetch);
        let server = builder.concurrency(4).timeout(Duration::from_millis(100)).build().unwrap();
        let (client, last_resort, handle) = (server.client(), server.last_resort(), server.handle());
        let (process, queue) = (Arc::clone(&server.process), Api::new(&redis.client().unwrap()).queue("default"));
        let jobs = (0..4).map(|number| Payload::new("Blocks", [number.into()]));
        for job in jobs {
            client.push(job).await.unwrap();
        }
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
        let end = runtime.spawn(server.run(std::future::pending()));
        let deadline = Instant::now() + Duration::from_secs(20);
        while running.load(Ordering::SeqCst) < 2 || queue.size().await.unwrap() > 0 {
            assert!(Instant::now() < deadline, "four are fetched, and two run");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        handle.stop();
        let stopped = last_resort.due().await;
        let (back, processes) = (queue.size().await.unwrap(), Api::new(&redis.client().unwrap()).processes().await);
        let left = process.shared.store.fresh().private_lists(&process.shared.identity).await.unwrap();
        release.store(true, Ordering::SeqCst);
        end.await.unwrap().unwrap();
        runtime.shutdown_background();
        assert_eq!((back, left, stopped.left_for_recovery, stopped.cut_off), (4, vec![], 0, 2), "{fetch:?}");
        assert!(processes.unwrap().is_empty());
        assert_eq!(running.load(Ordering::SeqCst), 2, "those that had not begun did not begin any more");
    }

    #[tokio::test]
    async fn puts_back_every_job_though_two_of_them_block_every_thread() {
        tokio::join!(all_are_put_back(FetchMode::Reliable), all_are_put_back(FetchMode::Basic));
    }
}

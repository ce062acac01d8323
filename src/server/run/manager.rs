use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, JoinSet};

use crate::server::control::supervisor::Part;
use crate::server::fetch::intake;
use crate::server::fetch::intake::Intake;
use crate::server::fetch::{Fetcher, Source};
use crate::server::run::Runner;
use crate::server::run::processor::Processor;
use crate::server::settings::capsule::Capsule;
use crate::server::unit::{MARGIN, Memory, UnitOfWork};
use crate::store::claims::Private;

/// The processors of one capsule and the loop that brings them jobs.
///
/// 1. `start` spawns one task per slot and one that fetches
/// 2. quiet: the fetching task ends, and puts back what no processor has taken
/// 3. the processors end with the jobs they have; `stop` waits for them, up to the deadline
/// 4. what still runs then is put back first and aborted after
pub(crate) struct Manager {
    fetching: JoinHandle<()>,
    processors: JoinSet<()>,
}

impl Manager {
    pub(crate) fn start(runner: &Arc<Runner>, capsule: Capsule, private: Private, numbers: Arc<AtomicU64>) -> Self {
        let memory = Memory::within(runner.fetch.memory_limit.clone());
        let unacknowledged = runner.settle.settler.unacknowledged().clone();
        let intake = Arc::new(Intake::within(memory, capsule.concurrency(), unacknowledged));
        runner.fetch.isolation.add(Arc::clone(intake.suspects()));
        let mut processors = JoinSet::new();
        for _ in 0..capsule.concurrency() {
            runner.shared.supervisor.spawn_in(&mut processors, Processor::new(Arc::clone(runner), Arc::clone(&intake)));
        }
        runner.fetch.progress.watch(&intake, capsule.weights().iter().map(|(queue, _)| queue.clone()).collect());
        let source = Source {
            store: runner.shared.store.clone(),
            // Jobs begin in the order they lie in a list, and no processor takes one while so many run or are not acknowledged.
            private: private.for_capsule(capsule.concurrency() as u64 + MARGIN),
            capsule: Arc::new(capsule),
            intake,
            handle: runner.shared.handle.clone(),
            paused: runner.fetch.paused.clone(),
            limits: runner.fetch.limits.clone(),
            holdings: runner.fetch.holdings.clone(),
            isolation: Arc::clone(&runner.fetch.isolation),
            liveness: Arc::clone(&runner.shared.stats.liveness),
            registration: Arc::clone(&runner.shared.registration),
            supervisor: runner.shared.supervisor.clone(),
            numbers,
        };
        let fetching = runner.shared.supervisor.spawn(Fetching::new(Arc::clone(runner), source));
        Self { fetching, processors }
    }

    /// Waits until every job has ended or the deadline has come; returns how many still run.
    pub(crate) async fn drain(&mut self, deadline: tokio::time::Instant) -> usize {
        // The fetching task waits for what is still with Redis, two seconds at most.
        let _ = tokio::time::timeout_at(deadline, &mut self.fetching).await;
        while !self.processors.is_empty() {
            if tokio::time::timeout_at(deadline, self.processors.join_next()).await.is_err() {
                break;
            }
        }
        self.processors.len()
    }

    /// Ends what still runs; returns how many that were. Their jobs were put back before.
    pub(crate) async fn abort(mut self) -> usize {
        let aborted = self.processors.len();
        self.processors.abort_all();
        let patience = tokio::time::Instant::now() + Duration::from_secs(3);
        // A task whose code never awaits cannot be ended; it is left behind.
        while !self.processors.is_empty() {
            if tokio::time::timeout_at(patience, self.processors.join_next()).await.is_err() {
                break;
            }
        }
        if !self.fetching.is_finished() {
            let _ = tokio::time::timeout_at(patience, &mut self.fetching).await;
        }
        aborted
    }
}

/// Brings jobs until the server is quieted.
struct Fetching {
    runner: Arc<Runner>,
    intake: Arc<Intake>,
    /// Outlives a panic: a claim whose answer was lost is asked for again. `None` once it is closed.
    fetcher: Option<Fetcher>,
}

impl Fetching {
    fn new(runner: Arc<Runner>, source: Source) -> Self {
        let intake = Arc::clone(&source.intake);
        let fetcher = Some(Fetcher::new(runner.shared.config.fetch, source));
        Self { runner, intake, fetcher }
    }
}

impl Part for Fetching {
    fn name(&self) -> &'static str {
        "fetcher"
    }

    async fn run(&mut self) {
        let Self { runner, intake, fetcher } = self;
        if let Some(fetcher) = fetcher {
            fetch(runner, intake, fetcher).await;
        }
        intake.close();
        if let Some(fetcher) = fetcher.take() {
            fetcher.close().await;
        }
        give_back(runner, &intake.suspects().close()).await;
        give_back(runner, &intake.take_ready()).await;
    }

    fn may_end(&self) -> bool {
        self.runner.shared.handle.is_quiet()
    }
}

async fn fetch(runner: &Runner, intake: &Intake, fetcher: &mut Fetcher) {
    let handle = &runner.shared.handle;
    let mut outage = runner.shared.stats.outages.part();
    let mut round_trip = Duration::from_micros(100);
    while !handle.is_quiet() {
        if runner.shared.stats.liveness.is_silent() {
            // Others may put this process's jobs back any moment: it must not take more.
            tracing::error!("no sign of life reached Redis for long: nothing is fetched until one does");
            runner.wait_for_sign_of_life().await;
            continue;
        }
        let want = intake.wanted(round_trip);
        if want == 0 {
            wait_for_room(runner, intake).await;
            continue;
        }
        let asked = Instant::now();
        match fetcher.retrieve_work(want).await {
            Ok(None) => fetcher.wait().await,
            Ok(Some(batches)) if batches.is_empty() => {
                outage.found_nothing();
                fetcher.wait().await;
            }
            Ok(Some(batches)) if handle.is_quiet() => {
                give_back(runner, &batches.iter().flat_map(|batch| batch.units()).collect::<Vec<_>>()).await;
            }
            Ok(Some(batches)) => {
                round_trip = asked.elapsed().min(Duration::from_millis(50));
                for batch in &batches {
                    runner.shared.stats.telemetry.fetched(batch.queue(), batch.jobs());
                }
                intake.push(&batches);
                outage.over();
            }
            Err(error) => {
                outage.note("fetching jobs failed", &error);
                tokio::select! {
                    () = outage.wait() => {}
                    () = handle.quieted() => {}
                }
            }
        }
    }
}

/// Waits until a processor is free. Jobs that were fetched ahead and lie still meanwhile go back: another process may be
/// idle.
async fn wait_for_room(runner: &Runner, intake: &Intake) {
    let before = intake.taken();
    let still = intake.holds_jobs();
    tokio::select! {
        () = intake.room() => {}
        () = runner.shared.handle.quieted() => {}
        () = tokio::time::sleep(intake::PATIENCE), if still => {
            if intake.taken() == before {
                give_back(runner, &intake.take_ready()).await;
            }
        }
    }
}

async fn give_back(runner: &Runner, units: &[UnitOfWork]) {
    runner.shared.stats.telemetry.requeued.add(runner.settle.put_back(units).await);
}

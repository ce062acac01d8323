//! Starts everything, and stops it in an order in which nothing is lost.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::error::{Error, RedisFault, Result};
use crate::limits::check_files;
use crate::server::boot::wait_for_redis;
use crate::server::control::events::Event;
use crate::server::control::handle::Stopped;
use crate::server::control::supervisor::spawn;
use crate::server::fetch::Permits;
use crate::server::recovery::lookout::Recovery;
use crate::server::recovery::named::Named;
use crate::server::recovery::reconcile::{self, Reconciliation};
use crate::server::report::Process;
use crate::server::report::heartbeat::Heartbeat;
#[cfg(feature = "metrics")]
use crate::server::report::publish;
use crate::server::report::{health, vitals};
use crate::server::run::manager::Manager;
use crate::server::schedule::poller::Poller;
use crate::server::schedule::ticks::{RunningTicks, Ticks};
use crate::server::settings::capsule::Capsule;
use crate::server::settings::config::FetchMode;
use crate::server::settings::os::rss;
use crate::server::settle::{Acknowledger, Settler, Storing};
use crate::server::unit::{Batch, UnitOfWork};
use crate::store::claims::Private;

/// The parts of a running server.
pub(crate) struct Launcher {
    process: Arc<Process>,
    heartbeat: Heartbeat,
    managers: Vec<Manager>,
    /// The poller, the search for dead processes and the reconciliation: all end when the server is quieted.
    helpers: Vec<JoinHandle<()>>,
    ticks: RunningTicks,
    acknowledger: JoinHandle<()>,
    /// Stores what a key of another type kept out.
    storing: JoinHandle<()>,
    /// Returns the permits of jobs that are over.
    permits: JoinHandle<()>,
    /// Shows that the runtime moves.
    ticker: JoinHandle<()>,
    /// Tells who wants to know that the server was quieted, when it is: by a signal, the Web UI, or the stop.
    quiet_teller: JoinHandle<()>,
}

impl Launcher {
    /// Takes thread and port of this machine, registers the process in Redis, and then starts all parts. `None` if the server was stopped while it
    /// waited for Redis.
    pub(crate) async fn start(
        process: Arc<Process>,
        capsules: Vec<Capsule>,
        acknowledgements: mpsc::UnboundedReceiver<Arc<Batch>>,
        ticks: Ticks,
    ) -> Result<Option<Self>> {
        check_memory(process.runner.fetch.memory_limit.bytes())?;
        // Before the registration: a worker without its heartbeat must not run.
        let listener = process.shared.config.health.map(health::bind).transpose()?;
        let heartbeat = Heartbeat::start(Arc::clone(&process), &capsules, listener)?;
        check_files(files_of(&capsules))?;
        if process.runner.registry.any_blocks() {
            process.runner.blocking.start()?;
        }
        let ticker = process.shared.supervisor.spawn(vitals::Ticks::of_jobs(Arc::clone(&process)));
        if !wait_for_redis(&process, &heartbeat).await? {
            return Ok(None);
        }
        tokio::select! {
            () = process.fire(Event::Startup, None) => {}
            () = too_late_to_start(&process) => tracing::warn!("a startup hook still runs; the server stops all the same"),
        }
        #[cfg(feature = "metrics")]
        publish::describe();
        let heartbeat = heartbeat.begin();
        let quieted = Arc::clone(&process);
        let quiet_teller = spawn(async move {
            quieted.shared.handle.quieted().await;
            quieted.fire(Event::Quiet, Some(after(quieted.shared.config.timeout))).await;
        });
        let supervisor = &process.shared.supervisor;
        let private = Private::of(&process.shared.identity);
        let acknowledger = Acknowledger::new(
            process.shared.store.clone(),
            private.clone(),
            process.runner.fetch.holdings.clone(),
            acknowledgements,
            process.runner.settle.settler.unacknowledged().clone(),
            process.shared.stats.outages.clone(),
            supervisor.clone(),
        );
        let acknowledger = supervisor.spawn(acknowledger);
        let storing = supervisor.spawn(Storing(Arc::clone(&process.runner.settle)));
        let permits = supervisor.spawn(Permits(Arc::clone(&process.runner.fetch)));
        let mut helpers = vec![supervisor.spawn(Poller(Arc::clone(&process.runner)))];
        if process.shared.config.fetch == FetchMode::Reliable {
            helpers.push(supervisor.spawn(Recovery(Arc::clone(&process.shared))));
            helpers.push(supervisor.spawn(Reconciliation(Arc::clone(&process.runner.fetch))));
        }
        let ticks = ticks.start(&process.runner, &process.hooks);
        let numbers = Arc::new(AtomicU64::new(0));
        let managers = capsules
            .into_iter()
            .map(|capsule| Manager::start(&process.runner, capsule, private.clone(), Arc::clone(&numbers)))
            .collect();
        Ok(Some(Self {
            process,
            heartbeat,
            managers,
            helpers,
            ticks,
            acknowledger,
            storing,
            permits,
            ticker,
            quiet_teller,
        }))
    }

    /// Returns within the timeout and some ten seconds, whatever hooks and jobs do; within some three seconds if it holds no job, and no hook runs,
    /// even if Redis is unreachable.
    ///
    /// 1. quiet: nothing more is fetched or promoted; hooks and ticks end beside the rest
    /// 2. wait for the jobs that run, up to the timeout
    /// 3. put back those that still run, then abort them
    /// 4. acknowledge what is done
    /// 5. leave the registry, then the Busy page
    pub(crate) async fn stop(self) -> Stopped {
        let Self {
            process,
            heartbeat,
            mut managers,
            mut helpers,
            ticks,
            acknowledger,
            storing,
            permits,
            ticker,
            quiet_teller,
        } = self;
        let (deadline, failing) = (after(process.shared.config.timeout), process.shared.supervisor.is_failing());
        process.shared.handle.quiet();
        process.runner.stop.trigger();
        let ticks = spawn(ticks.stop(process.shared.handle.clone(), deadline, patience_with_redis(&process)));
        let mut hooks = spawn(shutdown_hooks(Arc::clone(&process), quiet_teller, deadline));
        let running = tokio::select! {
            running = drain(&mut managers, deadline) => running,
            () = process.shared.handle.now() => managers.len(),
        };
        // All steps from here share it: a Redis that does not answer holds each of them.
        let patience = after(patience_with_redis(&process));
        if running > 0 {
            put_back_running(&process, &process.runner.settle.settler).await;
        }
        let mut cut_off = 0;
        for manager in managers {
            cut_off += manager.abort().await;
        }
        process.runner.settle.withheld.close();
        helpers.push(storing);
        for helper in helpers {
            // Each looks at the handle between two steps; a step is one round trip or two.
            let abort = helper.abort_handle();
            if tokio::time::timeout_at(patience, helper).await.is_err() {
                abort.abort();
            }
        }
        process
            .shared
            .stats
            .telemetry
            .requeued
            .add(requeue(&process.runner.settle.settler, process.runner.settle.withheld.take()).await);
        let left_for_recovery =
            if process.shared.config.fetch == FetchMode::Reliable { leave(&process, patience).await } else { 0 };
        permits.abort();
        return_permits(&process, patience).await;
        // It ends soon after the deadline, or after a stop without a wait.
        let _ = ticks.await;
        tokio::select! {
            _ = &mut hooks => {}
            () = process.shared.handle.now() => hooks.abort(),
        }
        process.fire(Event::Exit, Some(deadline)).await;
        heartbeat.stop(patience_until(&process, patience)).await;
        acknowledger.abort();
        ticker.abort();
        process.runner.blocking.close();
        Stopped {
            left_for_recovery,
            cut_off,
            over_memory: process.runner.fetch.memory_limit.is_exceeded(),
            failed: failing || process.shared.supervisor.is_failing(),
        }
    }
}

/// Checks that the limit of memory leaves room to work: a worker above it at its start would stop at once, and be started again for ever.
fn check_memory(limit: Option<u64>) -> Result<()> {
    let used = rss().unwrap_or(0);
    match limit {
        Some(limit) if limit <= used => Err(Error::config(format!(
            "max_rss is {limit} bytes, but the process uses {used} at its start; raise it, or remove it for no limit"
        ))),
        _ => Ok(()),
    }
}

/// How many files these capsules open at most: the connections of a capsule for its queues, its claims and what it watches; shared
/// connections, one for each try to reconnect, and what probes and jobs of a small worker open.
fn files_of(capsules: &[Capsule]) -> usize {
    let of_capsules: usize = capsules.iter().map(|capsule| capsule.weights().len().min(8) + 3).sum();
    of_capsules + 8
}

/// So long from now; in practice never if the clock cannot count so far.
fn after(span: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(span).unwrap_or_else(|| now + Duration::from_secs(10 * 365 * 24 * 60 * 60))
}

/// Resolves once a stop was asked for and its timeout is over.
async fn too_late_to_start(process: &Process) {
    process.shared.handle.stopping().await;
    tokio::select! {
        () = tokio::time::sleep(process.shared.config.timeout) => {}
        () = process.shared.handle.now() => {}
    }
}

/// The hooks of a stop that may run while jobs do: those of quiet, if they still run, and then those of shutdown.
async fn shutdown_hooks(process: Arc<Process>, mut quiet_hooks: JoinHandle<()>, deadline: Instant) {
    if tokio::time::timeout_at(deadline, &mut quiet_hooks).await.is_err() {
        quiet_hooks.abort();
    }
    process.fire(Event::Shutdown, Some(deadline)).await;
}

async fn drain(managers: &mut [Manager], deadline: Instant) -> usize {
    let mut running = 0;
    for manager in managers {
        running += manager.drain(deadline).await;
    }
    running
}

/// Puts back every job that runs. The bytes go back first, the tasks are ended after: a crash in between runs a job twice, never not at all.
pub(crate) async fn put_back_running(process: &Process, settler: &Settler) {
    let running = process.shared.stats.work.running();
    if running.is_empty() {
        return;
    }
    tracing::warn!(jobs = running.len(), "Terminating busy jobs: they go back to their queues");
    let mut named = Named::new("cut off by the stop, goes back to its queue");
    for (tid, work) in &running {
        named.job(Some(tid), work.unit.bytes(), work.unit.queue());
    }
    named.end();
    let moved = requeue(settler, running.into_iter().map(|(_, work)| work.unit).collect()).await;
    process.shared.stats.telemetry.requeued.add(moved);
    // Counted as Sidekiq counts jobs it interrupts.
    for _ in 0..moved {
        process.shared.stats.counters.processed();
        process.shared.stats.counters.failed();
    }
}

/// Puts jobs back in their order, in five attempts at most, the last of which begins within [`PATIENCE`]; returns how many went back.
pub(crate) async fn requeue(settler: &Settler, mut units: Vec<UnitOfWork>) -> usize {
    // What lies in one private list goes back in one script.
    units.sort_by_key(|unit| (Arc::as_ptr(unit.batch()) as usize, unit.place()));
    let began = Instant::now();
    for _ in 0..5 {
        match settler.requeue(&units).await {
            Ok(moved) => return moved,
            Err(error) => tracing::error!(%error, "putting jobs back failed"),
        }
        if began.elapsed() >= PATIENCE {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    0
}

/// How long a stop waits for Redis at most, beside the attempts to put back jobs.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a step of it waits where the steps before took all of that, or Redis is known to be unreachable.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);

/// How long a stop may wait for Redis: without Redis only jobs in private lists are worth a longer wait.
fn patience_with_redis(process: &Process) -> Duration {
    let is_long = process.shared.stats.outages.is_online() || process.runner.fetch.holdings.any();
    if is_long { PATIENCE } else { LEAST_PATIENCE }
}

/// How long a step may wait for Redis where all steps together have until `until`.
fn patience_until(process: &Process, until: Instant) -> Duration {
    patience_with_redis(process).min(until.saturating_duration_since(Instant::now())).max(LEAST_PATIENCE)
}

/// Returns what this process holds of the limits of queues, until `until`. Without Redis, processes of sidekiq-limit_fetch and other workers do so
/// in 25 s.
async fn return_permits(process: &Process, until: Instant) {
    let leaving = process.runner.fetch.limits.leave(&process.shared.store);
    match tokio::time::timeout(patience_until(process, until), leaving).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "returning the permits of limited queues failed"),
        Err(_) => tracing::warn!("returning the permits of limited queues failed: no answer"),
    }
}

/// Leaves the registry once nothing is held any more; returns how many jobs are held all the same. `until` is when the stop no longer waits for
/// Redis.
async fn leave(process: &Process, until: Instant) -> usize {
    process.shared.stats.liveness.set_leaving(true);
    let (began, mut outage, mut jobs) = (Instant::now(), process.shared.stats.outages.part(), None);
    let why = loop {
        let patience = patience_until(process, until);
        let why = match tokio::time::timeout(patience, try_to_leave(process, &mut jobs)).await {
            Ok(Ok(())) => return 0,
            Ok(Err(error)) => {
                outage.note("leaving the registry failed", &error);
                error.to_string()
            }
            Err(_) => "no answer".to_owned(),
        };
        if began.elapsed() >= LEAST_PATIENCE && patience_until(process, until) <= LEAST_PATIENCE {
            break why;
        }
        tokio::time::sleep(RETRY).await;
    };
    // Others put back the jobs of a registered process alone.
    process.shared.stats.liveness.set_leaving(false);
    let held = match jobs {
        Some(jobs) => jobs,
        None => process.runner.fetch.holdings.jobs(),
    };
    if held > 0 {
        tracing::error!(jobs = held, why, "jobs are left in private lists; another ferrokiq process puts them back");
    } else {
        tracing::warn!(
            why,
            "this process holds no jobs and cannot leave the registry; another ferrokiq process removes it, and puts back \
             jobs whose claim Redis did not answer"
        );
    }
    held
}

/// Between two attempts to leave the registry after an error.
const RETRY: Duration = Duration::from_millis(200);

/// Leaves the registry. `jobs` is how many jobs Redis last reported in the private lists.
async fn try_to_leave(process: &Process, jobs: &mut Option<usize>) -> Result<()> {
    // What a command moved whose answer never came.
    if let Err(error) = reconcile::put_back_all_strangers(&process.runner.fetch, &process.shared.store).await {
        if error.redis_fault() == Some(RedisFault::Unreachable) {
            return Err(error);
        }
        tracing::error!(%error, "looking through the private lists failed");
    }
    loop {
        match process.shared.store.bye(&process.shared.identity).await? {
            0 => return Ok(()),
            // Acknowledgements are still on their way.
            held => *jobs = Some(held),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

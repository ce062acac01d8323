//! Starts everything, and stops it in an order in which nothing is lost.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::error::Result;
use crate::server::boot::wait_for_redis;
use crate::server::capsule::Capsule;
use crate::server::config::FetchMode;
use crate::server::core::Core;
use crate::server::events::Event;
use crate::server::fetcher::{Acknowledger, Batch, Settler, UnitOfWork};
use crate::server::handle::Stopped;
use crate::server::heartbeat::Heartbeat;
use crate::server::manager::Manager;
use crate::server::named::Named;
use crate::server::poller::Poller;
use crate::server::reconcile::{self, Reconciliation};
use crate::server::recovery::Recovery;
use crate::server::supervisor::spawn;
#[cfg(feature = "metrics")]
use crate::server::telemetry::publish;
use crate::server::withheld::Storing;
use crate::server::{health, vitals};
use crate::store::claims::Private;

/// The parts of a running server.
pub(crate) struct Launcher {
    core: Arc<Core>,
    heartbeat: Heartbeat,
    managers: Vec<Manager>,
    /// The poller, the search for dead processes and the reconciliation: all end when the server is quieted.
    helpers: Vec<JoinHandle<()>>,
    acknowledger: JoinHandle<()>,
    /// Stores what a key of another type kept out.
    storing: JoinHandle<()>,
    /// Shows that the runtime moves.
    ticker: JoinHandle<()>,
    /// Tells who wants to know that the server was quieted, when it is: by a signal, the Web UI, or the stop.
    quiet_teller: JoinHandle<()>,
}

impl Launcher {
    /// Takes thread and port of this machine, registers the process in Redis, and then starts all parts. `None` if the server was stopped while it
    /// waited for Redis.
    pub(crate) async fn start(
        core: Arc<Core>,
        capsules: Vec<Capsule>,
        acknowledgements: mpsc::UnboundedReceiver<Arc<Batch>>,
    ) -> Result<Option<Self>> {
        // Before the registration: a worker without its heartbeat must not run.
        let listener = core.config.health.map(health::bind).transpose()?;
        let heartbeat = Heartbeat::start(Arc::clone(&core), &capsules, listener).await?;
        let ticker = core.supervisor.spawn(vitals::Ticks::of_jobs(Arc::clone(&core)));
        if !wait_for_redis(&core, &heartbeat).await? {
            return Ok(None);
        }
        tokio::select! {
            () = core.hooks.fire(Event::Startup, None) => {}
            () = too_late_to_start(&core) => tracing::warn!("a startup hook still runs; the server stops all the same"),
        }
        #[cfg(feature = "metrics")]
        publish::describe();
        let heartbeat = heartbeat.begin();
        let quieted = Arc::clone(&core);
        let quiet_teller = spawn(async move {
            quieted.handle.quieted().await;
            quieted.hooks.fire(Event::Quiet, Some(after(quieted.config.timeout))).await;
        });
        let supervisor = &core.supervisor;
        let private = Private::of(&core.identity);
        let acknowledger = Acknowledger::new(
            core.store.clone(),
            private.clone(),
            core.holdings.clone(),
            acknowledgements,
            core.settler.unacknowledged().clone(),
            core.outages.clone(),
            supervisor.clone(),
        );
        let acknowledger = supervisor.spawn(acknowledger);
        let storing = supervisor.spawn(Storing(Arc::clone(&core)));
        let mut helpers = vec![supervisor.spawn(Poller(Arc::clone(&core)))];
        if core.config.fetch == FetchMode::Reliable {
            helpers.push(supervisor.spawn(Recovery(Arc::clone(&core))));
            helpers.push(supervisor.spawn(Reconciliation(Arc::clone(&core))));
        }
        let numbers = Arc::new(AtomicU64::new(0));
        let managers = capsules
            .into_iter()
            .map(|capsule| Manager::start(&core, capsule, private.clone(), Arc::clone(&numbers)))
            .collect();
        Ok(Some(Self { core, heartbeat, managers, helpers, acknowledger, storing, ticker, quiet_teller }))
    }

    /// Returns within the timeout and some ten seconds, whatever hooks and jobs do.
    ///
    /// 1. quiet: nothing more is fetched or promoted; hooks run beside the rest
    /// 2. wait for the jobs that run, up to the timeout
    /// 3. put back those that still run, then abort them
    /// 4. acknowledge what is done
    /// 5. leave the registry, then the Busy page
    pub(crate) async fn stop(self) -> Stopped {
        let Self { core, heartbeat, mut managers, mut helpers, acknowledger, storing, ticker, quiet_teller } = self;
        let (deadline, failing) = (after(core.config.timeout), core.supervisor.is_failing());
        core.handle.quiet();
        core.stop.trigger();
        let mut hooks = spawn(shutdown_hooks(Arc::clone(&core), quiet_teller, deadline));
        let running = tokio::select! {
            running = drain(&mut managers, deadline) => running,
            () = core.handle.now() => managers.len(),
        };
        if running > 0 {
            put_back(&core, &core.settler).await;
        }
        let mut cut_off = 0;
        for manager in managers {
            cut_off += manager.abort().await;
        }
        core.withheld.close();
        helpers.push(storing);
        let patience = after(Duration::from_secs(5));
        for helper in helpers {
            // Each looks at the handle between two steps; a step is one round trip or two.
            let abort = helper.abort_handle();
            if tokio::time::timeout_at(patience, helper).await.is_err() {
                abort.abort();
            }
        }
        core.telemetry.requeued.add(requeue(&core.settler, core.withheld.take()).await);
        let left_for_recovery = if core.config.fetch == FetchMode::Reliable { leave(&core).await } else { 0 };
        tokio::select! {
            _ = &mut hooks => {}
            () = core.handle.now() => hooks.abort(),
        }
        core.hooks.fire(Event::Exit, Some(deadline)).await;
        heartbeat.stop().await;
        acknowledger.abort();
        ticker.abort();
        core.blocking.close();
        Stopped {
            left_for_recovery,
            cut_off,
            over_memory: core.memory_limit.is_exceeded(),
            failed: failing || core.supervisor.is_failing(),
        }
    }
}

/// So long from now; in practice never if the clock cannot count so far.
fn after(span: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(span).unwrap_or_else(|| now + Duration::from_secs(10 * 365 * 24 * 60 * 60))
}

/// Resolves once a stop was asked for and its timeout is over.
async fn too_late_to_start(core: &Core) {
    core.handle.stopping().await;
    tokio::select! {
        () = tokio::time::sleep(core.config.timeout) => {}
        () = core.handle.now() => {}
    }
}

/// The hooks of a stop that may run while jobs do: those of quiet, if they still run, and then those of shutdown.
async fn shutdown_hooks(core: Arc<Core>, mut quiet_hooks: JoinHandle<()>, deadline: Instant) {
    if tokio::time::timeout_at(deadline, &mut quiet_hooks).await.is_err() {
        quiet_hooks.abort();
    }
    core.hooks.fire(Event::Shutdown, Some(deadline)).await;
}

async fn drain(managers: &mut [Manager], deadline: Instant) -> usize {
    let mut running = 0;
    for manager in managers {
        running += manager.drain(deadline).await;
    }
    running
}

/// Puts back every job that runs. The bytes go back first, the tasks are ended after: a crash in between runs a job twice, never not at all.
pub(crate) async fn put_back(core: &Core, settler: &Settler) {
    let running = core.work.running();
    tracing::warn!(jobs = running.len(), "Terminating busy jobs: they go back to their queues");
    let mut named = Named::new("cut off by the stop, goes back to its queue");
    for (tid, work) in &running {
        named.job(Some(tid), work.unit.bytes(), work.unit.queue());
    }
    named.end();
    let moved = requeue(settler, running.into_iter().map(|(_, work)| work.unit).collect()).await;
    core.telemetry.requeued.add(moved);
    // Counted as Sidekiq counts jobs it interrupts.
    for _ in 0..moved {
        core.counters.processed();
        core.counters.failed();
    }
}

/// Puts jobs back in their order, in five attempts at most; returns how many went back.
pub(crate) async fn requeue(settler: &Settler, mut units: Vec<UnitOfWork>) -> usize {
    // What lies in one private list goes back in one script.
    units.sort_by_key(|unit| (Arc::as_ptr(unit.batch()) as usize, unit.place()));
    for _ in 0..5 {
        match settler.requeue(&units).await {
            Ok(moved) => return moved,
            Err(error) => tracing::error!(%error, "putting jobs back failed"),
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    0
}

/// Leaves the registry once nothing is held any more; returns how many jobs are held all the same.
async fn leave(core: &Core) -> usize {
    let mut held = 0;
    let patience = Instant::now() + Duration::from_secs(5);
    core.liveness.set_leaving(true);
    // What a command moved whose answer never came.
    if let Err(error) = reconcile::put_back_all_strangers(core, &core.store).await {
        tracing::error!(%error, "looking through the private lists failed");
    }
    while Instant::now() < patience {
        match core.store.bye(&core.identity).await {
            Ok(0) => return 0,
            // Acknowledgements are still on their way.
            Ok(jobs) => held = jobs,
            Err(error) => {
                tracing::error!(%error, "leaving the registry failed");
                held = held.max(1);
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Others put back the jobs of a registered process alone.
    core.liveness.set_leaving(false);
    tracing::error!(jobs = held, "jobs are left in private lists; another ferrokiq process puts them back");
    held
}

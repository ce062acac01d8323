//! What every part of a running server shares.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::client::Client;
use crate::contain::contained;
use crate::job::{JobError, StopSignal};
use crate::payload::Payload;
use crate::server::blocking::BlockingPool;
use crate::server::boot::Boot;
use crate::server::config::Config;
use crate::server::dialect::Dialect;
use crate::server::events::Hooks;
use crate::server::fetcher::{Holdings, Settler};
use crate::server::foreign::Foreign;
use crate::server::handle::Handle;
use crate::server::isolation::Isolation;
use crate::server::liveness::Liveness;
use crate::server::memory_limit::MemoryLimit;
use crate::server::metrics::Metrics;
use crate::server::middleware::AnyServerMiddleware;
use crate::server::outage::Outages;
use crate::server::paused::Paused;
use crate::server::progress::Progress;
use crate::server::registry::Registry;
use crate::server::stats::{Counters, WorkState};
use crate::server::supervisor::Supervisor;
use crate::server::telemetry::Telemetry;
use crate::server::vitals::Pulse;
use crate::server::withheld::Withheld;
use crate::store::Store;
use crate::store::registration::Registration;
use crate::store::sets::DeadLimits;

/// Something that went wrong, for [error handlers](crate::ServerBuilder::on_error).
#[derive(Debug)]
#[non_exhaustive]
pub struct ErrorReport<'a> {
    /// What was going on, in Sidekiq's words: `Job raised exception`, `Invalid JSON for job`, ...
    pub context: &'a str,
    /// What went wrong.
    pub error: &'a JobError,
    /// The job it went wrong with, if it could be read.
    pub payload: Option<&'a Payload>,
}

pub(crate) type DeathHandler = Arc<dyn Fn(&Payload, &JobError) + Send + Sync>;
pub(crate) type ErrorHandler = Arc<dyn Fn(&ErrorReport<'_>) + Send + Sync>;

pub(crate) struct Core {
    /// Who this server is to the others.
    pub(crate) identity: String,
    pub(crate) registration: Arc<Registration>,
    pub(crate) config: Config,
    pub(crate) registry: Registry,
    pub(crate) foreign: Foreign,
    pub(crate) middleware: Arc<[Arc<dyn AnyServerMiddleware>]>,
    pub(crate) death_handlers: Vec<DeathHandler>,
    pub(crate) error_handlers: Vec<ErrorHandler>,
    pub(crate) hooks: Hooks,
    pub(crate) client: Client,
    pub(crate) store: Store,
    pub(crate) settler: Settler,
    pub(crate) holdings: Holdings,
    pub(crate) isolation: Arc<Isolation>,
    pub(crate) liveness: Arc<Liveness>,
    pub(crate) counters: Counters,
    pub(crate) metrics: Metrics,
    pub(crate) telemetry: Telemetry,
    pub(crate) pulse: Pulse,
    pub(crate) supervisor: Supervisor,
    pub(crate) blocking: BlockingPool,
    pub(crate) progress: Progress,
    pub(crate) work: WorkState,
    pub(crate) handle: Handle,
    pub(crate) paused: Paused,
    /// Whether Redis may evict jobs, when it was last asked.
    pub(crate) evicts: AtomicBool,
    pub(crate) memory_limit: MemoryLimit,
    pub(crate) outages: Outages,
    pub(crate) withheld: Withheld,
    /// What jobs see as `stopping`.
    pub(crate) stop: StopSignal,
    pub(crate) dialect: Dialect,
    /// What it waits for while it starts.
    pub(crate) boot: Boot,
}

impl Core {
    pub(crate) fn dead_limits(&self) -> DeadLimits {
        DeadLimits { age: self.config.dead_timeout.as_secs_f64(), keep: self.config.dead_max_jobs }
    }

    /// Warns, once for each time it changes to that, if Redis may throw jobs away. Where it does not tell, nobody knows.
    pub(crate) async fn judge_eviction(&self, store: &Store) {
        let policy = store.eviction_policy().await;
        let evicts = policy.as_deref().filter(|policy| !matches!(*policy, "noeviction" | ""));
        let did = self.evicts.swap(evicts.is_some(), Ordering::Relaxed);
        if let Some(policy) = evicts.filter(|_| !did) {
            tracing::warn!(policy, "Redis may evict jobs when its memory is full: set maxmemory-policy to noeviction");
        }
    }

    /// Calls the error handlers.
    pub(crate) fn report(&self, context: &str, error: &JobError, payload: Option<&Payload>) {
        let report = ErrorReport { context, error, payload };
        for handler in &self.error_handlers {
            guarded("error handler", || handler(&report));
        }
    }

    /// Runs the death handlers.
    pub(crate) fn died(&self, payload: &Payload, error: &JobError) {
        for handler in &self.death_handlers {
            guarded("death handler", || handler(payload, error));
        }
    }
}

/// Runs a user's hook; a panic in it is logged and goes no further.
fn guarded(what: &str, hook: impl FnOnce()) {
    if let Err(panic) = contained(hook) {
        tracing::error!(panic, "{what} panicked");
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("config", &self.config).finish_non_exhaustive()
    }
}

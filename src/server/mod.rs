//! The working half: fetches jobs, runs them, and leaves Redis as Sidekiq would.
//!
//! Floors, from the ground: `cgroup counter facade identity liveness supervisor blocking stats stuck metrics os` / `capsule config handle events memory_limit outage middleware registry` / `retry
//! fetcher intake isolation telemetry` / `progress` / `core` / `admission info poller recovery vitals` / `health reconcile` / `heartbeat processor` /
//! `manager` / `launcher` / `last_resort builder`.

mod admission;
mod blocking;
mod boot;
mod builder;
mod capsule;
mod cgroup;
mod config;
mod core;
mod counter;
mod dialect;
mod events;
#[cfg(feature = "metrics")]
mod facade;
mod failure_log;
mod fetcher;
mod foreign;
mod handle;
mod health;
mod heartbeat;
mod identity;
mod info;
mod insist;
mod intake;
mod isolation;
mod iterating;
mod job_log;
#[cfg(feature = "cli")]
mod last_resort;
mod launcher;
mod liveness;
mod manager;
mod memory_limit;
mod metrics;
mod middleware;
mod named;
mod os;
mod outage;
mod pace;
mod paused;
mod poller;
mod processor;
mod progress;
mod reconcile;
mod recovery;
mod registry;
pub(crate) mod retry;
mod stats;
mod stuck;
mod supervisor;
#[cfg(test)]
#[cfg(feature = "testing")]
mod survival;
pub(crate) mod telemetry;
pub(crate) mod vitals;
mod withheld;

use std::fmt;
use std::sync::Arc;

use tokio::sync::mpsc;

pub use self::core::ErrorReport;
pub use builder::ServerBuilder;
pub use capsule::{Capsule, CapsuleBuilder, QueueMode};
#[cfg(all(test, feature = "cli"))]
pub(crate) use config::BOOT_TIMEOUT;
#[cfg(feature = "cli")]
pub(crate) use config::MaxRss;
pub use config::{Config, DEFAULT_HEALTH, FetchMode, ForeignJobs, Promote, RemoteSignals, UnknownClasses, WireVersion};
pub use events::Event;
#[cfg(feature = "contract")]
pub(crate) use foreign::{Foreign, Owner, error as foreign_error};
pub use handle::{Handle, Stopped};
pub use middleware::{Next, ServerMiddleware};
pub use registry::Wrapping;
#[cfg(feature = "contract")]
pub(crate) use registry::{AnyJob, Registry};

use self::core::Core;
use crate::client::Client;
use crate::error::Result;
use fetcher::Batch;
use launcher::Launcher;

/// A worker process: capsules of processors, a poller and a heartbeat, what `sidekiq` starts.
///
/// ```no_run
/// # struct Hard;
/// # impl ferrokiq::Job for Hard {
/// #     const CLASS: &'static str = "HardJob";
/// #     type Args = ();
/// #     async fn perform(&self, _: ferrokiq::Context, _: ()) -> ferrokiq::JobResult { Ok(()) }
/// # }
/// # async fn example() -> ferrokiq::Result<()> {
/// use ferrokiq::Server;
///
/// let server = Server::builder().register(Hard).concurrency(10).queues(["critical,2", "default,1"]).build()?;
/// let handle = server.handle(); // quiets and stops it from elsewhere
/// server.run(async { tokio::signal::ctrl_c().await.unwrap_or(()) }).await?;
/// # drop(handle);
/// # Ok(())
/// # }
/// ```
pub struct Server {
    core: Arc<Core>,
    capsules: Vec<Capsule>,
    acknowledgements: mpsc::UnboundedReceiver<Arc<Batch>>,
}

impl Server {
    /// Starts describing a server.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// What quiets and stops this server from elsewhere.
    pub fn handle(&self) -> Handle {
        self.core.handle.clone()
    }

    /// A client for the same Redis, with the same middleware.
    pub fn client(&self) -> Client {
        self.core.client.clone()
    }

    /// What it says of itself to whoever is outside its runtimes.
    #[cfg(feature = "cli")]
    pub(crate) fn vitals(&self) -> vitals::Vitals {
        vitals::Vitals::new(Arc::clone(&self.core))
    }

    /// What ends the process if the stop does not.
    #[cfg(feature = "cli")]
    pub(crate) fn last_resort(&self) -> last_resort::LastResort {
        last_resort::LastResort::new(Arc::clone(&self.core))
    }

    #[cfg(all(test, feature = "cli"))]
    pub(crate) fn config_tag(&self) -> &str {
        &self.core.config.tag
    }

    /// Where Redis is, the capsules, the number of registered classes: for a line at boot.
    pub fn describe(&self) -> String {
        let capsules: Vec<String> = self
            .capsules
            .iter()
            .map(|capsule| {
                let queues: Vec<&str> = capsule.weights().iter().map(|(queue, _)| queue.as_str()).collect();
                format!("{} ({} x {})", capsule.name(), capsule.concurrency(), queues.join(" "))
            })
            .collect();
        let (redis, classes) = (self.core.store.options(), self.core.registry.len());
        format!("redis={redis} classes={classes} capsules={}", capsules.join(", "))
    }

    /// Runs until told to stop by the [`Handle`], the Web UI, or `stop` resolving; then ends what runs, puts back what does
    /// not end in time, and returns.
    ///
    /// # Errors
    ///
    /// Only while booting: Redis cannot be reached or is too old.
    ///
    /// # Cancel safety
    ///
    /// None: a server dropped in mid-flight leaves its jobs in private lists, where another process finds them within a
    /// minute. Use the handle.
    pub async fn run(self, stop: impl Future<Output = ()> + Send) -> Result<Stopped> {
        self.run_from_boot(stop, || {}).await
    }

    /// As [`run`](Self::run). Calls `booted` once Redis was reached and jobs are fetched.
    pub(crate) async fn run_from_boot(
        self,
        stop: impl Future<Output = ()> + Send,
        booted: impl FnOnce() + Send,
    ) -> Result<Stopped> {
        let handle = self.handle();
        let mut stop = std::pin::pin!(stop);
        let mut starting = std::pin::pin!(Launcher::start(self.core, self.capsules, self.acknowledgements));
        let started = tokio::select! {
            started = &mut starting => started,
            () = &mut stop => {
                handle.stop();
                starting.await
            }
        };
        let Some(launcher) = started? else { return Ok(Stopped::before_it_started()) };
        booted();
        if !handle.is_stopping() {
            tokio::select! {
                () = &mut stop => handle.stop(),
                () = handle.stopping() => {}
            }
        }
        Ok(launcher.stop().await)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("core", &self.core).field("capsules", &self.capsules).finish_non_exhaustive()
    }
}

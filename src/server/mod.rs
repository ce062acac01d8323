//! The working half: fetches jobs, runs them, and leaves Redis as Sidekiq would.
//!
//! Floors, from the ground: `counter facade identity liveness supervisor blocking stats stuck metrics` / `capsule config handle events outage middleware registry` / `retry
//! fetcher intake isolation telemetry` / `progress` / `core` / `admission info poller recovery vitals` / `health reconcile` / `heartbeat processor` /
//! `manager` / `launcher` / `last_resort builder`.

mod boot;
mod builder;
mod control;
mod fetch;
#[cfg(feature = "cli")]
mod last_resort;
mod launcher;
mod recovery;
pub(crate) mod report;
pub(crate) mod run;
mod schedule;
mod settings;
mod settle;
mod shared;
pub(crate) mod stats;
#[cfg(test)]
#[cfg(feature = "testing")]
mod survival;
mod unit;

use std::fmt;
use std::sync::Arc;

use tokio::sync::mpsc;

pub use builder::ServerBuilder;
pub use control::events::Event;
pub use control::handle::{Handle, Stopped};
pub use run::ErrorReport;
#[cfg(feature = "contract")]
pub(crate) use run::foreign::{Foreign, Owner, error as foreign_error};
pub use run::middleware::{Next, ServerMiddleware};
pub use run::registry::Wrapping;
#[cfg(feature = "contract")]
pub(crate) use run::registry::{AnyJob, Registry};
pub use settings::capsule::{Capsule, CapsuleBuilder, QueueMode};
#[cfg(all(test, feature = "cli"))]
pub(crate) use settings::config::BOOT_TIMEOUT;
pub use settings::config::{
    Config, DEFAULT_HEALTH, FetchMode, ForeignJobs, Promote, RemoteSignals, UnknownClasses, WireVersion,
};

use crate::client::Client;
use crate::error::Result;
use launcher::Launcher;
use report::Process;
use unit::Batch;

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
    process: Arc<Process>,
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
        self.process.shared.handle.clone()
    }

    /// A client for the same Redis, with the same middleware.
    pub fn client(&self) -> Client {
        self.process.runner.client.clone()
    }

    /// What it says of itself to whoever is outside its runtimes.
    #[cfg(feature = "cli")]
    pub(crate) fn vitals(&self) -> report::vitals::Vitals {
        report::vitals::Vitals::new(Arc::clone(&self.process))
    }

    /// What ends the process if the stop does not.
    #[cfg(feature = "cli")]
    pub(crate) fn last_resort(&self) -> last_resort::LastResort {
        last_resort::LastResort::new(Arc::clone(&self.process))
    }

    #[cfg(all(test, feature = "cli"))]
    pub(crate) fn config_tag(&self) -> &str {
        &self.process.shared.config.tag
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
        let (redis, classes) = (self.process.shared.store.options(), self.process.runner.registry.len());
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
        let mut starting = std::pin::pin!(Launcher::start(self.process, self.capsules, self.acknowledgements));
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
        f.debug_struct("Server")
            .field("process", &self.process)
            .field("capsules", &self.capsules)
            .finish_non_exhaustive()
    }
}

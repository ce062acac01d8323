//! A built server, and its run from start to stop.

use std::fmt;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::client::Client;
use crate::error::Result;
use crate::server::control::handle::{Handle, Stopped};
#[cfg(feature = "cli")]
use crate::server::last_resort::LastResort;
use crate::server::launcher::Launcher;
use crate::server::report::Process;
#[cfg(feature = "cli")]
use crate::server::report::vitals::Vitals;
use crate::server::schedule::ticks::Ticks;
use crate::server::settings::capsule::Capsule;
use crate::server::unit::Batch;

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
    pub(super) process: Arc<Process>,
    pub(super) capsules: Vec<Capsule>,
    pub(super) acknowledgements: mpsc::UnboundedReceiver<Arc<Batch>>,
    pub(super) ticks: Ticks,
}

impl Server {
    /// What quiets and stops this server from elsewhere.
    pub fn handle(&self) -> Handle {
        self.process.shared.handle.clone()
    }

    /// A client for the same Redis, with the same middleware.
    pub fn client(&self) -> Client {
        self.process.runner.client.clone()
    }

    /// Reads the state of the server from outside its runtimes.
    #[cfg(feature = "cli")]
    pub(crate) fn vitals(&self) -> Vitals {
        Vitals::new(Arc::clone(&self.process))
    }

    /// What ends the process if the stop does not.
    #[cfg(feature = "cli")]
    pub(crate) fn last_resort(&self) -> LastResort {
        LastResort::new(Arc::clone(&self.process))
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

    /// Runs until the [`Handle`] or the Web UI stops it, or `stop` resolves; then ends what runs, puts back what does
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
        let launching = Launcher::start(self.process, self.capsules, self.acknowledgements, self.ticks);
        let mut starting = std::pin::pin!(launching);
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

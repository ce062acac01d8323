//! What every task of a server may use.

use std::sync::Arc;

use crate::server::control::handle::Handle;
use crate::server::control::supervisor::Supervisor;
use crate::server::settings::config::Config;
use crate::server::settings::dialect::Dialect;
use crate::server::stats::Stats;
use crate::store::Store;
use crate::store::registration::Registration;
use crate::store::sets::DeadLimits;

/// What every task of a server may use. Each room adds to it what its own tasks need.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Who this server is to the others.
    pub(crate) identity: String,
    pub(crate) registration: Arc<Registration>,
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) handle: Handle,
    pub(crate) supervisor: Supervisor,
    pub(crate) dialect: Dialect,
    pub(crate) stats: Stats,
}

impl Shared {
    /// How many jobs the dead set keeps, and for how long.
    pub(crate) fn dead_limits(&self) -> DeadLimits {
        DeadLimits { age: self.config.dead_timeout.as_secs_f64(), keep: self.config.dead_max_jobs }
    }
}

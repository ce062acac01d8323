//! What the tasks that run jobs share.

use std::fmt;
use std::sync::Arc;

use crate::client::Client;
use crate::contain::guarded;
use crate::job::{JobError, StopSignal};
use crate::payload::Payload;
use crate::server::control::blocking::BlockingPool;
use crate::server::control::events::ServerContext;
use crate::server::fetch::FetchState;
use crate::server::run::foreign::Foreign;
use crate::server::run::hooks::JobHooks;
use crate::server::run::middleware::AnyServerMiddleware;
use crate::server::run::registry::Registry;
use crate::server::settle::Settlement;
use crate::server::shared::Shared;

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

pub(crate) type ErrorHandler = Arc<dyn Fn(&ErrorReport<'_>) + Send + Sync>;

/// What the tasks that run jobs share: the registered classes and what is called around their jobs.
pub(crate) struct Runner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) fetch: Arc<FetchState>,
    pub(crate) settle: Arc<Settlement>,
    pub(crate) registry: Registry,
    pub(crate) foreign: Foreign,
    pub(crate) middleware: Arc<[Arc<dyn AnyServerMiddleware>]>,
    pub(crate) hooks: JobHooks,
    pub(crate) error_handlers: Vec<ErrorHandler>,
    pub(crate) client: Client,
    pub(crate) blocking: BlockingPool,
    /// What jobs see as `stopping`.
    pub(crate) stop: StopSignal,
}

impl Runner {
    /// What hooks may use of this server.
    pub(crate) fn server_context(&self) -> ServerContext {
        ServerContext::new(self.client.clone(), &self.shared.identity)
    }

    /// Calls the error handlers.
    pub(crate) fn report(&self, context: &str, error: &JobError, payload: Option<&Payload>) {
        let report = ErrorReport { context, error, payload };
        for handler in &self.error_handlers {
            guarded("error handler", || handler(&report));
        }
    }
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner").field("registry", &self.registry).finish_non_exhaustive()
    }
}

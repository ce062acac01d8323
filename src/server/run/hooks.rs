//! Hooks of the user that see what jobs end with, before Redis does.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;

use crate::boxed::BoxFuture;
use crate::client::{Client, Inherited};
use crate::contain::{Contained, discard};
use crate::job::{JobError, Outcome};
use crate::payload::Payload;
use crate::server::control::events::ServerContext;
use crate::server::control::supervisor::spawn;

/// A job that ended, for hooks of [`ServerBuilder::on_success`](crate::ServerBuilder::on_success),
/// [`on_retry`](crate::ServerBuilder::on_retry) and [`on_death`](crate::ServerBuilder::on_death). Cheap to clone.
#[derive(Clone)]
pub struct EndedJob(Arc<Inner>);

struct Inner {
    server: ServerContext,
    client: Client,
    payload: Payload,
    queue: Arc<str>,
    /// `None` once it was dropped: errors are values of the user's.
    outcome: Option<Outcome>,
    retry_in: Option<Duration>,
}

impl EndedJob {
    pub(crate) fn new(
        server: ServerContext,
        payload: Payload,
        queue: Arc<str>,
        outcome: Outcome,
        retry_in: Option<Duration>,
    ) -> Self {
        let client = server.client().inheriting(Inherited::of(&payload));
        Self(Arc::new(Inner { server, client, payload, queue, outcome: Some(outcome), retry_in }))
    }

    /// Pushes further jobs, to the same Redis. What [flows](crate::Context::client) from job to job goes with them.
    pub fn client(&self) -> &Client {
        &self.0.client
    }

    /// The name of this process in Redis.
    pub fn identity(&self) -> &str {
        self.0.server.identity()
    }

    /// The job: as it was fetched after a success, and as it will be stored after a failure, with the fields of the error. A job that is dropped
    /// has `discarded_at`, unless it is dropped for its `retry: false`.
    pub fn payload(&self) -> &Payload {
        &self.0.payload
    }

    /// The job's id.
    pub fn jid(&self) -> &str {
        self.0.payload.jid()
    }

    /// The job's class; of a wrapped job, the class inside.
    pub fn class(&self) -> &str {
        self.0.payload.display_class()
    }

    /// The queue it was fetched from, whatever its payload says.
    pub fn queue(&self) -> &str {
        &self.0.queue
    }

    /// What the run ended with.
    pub fn outcome(&self) -> &Outcome {
        self.0.outcome.as_ref().unwrap_or(&Outcome::Done)
    }

    /// The error of a failure.
    pub fn error(&self) -> Option<&JobError> {
        self.outcome().error()
    }

    /// How long until the job is retried; `None` for one that is not.
    pub fn retry_in(&self) -> Option<Duration> {
        self.0.retry_in
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        discard("a job's error", self.outcome.take());
    }
}

impl fmt::Debug for EndedJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndedJob")
            .field("payload", &self.0.payload)
            .field("outcome", self.outcome())
            .finish_non_exhaustive()
    }
}

/// One hook.
pub(crate) type JobHook = Arc<dyn Fn(EndedJob) -> BoxFuture<'static, ()> + Send + Sync>;

/// The hooks of a server, by what they see.
#[derive(Clone, Default)]
pub(crate) struct JobHooks {
    pub(crate) success: Vec<JobHook>,
    pub(crate) retry: Vec<JobHook>,
    pub(crate) death: Vec<JobHook>,
}

/// A hook as a value.
pub(crate) fn job_hook<Fut>(hook: impl Fn(EndedJob) -> Fut + Send + Sync + 'static) -> JobHook
where
    Fut: Future<Output = ()> + Send + 'static,
{
    Arc::new(move |job| Box::pin(hook(job)))
}

/// Calls hooks one after the other, each in a task of its own and for `limit` at most. One that panics or takes longer is logged, and the next is
/// called.
///
/// # Cancel safety
///
/// The hook that runs is aborted, the others are not called.
pub(crate) async fn call(hooks: &[JobHook], job: EndedJob, limit: Duration) {
    for hook in hooks {
        let (hook, of) = (Arc::clone(hook), job.clone());
        let mut task = spawn(Contained::new(Box::pin(async move { hook(of).await })));
        let _aborts = AbortOnDrop(task.abort_handle());
        let (jid, class) = (job.jid(), job.class());
        match tokio::time::timeout(limit, &mut task).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(panic))) => tracing::error!(jid, class, panic, "a job hook panicked"),
            Ok(Err(error)) => tracing::error!(jid, class, %error, "a job hook did not end"),
            Err(_) => tracing::error!(jid, class, ?limit, "a job hook took too long; it was given up"),
        }
    }
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl fmt::Debug for JobHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { success, retry, death } = self;
        f.debug_struct("JobHooks")
            .field("success", &success.len())
            .field("retry", &retry.len())
            .field("death", &death.len())
            .finish()
    }
}

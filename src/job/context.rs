use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::client::{Client, Inherited};
use crate::payload::Payload;

/// What a job knows about its run besides its arguments. Cheap to clone.
#[derive(Clone)]
pub struct Context(Arc<Inner>);

struct Inner {
    payload: Payload,
    run: Run,
    /// Made when first asked for.
    client: OnceLock<Client>,
}

/// What surrounds one run of a job.
#[derive(Clone)]
pub(crate) struct Run {
    pub(crate) queue: Arc<str>,
    pub(crate) client: Client,
    pub(crate) stop: StopSignal,
    pub(crate) deadline: Option<Instant>,
    pub(crate) max_iteration_runtime: Option<Duration>,
}

impl Context {
    pub(crate) fn new(payload: Payload, run: Run) -> Self {
        Self(Arc::new(Inner { payload, run, client: OnceLock::new() }))
    }

    /// The job as it came: jid, tags, unknown keys and all.
    pub fn payload(&self) -> &Payload {
        &self.0.payload
    }

    /// The same run with another payload, for a server middleware that changes what the job sees. What is stored when the
    /// job fails are the bytes as fetched, whatever middleware did.
    #[must_use]
    pub fn with_payload(&self, payload: Payload) -> Self {
        Self::new(payload, self.0.run.clone())
    }

    /// The job's id.
    pub fn jid(&self) -> &str {
        self.0.payload.jid()
    }

    /// The queue it was fetched from, whatever its payload says.
    pub fn queue(&self) -> &str {
        &self.0.run.queue
    }

    /// Pushes further jobs, to the same Redis.
    ///
    /// What flows through a chain of jobs goes with them, as Sidekiq's middleware sees to it: the `CurrentAttributes` of this job, its locale and
    /// its trace, each unless the pushed payload has its own.
    pub fn client(&self) -> &Client {
        let Inner { payload, run, client } = &*self.0;
        client.get_or_init(|| run.client.inheriting(Inherited::of(payload)))
    }

    /// How often it has run before and failed; 0 for the first run.
    pub fn failures(&self) -> u32 {
        let counted = self.0.payload.retry_count().map_or(0, |count| count.saturating_add(1));
        u32::try_from(counted.max(0)).unwrap_or(u32::MAX)
    }

    /// Whether the server is stopping: a long job should come to an end, or it is put back when the shutdown timeout is
    /// over. Sidekiq's `interrupted?`.
    pub fn is_stopping(&self) -> bool {
        self.0.run.stop.is_set()
    }

    /// Resolves when the server begins to stop. Cancel safe.
    pub async fn stopping(&self) {
        self.0.run.stop.wait().await;
    }

    /// How long an [iterable job](crate::job::IterableJob) may run at a time.
    pub fn max_iteration_runtime(&self) -> Option<Duration> {
        self.0.run.max_iteration_runtime
    }

    /// When [`Job::timeout`](crate::Job::timeout) ends this run.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.run.deadline
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("payload", &self.0.payload)
            .field("queue", &self.0.run.queue)
            .finish_non_exhaustive()
    }
}

/// Set once, when a server begins to stop.
#[derive(Clone, Debug, Default)]
pub struct StopSignal(Arc<Flag>);

#[derive(Debug, Default)]
struct Flag {
    set: AtomicBool,
    changed: Notify,
}

impl StopSignal {
    /// Sets it; there is no way back.
    pub fn trigger(&self) {
        self.0.set.store(true, Ordering::Release);
        self.0.changed.notify_waiters();
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        self.0.set.load(Ordering::Acquire)
    }

    /// Resolves once it is set. Cancel safe.
    pub async fn wait(&self) {
        let mut changed = std::pin::pin!(self.0.changed.notified());
        // Enabled before the look, so that no trigger falls in between.
        changed.as_mut().enable();
        if !self.is_set() {
            changed.await;
        }
    }
}

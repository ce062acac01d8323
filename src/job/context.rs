use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
#[cfg(feature = "server")]
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::client::{Client, Inherited};
#[cfg(feature = "server")]
use crate::error::{Error, Result};
use crate::payload::Payload;
#[cfg(feature = "server")]
use crate::store::Rider;

/// What a job knows about its run besides its arguments. Cheap to clone.
#[derive(Clone)]
pub struct Context(Arc<Inner>);

struct Inner {
    payload: Payload,
    run: Run,
    /// Made when first asked for.
    client: OnceLock<Client>,
    /// Made for the first of them. Shared by all contexts of one run.
    #[cfg(feature = "server")]
    riders: OnceLock<Arc<Mutex<Vec<Rider>>>>,
}

/// Riders that may be attached to one job.
#[cfg(feature = "server")]
const MOST_RIDERS: usize = 16;

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
        Self(Arc::new(Inner {
            payload,
            run,
            client: OnceLock::new(),
            #[cfg(feature = "server")]
            riders: OnceLock::new(),
        }))
    }

    /// The job as it came: jid, tags, unknown keys and all.
    pub fn payload(&self) -> &Payload {
        &self.0.payload
    }

    /// The same run with another payload, for a server middleware that changes what the job sees. What is stored when the
    /// job fails are the bytes as fetched, whatever middleware did.
    #[must_use]
    pub fn with_payload(&self, payload: Payload) -> Self {
        let cx = Self::new(payload, self.0.run.clone());
        #[cfg(feature = "server")]
        let _ = cx.0.riders.set(Arc::clone(self.riders()));
        cx
    }

    #[cfg(feature = "server")]
    fn riders(&self) -> &Arc<Mutex<Vec<Rider>>> {
        self.0.riders.get_or_init(Arc::default)
    }

    /// Attaches an effect in Redis that takes place together with the acknowledgement of this job, once, if the job succeeds. For a job that
    /// fails, and for what takes place then, see [`ServerBuilder::rider`](crate::ServerBuilder::rider). Riders are applied in the order in
    /// which they were attached.
    ///
    /// A job that has ended, or that is run by the feature `testing`, applies no more riders.
    ///
    /// # Errors
    ///
    /// If the rider has more than 128 keys, 128 arguments or 64 KiB, or the job has 16 riders already.
    ///
    /// ```
    /// use ferrokiq::{Context, JobResult, KeyType, Rider, server::Next};
    ///
    /// /// Middleware: keeps how long each job took.
    /// async fn keep_time(cx: Context, next: Next) -> JobResult {
    ///     let started = std::time::Instant::now();
    ///     next.run(cx.clone()).await?;
    ///     let took = started.elapsed().as_millis().to_string();
    ///     let rider = Rider::new("redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])").key(KeyType::Hash, "app:took");
    ///     cx.ride(rider.arg(cx.jid()).arg(took))?;
    ///     Ok(())
    /// }
    /// # drop(ferrokiq::Server::builder().server_middleware(keep_time));
    /// ```
    #[cfg(feature = "server")]
    pub fn ride(&self, rider: Rider) -> Result<()> {
        rider.check()?;
        let mut riders = self.riders().lock().unwrap_or_else(PoisonError::into_inner);
        if riders.len() == MOST_RIDERS {
            return Err(Error::config(format!("a job has at most {MOST_RIDERS} riders")));
        }
        riders.push(rider);
        Ok(())
    }

    /// Takes the riders that were attached.
    #[cfg(feature = "server")]
    pub(crate) fn take_riders(&self) -> Vec<Rider> {
        let riders = self.0.riders.get();
        riders
            .map(|riders| std::mem::take(&mut *riders.lock().unwrap_or_else(PoisonError::into_inner)))
            .unwrap_or_default()
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
        let inner = &*self.0;
        inner.client.get_or_init(|| inner.run.client.inheriting(Inherited::of(&inner.payload)))
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

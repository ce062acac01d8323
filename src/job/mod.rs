//! What users write: jobs, their arguments and options, and the errors they fail with.

mod args;
mod context;
mod enqueue;
mod error;
mod iterable;
mod options;
mod outcome;
#[cfg(feature = "contract")]
mod schema;
mod trace;

use std::time::Duration;

pub use args::{Args, ArgsError, RawArgs, Variadic};
#[cfg(any(feature = "server", feature = "testing"))]
pub(crate) use context::Run;
pub use context::{Context, StopSignal};
pub use enqueue::Setter;
use enqueue::enqueueing;
#[cfg(any(feature = "server", all(feature = "active-job", feature = "testing")))]
pub(crate) use error::Disposition;
pub use error::JobError;
pub use iterable::{Enumerator, Indexed, IterableJob, NextItem};
pub use options::JobOptions;
pub use outcome::Outcome;
#[cfg(feature = "contract")]
pub use schema::{ArgsSchema, DescribeArgs};
pub use trace::{NoTraceParent, TraceParent};

use crate::payload::Payload;

/// What a job's `perform` returns. `?` takes any error. [`Outcome`] is the same taken apart.
pub type JobResult = std::result::Result<(), JobError>;

/// When a failed job is tried again: Sidekiq's `sidekiq_retry_in`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryIn {
    /// After `count ** 4 + 15` seconds, and jitter.
    #[default]
    Default,
    /// After so long, and jitter of up to `10 * (count + 1)` seconds. Less than a second means [`Default`](Self::Default),
    /// as in Ruby.
    After(Duration),
    /// Never: into the dead set now.
    Kill,
    /// Never, and not into the dead set either.
    Discard,
}

/// What becomes of a job that used up its retries: the answer of Sidekiq's `sidekiq_retries_exhausted`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnExhausted {
    /// It goes to the dead set.
    #[default]
    Bury,
    /// It goes nowhere.
    Discard,
}

/// What a contract tells of a job, the same for both.
macro_rules! describing {
    () => {
        /// What the arguments are, for [contracts](crate::cli::run): unknown unless told, by `ArgsSchema::of::<Self::Args>()`.
        #[cfg(feature = "contract")]
        fn args_schema() -> ArgsSchema {
            ArgsSchema::unknown()
        }

        /// Whether the arguments of a payload can be read, as [`perform`](Self::perform) gets them: what `contract check` asks. One that reads
        /// [`RawArgs`] itself can say more here.
        ///
        /// # Errors
        ///
        /// What the job would fail with.
        #[cfg(feature = "contract")]
        fn check_args(payload: &Payload) -> std::result::Result<(), JobError> {
            Self::Args::from_json(payload.args()).map(drop).map_err(JobError::from)
        }
    };
}

/// A job: what a Ruby class with `include Sidekiq::Job` is.
///
/// The value is built once, when the job is [registered](crate::ServerBuilder::register); what a job needs, a pool or a
/// mailer, is a field of it.
///
/// ```
/// use std::time::Duration;
/// use ferrokiq::{Context, Job, JobError, JobOptions, JobResult, RetryIn};
///
/// struct Greet { greeting: String }
///
/// impl Job for Greet {
///     const CLASS: &'static str = "GreetJob";
///     type Args = (i64, String);
///
///     fn options() -> JobOptions {
///         JobOptions::new().queue("critical").retry(5)
///     }
///
///     async fn perform(&self, _cx: Context, (id, name): Self::Args) -> JobResult {
///         if id < 0 {
///             return Err(JobError::new("ArgumentError", "no such user"));
///         }
///         println!("{}, {name}", self.greeting);
///         Ok(())
///     }
///
///     fn retry_in(&self, count: u32, _error: &JobError) -> RetryIn {
///         RetryIn::After(Duration::from_secs(10 * u64::from(count + 1)))
///     }
/// }
/// ```
pub trait Job: Send + Sync + 'static {
    /// The name of the Ruby class: what `class` says in the payload. Written out, so that renaming a type orphans no
    /// job.
    const CLASS: &'static str;
    /// The arguments, a tuple: what Ruby's `perform` takes. See [`Args`].
    type Args: Args;

    /// Queue, retries and the like, for jobs pushed from Rust: Sidekiq's `sidekiq_options`. Jobs pushed from Ruby bring
    /// their own.
    fn options() -> JobOptions {
        JobOptions::new()
    }

    describing!();

    /// Does the work. An error, a panic and wrong arguments are failures, retried as Sidekiq does.
    ///
    /// # Cancel safety
    ///
    /// A server that stops waits for its timeout (25 s) and then puts the job back and drops this future at its next
    /// `await`. A job may therefore run more than once: make it idempotent, as for Sidekiq.
    fn perform(&self, cx: Context, args: Self::Args) -> impl Future<Output = JobResult> + Send;

    /// When to try again after failure number `count` (0 is the first).
    fn retry_in(&self, count: u32, error: &JobError) -> RetryIn {
        let _ = (count, error);
        RetryIn::Default
    }

    /// Called once when the last retry failed, with the payload as it would be buried.
    fn retries_exhausted(&self, payload: &Payload, error: &JobError) -> OnExhausted {
        let _ = (payload, error);
        OnExhausted::Bury
    }

    /// How long one run may take; none unless said. A run that takes longer is dropped at its next `await` and fails with
    /// `Timeout::Error`. More than the clock can count, [`Duration::MAX`] say, means none. Ruby has no such thing.
    fn timeout(&self) -> Option<Duration> {
        None
    }

    enqueueing!();
}

/// A job that blocks its thread: computes for long, or talks through a library that is not async.
///
/// As [`Job`], but `perform` runs on a thread of the server's own, one for each such job that runs, within the runtime: `Handle::current` works.
/// It cannot be interrupted: a long one should look at [`Context::is_stopping`] now and then. Where the system refuses a thread, the job
/// waits for one of the others; without any it fails with `ThreadError`.
///
/// ```
/// use ferrokiq::{BlockingJob, Context, JobResult};
///
/// struct Resize;
///
/// impl BlockingJob for Resize {
///     const CLASS: &'static str = "ResizeJob";
///     type Args = (u32, u32);
///
///     fn perform(&self, _cx: Context, (width, height): Self::Args) -> JobResult {
///         let _pixels = vec![0_u8; (width * height) as usize];
///         Ok(())
///     }
/// }
/// ```
pub trait BlockingJob: Send + Sync + 'static {
    /// As [`Job::CLASS`].
    const CLASS: &'static str;
    /// As [`Job::Args`].
    type Args: Args;

    /// As [`Job::options`].
    fn options() -> JobOptions {
        JobOptions::new()
    }

    describing!();

    /// Does the work, on a thread that may be blocked.
    ///
    /// # Errors
    ///
    /// Whatever makes the job fail.
    fn perform(&self, cx: Context, args: Self::Args) -> JobResult;

    /// As [`Job::retry_in`].
    fn retry_in(&self, count: u32, error: &JobError) -> RetryIn {
        let _ = (count, error);
        RetryIn::Default
    }

    /// As [`Job::retries_exhausted`].
    fn retries_exhausted(&self, payload: &Payload, error: &JobError) -> OnExhausted {
        let _ = (payload, error);
        OnExhausted::Bury
    }

    /// As [`Job::timeout`], from when the job has its thread. The thread goes on: only the job's outcome is decided, and another thread
    /// takes its place. `/live` is 503 while more threads are lost so than the server has slots, or 256.
    fn timeout(&self) -> Option<Duration> {
        None
    }

    enqueueing!();
}

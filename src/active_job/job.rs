use std::time::Duration;

use super::arguments::Arguments;
use super::context::ActiveJobContext;
use super::enqueue::Later;
use super::rules::Rules;
use crate::client::Client;
use crate::error::Result;
use crate::job::{JobError, JobOptions, JobResult, OnExhausted, RetryIn};
use crate::payload::{Jid, Payload};

/// A job of ActiveJob: what a Ruby class below `ApplicationJob` is.
///
/// [`ServerBuilder::register_active_job`](crate::ServerBuilder::register_active_job) has a worker run what `perform_later` enqueues in Rails;
/// [`perform_later`](Self::perform_later) enqueues what Rails, or a worker such as this, runs.
///
/// ```
/// use std::time::Duration;
/// use ferrokiq::active_job::{ActiveJob, ActiveJobContext, GlobalId, RetryOn, Rules};
/// use ferrokiq::{JobResult, Server};
///
/// ferrokiq::keywords! {
///     /// `perform(user, greeting:, times: 1)`
///     pub struct Greeting { pub greeting: String, pub times: Option<u32> }
/// }
///
/// struct GreetJob;
///
/// impl ActiveJob for GreetJob {
///     const CLASS: &'static str = "GreetJob";
///     type Args = (GlobalId, Greeting);
///
///     fn rules(&self) -> Rules {
///         Rules::new()
///             .retry_on(["Net::OpenTimeout"], RetryOn::new().wait(Duration::from_secs(5)).attempts(3))
///             .discard_on(["ActiveJob::DeserializationError"])
///     }
///
///     async fn perform(&self, cx: ActiveJobContext, (user, said): Self::Args) -> JobResult {
///         println!("{} to user {}, attempt {}", said.greeting, user.id(), cx.executions());
///         Ok(())
///     }
/// }
///
/// let server = Server::builder().register_active_job(GreetJob);
/// # drop(server);
/// ```
pub trait ActiveJob: Send + Sync + 'static {
    /// The name of the Ruby class: what `wrapped` and `job_class` say in the payload.
    const CLASS: &'static str;
    /// What Ruby's `perform` takes. See [`Arguments`].
    type Args: Arguments;

    /// The queue (`queue_as`), and what `sidekiq_options` says, for jobs enqueued from Rust. Jobs enqueued from Ruby bring their own.
    fn options() -> JobOptions {
        JobOptions::new()
    }

    /// `queue_with_priority`, for jobs enqueued from Rust. Sidekiq does not look at it.
    fn priority() -> Option<i64> {
        None
    }

    /// The `retry_on` and `discard_on` of the class; none unless said. They hear of errors, not of a panic or a timeout, which are Sidekiq's.
    fn rules(&self) -> Rules {
        Rules::new()
    }

    /// Does the work.
    ///
    /// The [rules](Self::rules) do not see a job that [snoozes](JobError::snooze), requeues, kills or discards itself. A job with
    /// [steps](ActiveJobContext::step) that snoozes begins with its first step again: its payload stays the same.
    ///
    /// # Cancel safety
    ///
    /// As [`Job::perform`](crate::Job::perform).
    fn perform(&self, cx: ActiveJobContext, args: Self::Args) -> impl Future<Output = JobResult> + Send;

    /// How often a job with [steps](ActiveJobContext::step) is resumed; no limit by default. After that it fails with
    /// `ActiveJob::Continuation::ResumeLimitError`.
    fn max_resumptions(&self) -> Option<u64> {
        None
    }

    /// Called when the job is given up by its rules, and when its error becomes Sidekiq's: the `after_discard` of Rails.
    fn after_discard(&self, cx: &ActiveJobContext, error: &JobError) {
        let _ = (cx, error);
    }

    /// As [`Job::retry_in`](crate::Job::retry_in), for errors no rule applies to.
    fn retry_in(&self, count: u32, error: &JobError) -> RetryIn {
        let _ = (count, error);
        RetryIn::Default
    }

    /// As [`Job::retries_exhausted`](crate::Job::retries_exhausted).
    fn retries_exhausted(&self, payload: &Payload, error: &JobError) -> OnExhausted {
        let _ = (payload, error);
        OnExhausted::Bury
    }

    /// As [`Job::timeout`](crate::Job::timeout).
    fn timeout(&self) -> Option<Duration> {
        None
    }

    /// Enqueues a job, for Rails or for Rust. Returns Sidekiq's id, or `None` if a client middleware stopped it.
    ///
    /// # Errors
    ///
    /// As [`Client::push`], and [`ErrorKind::Args`](crate::ErrorKind::Args) for arguments that Rails refuses.
    fn perform_later(client: &Client, args: Self::Args) -> impl Future<Output = Result<Option<Jid>>> + Send {
        Self::later().perform_later(client, args)
    }

    /// The same at another time, in another queue: the `set` of Rails.
    fn later() -> Later<Self::Args> {
        Later::new(Self::CLASS, Self::options()).priority(Self::priority())
    }
}

use std::time::Duration;

use crate::job::{Job, JobError};
use crate::payload::Payload;

/// What becomes of a job that failed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum AfterFailure {
    /// It is tried again: the bytes that wait in the retry set, and for how long.
    Retry(Payload, Duration),
    /// It goes to the dead set.
    Dead(Payload),
    /// It goes nowhere.
    Discarded(Payload),
    /// It [snoozes](JobError::snooze): the bytes that wait in the schedule, and for how long; [`Duration::MAX`] at most.
    Snoozed(Payload, Duration),
    /// It goes back to its queue.
    Requeued(Payload),
}

/// What a server with default settings would do with a failed job: for tests of [`Job::retry_in`] and
/// [`Job::retries_exhausted`].
///
/// ```
/// # use ferrokiq::{Context, Job, JobError, JobResult, Payload, RetryIn};
/// use ferrokiq::testing::{AfterFailure, after_failure};
///
/// struct Fragile;
/// impl Job for Fragile {
///     const CLASS: &'static str = "FragileJob";
///     type Args = ();
/// #   async fn perform(&self, _: Context, _: ()) -> JobResult { Ok(()) }
///     fn retry_in(&self, _count: u32, _error: &JobError) -> RetryIn { RetryIn::Kill }
/// }
///
/// let payload = Payload::new("FragileJob", []);
/// assert!(matches!(after_failure(&Fragile, payload, &"broken".into()), AfterFailure::Dead(_)));
/// ```
pub fn after_failure<J: Job>(job: &J, payload: Payload, error: &JobError) -> AfterFailure {
    use crate::server::run::retry::{RetryContext, Verdict, judge};

    let queue = payload.queue().to_owned();
    let now = crate::time::EpochSecs::now();
    let context = RetryContext { queue: &queue, max_retries: 25, now, stamps: crate::time::StampForm::default() };
    match judge(payload.clone(), error, Some(&HooksOf(job)), &context, &mut rand::rng()) {
        Verdict::Retry { payload, delay } => {
            AfterFailure::Retry(payload, Duration::try_from_secs_f64(delay).unwrap_or_default())
        }
        Verdict::Bury { payload } => AfterFailure::Dead(payload),
        Verdict::Discard { payload } => AfterFailure::Discarded(payload),
        Verdict::BuryUnchanged { .. } => AfterFailure::Dead(payload),
        Verdict::Snooze { payload, delay } => {
            AfterFailure::Snoozed(payload, Duration::try_from_secs_f64(delay).unwrap_or(Duration::MAX))
        }
        Verdict::Requeue { payload, .. } => AfterFailure::Requeued(payload),
    }
}

struct HooksOf<'a, J>(&'a J);

impl<J: Job> crate::server::run::retry::RetryHooks for HooksOf<'_, J> {
    fn default_retry(&self) -> crate::Retry {
        J::options().retry_option()
    }
    fn retry_in(&self, count: u32, error: &JobError) -> crate::RetryIn {
        self.0.retry_in(count, error)
    }
    fn retries_exhausted(&self, payload: &Payload, error: &JobError) -> crate::OnExhausted {
        self.0.retries_exhausted(payload, error)
    }
}

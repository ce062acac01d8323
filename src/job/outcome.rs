use std::time::Duration;

use super::JobResult;
use super::error::{Disposition, JobError};

/// What a run of a job ended with, for middleware and hooks: a [`JobResult`] taken apart.
///
/// Middleware converts the result of [`Next::run`](crate::server::Next::run) into an outcome, and an outcome back into a result:
///
/// ```
/// use std::time::Duration;
/// use ferrokiq::server::Next;
/// use ferrokiq::{Context, JobResult, Outcome, Server};
///
/// /// Waits out a maintenance window instead of using up retries.
/// async fn patient(cx: Context, next: Next) -> JobResult {
///     match Outcome::from(next.run(cx).await) {
///         Outcome::Fail(error) if error.class() == "Api::Maintenance" => {
///             Outcome::Snooze(Duration::from_secs(600)).into()
///         }
///         Outcome::Fail(error) if error.class() == "Api::NoSuchAccount" => Outcome::Discard(error).into(),
///         outcome => outcome.into(),
///     }
/// }
///
/// let server = Server::builder().server_middleware(patient);
/// # drop(server);
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// It succeeded.
    Done,
    /// It failed. The options of the job and the hooks of its class decide whether it is retried.
    Fail(JobError),
    /// It runs again later: [`JobError::snooze`].
    Snooze(Duration),
    /// It failed and goes to the dead set: [`JobError::kill`].
    Kill(JobError),
    /// It failed and is dropped: [`JobError::discard`].
    Discard(JobError),
    /// It runs again now: [`JobError::requeue`]. An [iterable job](crate::job::IterableJob) that a stop interrupts ends so.
    Requeue,
}

impl Outcome {
    /// The error of a failure; `None` for the others.
    pub fn error(&self) -> Option<&JobError> {
        match self {
            Self::Fail(error) | Self::Kill(error) | Self::Discard(error) => Some(error),
            Self::Done | Self::Snooze(_) | Self::Requeue => None,
        }
    }
}

impl From<JobResult> for Outcome {
    fn from(result: JobResult) -> Self {
        let Err(error) = result else { return Self::Done };
        match error.disposition() {
            Disposition::Fail => Self::Fail(error),
            Disposition::Kill => Self::Kill(error),
            Disposition::Discard => Self::Discard(error),
            Disposition::Snooze(delay) => Self::Snooze(delay),
            Disposition::Requeue => Self::Requeue,
        }
    }
}

impl From<Outcome> for JobResult {
    fn from(outcome: Outcome) -> Self {
        Err(match outcome {
            Outcome::Done => return Ok(()),
            Outcome::Fail(error) => error.with_disposition(Disposition::Fail),
            Outcome::Kill(error) => error.with_disposition(Disposition::Kill),
            Outcome::Discard(error) => error.with_disposition(Disposition::Discard),
            Outcome::Snooze(delay) => JobError::snooze(delay),
            Outcome::Requeue => JobError::requeue(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_survives_the_way_through_a_result() {
        let error = || JobError::from("x");
        for outcome in [
            Outcome::Done,
            Outcome::Fail(error()),
            Outcome::Snooze(Duration::MAX),
            Outcome::Kill(error()),
            Outcome::Discard(error()),
            Outcome::Requeue,
        ] {
            let (name, failed) = (format!("{outcome:?}"), outcome.error().is_some());
            let result = JobResult::from(outcome);
            assert_eq!(result.as_ref().err().is_some_and(JobError::is_failure), failed, "{name}");
            assert_eq!(format!("{:?}", Outcome::from(result)), name);
        }
    }

    #[test]
    fn middleware_may_turn_one_failure_into_another() {
        let Outcome::Kill(error) = Outcome::from(Err(JobError::kill("x"))) else { panic!("it is killed") };
        assert!(matches!(Outcome::from(JobResult::from(Outcome::Fail(error))), Outcome::Fail(_)));
    }
}

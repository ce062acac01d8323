//! A job in steps that runs again from where it was interrupted: `ActiveJob::Continuable` of Rails 8.1.

use std::sync::Arc;

use super::argument::Argument;
use super::context::ActiveJobContext;
use super::convert::{FromArgument, IntoArgument};
use super::progress::resumptions;
use crate::job::{ArgsError, JobError, JobResult};

/// Class of the error that ends a run at a checkpoint.
pub(super) const INTERRUPT: &str = "ActiveJob::Continuation::Interrupt";
/// Class of the error of a job that was resumed too often.
pub(super) const RESUME_LIMIT: &str = "ActiveJob::Continuation::ResumeLimitError";

/// One step of a job: its cursor and its checkpoints. [`ActiveJobContext::step`] passes it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Step {
    cx: ActiveJobContext,
    name: Arc<str>,
    is_resumed: bool,
}

impl Step {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether an earlier run began it.
    pub fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    /// Returns the cursor that was [set](Self::set) last, in this run or in an earlier one. `None` before the first.
    ///
    /// # Errors
    ///
    /// `ArgumentError` for a cursor of another type.
    pub fn cursor<T: FromArgument>(&self) -> std::result::Result<Option<T>, ArgsError> {
        match self.cx.progress().lock().current.as_ref().map(|current| current.cursor.clone()) {
            None | Some(Argument::Nil) => Ok(None),
            Some(cursor) => T::from_argument(cursor).map(Some),
        }
    }

    /// Sets the cursor, a number or a string for example, and is a [checkpoint](Self::checkpoint): the `set!` of Rails. Rails 8.1 reads only
    /// cursors of JSON's own types.
    ///
    /// # Errors
    ///
    /// As [`checkpoint`](Self::checkpoint).
    pub fn set(&self, cursor: impl IntoArgument) -> JobResult {
        if let Some(current) = &mut self.cx.progress().lock().current {
            current.cursor = cursor.into_argument();
        }
        self.checkpoint()
    }

    /// A place where the job may be interrupted.
    ///
    /// # Errors
    ///
    /// `ActiveJob::Continuation::Interrupt` while the server stops. The job returns it, and runs again from here.
    pub fn checkpoint(&self) -> JobResult {
        self.cx.checkpoint()
    }
}

impl ActiveJobContext {
    /// Does a step of the job, unless an earlier run did it: the `step` of `ActiveJob::Continuable`.
    ///
    /// A job that is interrupted, or that fails after progress, is enqueued again after 5 s. It continues with the step that was interrupted, at
    /// the [cursor](Step::cursor) that was set last. Steps have names, which stay the same from version to version of the job, and their
    /// order. What a step did since its last checkpoint is done again. A job that uses steps may run in Rails and in Rust by turns.
    ///
    /// Between two steps is a checkpoint.
    ///
    /// ```
    /// use ferrokiq::JobResult;
    /// use ferrokiq::active_job::{ActiveJob, ActiveJobContext};
    ///
    /// struct ImportJob;
    ///
    /// impl ActiveJob for ImportJob {
    ///     const CLASS: &'static str = "ImportJob";
    ///     type Args = (i64,);
    ///
    ///     async fn perform(&self, cx: ActiveJobContext, (import,): Self::Args) -> JobResult {
    ///         cx.step("validate", |_| async { Ok(()) }).await?;
    ///         cx.step("records", |step| async move {
    ///             for record in step.cursor()?.unwrap_or(0)..1_000_i64 {
    ///                 println!("record {record} of import {import}");
    ///                 step.set(record + 1)?;
    ///             }
    ///             Ok(())
    ///         })
    ///         .await
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// What the step fails with, which the job returns. `ActiveJob::Continuation::Interrupt` while the server stops.
    /// `ActiveJob::Continuation::InvalidStepError` for a step inside another, one that was there before, and one that is out of order.
    /// `ActiveJob::DeserializationError` if `continuation` in the payload is malformed.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a step whose future is dropped stays begun, so that the next is an error.
    pub async fn step<F, Fut>(&self, name: &str, work: F) -> JobResult
    where
        F: FnOnce(Step) -> Fut + Send,
        Fut: Future<Output = JobResult> + Send,
    {
        self.progress().begin_using(self.data())?;
        if self.progress().is_advanced() {
            self.checkpoint()?;
        }
        let Some(is_resumed) = self.progress().lock().begin(name)? else { return Ok(()) };
        let outcome = work(Step { cx: self.clone(), name: name.into(), is_resumed }).await;
        self.progress().lock().end(outcome.is_ok());
        outcome
    }

    /// A place where the job may be interrupted, outside of any step.
    ///
    /// # Errors
    ///
    /// As [`Step::checkpoint`].
    pub fn checkpoint(&self) -> JobResult {
        if !self.is_stopping() {
            return Ok(());
        }
        let place = self.progress().lock().description();
        Err(JobError::new(INTERRUPT, format!("Interrupted {place} (stopping)")))
    }

    /// How often the job was resumed, this run included. 0 for a job without [steps](Self::step).
    pub fn resumptions(&self) -> u64 {
        resumptions(self.data())
    }
}

/// Whether an error is one of the steps themselves: it resumes nothing.
pub(super) fn is_of_steps(error: &JobError) -> bool {
    error.class().starts_with("ActiveJob::Continuation::")
}

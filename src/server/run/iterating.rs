use std::time::{Duration, Instant};

use crate::error::Result;
use crate::job::{Context, Enumerator, IterableJob, Job, JobError, JobOptions, JobResult, OnExhausted, RetryIn};
use crate::payload::Payload;
use crate::store::iteration::Iteration;

/// Runs an [`IterableJob`] as a [`Job`].
#[derive(Debug)]
pub(crate) struct Iterating<J>(pub(crate) J);

/// Between two writes of where a job stands.
const FLUSH: Duration = Duration::from_secs(5);

impl<J: IterableJob> Job for Iterating<J> {
    const CLASS: &'static str = J::CLASS;
    type Args = J::Args;

    fn options() -> JobOptions {
        J::options()
    }

    #[cfg(feature = "contract")]
    fn args_schema() -> crate::job::ArgsSchema {
        J::args_schema()
    }

    async fn perform(&self, cx: Context, args: Self::Args) -> JobResult {
        let Self(job) = self;
        let mut state = cx.client().iteration(cx.jid()).await?;
        state.executions += 1;
        let run = Run { cx: &cx, began: Instant::now(), before: state.runtime };
        let cursor = serde_json::from_str::<Option<_>>(&state.cursor)
            .map_err(|error| JobError::new("ArgumentError", format!("the cursor does not fit: {error}")))?;
        let mut items = job.build_enumerator(&cx, &args, cursor).await?;
        if state.executions == 1 {
            job.on_start(&cx).await?
        } else {
            job.on_resume(&cx).await?
        }

        let through = run.iterate(job, &args, &mut items, &mut state).await;
        state.runtime = run.runtime();
        let through = through?;
        job.on_stop(&cx).await?;
        if !through {
            run.flush(&state).await?;
            return Err(JobError::interruption());
        }
        job.on_complete(&cx).await?;
        cx.client().forget_iteration(cx.jid()).await?;
        Ok(())
    }

    fn retry_in(&self, count: u32, error: &JobError) -> RetryIn {
        self.0.retry_in(count, error)
    }

    fn retries_exhausted(&self, payload: &Payload, error: &JobError) -> OnExhausted {
        self.0.retries_exhausted(payload, error)
    }
}

/// One run of an iterable job.
struct Run<'a> {
    cx: &'a Context,
    began: Instant,
    /// Seconds of the runs before.
    before: f64,
}

impl Run<'_> {
    /// `false` if it was interrupted, `true` if it is through or was cancelled.
    async fn iterate<J: IterableJob>(
        &self,
        job: &J,
        args: &J::Args,
        items: &mut J::Enumerator,
        state: &mut Iteration,
    ) -> std::result::Result<bool, JobError> {
        if state.cancelled.is_some() {
            job.on_cancel(self.cx).await?;
            return Ok(true);
        }
        let mut flushed = Instant::now();
        while let Some((item, cursor)) = items.next().await? {
            state.cursor = serde_json::to_string(&cursor)?;
            let interrupted = self.cx.is_stopping() || self.is_too_long();
            if interrupted || flushed.elapsed() >= FLUSH {
                if self.flush(state).await? {
                    job.on_cancel(self.cx).await?;
                    return Ok(true);
                }
                flushed = Instant::now();
            }
            if interrupted {
                return Ok(false);
            }
            if let Err(error) = job.each_iteration(self.cx, args, item).await {
                self.flush(state).await?;
                return Err(error);
            }
        }
        Ok(true)
    }

    fn is_too_long(&self) -> bool {
        self.cx.max_iteration_runtime().is_some_and(|limit| self.began.elapsed() > limit)
    }

    fn runtime(&self) -> f64 {
        self.before + self.began.elapsed().as_secs_f64()
    }

    /// Writes where the job stands; whether it was cancelled.
    async fn flush(&self, state: &Iteration) -> Result<bool> {
        self.cx.client().keep_iteration(self.cx.jid(), state).await
    }
}

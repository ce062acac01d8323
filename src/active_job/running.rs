//! A job of ActiveJob as a job of Sidekiq: what Ruby's wrapper class does.

use std::time::{Duration, SystemTime};

use super::context::ActiveJobContext;
use super::continuation::{INTERRUPT, RESUME_LIMIT, is_of_steps};
use super::data::JobData;
use super::error::deserialization;
use super::moment::Time;
use super::rules::Decision;
use super::{ActiveJob, Arguments};
use crate::client::flows;
use crate::job::{Context, Disposition, Job, JobError, JobOptions, JobResult, OnExhausted, RawArgs, RetryIn};
use crate::payload::Payload;

/// Runs an [`ActiveJob`] as a [`Job`].
#[derive(Debug)]
pub(super) struct Running<J>(pub(super) J);

impl<J: ActiveJob> Job for Running<J> {
    const CLASS: &'static str = J::CLASS;
    type Args = RawArgs;

    fn options() -> JobOptions {
        J::options()
    }

    async fn perform(&self, cx: Context, _: RawArgs) -> JobResult {
        // Nothing that is wrong here is the job's: its rules are not asked.
        let mut data = Self::data(cx.payload())?;
        data.executions = data.executions.saturating_add(1);
        let cx = ActiveJobContext::new(cx, data);
        let outcome = match J::Args::from_json(cx.data().arguments()) {
            Ok(args) => self.0.perform(cx.clone(), args).await,
            Err(error) => Err(error.into()),
        };
        match outcome {
            Err(error) if error.disposition() == Disposition::Fail => self.failed(&cx, error).await,
            // The job decided: its rules are not asked.
            Err(error) => {
                if error.is_failure() {
                    self.0.after_discard(&cx, &error);
                }
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }

    #[cfg(feature = "contract")]
    fn check_args(payload: &Payload) -> std::result::Result<(), JobError> {
        let data = Self::data(payload)?;
        J::Args::from_json(data.arguments()).map(drop).map_err(JobError::from)
    }

    fn retry_in(&self, count: u32, error: &JobError) -> RetryIn {
        self.0.retry_in(count, error)
    }

    fn retries_exhausted(&self, payload: &Payload, error: &JobError) -> OnExhausted {
        self.0.retries_exhausted(payload, error)
    }

    fn timeout(&self) -> Option<Duration> {
        self.0.timeout()
    }
}

impl<J: ActiveJob> Running<J> {
    fn data(payload: &Payload) -> std::result::Result<JobData, JobError> {
        let data = JobData::of(payload)?;
        if data.job_class.strip_prefix("::").unwrap_or(&data.job_class) == J::CLASS {
            return Ok(data);
        }
        Err(deserialization(format!("the payload is said to be for {}, its data for another", J::CLASS)).into())
    }

    /// Enqueues the job again, to continue at its cursor.
    async fn resume(cx: &ActiveJobContext, data: JobData, error: &JobError) -> JobResult {
        let (job_id, class, secs) = (cx.job_id(), error.class(), RESUME_AFTER.as_secs());
        tracing::info!(job_id, class, "resuming {} in {secs} seconds", J::CLASS);
        cx.client().push(again(cx.payload(), data, RESUME_AFTER, None, None, SystemTime::now())).await?;
        Ok(())
    }

    async fn failed(&self, cx: &ActiveJobContext, mut error: JobError) -> JobResult {
        let mut data = cx.data().clone();
        cx.progress().write(&mut data)?;
        if error.class() == INTERRUPT || (cx.progress().is_advanced() && !is_of_steps(&error)) {
            // Rails 8.1 counts it under these names, and never reads the counts.
            let name = match error.class() {
                INTERRUPT => error.message().to_owned(),
                class => format!("{{:exception=>#<{class}: {}>}}", error.message()),
            };
            let counted = data.raw.get("exception_executions").map_or(0, str::len);
            if counted + name.len() <= MOST_COUNTED {
                let count = data.exception_executions(&name).unwrap_or(0).saturating_add(1);
                data.count_exception(&name, count);
            }
            match self.0.max_resumptions() {
                Some(most) if cx.resumptions() >= most => {
                    error = JobError::new(RESUME_LIMIT, format!("Job was resumed a maximum of {most} times"));
                }
                _ => return Self::resume(cx, data, &error).await,
            }
        }
        let (job_id, class) = (cx.job_id(), error.class());
        let decision = self.0.rules().decide(&mut data, &error, &mut rand::rng());
        match decision {
            Decision::Retry { wait, queue, priority } => {
                let (secs, after) = (wait.as_secs(), data.executions);
                tracing::info!(job_id, class, "retrying {} after {after} attempts in {secs} seconds", J::CLASS);
                let again = again(cx.payload(), data, wait, queue.as_deref(), priority, SystemTime::now());
                cx.client().push(again).await?;
                return Ok(());
            }
            Decision::Discard => tracing::error!(job_id, class, "discarded {}", J::CLASS),
            Decision::Exhausted(handler) => {
                tracing::error!(job_id, class, "stopped retrying {} after {} attempts", J::CLASS, data.executions);
                handler(&error);
            }
            Decision::Raise => {
                self.0.after_discard(cx, &error);
                return Err(error);
            }
        }
        self.0.after_discard(cx, &error);
        Ok(())
    }
}

/// Bytes of counted interruptions beyond which a job that is resumed gets no more: each has a name of its own, and Rails sets no bound.
const MOST_COUNTED: usize = 64 << 10;

/// As long as Rails waits with a job that was interrupted.
const RESUME_AFTER: Duration = Duration::from_secs(5);

/// Keys that belong to one run of a job, not to the next.
const OF_ONE_RUN: [&str; 13] = [
    "jid",
    "bid",
    "at",
    "created_at",
    "enqueued_at",
    "failed_at",
    "retried_at",
    "retry_count",
    "error_message",
    "error_class",
    "error_backtrace",
    "discarded_at",
    "args",
];

/// The job once more, as Rails enqueues it: a new payload with the same `job_id`.
pub(super) fn again(
    payload: &Payload,
    data: JobData,
    wait: Duration,
    queue: Option<&str>,
    priority: Option<i64>,
    now: SystemTime,
) -> Payload {
    let JobData { mut raw, executions, queue_name, .. } = data;
    let at = Time::utc(now + wait);
    raw.insert("provider_job_id", payload.jid());
    let queue = queue.map(str::to_owned).or(queue_name).unwrap_or_else(|| payload.queue().to_owned());
    raw.insert("queue_name", &queue);
    if let Some(priority) = priority {
        raw.insert("priority", priority);
    }
    raw.insert("executions", executions);
    // Rails before 7.1 writes whole seconds, and not when it is to run.
    let is_old = !raw.contains_key("scheduled_at") && raw.contains_key("enqueued_at");
    let enqueued_at = Time::utc(now);
    raw.insert("enqueued_at", if is_old { enqueued_at.whole_second() } else { enqueued_at.to_string() });
    if !is_old {
        raw.insert("scheduled_at", at.as_str());
    }

    let mut again = Payload::empty();
    for (key, value) in payload.distinct() {
        if key == "args" {
            again.append_raw("args", format!("[{}]", raw.as_str()));
        // The client adds those that flow, behind the jid.
        } else if !OF_ONE_RUN.contains(&key) && !flows(key) {
            again.append_raw(key, value);
        }
    }
    again.insert("queue", queue);
    if !wait.is_zero() {
        again.insert_raw("at", at.to_epoch().to_string());
    }
    again
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enqueues_again_in_linear_time() {
        let keys = 900;
        let more: String = (0..keys).map(|key| format!(r#","k{key}":{key}"#)).collect();
        let job = r#"{"job_class":"A","job_id":"1","executions":1,"enqueued_at":null,"arguments":[]}"#;
        let payload = Payload::parse(format!(r#"{{"class":"W","queue":"q"{more},"args":[{job}],"jid":"j"}}"#)).unwrap();
        let data = JobData::of(&payload).unwrap();
        let (steps, again) =
            crate::payload::steps::of(|| again(&payload, data, Duration::from_secs(3), None, None, SystemTime::now()));
        assert!(steps < 5 * keys, "{steps}");
        assert!(again.keys().count() == keys + 4 && again.get("k7") == Some("7") && !again.contains_key("jid"));
    }
}

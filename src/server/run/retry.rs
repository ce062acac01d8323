//! What becomes of a job that did not succeed: a pure decision over its original bytes.

use std::sync::LazyLock;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::client::{mend, unmovable};
use crate::job::{Disposition, JobError, OnExhausted, RetryIn};
use crate::payload::{Payload, Retry, RetryCount, error_message, is_routable_queue, pack_backtrace};
use crate::time::{EpochSecs, StampForm};

/// What is done with the bytes of a job that returned an error.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// They go to the retry set, due after whole seconds.
    Retry { payload: Payload, delay: f64 },
    /// They go to the dead set.
    Bury { payload: Payload },
    /// They are stored nowhere: `retry: false`, `dead: false`, or a hook said so. Death handlers see this payload.
    Discard { payload: Payload },
    /// They go to the dead set unchanged: with this key as it is, Ruby would lose the job, now or when its poller moves it.
    BuryUnchanged { key: &'static str },
    /// They go to the schedule, due after so many seconds.
    Snooze { payload: Payload, delay: f64 },
    /// They go to the end of a queue.
    Requeue { payload: Payload, queue: String },
}

impl Verdict {
    /// The payload that is stored, or dropped; `None` for the bytes as they were fetched.
    pub(crate) fn payload(&self) -> Option<&Payload> {
        match self {
            Self::Retry { payload, .. }
            | Self::Bury { payload }
            | Self::Discard { payload }
            | Self::Snooze { payload, .. }
            | Self::Requeue { payload, .. } => Some(payload),
            Self::BuryUnchanged { .. } => None,
        }
    }
}

/// The hooks of the job's class that have a say.
pub(crate) trait RetryHooks: Sync {
    /// The class's own `retry` option, for payloads that do not say.
    fn default_retry(&self) -> Retry;
    fn retry_in(&self, count: u32, error: &JobError) -> RetryIn;
    fn retries_exhausted(&self, payload: &Payload, error: &JobError) -> OnExhausted;
}

/// What the decision rests on besides the job.
#[derive(Debug)]
pub(crate) struct RetryContext<'a> {
    /// The queue the job was fetched from.
    pub(crate) queue: &'a str,
    pub(crate) max_retries: u64,
    pub(crate) now: EpochSecs,
    /// How stamps are written where the payload does not tell.
    pub(crate) stamps: StampForm,
}

/// Retry hooks are given counts up to here; beyond it the delay would be longer than a year anyway.
const MAX_COUNT: f64 = 1_000.0;
const MAX_DELAY: f64 = 365.0 * 24.0 * 60.0 * 60.0;

/// Draws the jitter of jobs that fail at this moment. Those that fail within a millisecond share it: one look at the retry set then finds free
/// scores for all of them, where ten delays need ten.
pub(crate) fn jitter_at(now: EpochSecs) -> SmallRng {
    static KEY: LazyLock<u64> = LazyLock::new(|| rand::rng().random());
    SmallRng::seed_from_u64(*KEY ^ (now.0 * 1_000.0) as u64)
}

/// Sidekiq's `JobRetry`, from the original payload to what is stored. `hooks` is `None` for a class that is not
/// registered.
pub(crate) fn judge(
    mut payload: Payload,
    error: &JobError,
    hooks: Option<&dyn RetryHooks>,
    context: &RetryContext<'_>,
    rng: &mut impl RngExt,
) -> Verdict {
    if error.disposition() == Disposition::Requeue {
        return requeue(payload, context);
    }
    mend(&mut payload);
    if hooks.is_some() && !payload.args().starts_with('[') {
        // Ruby runs such a job, with what it makes of the value.
        return Verdict::BuryUnchanged { key: "args" };
    }
    if let Disposition::Snooze(delay) = error.disposition() {
        return snooze(payload, delay, context);
    }
    let mut retry = payload.retry();
    if matches!(retry, Retry::Absent | Retry::Null) {
        let Some(hooks) = hooks else { return Verdict::BuryUnchanged { key: "retry" } };
        retry = match hooks.default_retry() {
            Retry::Absent | Retry::Null => Retry::Default,
            own => own,
        };
        payload.insert("retry", retry);
    }
    let limit = match retry {
        Retry::Never if error.disposition() == Disposition::Fail => return Verdict::Discard { payload },
        Retry::Times(times) => times,
        _ => context.max_retries,
    };
    let count = match payload.get("retry_count") {
        None | Some("null" | "false") => None,
        Some(raw) => match RetryCount::from_json(raw) {
            Some(count) => Some(count.plus(1)),
            None => return Verdict::BuryUnchanged { key: "retry_count" },
        },
    };
    let has_deadline = match payload.get("retry_for") {
        None | Some("null" | "false") => false,
        Some(raw) if raw.parse::<f64>().is_ok() => true,
        Some(_) => return Verdict::BuryUnchanged { key: "retry_for" },
    };
    let form = payload.stamp_form().unwrap_or(context.stamps);
    let stamp = form.stamp(context.now);

    // The order below is the order in which Ruby adds the keys.
    let queue = payload.retry_queue().filter(|queue| is_routable_queue(queue)).unwrap_or(context.queue).to_owned();
    payload.insert("queue", &queue);
    payload.insert("error_message", error_message(error.message()));
    payload.insert("error_class", error.class());
    match count {
        Some(count) => {
            payload.insert_raw("retried_at", stamp);
            payload.insert_raw("retry_count", count.to_string());
        }
        None => {
            payload.insert_raw("failed_at", stamp);
            payload.insert("retry_count", 0);
        }
    }
    let count = count.unwrap_or(RetryCount::Integer(0));
    if let Some(frames) = backtrace_frames(&payload) {
        let frames = error.backtrace().iter().take(frames).map(String::as_str);
        payload.insert("error_backtrace", pack_backtrace(frames));
    }

    match error.disposition() {
        Disposition::Kill => return exhaust(payload, error, hooks, context.now),
        Disposition::Discard => return discard(payload, context.now),
        Disposition::Fail | Disposition::Snooze(_) | Disposition::Requeue => {}
    }
    let exhausted = if has_deadline {
        // Ruby reads the clock once more for this: a span of 0 is over.
        let Some(at) = deadline(&payload) else { return Verdict::BuryUnchanged { key: "failed_at" } };
        at <= context.now.0
    } else {
        count.reaches(limit)
    };
    if exhausted {
        return exhaust(payload, error, hooks, context.now);
    }
    let count = count.as_f64();
    let counted = count.clamp(0.0, MAX_COUNT) as u32;
    let delay = match hooks.map_or(RetryIn::Default, |hooks| hooks.retry_in(counted, error)) {
        RetryIn::Discard => return discard(payload, context.now),
        RetryIn::Kill => return exhaust(payload, error, hooks, context.now),
        RetryIn::After(delay) if delay >= Duration::from_secs(1) => delay.as_secs() as f64,
        RetryIn::After(_) | RetryIn::Default => default_delay(count),
    };
    if let Some(key) = unmovable(&payload) {
        return Verdict::BuryUnchanged { key };
    }
    let jitter = rng.random_range(0..jitter_below(count));
    Verdict::Retry { payload, delay: (delay + jitter as f64).min(MAX_DELAY) }
}

/// Every byte stays the same, unless the payload names no queue that a poller can push to.
fn snooze(mut payload: Payload, delay: Duration, context: &RetryContext<'_>) -> Verdict {
    if let Some(key) = unmovable(&payload) {
        return Verdict::BuryUnchanged { key };
    }
    if !is_routable_queue(payload.queue()) {
        payload.insert("queue", context.queue);
    }
    Verdict::Snooze { payload, delay: delay.as_secs_f64() }
}

/// The job as Ruby pushes it again after an interruption.
fn requeue(mut payload: Payload, context: &RetryContext<'_>) -> Verdict {
    let form = payload.stamp_form().unwrap_or(context.stamps);
    payload.insert_raw("enqueued_at", form.stamp(context.now));
    let queue = if is_routable_queue(payload.queue()) { payload.queue() } else { context.queue }.to_owned();
    Verdict::Requeue { payload, queue }
}

/// `count ** 4 + 15` seconds: 25 retries take about 20 days.
fn default_delay(count: f64) -> f64 {
    count.powi(4) + 15.0
}

/// The bound of the jitter in seconds: `rand(10 * (count + 1))`, as Ruby reads a float or a negative bound.
fn jitter_below(count: f64) -> u64 {
    (10.0 * (count + 1.0)).abs().clamp(1.0, MAX_DELAY) as u64
}

/// How many frames `backtrace` asks for; `None` for none.
fn backtrace_frames(payload: &Payload) -> Option<usize> {
    match payload.get("backtrace")? {
        "null" | "false" => None,
        "true" => Some(usize::MAX),
        // Ruby's `to_i`: the digits in front, of a number or of a string.
        raw => {
            let digits: String = raw.trim_matches('"').chars().take_while(char::is_ascii_digit).collect();
            Some(digits.parse().unwrap_or(0))
        }
    }
}

/// Until when a payload with `retry_for` is retried, in seconds; `None` for any other.
pub(crate) fn deadline(payload: &Payload) -> Option<f64> {
    let secs: f64 = payload.get("retry_for")?.parse().ok()?;
    Some(first_failure(payload)? + secs)
}

/// `failed_at` in seconds: a float is seconds, however large, and an integer milliseconds, as Sidekiq 8 reads it. An integer too small for
/// milliseconds is seconds: old ports dropped the point.
fn first_failure(payload: &Payload) -> Option<f64> {
    let raw = payload.get("failed_at")?;
    let value: f64 = raw.parse().ok()?;
    let millis = raw.bytes().all(|byte| byte.is_ascii_digit()) && value >= 1e11;
    Some(if millis { value / 1_000.0 } else { value })
}

fn exhaust(payload: Payload, error: &JobError, hooks: Option<&dyn RetryHooks>, now: EpochSecs) -> Verdict {
    let said = hooks.map_or(OnExhausted::Bury, |hooks| hooks.retries_exhausted(&payload, error));
    if matches!(said, OnExhausted::Discard) || payload.get("dead") == Some("false") {
        return discard(payload, now);
    }
    Verdict::Bury { payload }
}

/// Stored nowhere; death handlers learn when.
fn discard(mut payload: Payload, now: EpochSecs) -> Verdict {
    payload.insert("discarded_at", now.to_millis().0);
    Verdict::Discard { payload }
}

#[cfg(test)]
mod tests;

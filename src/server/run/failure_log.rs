//! The log line of a job that failed.

use crate::job::JobError;
use crate::payload::{Payload, Retry, RetryCount};
use crate::server::run::retry::{RetryContext, Verdict, deadline};
use crate::time::EpochSecs;

/// A job that failed, and what was decided about it.
#[derive(Debug)]
pub(crate) struct Failure<'a> {
    pub(crate) tid: &'a str,
    /// As it was fetched.
    pub(crate) payload: &'a Payload,
    pub(crate) error: &'a JobError,
    pub(crate) verdict: &'a Verdict,
    pub(crate) context: &'a RetryContext<'a>,
    /// Advice for the operator, if there is any.
    pub(crate) hint: Option<String>,
}

impl Failure<'_> {
    /// Writes one line: who failed and why, which attempt it was, and what becomes of the job.
    pub(crate) fn log(&self) {
        let Self { tid, payload, error, hint, context, .. } = self;
        let (jid, class, queue) = (payload.jid(), payload.display_class(), context.queue);
        let (outcome, next_at) = self.outcome();
        let (attempt, retry_until) = (self.attempt(), self.retry_until());
        tracing::warn!(
            tid,
            jid,
            class,
            queue,
            attempt,
            outcome,
            next_at,
            retry_until,
            %error,
            hint,
            "Job raised exception"
        );
    }

    fn outcome(&self) -> (&'static str, Option<String>) {
        match self.verdict {
            Verdict::Retry { delay, .. } => ("retry", Some(EpochSecs(self.context.now.0 + delay).to_utc())),
            Verdict::Bury { .. } | Verdict::BuryUnchanged { .. } => ("dead", None),
            Verdict::Discard { .. } => ("discarded", None),
            Verdict::Snooze { .. } | Verdict::Requeue { .. } => ("again", None),
        }
    }

    /// `1/26`: the first of 26, which is a job that is retried 25 times. Without a total where the job is retried for a time; `None` where the
    /// payload's count is no number.
    fn attempt(&self) -> Option<String> {
        let failed_before = match self.payload.get("retry_count") {
            None | Some("null" | "false") => RetryCount::Integer(-1),
            Some(raw) => RetryCount::from_json(raw)?,
        };
        let attempt = failed_before.plus(2);
        let judged = self.judged();
        Some(match judged.retry() {
            Retry::Never => format!("{attempt}/{attempt}"),
            _ if judged.get("retry_for").is_some_and(|span| !matches!(span, "null" | "false")) => attempt.to_string(),
            Retry::Times(retries) => format!("{attempt}/{}", retries.saturating_add(1)),
            _ => format!("{attempt}/{}", self.context.max_retries.saturating_add(1)),
        })
    }

    /// Until when a job is retried that is retried for a time.
    fn retry_until(&self) -> Option<String> {
        deadline(self.judged()).map(|at| EpochSecs(at).to_utc())
    }

    /// The payload with the options of its class, where the decision completed it.
    fn judged(&self) -> &Payload {
        self.verdict.payload().unwrap_or(self.payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::run::retry::{RetryHooks, judge};
    use crate::time::StampForm;

    struct Plain;

    impl RetryHooks for Plain {
        fn default_retry(&self) -> Retry {
            Retry::Absent
        }
        fn retry_in(&self, _: u32, _: &JobError) -> crate::job::RetryIn {
            crate::job::RetryIn::Default
        }
        fn retries_exhausted(&self, _: &Payload, _: &JobError) -> crate::job::OnExhausted {
            crate::job::OnExhausted::Bury
        }
    }

    /// Attempt, outcome, whether there is a next one, and the end of the time that it is retried for.
    fn logged(rest: &str) -> (Option<String>, &'static str, bool, Option<String>) {
        let payload = Payload::parse(format!(r#"{{"class":"A","args":[],"jid":"j","queue":"q"{rest}}}"#)).unwrap();
        let (error, now) = (JobError::new("E", "boom"), EpochSecs(1_795_408_513.0));
        let context = RetryContext { queue: "q", max_retries: 25, now, stamps: StampForm::Millis };
        let verdict = judge(payload.clone(), &error, Some(&Plain), &context, &mut rand::rng());
        let failure =
            Failure { tid: "t", payload: &payload, error: &error, verdict: &verdict, context: &context, hint: None };
        let (outcome, next_at) = failure.outcome();
        (failure.attempt(), outcome, next_at.is_some(), failure.retry_until())
    }

    #[test]
    fn counts_attempts_as_an_operator_does() {
        for (rest, attempt, outcome) in [
            ("", "1/26", "retry"),
            (r#","retry":true"#, "1/26", "retry"),
            (r#","retry":3,"retry_count":1"#, "3/4", "retry"),
            (r#","retry":3,"retry_count":2"#, "4/4", "dead"),
            (r#","retry":0"#, "1/1", "dead"),
            (r#","retry":false"#, "1/1", "discarded"),
            (r#","retry":0,"dead":false"#, "1/1", "discarded"),
            (r#","retry_count":2.5"#, "4.5/26", "retry"),
            (r#","retry_count":null"#, "1/26", "retry"),
        ] {
            let (counted, became, has_next, until) = logged(rest);
            assert_eq!((counted.as_deref(), became), (Some(attempt), outcome), "{rest}");
            assert_eq!((has_next, until), (outcome == "retry", None), "{rest}");
        }
        assert_eq!(logged(r#","retry_count":"x""#), (None, "dead", false, None));
        let for_a_minute = logged(r#","retry_for":60,"retry_count":4,"failed_at":1795408500000"#);
        assert_eq!(for_a_minute, (Some("6".to_owned()), "retry", true, Some("2026-11-23T04:36:00Z".to_owned())));
    }
}

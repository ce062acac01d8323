//! What becomes of a due member: its destination and its new bytes.

use std::borrow::Cow;
use std::time::Duration;

use crate::client::{Moment, Push, fill_in, unmovable};
use crate::contain::Contained;
use crate::payload::{Malformed, Payload, is_routable_queue, names, unreadable};
use crate::server::run::Runner;
use crate::store::sets::Promotion;
use crate::time::EpochSecs;

/// The destination of one member, with its new bytes or with the payload that has them.
#[derive(Debug, PartialEq)]
pub(super) enum Plan<B = String> {
    Push {
        queue: String,
        bytes: B,
    },
    /// To the schedule.
    Later {
        score: f64,
        bytes: B,
    },
    /// To a later time in its own set.
    Delay {
        score: f64,
        bytes: B,
    },
    /// Out of its set, and nowhere else.
    Drop,
    Bury,
    /// What is no payload goes to the dead set as these bytes.
    BuryAs(Vec<u8>),
}

impl Plan {
    pub(super) fn promotion(&self) -> Promotion<'_> {
        match self {
            Self::Push { queue, bytes } => Promotion::Push { queue, bytes },
            Self::Later { score, bytes } => Promotion::Later { score: EpochSecs(*score).to_string(), bytes },
            Self::Delay { score, bytes } => Promotion::Delay { score: EpochSecs(*score).to_string(), bytes },
            Self::Drop => Promotion::Drop,
            Self::Bury => Promotion::Bury,
            Self::BuryAs(bytes) => Promotion::BuryAs(bytes),
        }
    }
}

impl<B> Plan<B> {
    /// When a member that is delayed is due again, in epoch seconds; infinity for any other.
    pub(super) fn due_again(&self) -> f64 {
        if let Self::Delay { score, .. } = self { *score } else { f64::INFINITY }
    }
}

impl Plan<Payload> {
    /// The same with the bytes of the payload.
    pub(super) fn written(self) -> Plan {
        match self {
            Self::Push { queue, bytes } => Plan::Push { queue, bytes: bytes.into_string() },
            Self::Later { score, bytes } => Plan::Later { score, bytes: bytes.into_string() },
            Self::Delay { score, bytes } => Plan::Delay { score, bytes: bytes.into_string() },
            Self::Drop => Plan::Drop,
            Self::Bury => Plan::Bury,
            Self::BuryAs(bytes) => Plan::BuryAs(bytes),
        }
    }
}

/// Plans for a member that was read as `payload`.
pub(super) async fn plan(
    runner: &Runner,
    member: &[u8],
    payload: Result<Payload, Malformed>,
    now: EpochSecs,
) -> Plan<Payload> {
    match payload {
        Ok(payload) => plan_payload(runner, payload, now).await,
        Err(malformed) => {
            let ((jid, class), reason) = (names(member), malformed.reason);
            tracing::warn!(jid, class, reason, "a due entry is no job payload; it goes to the dead set");
            match unreadable(member) {
                Cow::Borrowed(_) => Plan::Bury,
                Cow::Owned(bytes) => Plan::BuryAs(bytes),
            }
        }
    }
}

pub(super) async fn plan_payload(runner: &Runner, mut payload: Payload, now: EpochSecs) -> Plan<Payload> {
    let stamps = runner.shared.dialect.stamps();
    let form = payload.stamp_form().unwrap_or(stamps);
    fill_in(&mut payload, || form.stamp(now));
    let mut delay = None;
    if runner.client.has_middleware() {
        // Code of the user's: the poller must survive it. An error stops no job that was accepted before.
        let jid = payload.jid().to_owned();
        let passing = runner.client.through_middleware(payload.clone(), Moment::Promotion);
        let limit = runner.shared.config.hook_timeout;
        match tokio::time::timeout(limit, Contained::new(Box::pin(passing))).await {
            Ok(Ok(Ok(Push::Keep(changed)))) => payload = changed,
            Ok(Ok(Ok(Push::Delay(changed, span)))) => (payload, delay) = (changed, Some(span)),
            Ok(Ok(Ok(Push::Drop))) => {
                tracing::info!(jid, class = payload.display_class(), "a middleware dropped a due job; it is gone");
                return Plan::Drop;
            }
            Ok(Ok(Err(error))) => {
                tracing::error!(jid, %error, "a middleware failed on a due job; it is enqueued all the same");
            }
            Ok(Err(panic)) => {
                tracing::error!(jid, panic, "a middleware panicked on a due job; it is enqueued all the same");
            }
            Err(_) => {
                tracing::error!(jid, ?limit, "a middleware took too long with a due job; it is enqueued all the same");
            }
        }
    }
    plan_for(payload, delay, now, stamps)
}

/// The shortest delay of a due job. A sweep ends before it reads a job again that it delayed.
const SHORTEST: Duration = Duration::from_secs(1);

pub(super) fn plan_for(
    mut payload: Payload,
    delay: Option<Duration>,
    now: EpochSecs,
    stamps: crate::time::StampForm,
) -> Plan<Payload> {
    // Ruby's push refuses these after it has taken the entry off the set: the job is gone. Here it stays readable.
    if !payload.get("class").is_some_and(|class| class.starts_with('"')) || !payload.args().starts_with('[') {
        tracing::warn!(
            jid = payload.jid(),
            "a due entry has no class or no argument list; it goes to the dead set as it is"
        );
        return Plan::Bury;
    }
    let at = payload.remove("at");
    if (at.is_some() || delay.is_some())
        && let Some(key) = unmovable(&payload)
    {
        tracing::warn!(
            jid = payload.jid(),
            key,
            "a due entry would be lost by Ruby's poller; it goes to the dead set as it is"
        );
        return Plan::Bury;
    }
    let at: Option<f64> = at.and_then(|at| at.parse().ok());
    if let Some(delay) = delay {
        let score = Push::later(now, delay.max(SHORTEST)).max(at.unwrap_or(0.0));
        return Plan::Delay { score, bytes: payload };
    }
    if let Some(score) = at {
        return Plan::Later { score, bytes: payload };
    }
    if !is_routable_queue(payload.queue()) {
        tracing::warn!(jid = payload.jid(), "a due entry names a queue that cannot be one; it goes to the dead set");
        return Plan::Bury;
    }
    let form = payload.stamp_form().unwrap_or(stamps);
    payload.insert_raw("enqueued_at", form.stamp(now));
    Plan::Push { queue: payload.queue().to_owned(), bytes: payload }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::StampForm;

    const NOW: EpochSecs = EpochSecs(1_795_408_404.217);

    fn planned(raw: &str) -> Plan {
        let mut payload = Payload::parse(raw).unwrap();
        fill_in(&mut payload, || StampForm::Millis.stamp(NOW));
        plan_for(payload, None, NOW, StampForm::Millis).written()
    }

    #[test]
    fn touches_nothing_but_the_time() {
        let raw = r#"{"retry":true,"queue":"low","class":"A","args":[12345678901234567890123,1.0e+20],"jid":"a","zzz":{"b":1},"created_at":1795408384696,"enqueued_at":1,"failed_at":5}"#;
        let bytes = raw.replace(r#""enqueued_at":1,"#, r#""enqueued_at":1795408404217,"#);
        assert_eq!(planned(raw), Plan::Push { queue: "low".into(), bytes });
    }

    #[test]
    fn stamps_as_the_payload_does() {
        let Plan::Push { bytes, .. } = planned(r#"{"class":"A","args":[],"queue":"q","created_at":1795408384.5}"#)
        else {
            panic!("should be pushed")
        };
        assert!(bytes.ends_with(r#""enqueued_at":1795408404.217}"#), "{bytes}");
    }

    #[test]
    fn keeps_what_ruby_would_destroy() {
        for raw in [
            r#"{"args":[],"queue":"q"}"#,
            r#"{"class":7,"args":[],"queue":"q"}"#,
            r#"{"class":"A","args":{"a":1},"queue":"q"}"#,
            r#"{"class":"A","args":[],"queue":"a\nb"}"#,
            r#"{"class":"A","args":[],"queue":"q","at":2000000000,"tags":"x"}"#,
        ] {
            assert_eq!(planned(raw), Plan::Bury, "{raw}");
        }
    }

    #[test]
    fn sends_a_job_with_a_time_back_to_the_schedule() {
        let raw = r#"{"class":"A","args":[],"at":2000000000.5,"queue":"q","retry":true,"jid":"a","created_at":5}"#;
        let bytes = raw.replace(r#""at":2000000000.5,"#, "");
        assert_eq!(planned(raw), Plan::Later { score: 2_000_000_000.5, bytes });
    }

    #[test]
    fn a_delay_is_a_second_at_least_and_a_century_at_most() {
        let payload = |rest: &str| Payload::parse(format!(r#"{{"class":"A","args":[],"queue":"q"{rest}}}"#)).unwrap();
        let planned = |rest: &str, delay| plan_for(payload(rest), Some(delay), NOW, StampForm::Millis);
        for (delay, expected) in [
            (Duration::ZERO, 1.0),
            (Duration::from_millis(1_500), 1.5),
            (Duration::from_secs(60), 60.0),
            (Duration::MAX, 100.0 * 365.0 * 86_400.0),
        ] {
            let Plan::Delay { score, bytes } = planned("", delay) else { panic!("it is delayed") };
            assert!((score - NOW.0 - expected).abs() < 1e-3, "{delay:?}: {score}");
            assert_eq!(bytes.as_str(), payload("").as_str(), "the time is the score");
        }
        let Plan::Delay { score, bytes } = planned(r#","at":2000000000.5"#, Duration::from_secs(60)) else {
            panic!("it is delayed")
        };
        assert_eq!((score, bytes.contains_key("at")), (2_000_000_000.5, false), "a later time of its own counts");
        assert_eq!(planned(r#","tags":"x""#, Duration::ZERO), Plan::Bury, "Ruby's poller would lose it");
    }

    #[test]
    fn adds_what_rubys_poller_adds() {
        let Plan::Push { queue, bytes } = planned(r#"{"class":"A","args":null,"jid":"a"}"#) else {
            panic!("should be pushed")
        };
        assert_eq!(queue, "default");
        assert_eq!(
            bytes,
            r#"{"class":"A","args":[],"jid":"a","retry":true,"queue":"default","created_at":1795408404217,"enqueued_at":1795408404217}"#
        );
    }
}

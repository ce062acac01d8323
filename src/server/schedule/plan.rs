//! What becomes of a due member: its destination and its new bytes.

use std::borrow::Cow;

use crate::client::{fill_in, unmovable};
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
    Later {
        score: f64,
        bytes: B,
    },
    Bury,
    /// What is no payload goes to the dead set as these bytes.
    BuryAs(Vec<u8>),
}

impl Plan {
    pub(super) fn promotion(&self) -> Promotion<'_> {
        match self {
            Self::Push { queue, bytes } => Promotion::Push { queue, bytes },
            Self::Later { score, bytes } => Promotion::Later { score: EpochSecs(*score).to_string(), bytes },
            Self::Bury => Promotion::Bury,
            Self::BuryAs(bytes) => Promotion::BuryAs(bytes),
        }
    }
}

impl Plan<Payload> {
    /// The same with the bytes of the payload.
    pub(super) fn written(self) -> Plan {
        match self {
            Self::Push { queue, bytes } => Plan::Push { queue, bytes: bytes.into_string() },
            Self::Later { score, bytes } => Plan::Later { score, bytes: bytes.into_string() },
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
    if runner.client.has_middleware() {
        // Code of the user's: the poller must survive it.
        match Contained::new(Box::pin(runner.client.through_middleware(payload.clone()))).await {
            Ok(Ok(Some(changed))) => payload = changed,
            // Ruby would lose the job here: it has left the set already. A middleware may refuse a job before it was
            // accepted, not afterwards.
            Ok(Ok(None)) => {
                tracing::warn!(jid = payload.jid(), "a middleware stopped a due job; it is enqueued all the same")
            }
            Ok(Err(error)) => {
                tracing::error!(jid = payload.jid(), %error, "a middleware failed on a due job; it is enqueued all the same");
            }
            Err(panic) => {
                tracing::error!(
                    jid = payload.jid(),
                    panic,
                    "a middleware panicked on a due job; it is enqueued all the same"
                );
            }
        }
    }
    plan_for(payload, now, stamps)
}

pub(super) fn plan_for(mut payload: Payload, now: EpochSecs, stamps: crate::time::StampForm) -> Plan<Payload> {
    // Ruby's push refuses these after it has taken the entry off the set: the job is gone. Here it stays readable.
    if !payload.get("class").is_some_and(|class| class.starts_with('"')) || !payload.args().starts_with('[') {
        tracing::warn!(
            jid = payload.jid(),
            "a due entry has no class or no argument list; it goes to the dead set as it is"
        );
        return Plan::Bury;
    }
    let at = payload.remove("at");
    if at.is_some()
        && let Some(key) = unmovable(&payload)
    {
        tracing::warn!(
            jid = payload.jid(),
            key,
            "a due entry would be lost by Ruby's poller; it goes to the dead set as it is"
        );
        return Plan::Bury;
    }
    if let Some(score) = at.and_then(|at| at.parse().ok()) {
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
        plan_for(payload, NOW, StampForm::Millis).written()
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

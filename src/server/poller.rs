//! Moves due jobs of `retry` and `schedule` to their queues.

mod beside_ruby;
mod large;
mod sweep;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use crate::client::{fill_in, unmovable};
use crate::contain::Contained;
use crate::error::RedisFault;
use crate::payload::{Malformed, Payload, is_routable_queue, names, unreadable};
use crate::server::config::Promote;
use crate::server::core::Core;
use crate::server::supervisor::Part;
use crate::store::is_refusal;
use crate::store::sets::{Promotion, WaitingSet};
use crate::time::EpochSecs;
use beside_ruby::Neighbours;
use sweep::Sweeper;

/// Looks at both sets at random intervals, so that all processes together look as often as one should.
pub(crate) struct Poller(pub(crate) Arc<Core>);

impl Part for Poller {
    fn name(&self) -> &'static str {
        "poller"
    }

    async fn run(&mut self) {
        run(&self.0).await;
    }

    fn may_end(&self) -> bool {
        self.0.handle.is_quiet()
    }
}

async fn run(core: &Core) {
    let mut outage = core.outages.part();
    let configured = core.config.poll_interval_average.is_some();
    // Processes of one deploy start together; they should not look together.
    let head_start = if configured { Duration::ZERO } else { Duration::from_secs(10) };
    let first = head_start + Duration::from_secs(5).mul_f64(rand::random());
    if !pause(core, first).await {
        return;
    }
    let mut sweepers = [WaitingSet::Retry, WaitingSet::Schedule].map(|set| Sweeper::new(core, set));
    let promote = core.config.promote.unwrap_or_default();
    let mut neighbours = Neighbours::default();
    let mut is_clean = false;
    loop {
        if !is_clean {
            match core.store.clean_up_processes().await {
                // Redis refuses it for good, by its rights or the type of a key.
                Err(error) if is_refusal(&error) && error.redis_fault() != Some(RedisFault::Unwilling) => {
                    tracing::error!(%error, "cleaning up dead processes failed");
                    is_clean = true;
                }
                Err(error) => outage.note("cleaning up dead processes failed", &error),
                Ok(()) => {
                    outage.over();
                    is_clean = true;
                }
            }
        }
        if promote == Promote::Own {
            neighbours.look(core).await;
        }
        if promote != Promote::Off {
            for sweeper in &mut sweepers {
                sweeper.run(core, neighbours.polled()).await;
            }
        }
        // During an outage no more often than the other parts try.
        if !pause(core, interval(core).await.max(outage.pause())).await {
            return;
        }
    }
}

/// `false` when the server was quieted meanwhile.
async fn pause(core: &Core, span: Duration) -> bool {
    tokio::select! {
        () = tokio::time::sleep(span) => !core.handle.is_quiet(),
        () = core.handle.quieted() => false,
    }
}

async fn interval(core: &Core) -> Duration {
    let processes = core.store.process_count().await.unwrap_or(1).max(1);
    let average = core.config.poll_interval_average.unwrap_or_else(|| {
        let count = u32::try_from(processes).unwrap_or(u32::MAX);
        core.config.average_scheduled_poll_interval.saturating_mul(count)
    });
    spread(average, processes, rand::random()).max(SHORTEST)
}

/// Shortest interval between two polls, whatever the settings are: with an interval of 0 the poller would query Redis without a pause.
const SHORTEST: Duration = Duration::from_millis(10);

/// A few processes look at half to one and a half of the average; many at anything up to twice of it. `dice` is below 1.
fn spread(average: Duration, processes: usize, dice: f64) -> Duration {
    let factor = if processes < 10 { dice + 0.5 } else { dice * 2.0 };
    Duration::try_from_secs_f64(average.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

/// The destination of one member, with its new bytes or with the payload that has them.
#[derive(Debug, PartialEq)]
enum Plan<B = String> {
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
    fn promotion(&self) -> Promotion<'_> {
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
    fn written(self) -> Plan {
        match self {
            Self::Push { queue, bytes } => Plan::Push { queue, bytes: bytes.into_string() },
            Self::Later { score, bytes } => Plan::Later { score, bytes: bytes.into_string() },
            Self::Bury => Plan::Bury,
            Self::BuryAs(bytes) => Plan::BuryAs(bytes),
        }
    }
}

/// Plans for a member that was read as `payload`.
async fn plan(core: &Core, member: &[u8], payload: Result<Payload, Malformed>, now: EpochSecs) -> Plan<Payload> {
    match payload {
        Ok(payload) => plan_payload(core, payload, now).await,
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

async fn plan_payload(core: &Core, mut payload: Payload, now: EpochSecs) -> Plan<Payload> {
    let stamps = core.dialect.stamps();
    let form = payload.stamp_form().unwrap_or(stamps);
    fill_in(&mut payload, || form.stamp(now));
    if core.client.has_middleware() {
        // Code of the user's: the poller must survive it.
        match Contained::new(Box::pin(core.client.through_middleware(payload.clone()))).await {
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

fn plan_for(mut payload: Payload, now: EpochSecs, stamps: crate::time::StampForm) -> Plan<Payload> {
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

    #[test]
    fn any_interval_can_be_waited_for() {
        for average in [Duration::ZERO, Duration::from_nanos(1), Duration::from_secs(u64::MAX), Duration::MAX] {
            for processes in [0, 1, 10, usize::MAX] {
                for dice in [0.0, 0.5, 1.0 - f64::EPSILON] {
                    let span = spread(average, processes, dice);
                    assert!(span <= average || span.as_secs_f64() <= average.as_secs_f64() * 2.0, "{span:?}");
                }
            }
        }
    }

    #[test]
    fn waits_as_long_as_sidekiq() {
        for (major, recorded) in [
            (6, include_str!("../../ruby-fixtures/sidekiq-6/poll.json")),
            (7, include_str!("../../ruby-fixtures/sidekiq-7/poll.json")),
            (8, include_str!("../../ruby-fixtures/sidekiq-8/poll.json")),
        ] {
            let rows: Vec<(usize, Option<f64>, f64, f64)> = serde_json::from_str(recorded).unwrap();
            assert!(rows.len() > 50);
            for (processes, configured, dice, secs) in rows {
                // From ten processes on, Sidekiq 6 and 7 look twice as often as they mean to; 8 mended that.
                let secs = if major < 8 && processes >= 10 { secs * 2.0 } else { secs };
                // Five seconds for each process, unless said.
                let average = Duration::from_secs_f64(configured.unwrap_or(5.0 * processes as f64));
                let span = spread(average, processes, dice).as_secs_f64();
                assert!(
                    (span - secs).abs() < 1e-5,
                    "{processes} processes, {configured:?}, {dice}: {span}, not {secs}"
                );
            }
        }
    }
}

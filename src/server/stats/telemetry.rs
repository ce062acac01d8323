//! What this process has done and how it fares, for whoever asks by HTTP or collects metrics.
//!
//! Jobs only add to counters that are there anyway; everything is read and put together when somebody asks.

use std::collections::HashMap;

use crate::payload::Payload;
use crate::server::settings::capsule::Capsule;
use crate::server::stats::counter::{Counter, Gauge};
use crate::server::stats::metrics::ClassCounters;
use crate::store::QueueState;
use crate::store::sets::WaitingSet;
use crate::time::EpochSecs;

/// Of one queue.
#[derive(Debug, Default)]
pub(crate) struct OfQueue {
    pub(crate) fetched: Counter,
    pub(crate) size: Gauge,
    pub(crate) latency: Gauge,
}

/// Of one sorted set that holds jobs until a time.
#[derive(Debug, Default)]
pub(crate) struct OfSet {
    pub(crate) promoted: Counter,
    /// Seconds.
    pub(crate) lateness: Gauge,
}

/// Everything that is counted besides what Sidekiq's own pages show.
#[derive(Debug, Default)]
pub(crate) struct Telemetry {
    /// By the names that the capsules were given: there are no others.
    pub(crate) queues: Vec<(String, OfQueue)>,
    places: HashMap<String, usize>,
    pub(crate) concurrency: usize,
    /// Jobs of classes that are not registered.
    pub(crate) unknown: ClassCounters,
    pub(crate) requeued: Counter,
    pub(crate) snoozed: Counter,
    pub(crate) left_for_others: Counter,
    pub(crate) unreadable: Counter,
    pub(crate) recovered: Counter,
    pub(crate) convicted: Counter,
    pub(crate) retry: OfSet,
    pub(crate) schedule: OfSet,
    /// Seconds.
    pub(crate) redis_rtt: Gauge,
}

impl Telemetry {
    pub(crate) fn new(capsules: &[Capsule]) -> Self {
        let mut telemetry = Self { concurrency: capsules.iter().map(Capsule::concurrency).sum(), ..Self::default() };
        for (name, _) in capsules.iter().flat_map(Capsule::weights) {
            if !telemetry.places.contains_key(name) {
                telemetry.places.insert(name.clone(), telemetry.queues.len());
                telemetry.queues.push((name.clone(), OfQueue::default()));
            }
        }
        telemetry
    }

    fn queue(&self, name: &str) -> Option<&OfQueue> {
        self.places.get(name).map(|at| &self.queues[*at].1)
    }

    /// The counters of a sorted set.
    pub(crate) fn of_set(&self, set: WaitingSet) -> &OfSet {
        if set == WaitingSet::Retry { &self.retry } else { &self.schedule }
    }

    /// Jobs left a queue for this process, together.
    pub(crate) fn fetched(&self, queue: &str, jobs: usize) {
        if let Some(queue) = self.queue(queue) {
            queue.fetched.add(jobs);
        }
    }

    /// Whether jobs waited in a queue when it was last looked at.
    pub(crate) fn waits(&self, queue: &str) -> bool {
        self.queue(queue).is_some_and(|queue| queue.size.value() > 0.0)
    }

    /// The names of all queues.
    pub(crate) fn queue_names(&self) -> Vec<String> {
        self.queues.iter().map(|(name, _)| name.clone()).collect()
    }

    /// A queue was looked at.
    pub(crate) fn saw(&self, state: &QueueState, now: EpochSecs) {
        let Some(queue) = self.queue(&state.name) else { return };
        queue.size.set(state.size as f64);
        queue.latency.set(state.oldest.as_deref().map_or(0.0, |job| waited(job, now)));
    }
}

/// Seconds since a job was enqueued; 0 where it does not tell.
fn waited(job: &[u8], now: EpochSecs) -> f64 {
    let Ok(payload) = Payload::from_bytes(job.to_vec()) else { return 0.0 };
    let since = payload.moment("enqueued_at").or_else(|| payload.moment("created_at"));
    since.map_or(0.0, |since| (now.0 - since.0).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::settings::capsule::CapsuleBuilder;

    #[test]
    fn knows_the_queues_of_the_capsules_and_no_others() {
        let capsule = |queues: [&str; 2]| Capsule::build("a", &CapsuleBuilder::default().queues(queues)).unwrap();
        let telemetry = Telemetry::new(&[capsule(["low", "high"]), capsule(["high", "third"])]);
        assert_eq!((telemetry.queue_names().join(" "), telemetry.concurrency), ("low high third".to_owned(), 10));
        telemetry.fetched("high", 3);
        telemetry.fetched("stranger", 5);
        assert_eq!(telemetry.queue("high").unwrap().fetched.total(), 3);
        assert_eq!(telemetry.queues.iter().map(|(_, queue)| queue.fetched.total()).sum::<u64>(), 3);
    }

    #[test]
    fn tells_how_long_a_job_has_waited_in_either_form_of_time() {
        let now = EpochSecs(1_795_408_404.0);
        for (job, secs) in [
            (r#"{"enqueued_at":1795408403500}"#, 0.5),
            (r#"{"enqueued_at":1795408402.0}"#, 2.0),
            (r#"{"created_at":1795408400.0}"#, 4.0),
            (r#"{"enqueued_at":1795408409000}"#, 0.0),
            (r#"{"enqueued_at":"soon"}"#, 0.0),
            ("{}", 0.0),
            ("no payload", 0.0),
        ] {
            assert!((waited(job.as_bytes(), now) - secs).abs() < 1e-6, "{job}");
        }
    }
}

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::error::Result;
use crate::store::Store;

/// Queues nothing is fetched from now. Cheap to clone.
///
/// Those that are paused: Sidekiq Pro pauses a queue by naming it in the set `paused`, sidekiq-limit_fetch by a key of its own; both are read on
/// every beat. And those that are left
/// alone for a moment, because a job that this process does not run (of an unknown class, or of a Ruby gem) went back to them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paused(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Whether there is any: nearly never, so the rest is nearly never looked at.
    any: AtomicBool,
    queues: Mutex<Queues>,
    /// A queue was paused.
    changed: Notify,
    /// Whether Redis refused to show what sidekiq-limit_fetch paused. It is not asked again: each refusal is an entry in its ACL LOG.
    limit_fetch_refused: AtomicBool,
}

#[derive(Debug, Default)]
struct Queues {
    paused: HashSet<String>,
    resting: HashMap<Arc<str>, Rest>,
}

#[derive(Clone, Copy, Debug)]
struct Rest {
    until: Instant,
    /// How long the next one will be.
    next: Duration,
}

/// How long a queue is left alone: the first time, and at most.
const REST: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

impl Paused {
    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.0.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, queues: &Queues) {
        self.0.any.store(!queues.paused.is_empty() || !queues.resting.is_empty(), Ordering::Release);
    }

    /// Reads which queues are paused, of those that are served and of others.
    pub(crate) async fn read(&self, store: &Store, served: &[String]) -> Result<HashSet<String>> {
        let refused = &self.0.limit_fetch_refused;
        let asked = if refused.load(Ordering::Relaxed) { &[] } else { served };
        let (paused, by_limit_fetch) = tokio::join!(store.paused_queues(), store.paused_by_limit_fetch(asked));
        let (mut paused, by_limit_fetch) = (paused?, by_limit_fetch?);
        if by_limit_fetch.is_none() && !refused.swap(true, Ordering::Relaxed) {
            tracing::info!("pauses of sidekiq-limit_fetch are not heeded: this user may not read limit_fetch:pause:*");
        }
        paused.extend(by_limit_fetch.into_iter().flatten());
        Ok(paused)
    }

    pub(crate) fn set(&self, names: HashSet<String>) {
        let mut queues = self.queues();
        for name in names.symmetric_difference(&queues.paused) {
            tracing::info!(queue = name, "{}", if names.contains(name) { "Queue paused" } else { "Queue unpaused" });
        }
        queues.paused = names;
        self.note(&queues);
        drop(queues);
        self.0.changed.notify_waiters();
    }

    /// Waits until one of these queues is paused; for ever if there are none.
    pub(crate) async fn paused(&self, names: &[Arc<str>]) {
        loop {
            let changed = self.0.changed.notified();
            if names.iter().any(|name| self.queues().paused.contains(&**name)) {
                return;
            }
            changed.await;
        }
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        if !self.0.any.load(Ordering::Acquire) {
            return false;
        }
        let queues = self.queues();
        queues.paused.contains(name) || queues.resting.get(name).is_some_and(|rest| rest.until > Instant::now())
    }

    /// A job of this queue went back to it: for twice as long as the last time nothing is fetched from it.
    pub(crate) fn back_off(&self, queue: &Arc<str>) {
        let (mut queues, now) = (self.queues(), Instant::now());
        let rest = queues.resting.entry(Arc::clone(queue)).or_insert(Rest { until: now, next: REST.0 });
        // What was fetched together counts once.
        if rest.until <= now {
            *rest = Rest { until: now + rest.next, next: (rest.next * 2).min(REST.1) };
        }
        self.note(&queues);
    }

    /// A job of this queue is one for this process: next time it is left alone for half as long.
    pub(crate) fn ease_off(&self, queue: &str) {
        if !self.0.any.load(Ordering::Acquire) {
            return;
        }
        let mut queues = self.queues();
        let Some(rest) = queues.resting.get_mut(queue) else { return };
        rest.next = (rest.next / 2).max(REST.0);
        if rest.next == REST.0 && rest.until <= Instant::now() {
            queues.resting.remove(queue);
            self.note(&queues);
        }
    }

    /// How long until the first queue is no longer left alone; `None` if none is.
    pub(crate) fn rest(&self) -> Option<Duration> {
        let (queues, now) = (self.queues(), Instant::now());
        queues.resting.values().filter(|rest| rest.until > now).map(|rest| rest.until - now).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As if the rest of a queue ended so long from now.
    fn ends(paused: &Paused, queue: &str, from_now: Duration) {
        paused.queues().resting.get_mut(queue).unwrap().until = Instant::now() + from_now;
    }

    #[test]
    fn leaves_a_queue_alone_for_longer_each_time_and_relents() {
        let (paused, queue) = (Paused::default(), Arc::from("mixed"));
        assert!(!paused.contains("mixed") && paused.rest().is_none());
        let next = || paused.queues().resting.get("mixed").map(|rest| rest.next);
        for turn in 1..20 {
            paused.back_off(&queue);
            ends(&paused, "mixed", Duration::from_secs(60));
            assert!(paused.contains("mixed") && !paused.contains("other") && paused.rest().is_some());
            // One that was fetched together with the first.
            paused.back_off(&queue);
            assert_eq!(next(), Some((REST.0 * 2_u32.pow(turn)).min(REST.1)));
            ends(&paused, "mixed", Duration::ZERO);
            assert!(!paused.contains("mixed") && paused.rest().is_none());
        }
        paused.ease_off("mixed");
        assert_eq!(next(), Some(REST.1 / 2));
        (0..20).for_each(|_| paused.ease_off("mixed"));
        assert_eq!(next(), None, "forgotten");
    }

    #[test]
    fn neither_a_pause_nor_a_rest_ends_with_a_job_that_is_known() {
        let (paused, queue) = (Paused::default(), Arc::from("mixed"));
        paused.set(HashSet::from(["mixed".to_owned()]));
        paused.back_off(&queue);
        ends(&paused, "mixed", Duration::from_secs(60));
        (0..20).for_each(|_| paused.ease_off("mixed"));
        paused.set(HashSet::new());
        assert!(paused.contains("mixed"), "the rest is not over");
        paused.set(HashSet::from(["mixed".to_owned()]));
        ends(&paused, "mixed", Duration::ZERO);
        paused.ease_off("mixed");
        assert!(paused.contains("mixed"), "the pause is not over");
        paused.set(HashSet::new());
        assert!(!paused.contains("mixed"));
    }
}

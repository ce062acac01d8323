//! Whether the capsules take the jobs that wait for them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::server::fetch::intake::Intake;

/// The capsules of a running server, looked at on every beat.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    capsules: Mutex<Vec<Watched>>,
    stuck: AtomicBool,
}

#[derive(Debug)]
struct Watched {
    intake: Arc<Intake>,
    queues: Vec<String>,
    idling: Idling,
}

/// Since when a capsule has taken nothing though it should.
#[derive(Debug, Default)]
struct Idling {
    taken: u64,
    since: Option<Instant>,
}

/// A capsule that takes nothing for so long, though jobs wait and slots are free, is stuck: six beats.
const STUCK: Duration = Duration::from_secs(60);

impl Progress {
    fn capsules(&self) -> MutexGuard<'_, Vec<Watched>> {
        self.capsules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches a capsule with these queues.
    pub(crate) fn watch(&self, intake: &Arc<Intake>, queues: Vec<String>) {
        self.capsules().push(Watched { intake: Arc::clone(intake), queues, idling: Idling::default() });
    }

    /// The intakes of all capsules.
    #[cfg(feature = "cli")]
    pub(crate) fn intakes(&self) -> Vec<Arc<Intake>> {
        self.capsules().iter().map(|capsule| Arc::clone(&capsule.intake)).collect()
    }

    /// Looks at every capsule. `may_fetch` is false where there is a reason to take nothing: quiet, Redis is unreachable, a suspect runs
    /// alone. `waits` says whether jobs wait in a queue that may be fetched from.
    pub(crate) fn look(&self, may_fetch: bool, waits: impl Fn(&str) -> bool) {
        let (now, mut stuck) = (Instant::now(), false);
        for Watched { intake, queues, idling } in self.capsules().iter_mut() {
            let should = may_fetch && intake.has_room() && queues.iter().any(|queue| waits(queue));
            stuck |= idling.look(now, should, intake.taken());
        }
        self.stuck.store(stuck, Ordering::Relaxed);
    }

    /// Whether a capsule was stuck at the last look.
    pub(crate) fn is_stuck(&self) -> bool {
        self.stuck.load(Ordering::Relaxed)
    }
}

impl Idling {
    /// Whether it is stuck by now, after it took so many jobs in all.
    fn look(&mut self, now: Instant, should: bool, taken: u64) -> bool {
        if !should || taken != self.taken {
            *self = Self { taken, since: None };
        }
        let since = should.then(|| *self.since.get_or_insert(now));
        since.is_some_and(|since| now.saturating_duration_since(since) >= STUCK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::unit::Unacknowledged;

    #[test]
    fn is_stuck_after_a_minute_in_which_it_should_have_taken_jobs_and_took_none() {
        let (mut idling, start) = (Idling::default(), Instant::now());
        let mut look = |secs, should, taken| idling.look(start + Duration::from_secs(secs), should, taken);
        assert!(!look(0, true, 5) && !look(50, true, 5));
        assert!(look(60, true, 5));
        assert!(!look(70, true, 6), "it took one");
        assert!(!look(120, true, 6) && look(130, true, 6));
        assert!(!look(140, false, 6), "nothing waits, or no slot is free");
        assert!(!look(200, true, 6), "jobs wait again");
        assert!(!look(250, true, 6) && look(260, true, 6));
    }

    #[tokio::test]
    async fn looks_only_where_slots_are_free_and_jobs_wait() {
        let progress = Progress::default();
        let intake = Arc::new(Intake::new(1, Unacknowledged::default()));
        progress.watch(&intake, vec!["q".to_owned()]);
        let long_ago = Instant::now().checked_sub(STUCK * 2);
        let stuck = |may_fetch, waits| {
            progress.capsules()[0].idling = Idling { taken: intake.taken(), since: long_ago };
            progress.look(may_fetch, |queue| waits && queue == "q");
            progress.is_stuck()
        };
        assert!(!stuck(true, true), "no processor waits");
        let mut processor = std::pin::pin!(intake.next(0));
        assert!(std::future::poll_fn(|cx| std::task::Poll::Ready(processor.as_mut().poll(cx))).await.is_pending());
        assert!(!stuck(false, true) && !stuck(true, false));
        assert!(stuck(true, true));
    }
}

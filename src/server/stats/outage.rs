use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, RedisFault};
use crate::server::stats::counter::Counter;
use crate::store::{backoff, is_denied, refuses_writes};

/// The times without Redis of one process. Its parts find out one after the other; the log has one line when an outage begins, one with its
/// length when it is over, as Sidekiq, one a minute in between, and one when it turns out that somebody must act.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outages(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    now: Mutex<Option<Now>>,
    /// How many there were.
    count: Counter,
    /// Held by who waits to be the next to ask Redis.
    turn: tokio::sync::Mutex<()>,
}

/// An outage that is going on.
#[derive(Debug)]
struct Now {
    /// Which outage this is; the first is 1.
    number: u64,
    since: Instant,
    told: Instant,
    /// Somebody was told that it will not go over by itself.
    told_denied: bool,
    failures: u32,
    /// When a part failed in it last.
    failed: Instant,
    /// Redis answers reads and refuses writes, so a successful read does not end it.
    refuses_writes: bool,
}

/// What one part of a server knows of outages.
#[derive(Debug)]
pub(crate) struct Outage {
    all: Outages,
    /// The outage this part failed in last, unless it has worked since. A part that retries only after that outage ended has no evidence about
    /// the next one.
    failed_in: Option<u64>,
}

/// Between two lines about an outage that lasts.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// How long after a denial Redis counts as away though it answers.
const DENIAL: Duration = Duration::from_secs(10);

impl Outages {
    pub(crate) fn part(&self) -> Outage {
        Outage { all: self.clone(), failed_in: None }
    }

    /// How many there were so far.
    pub(crate) fn count(&self) -> u64 {
        self.0.count.total()
    }

    /// Whether there is none.
    pub(crate) fn is_online(&self) -> bool {
        self.now().is_none()
    }

    fn now(&self) -> MutexGuard<'_, Option<Now>> {
        self.0.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outage {
    /// This part failed at `what`. Logs the state of Redis, the part that noticed it first, the command and the error of Redis; never what was
    /// sent.
    pub(crate) fn note(&mut self, what: &str, error: &Error) {
        let (at, denied) = (Instant::now(), is_denied(error));
        let mut now = self.all.now();
        let tell = match &mut *now {
            Some(now) => {
                now.failures = now.failures.saturating_add(1);
                now.failed = at;
                now.refuses_writes |= refuses_writes(error);
                // A connection that broke hides that no new one is allowed.
                let again = now.told.elapsed() >= TELL_AGAIN || (denied && !now.told_denied);
                now.told_denied |= denied;
                if again {
                    now.told = at;
                }
                again
            }
            None => {
                self.all.0.count.add(1);
                let number = self.all.count();
                let refuses_writes = refuses_writes(error);
                *now = Some(Now {
                    number,
                    since: at,
                    told: at,
                    told_denied: denied,
                    failures: 1,
                    failed: at,
                    refuses_writes,
                });
                true
            }
        };
        self.failed_in = now.as_ref().map(|now| now.number);
        drop(now);
        if tell {
            let why = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            match trouble(error) {
                Some(trouble) => tracing::error!(noticed = what, %error, why, "{trouble}"),
                None => tracing::error!(%error, why, "{what}"),
            }
        }
    }

    /// How long to wait before the next try.
    pub(crate) fn pause(&self) -> Duration {
        self.all.now().as_ref().map_or(Duration::ZERO, |now| backoff(now.failures))
    }

    /// Waits before the next try. All parts that share a connection wait one after the other: however many they are, Redis is
    /// asked twice a second on average, and once one of them finds it back all go on.
    pub(crate) async fn wait(&self) {
        let _turn = self.all.0.turn.lock().await;
        tokio::time::sleep(self.pause()).await;
    }

    /// A write of this part succeeded. Ends the outage that this part failed in.
    pub(crate) fn over(&mut self) {
        let Some(failed_in) = self.failed_in.take() else { return };
        self.end_if(|now| now.number == failed_in);
    }

    /// Redis answered this part, which wrote nothing. Ends the outage that this part failed in, unless Redis refuses writes.
    pub(crate) fn answered(&mut self) {
        self.over_if(|now| !now.refuses_writes);
    }

    /// Redis answered this part that there was nothing to do. Ends the outage that this part failed in, unless Redis denied something a short
    /// time ago: the command that it denies was not sent.
    pub(crate) fn found_nothing(&mut self) {
        self.over_if(|now| !now.told_denied || now.failed.elapsed() >= DENIAL);
    }

    /// Ends the outage that this part failed in if it `is_over`.
    fn over_if(&mut self, is_over: impl FnOnce(&Now) -> bool) {
        let failed_in = self.failed_in;
        if failed_in.is_some() && self.end_if(|now| Some(now.number) == failed_in && is_over(now)) {
            self.failed_in = None;
        }
    }

    /// A write that this part sent at `sent` succeeded. Ends an outage in which no part failed since, if this part failed in it or Redis
    /// refuses writes: the part that noticed that may have nothing to write any more.
    pub(crate) fn wrote(&mut self, sent: Instant) {
        let failed_in = self.failed_in;
        self.end_if(|now| now.failed < sent && (Some(now.number) == failed_in || now.refuses_writes));
    }

    /// Ends the current outage if `is_over`. Returns whether it did.
    fn end_if(&self, is_over: impl FnOnce(&mut Now) -> bool) -> bool {
        let over = self.all.now().take_if(is_over);
        if let Some(Now { since, .. }) = &over {
            tracing::info!("Redis is online, {:.3} sec downtime", since.elapsed().as_secs_f64());
        }
        over.is_some()
    }
}

/// What is wrong with Redis for every part; `None` for a fault that may concern one part alone.
fn trouble(error: &Error) -> Option<&'static str> {
    match error.redis_fault()? {
        RedisFault::Unreachable => Some("Redis is away"),
        RedisFault::Denied => Some("Redis denies access"),
        RedisFault::Unwilling => Some("Redis does not take commands now"),
        RedisFault::WrongType | RedisFault::Other => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_longer_but_never_beyond_a_second() {
        let (mut outage, error) = (Outages::default().part(), Error::config("x"));
        let mut longest = Duration::ZERO;
        for _ in 0..100 {
            outage.note("test", &error);
            longest = longest.max(outage.pause());
        }
        assert!(longest > Duration::from_millis(400) && longest <= Duration::from_secs(1), "{longest:?}");
        outage.over();
        assert_eq!(outage.pause(), Duration::ZERO);
    }

    /// The answer of Redis to a write for want of replicas.
    fn refused() -> Error {
        crate::store::refused_with("NOREPLICAS")
    }

    #[test]
    fn a_read_ends_no_outage_of_writes() {
        let outages = Outages::default();
        let (mut reads, mut writes) = (outages.part(), outages.part());
        for _ in 0..10 {
            reads.note("test", &refused());
            writes.note("test", &refused());
            reads.answered();
            assert!(!outages.is_online(), "Redis still refuses writes");
        }
        assert_eq!(outages.count(), 1);
        writes.over();
        assert!(outages.is_online());
        reads.note("test", &Error::config("x"));
        reads.answered();
        assert!(outages.is_online(), "Redis was unreachable, and answers");
    }

    #[test]
    fn an_empty_queue_ends_no_outage_in_which_redis_denies_something() {
        let outages = Outages::default();
        let mut fetcher = outages.part();
        for _ in 0..10 {
            fetcher.note("test", &crate::store::refused_with("NOPERM"));
            fetcher.found_nothing();
            assert!(!outages.is_online(), "what Redis denies was not tried");
        }
        assert_eq!(outages.count(), 1);
        fetcher.over();
        fetcher.note("test", &Error::config("x"));
        fetcher.found_nothing();
        assert!(outages.is_online(), "Redis was unreachable, and answers");
    }

    #[test]
    fn a_later_write_of_any_part_ends_an_outage_of_writes() {
        let outages = Outages::default();
        let (mut poller, mut heartbeat) = (outages.part(), outages.part());
        let before = Instant::now();
        poller.note("test", &refused());
        heartbeat.wrote(before);
        assert!(!outages.is_online(), "Redis refused after that write was sent");
        heartbeat.wrote(Instant::now() + Duration::from_millis(1));
        assert!(outages.is_online(), "the poller may have nothing to write any more");
        poller.note("test", &Error::config("x"));
        heartbeat.wrote(Instant::now() + Duration::from_millis(1));
        assert!(!outages.is_online(), "another connection may be broken");
    }

    #[test]
    fn a_part_that_failed_in_an_earlier_outage_does_not_end_the_next_one() {
        let outages = Outages::default();
        let (mut one, mut other) = (outages.part(), outages.part());
        let error = Error::config("x");
        one.note("test", &error);
        other.note("test", &error);
        other.over();
        assert!(outages.is_online());
        other.note("test", &error);
        one.over();
        assert!(!outages.is_online(), "it failed in the first outage alone");
        one.note("test", &error);
        one.over();
        assert!(outages.is_online());
        assert_eq!(outages.count(), 2);
    }

    #[test]
    fn says_what_is_wrong_with_redis() {
        let error = |fault| Error::new(crate::ErrorKind::Redis, "x").with_fault(fault);
        let said = [
            RedisFault::Unreachable,
            RedisFault::Denied,
            RedisFault::Unwilling,
            RedisFault::WrongType,
            RedisFault::Other,
        ]
        .map(|fault| trouble(&error(fault)));
        let expected = ["Redis is away", "Redis denies access", "Redis does not take commands now"];
        assert_eq!(said, [Some(expected[0]), Some(expected[1]), Some(expected[2]), None, None]);
        assert_eq!(trouble(&Error::config("x")), None);
    }

    #[test]
    fn is_over_for_all_when_one_that_failed_is_well_again() {
        let outages = Outages::default();
        let (mut one, mut other, mut unaware) = (outages.part(), outages.part(), outages.part());
        one.note("test", &Error::config("x"));
        other.note("test", &Error::config("x"));
        unaware.over();
        assert_eq!(outages.now().as_ref().unwrap().failures, 2, "who did not fail does not know");
        other.over();
        assert!(outages.now().is_none());
        one.over();
        assert!(outages.now().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn asks_twice_a_second_however_many_wait() {
        let outages = Outages::default();
        let mut first = outages.part();
        (0..20).for_each(|_| first.note("test", &Error::config("x")));
        let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let parts: Vec<_> = (0..500)
            .map(|_| {
                let (asked, part) = (Arc::clone(&asked), outages.part());
                tokio::spawn(async move {
                    part.wait().await;
                    asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                })
            })
            .collect();
        // Of the clock that stands still while a task can run.
        tokio::time::sleep(Duration::from_secs(60)).await;
        let few = asked.load(std::sync::atomic::Ordering::Relaxed);
        assert!((90..150).contains(&few), "{few} times in a minute");
        first.over();
        for part in parts {
            part.await.unwrap();
        }
    }
}

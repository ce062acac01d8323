use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, RedisFault, Result};
use crate::server::control::supervisor::Part;
use crate::server::fetch::Source;
use crate::server::fetch::idle::Idle;
use crate::store::tracking::TrackingWire;
use crate::store::{backoff, is_refusal};

/// Wakes an idle capsule when a job is pushed to one of the queues that no waiter blocks at.
///
/// It reads those queues' keys on one tracking connection, so that Redis reports the next push to each. It never takes a job: after a
/// report it reads the named keys again, and wakes the fetcher if they exist. The fetcher then claims from these queues as ever.
///
/// A push wakes every idle process that serves its queue. Each of them sends one `EXISTS`, at a random moment of a span that grows with
/// the number of processes, so that most of them find the queue already empty and claim nothing.
pub(super) struct Watcher {
    source: Source,
    idle: Arc<Idle>,
    /// The places of the watched queues in the capsule.
    places: Range<usize>,
    /// Their keys, in that order.
    keys: Vec<Arc<str>>,
    /// The place of each key.
    by_key: HashMap<Arc<str>, usize>,
    /// Queues to be read: their change was reported, or they were never read on this connection.
    unread: BTreeSet<usize>,
    /// Queues that were filled when they were read, or paused. Until they are read again, the fetcher does not rely on the watcher.
    filled: BTreeSet<usize>,
    /// When the unread queues are to be read, if the capsule is idle by then.
    read_at: Instant,
    last_read: Instant,
    /// When the filled queues were last read.
    filled_read: Instant,
    /// How often in a row all queues that were read were empty.
    in_vain: u32,
    /// Whether the log says that Redis reports no changes here.
    complained: bool,
}

/// A process waits for a random time before it reads a queue that changed: at most so long for each other process, and at most so
/// long in all.
const SPREAD: (Duration, Duration) = (Duration::from_micros(100), Duration::from_millis(2));
/// Shortest time from one read to the next. It doubles with each read in vain, from the first to the second.
const GAP: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(16));
/// Pause before filled and paused queues are read again. Redis reports those that are emptied meanwhile.
const AGAIN: Duration = Duration::from_secs(1);
/// Pause before tracking is tried again after Redis refused it: an administrator may have allowed it meanwhile.
const REFUSED: Duration = Duration::from_secs(300);
/// Longest time without a report: each beat is reported, every 10 s.
const PATIENCE: Duration = Duration::from_secs(25);

impl Part for Watcher {
    fn name(&self) -> &'static str {
        "watcher"
    }

    /// Runs until the server is quieted, and ends at once then: nothing here takes a job.
    async fn run(&mut self) {
        let handle = self.source.handle.clone();
        tokio::select! {
            () = self.watch() => {}
            () = handle.quieted() => {}
        }
    }

    fn may_end(&self) -> bool {
        self.source.handle.is_quiet()
    }
}

impl Watcher {
    /// Watches the queues at these places of the capsule.
    pub(super) fn new(source: Source, idle: Arc<Idle>, places: Range<usize>, keys: Vec<Arc<str>>) -> Self {
        let by_key = keys.iter().cloned().zip(places.clone()).collect();
        let now = Instant::now();
        Self {
            source,
            idle,
            places,
            keys,
            by_key,
            unread: BTreeSet::new(),
            filled: BTreeSet::new(),
            read_at: now,
            last_read: now,
            filled_read: now,
            in_vain: 0,
            complained: false,
        }
    }

    async fn watch(&mut self) {
        let mut failures = 0;
        loop {
            let mut silent = false;
            let error = match self.source.store.tracking(&self.source.private, PATIENCE).await {
                Ok(mut wire) => {
                    let Err(error) = self.follow(&mut wire).await;
                    silent = wire.is_silent();
                    if wire.is_proven() {
                        failures = 0;
                    }
                    error
                }
                Err(error) => error,
            };
            failures += 1;
            self.give_up(&error);
            let refused = is_refusal(&error) && error.redis_fault() != Some(RedisFault::Unwilling);
            if (refused || silent) && !std::mem::replace(&mut self.complained, true) {
                tracing::info!(
                    queues = self.places.len(),
                    %error,
                    "Redis does not report pushes: jobs in some queues start up to a second late. \
                     Allow the user +client|tracking, or connect without a proxy"
                );
            }
            tokio::time::sleep(if refused { REFUSED } else { backoff(failures) }).await;
        }
    }

    /// Has the fetcher look at these queues by itself.
    fn give_up(&self, error: &Error) {
        tracing::debug!(%error, "watching queues failed");
        self.places.clone().for_each(|place| self.idle.watched.set_empty(place, false));
        let covered = self.idle.watched.is_covered();
        self.idle.watched.set_covered(false, false);
        if covered {
            self.idle.stirred.notify_one();
        }
    }

    /// Follows the reports on one connection until it fails.
    async fn follow(&mut self, wire: &mut TrackingWire) -> Result<Infallible> {
        self.unread = self.places.clone().collect();
        self.filled.clear();
        self.read_at = Instant::now();
        loop {
            let idle = Arc::clone(&self.idle);
            let changed = idle.changed.notified();
            let next = self.next_read();
            // Not left to the timer, which rounds up to a millisecond.
            if next.is_some_and(|at| at <= Instant::now()) {
                self.read(wire).await?;
                self.idle.watched.set_covered(wire.is_proven(), self.filled.is_empty());
                continue;
            }
            tokio::select! {
                changed = wire.changed() => {
                    let changed = changed?;
                    if changed.all {
                        self.report(self.places.clone(), wire);
                    } else {
                        let places: Vec<usize> =
                            changed.keys.iter().filter_map(|key| self.by_key.get(key.as_str()).copied()).collect();
                        self.report(places, wire);
                    }
                }
                () = changed => {}
                () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
            self.idle.watched.set_covered(wire.is_proven(), self.filled.is_empty());
        }
    }

    /// When to read queues; `None` while there is nothing to read, or the capsule is not idle.
    fn next_read(&self) -> Option<Instant> {
        if !self.idle.wait.load(Ordering::SeqCst) {
            return None;
        }
        let unread = (!self.unread.is_empty()).then_some(self.read_at);
        let filled = (!self.filled.is_empty()).then(|| self.filled_read + AGAIN);
        unread.into_iter().chain(filled).min()
    }

    /// Redis reported a change of these queues.
    fn report(&mut self, places: impl IntoIterator<Item = usize>, wire: &TrackingWire) {
        let nothing_to_read = self.unread.is_empty();
        for place in places {
            self.idle.watched.set_empty(place, false);
            self.filled.remove(&place);
            self.unread.insert(place);
        }
        if nothing_to_read && !self.unread.is_empty() {
            let others = u32::try_from(wire.processes().saturating_sub(1)).unwrap_or(u32::MAX);
            let spread = SPREAD.0.saturating_mul(others).min(SPREAD.1).mul_f64(rand::random());
            let gap = (GAP.0 * 2_u32.pow(self.in_vain.min(4))).min(GAP.1);
            self.read_at = (Instant::now() + spread).max(self.last_read + gap);
        }
    }

    /// Reads the queues that are due, and wakes the fetcher if one is filled.
    async fn read(&mut self, wire: &mut TrackingWire) -> Result<()> {
        if self.filled.is_empty() || self.filled_read.elapsed() >= AGAIN {
            self.unread.append(&mut self.filled);
            self.filled_read = Instant::now();
        }
        let names = self.source.capsule.weights();
        let (paused, read): (Vec<usize>, Vec<usize>) = std::mem::take(&mut self.unread)
            .into_iter()
            .partition(|place| self.source.paused.contains(&names[*place].0));
        let keys: Vec<&str> = read.iter().map(|place| &*self.keys[place - self.places.start]).collect();
        let filled = if keys.is_empty() { Vec::new() } else { wire.filled(&keys).await? };
        self.filled.extend(paused);
        self.last_read = Instant::now();
        self.in_vain = self.in_vain.saturating_add(1);
        for (place, filled) in read.into_iter().zip(filled) {
            if filled {
                self.in_vain = 0;
                self.filled.insert(place);
            }
            self.idle.watched.set_empty(place, !filled);
        }
        if self.in_vain == 0 {
            self.idle.stirred.notify_one();
        }
        Ok(())
    }
}

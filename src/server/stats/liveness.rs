//! How long a process counts as alive without a sign of life, and what follows from it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Signs of life of this process, and the times that depend on how long one lasts.
///
/// With the default of 30 s: a sign every 5 s, nothing more is fetched 20 s after the last one. Each process tries every 4.5 to 5.5 s to take
/// the turn to look for dead ones, which lasts 2.5 s: however many there are, one of them looks. A look puts back the jobs of a process
/// that an earlier look missed 10 s ago: 52 s after its death at the latest, 59 s if a process that has the turn dies just before its look.
#[derive(Debug)]
pub(crate) struct Liveness {
    span: Duration,
    since: Instant,
    /// Milliseconds from `since` to the last sign that Redis took; 0 for none yet.
    last: AtomicU64,
    /// The same to the first of an unbroken row of signs.
    row: AtomicU64,
    /// Wakes the heartbeat for a sign of life out of its turn.
    doubts: Notify,
    /// Whether the process leaves the registry.
    leaving: AtomicBool,
}

impl Liveness {
    pub(crate) fn new(span: Duration) -> Self {
        Self {
            span,
            since: Instant::now(),
            last: AtomicU64::new(0),
            row: AtomicU64::new(0),
            doubts: Notify::new(),
            leaving: AtomicBool::new(false),
        }
    }

    /// How long a sign lasts.
    pub(crate) fn span(&self) -> Duration {
        self.span
    }

    /// Between two signs, and between two tries to take the turn to look at the others.
    pub(crate) fn period(&self) -> Duration {
        self.span / 6
    }

    /// How long nobody else looks once a process has taken the turn. Half a period: a process that is alone gets it at every try, and one that
    /// dies with it delays the next look little.
    pub(crate) fn turn(&self) -> Duration {
        self.period() / 2
    }

    /// How long a process must have been missed before its jobs are put back.
    pub(crate) fn grace(&self) -> Duration {
        self.span / 3
    }

    fn now(&self) -> u64 {
        self.millis(Instant::now())
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.since).as_millis()).unwrap_or(u64::MAX).max(1)
    }

    /// Redis took a sign of life that was sent at `sent`: it counts from then.
    pub(crate) fn seen(&self, sent: Instant) {
        let sent = self.millis(sent);
        self.last.store(sent, Ordering::Relaxed);
        let _ = self.row.compare_exchange(0, sent, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// An answer of Redis shows that it may have forgotten this process: the heartbeat gives a sign of life at once, and registers if needed.
    pub(crate) fn doubt(&self) {
        self.doubts.notify_one();
    }

    /// Resolves once [`doubt`](Self::doubt) was called since the last call. Cancel safe.
    pub(crate) async fn doubted(&self) {
        self.doubts.notified().await;
    }

    /// Sets whether this process leaves the registry: meanwhile no sign of life registers it again.
    pub(crate) fn set_leaving(&self, leaving: bool) {
        self.leaving.store(leaving, Ordering::SeqCst);
    }

    /// Whether this process leaves the registry, or has left it.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::SeqCst)
    }

    /// A sign of life did not get through.
    pub(crate) fn missed(&self) {
        self.row.store(0, Ordering::Relaxed);
    }

    /// Whether the last sign is so long ago that this process must fetch nothing more: it may be taken for dead.
    pub(crate) fn is_silent(&self) -> bool {
        self.was_silent(Instant::now())
    }

    /// The same as of a moment just now.
    pub(crate) fn was_silent(&self, at: Instant) -> bool {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        Duration::from_millis(self.millis(at)).saturating_sub(last) > self.span * 2 / 3
    }

    /// Whether signs got through for a while without a gap. Only such a process may look for dead ones: when Redis itself was away, everybody
    /// is missed at once.
    pub(crate) fn is_steady(&self) -> bool {
        let row = self.row.load(Ordering::Relaxed);
        row > 0 && !self.is_silent() && Duration::from_millis(self.now() - row.min(self.now())) >= self.period() * 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn falls_silent_without_signs_and_is_steady_only_after_a_row_of_them() {
        let liveness =
            Liveness { since: Instant::now() - Duration::from_secs(100), ..Liveness::new(Duration::from_secs(30)) };
        let ago = |secs| Instant::now() - Duration::from_secs(secs);
        assert!(liveness.is_silent() && !liveness.is_steady(), "there was no sign yet");
        liveness.seen(ago(21));
        assert!(liveness.is_silent());
        liveness.seen(ago(19));
        assert!(!liveness.is_silent() && liveness.is_steady());
        liveness.missed();
        assert!(!liveness.is_silent() && !liveness.is_steady(), "one is missing, the last is not old yet");
        liveness.seen(ago(5));
        assert!(!liveness.is_steady(), "a new row has begun");
        liveness.seen(ago(0));
        assert!(!liveness.is_steady());
    }
}

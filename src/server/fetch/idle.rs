//! What the parts of one reliable fetcher share while its capsule has free slots.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Whether waiters should wait, and whether one of them brought something.
///
/// A queue is either waited at or claimed from, never both: two answers on two connections may overtake each other, and a capsule with
/// one slot runs a queue in order.
#[derive(Debug, Default)]
pub(super) struct Idle {
    pub(super) wait: AtomicBool,
    pub(super) changed: Notify,
    pub(super) stirred: Notify,
    /// By queue: whether its waiter has asked Redis and not yet handed over what came.
    asked: Vec<AtomicBool>,
    pub(super) watched: Watched,
}

/// What the [watcher](super::watcher::Watcher) knows of the queues that have no waiter. Written by it alone.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// Whether Redis is proven to report changes now.
    trusted: AtomicBool,
    /// Whether a job in any of these queues wakes the fetcher, so that it need not look at them.
    covered: AtomicBool,
    /// By queue: whether it was empty when it was last read, and no change was reported since.
    empty: Vec<AtomicBool>,
}

impl Idle {
    /// For a capsule with so many queues, of which the first `waited_for` have a waiter.
    pub(super) fn new(waited_for: usize, queues: usize) -> Self {
        let flags = |flags: usize| (0..flags).map(|_| AtomicBool::new(false)).collect();
        let watched = Watched { empty: flags(queues), ..Watched::default() };
        Self { asked: flags(waited_for), watched, ..Self::default() }
    }

    /// Whether the waiter of a queue may ask now. If so, nobody claims from it until [`answered`](Self::answered).
    pub(super) fn ask(&self, queue: usize) -> bool {
        self.asked[queue].store(true, Ordering::SeqCst);
        // Whoever claims says so first and looks at `asked` after; this is the other way round, so one of both sees the other.
        let may = self.wait.load(Ordering::SeqCst);
        if !may {
            self.answered(queue);
        }
        may
    }

    pub(super) fn answered(&self, queue: usize) {
        self.asked[queue].store(false, Ordering::SeqCst);
    }

    pub(super) fn is_asked(&self, queue: usize) -> bool {
        self.asked.get(queue).is_some_and(|asked| asked.load(Ordering::SeqCst))
    }
}

impl Watched {
    /// Whether a queue is known to be empty. A job pushed a moment ago may be on its way to be reported.
    pub(super) fn is_empty(&self, queue: usize) -> bool {
        self.trusted.load(Ordering::Acquire) && self.empty[queue].load(Ordering::Acquire)
    }

    /// Whether the fetcher is woken by a job in any queue without a waiter.
    pub(super) fn is_covered(&self) -> bool {
        self.covered.load(Ordering::Acquire)
    }

    pub(super) fn set_empty(&self, queue: usize, empty: bool) {
        self.empty[queue].store(empty, Ordering::Release);
    }

    pub(super) fn set_covered(&self, trusted: bool, covered: bool) {
        self.trusted.store(trusted, Ordering::Release);
        self.covered.store(trusted && covered, Ordering::Release);
    }
}

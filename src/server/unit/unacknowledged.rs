use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Jobs of this process that are done while their private lists still have them: should the process die now, they run twice.
///
/// Their number is bounded: no processor takes a further job while there are too many. After a `kill -9` at most [`MARGIN`] jobs
/// and as many as there are slots run twice, even such that take no time at all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unacknowledged(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// Jobs that were done, and those of them that are acknowledged, since the server started.
    done: AtomicU64,
    acknowledged: AtomicU64,
    /// The acknowledger waits here for enough to do.
    due: Notify,
    /// Processors wait here for the acknowledger.
    freed: Notify,
}

/// Jobs that may be done and not acknowledged.
pub(crate) const MARGIN: u64 = 64;
/// So many make a round trip worth it.
const WORTH_IT: u64 = 32;

impl Unacknowledged {
    pub(crate) fn count(&self) -> u64 {
        let acknowledged = self.0.acknowledged.load(Ordering::Acquire);
        self.0.done.load(Ordering::Acquire).saturating_sub(acknowledged)
    }

    /// A job is done.
    pub(crate) fn add(&self) {
        let before = self.0.done.fetch_add(1, Ordering::AcqRel);
        if (before + 1).is_multiple_of(WORTH_IT) {
            self.0.due.notify_one();
        }
    }

    /// Redis knows of so many more.
    pub(crate) fn acknowledged(&self, jobs: u64) {
        if jobs > 0 {
            self.0.acknowledged.fetch_add(jobs, Ordering::AcqRel);
            self.0.freed.notify_one();
        }
    }

    /// Of those that Redis knows of, so many it may not.
    pub(crate) fn take_back(&self, jobs: u64) {
        self.0.acknowledged.fetch_sub(jobs, Ordering::AcqRel);
    }

    /// Waits until there is enough to acknowledge. Cancel safe.
    pub(crate) async fn due(&self) {
        self.0.due.notified().await;
    }

    /// Waits until some were acknowledged. One waits for all: it [passes on](Self::pass_on) what it leaves. Cancel safe.
    pub(crate) async fn freed(&self) {
        self.0.freed.notified().await;
    }

    /// Whoever waits is to look again.
    pub(crate) fn wake_all(&self) {
        self.0.freed.notify_waiters();
        self.0.freed.notify_one();
    }

    /// Whoever waits next may look, too.
    pub(crate) fn pass_on(&self) {
        self.0.freed.notify_one();
    }
}

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

use crate::server::stats::work::WorkState;

/// Quiets and stops a running server. Cheap to clone; works before `run` too.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    phase: AtomicU8,
    changed: Notify,
    work: WorkState,
}

/// How a server ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// Jobs that could be neither finished nor put back before the end. They lie in this process's private lists and
    /// another ferrokiq process puts them back within a minute.
    pub left_for_recovery: usize,
    /// Jobs that still ran when the timeout was over. They were put back; those that block their thread may go on there.
    pub cut_off: usize,
    /// Whether it stopped since it took more memory than [`max_rss`](crate::ServerBuilder::max_rss) allows.
    pub over_memory: bool,
    /// Whether parts of the server, its fetcher say, had panicked five times within a minute when it was told to stop: `/live` was 503. Each
    /// was started again each time; the log says which.
    pub failed: bool,
}

impl Stopped {
    /// The result of a server that was stopped while it waited for Redis.
    pub(crate) fn before_it_started() -> Self {
        Self { left_for_recovery: 0, cut_off: 0, over_memory: false, failed: false }
    }
}

/// How far down a server is; only ever goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Phase {
    Running,
    Quiet,
    Stopping,
    Now,
}

/// A name out of a payload that cannot pass for another line.
fn one_word(name: &str) -> String {
    name.chars().take(100).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl Handle {
    pub(crate) fn new(work: WorkState) -> Self {
        Self(Arc::new(Shared { phase: AtomicU8::new(Phase::Running as u8), changed: Notify::new(), work }))
    }

    /// Fetch nothing more; what runs goes on, and the process stays up and visible. Sidekiq's TSTP.
    pub fn quiet(&self) {
        self.advance(Phase::Quiet);
    }

    /// Finish what runs, up to the shutdown timeout, put back the rest, and end. Sidekiq's TERM.
    pub fn stop(&self) {
        self.advance(Phase::Stopping);
    }

    /// As [`stop`](Self::stop), without waiting for the timeout.
    pub fn stop_now(&self) {
        self.advance(Phase::Now);
    }

    /// Whether it was told to fetch nothing more.
    pub fn is_quiet(&self) -> bool {
        self.is(Phase::Quiet)
    }

    /// Whether it was told to stop.
    pub fn is_stopping(&self) -> bool {
        self.is(Phase::Stopping)
    }

    /// Whether it was told not to wait for running jobs.
    pub fn is_stopping_now(&self) -> bool {
        self.is(Phase::Now)
    }

    /// One line for each job that runs: processor, class, jid, queue, seconds. Sidekiq's TTIN shows threads; tasks have
    /// no stack to show.
    pub fn dump(&self) -> String {
        let running = self.0.work.running();
        let mut lines = vec![format!("{} jobs are running", running.len())];
        for (tid, work) in running {
            let payload = work.unit.payload();
            let (class, jid) = match &payload {
                Ok(payload) => (one_word(payload.display_class()), one_word(payload.jid())),
                Err(_) => Default::default(),
            };
            let (queue, elapsed) = (work.unit.queue(), work.since.elapsed().as_secs_f64());
            lines.push(format!("tid={tid} class={class} jid={jid} queue={queue} elapsed={elapsed:.3}"));
        }
        lines.join("\n")
    }

    /// Resolves once it was told to fetch nothing more. Cancel safe.
    pub async fn quieted(&self) {
        self.reached(Phase::Quiet).await;
    }

    /// Resolves once it was told to stop. Cancel safe.
    pub async fn stopping(&self) {
        self.reached(Phase::Stopping).await;
    }

    /// Resolves once it was told not to wait. Cancel safe.
    pub(crate) async fn now(&self) {
        self.reached(Phase::Now).await;
    }

    async fn reached(&self, phase: Phase) {
        loop {
            let changed = self.0.changed.notified();
            if self.is(phase) {
                return;
            }
            changed.await;
        }
    }

    fn is(&self, phase: Phase) -> bool {
        self.0.phase.load(Ordering::Acquire) >= phase as u8
    }

    fn advance(&self, phase: Phase) {
        if self.0.phase.fetch_max(phase as u8, Ordering::AcqRel) < phase as u8 {
            self.0.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn goes_only_forward() {
        let handle = Handle::new(WorkState::default());
        handle.stop();
        handle.quiet();
        assert!(handle.is_stopping());
        handle.quieted().await;
        handle.stopping().await;
    }
}

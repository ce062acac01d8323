//! Jobs that may have killed processes run alone, so that the right one is convicted.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::server::core::Core;
use crate::server::fetcher::{Destination, UnitOfWork};

/// What is known of suspects: payloads that two processes died with.
///
/// A process holds one suspect at a time, and starts nothing else while it waits for company to end and while the suspect runs; both for a
/// bounded time, since a long job is not to stop a process. If the process dies, no other job in its private lists can have been with two
/// dead ones before, so no neighbour is convicted.
#[derive(Debug, Default)]
pub(crate) struct Isolation {
    /// Whether processors must ask before they start a job.
    alert: AtomicBool,
    state: Mutex<State>,
    released: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// SHA-1 of payloads, as Redis has them.
    suspects: HashSet<String>,
    /// A suspect is here.
    occupied: bool,
    /// Nothing else may start.
    held: bool,
}

/// How long a suspect waits for the jobs that run beside it to end.
const WAIT: Duration = Duration::from_secs(5);
/// How long nothing else starts while a suspect runs.
const HOLD: Duration = Duration::from_secs(30);
/// Between two looks whether a suspect is alone.
const LOOK: Duration = Duration::from_millis(10);
/// Before a suspect that was sent away may come again.
const TURN: Duration = Duration::from_millis(250);

enum Admission {
    /// An ordinary job, and nothing in its way.
    Go,
    /// A suspect whose turn it is.
    Alone,
    /// A suspect while another is here.
    Later,
    /// A suspect is here.
    Held,
}

impl Isolation {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What Redis says of suspects, as of the jobs that came with it.
    pub(crate) fn learn(&self, suspects: Vec<String>) {
        if suspects.is_empty() && !self.is_alert() {
            return;
        }
        let mut state = self.state();
        state.suspects = suspects.into_iter().collect();
        self.alert.store(state.occupied || !state.suspects.is_empty(), Ordering::Release);
    }

    /// Whether [`admit`](Core::admit) is to be asked.
    pub(crate) fn is_alert(&self) -> bool {
        self.alert.load(Ordering::Acquire)
    }

    fn admission(&self, unit: &UnitOfWork) -> Admission {
        let mut state = self.state();
        let suspect = !state.suspects.is_empty() && state.suspects.contains(&fingerprint(unit));
        match (suspect, state.held, state.occupied) {
            (false, false, _) => Admission::Go,
            (false, true, _) => Admission::Held,
            (true, _, true) => Admission::Later,
            (true, _, false) => {
                state.occupied = true;
                state.held = true;
                Admission::Alone
            }
        }
    }

    fn release(&self, gone: bool) {
        let mut state = self.state();
        state.held = false;
        state.occupied &= !gone;
        self.alert.store(state.occupied || !state.suspects.is_empty(), Ordering::Release);
        drop(state);
        self.released.notify_waiters();
    }

    /// Until nothing is held any more.
    async fn released(&self) {
        loop {
            let released = self.released.notified();
            if !self.state().held {
                return;
            }
            released.await;
        }
    }
}

/// What Redis calls a payload.
fn fingerprint(unit: &UnitOfWork) -> String {
    sha1_smol::Sha1::from(unit.bytes()).digest().to_string()
}

/// How a job that was admitted is to be run.
#[derive(Debug)]
pub(crate) enum Admitted<'a> {
    Ordinary,
    Suspect(Alone<'a>),
}

/// A suspect's time alone; it ends with this, or earlier.
#[derive(Debug)]
pub(crate) struct Alone<'a> {
    core: &'a Core,
    fingerprint: String,
}

impl Core {
    /// Whether a job may start now, and how. `None` if it was put back: its processor goes on with the next.
    ///
    /// Only to be asked while the [`Isolation`] is alert.
    pub(crate) async fn admit(&self, unit: &UnitOfWork) -> Option<Admitted<'_>> {
        match self.isolation.admission(unit) {
            Admission::Go => Some(Admitted::Ordinary),
            Admission::Held => {
                self.put_back(unit).await;
                tokio::select! {
                    () = self.isolation.released() => {}
                    () = self.handle.quieted() => {}
                }
                None
            }
            Admission::Later => {
                // To the end of its queue: whoever is behind it need not wait.
                let to = Destination::Queue { bytes: unit.bytes(), queue: unit.queue() };
                if let Err(error) = self.settler.settle(unit, &to).await {
                    tracing::debug!(%error, "a suspect stays in the private list until recovered");
                }
                tokio::time::sleep(TURN).await;
                None
            }
            Admission::Alone => {
                let alone = Alone { core: self, fingerprint: fingerprint(unit) };
                let deadline = Instant::now() + WAIT;
                while !self.holdings.only(unit) && Instant::now() < deadline {
                    tokio::select! {
                        () = tokio::time::sleep(LOOK) => {}
                        () = self.handle.quieted() => {
                            self.put_back(unit).await;
                            return None;
                        }
                    }
                }
                tracing::warn!(queue = &**unit.queue(), "a job that two processes died with runs alone");
                Some(Admitted::Suspect(alone))
            }
        }
    }

    async fn put_back(&self, unit: &UnitOfWork) {
        if let Err(error) = self.settler.requeue(std::slice::from_ref(unit)).await {
            tracing::debug!(%error, "a job stays in the private list until recovered");
        }
    }
}

impl Alone<'_> {
    /// Runs the suspect to its end, which acquits it. Others may start before that if it takes long.
    pub(crate) async fn run(self, job: impl Future<Output = ()>) {
        let mut job = std::pin::pin!(job);
        tokio::select! {
            () = &mut job => {}
            () = tokio::time::sleep(HOLD) => {
                self.core.isolation.release(false);
                job.await;
            }
        }
        // It ended, and its process did not: whatever became of it, these bytes are no suspect any more.
        if let Err(error) = self.core.store.acquit(&self.fingerprint).await {
            tracing::debug!(%error, "a job stays a suspect");
        }
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.core.isolation.release(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::fetcher::Batch;

    #[test]
    fn lets_one_suspect_in_and_holds_the_others() {
        let isolation = Isolation::default();
        let batch = Batch::new("l".into(), "q".into(), vec![b"a".to_vec(), b"b".to_vec(), b"c".to_vec()]);
        let units: Vec<_> = batch.units().collect();
        assert!(!isolation.is_alert());
        isolation.learn(vec![fingerprint(&units[0]), fingerprint(&units[1])]);
        assert!(isolation.is_alert());
        assert!(matches!(isolation.admission(&units[2]), Admission::Go));
        assert!(matches!(isolation.admission(&units[0]), Admission::Alone));
        assert!(matches!(isolation.admission(&units[1]), Admission::Later));
        assert!(matches!(isolation.admission(&units[2]), Admission::Held));
        isolation.release(false);
        assert!(matches!(isolation.admission(&units[2]), Admission::Go), "it takes long");
        assert!(matches!(isolation.admission(&units[1]), Admission::Later), "but it is still there");
        isolation.release(true);
        assert!(matches!(isolation.admission(&units[1]), Admission::Alone));
        isolation.release(true);
        isolation.learn(Vec::new());
        assert!(!isolation.is_alert());
    }
}

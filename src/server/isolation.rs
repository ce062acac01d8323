//! Jobs that may have killed processes run alone, so that the right one is convicted.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::server::fetcher::UnitOfWork;

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

/// What a job may do now.
#[derive(Debug)]
pub(crate) enum Admission {
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

    /// Whether the [`Admission`] is to be asked.
    pub(crate) fn is_alert(&self) -> bool {
        self.alert.load(Ordering::Acquire)
    }

    /// What this job may do now; a suspect whose turn it is takes the place.
    pub(crate) fn admission(&self, unit: &UnitOfWork) -> Admission {
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

    /// Others may start again; `gone` if the suspect is not here any more.
    pub(crate) fn release(&self, gone: bool) {
        let mut state = self.state();
        state.held = false;
        state.occupied &= !gone;
        self.alert.store(state.occupied || !state.suspects.is_empty(), Ordering::Release);
        drop(state);
        self.released.notify_waiters();
    }

    /// Until nothing is held any more.
    pub(crate) async fn released(&self) {
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
pub(crate) fn fingerprint(unit: &UnitOfWork) -> String {
    sha1_smol::Sha1::from(unit.bytes()).digest().to_string()
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

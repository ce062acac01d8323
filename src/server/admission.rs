//! Whether a job may start while there are suspects, and how it is run then.

use std::time::Duration;

use tokio::time::Instant;

use crate::server::core::Core;
use crate::server::fetcher::{Destination, UnitOfWork};
use crate::server::isolation::{Admission, fingerprint};

/// How long a suspect waits for the jobs that run beside it to end.
const WAIT: Duration = Duration::from_secs(5);
/// How long nothing else starts while a suspect runs.
const HOLD: Duration = Duration::from_secs(30);
/// Between two looks whether a suspect is alone.
const LOOK: Duration = Duration::from_millis(10);
/// Between two looks whether a sign of life got through.
const SIGN: Duration = Duration::from_millis(100);
/// Before a suspect that was sent away may come again.
const TURN: Duration = Duration::from_millis(250);

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
                self.put_back(std::slice::from_ref(unit)).await;
                tokio::select! {
                    () = self.isolation.released() => {}
                    () = self.handle.quieted() => {}
                }
                None
            }
            Admission::Later => {
                // To the end of its queue: whoever is behind it need not wait.
                let to = Destination::Queue { bytes: unit.bytes(), queue: unit.queue() };
                self.insist(unit, &to).await;
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
                            self.put_back(std::slice::from_ref(unit)).await;
                            return None;
                        }
                    }
                }
                tracing::warn!(queue = &**unit.queue(), "a job that two processes died with runs alone");
                Some(Admitted::Suspect(alone))
            }
        }
    }

    /// Waits until Redis took a sign of life again, or the server is quieted.
    pub(crate) async fn heard_of(&self) {
        while self.liveness.is_silent() && !self.handle.is_quiet() {
            tokio::select! {
                () = tokio::time::sleep(SIGN) => {}
                () = self.handle.quieted() => {}
            }
        }
    }

    /// Nothing was heard of this process for so long that others may run what it has fetched. A job that has not begun is not begun any
    /// more: it goes back to its queue if it is still ours.
    pub(crate) async fn leave_to_others(&self, unit: &UnitOfWork) {
        self.heard_of().await;
        self.put_back(std::slice::from_ref(unit)).await;
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

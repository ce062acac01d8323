//! What became of a job, told to Redis until Redis takes it: what is left in a private list is nobody's while the process lives.

use crate::server::core::Core;
use crate::server::fetcher::{Destination, Settled, UnitOfWork};
use crate::store::is_wrong_type;

/// How often jobs are put back while the server stops; then they are left to be recovered.
const LAST_TRIES: u32 = 20;

impl Core {
    /// Moves a job to where it goes, until Redis takes it, or the key it belongs in holds something else: then the job stays in the private
    /// list, from where it is recovered.
    pub(crate) async fn insist(&self, unit: &UnitOfWork, to: &Destination<'_>) -> Option<Settled> {
        let mut outage = self.outages.part();
        loop {
            match self.settler.settle(unit, to).await {
                Ok(Settled::NotOurs) => {
                    tracing::warn!(queue = &**unit.queue(), "a job was no longer owned when it was settled");
                    return Some(Settled::NotOurs);
                }
                Ok(settled) => {
                    outage.over();
                    return Some(settled);
                }
                Err(error) if is_wrong_type(&error) => {
                    tracing::error!(%error, "a job cannot be stored: a key of Sidekiq's has another type; it stays in the private list");
                    return None;
                }
                Err(error) => {
                    outage.note("settling a job failed", &error);
                    outage.wait().await;
                }
            }
        }
    }

    /// Puts jobs back to where they were fetched from, the first to run first, until Redis takes them; while the server stops, for a while.
    /// Returns how many went back.
    pub(crate) async fn put_back(&self, units: &[UnitOfWork]) -> usize {
        let (mut outage, mut tries, mut back) = (self.outages.part(), 0, 0);
        while !units.is_empty() {
            match self.settler.requeue(units).await {
                Ok(moved) => {
                    back += moved;
                    outage.over();
                    break;
                }
                Err(error) if is_wrong_type(&error) => {
                    tracing::error!(%error, "jobs cannot be put back: a key of Sidekiq's has another type; they stay in the private lists");
                    break;
                }
                Err(error) => outage.note("putting jobs back failed", &error),
            }
            tries += u32::from(self.handle.is_stopping());
            if tries >= LAST_TRIES {
                let jobs = units.len();
                tracing::error!(jobs, "jobs could not be put back; they stay in the private lists until recovered");
                break;
            }
            outage.wait().await;
        }
        back
    }
}

//! What became of a job, told to Redis until Redis takes it: what is left in a private list is nobody's while the process lives.

use std::fmt;
use std::sync::Arc;

use crate::server::settle::riding::{Ending, Riding, is_rider};
use crate::server::settle::withheld::Withheld;
use crate::server::settle::{Destination, Settled, Settler};
use crate::server::shared::Shared;
use crate::server::unit::UnitOfWork;
use crate::store::rider::Riders;
use crate::store::{Rider, is_wrong_type};

/// How often jobs are put back while the server stops; then they are left to be recovered.
const LAST_TRIES: u32 = 20;

/// What the tasks that settle jobs share.
pub(crate) struct Settlement {
    pub(crate) shared: Arc<Shared>,
    pub(crate) settler: Settler,
    pub(crate) withheld: Withheld,
    pub(crate) riding: Riding,
}

impl Settlement {
    /// Moves a job to where it goes, with its riders, until Redis takes it. If the key it belongs in holds something else, or a rider is refused,
    /// it is [withheld](crate::server::settle::withheld).
    pub(crate) async fn settle_until_stored(&self, unit: &UnitOfWork, to: Destination) {
        let mut outage = self.shared.stats.outages.part();
        let riders = self.riding.of(unit, &to);
        loop {
            match self.settler.settle(unit, &to, &riders).await {
                Ok(settled) => {
                    outage.over();
                    return note_settled(unit, settled);
                }
                Err(error) if is_wrong_type(&error) || is_rider(&error, &riders) => {
                    let key = if is_rider(&error, &riders) { riders.first_key().to_owned() } else { to.key(unit) };
                    let exposed = self.settler.unacknowledged();
                    return self.withheld.keep(unit, (to, riders), key, exposed).await;
                }
                Err(error) => {
                    outage.note("settling a job failed", &error);
                    outage.wait().await;
                }
            }
        }
    }

    /// The job succeeded, or is discarded. It waits only if it has riders: those of the server, and those that were `attached` to it.
    pub(crate) async fn finish(&self, unit: &UnitOfWork, ending: Ending, mut attached: Vec<Rider>) {
        if !self.riding.is_empty()
            && let Ok(payload) = unit.payload()
        {
            attached.extend(self.riding.riders(&payload, ending));
        }
        let riders = Riders::of(attached);
        if riders.is_empty() {
            return self.settler.acknowledge(unit);
        }
        self.settle_until_stored(unit, Destination::Done { riders }).await;
    }

    /// Whether [`finish`](Self::finish) only acknowledges a job to which no rider was attached.
    pub(crate) fn has_no_riders(&self) -> bool {
        self.riding.is_empty()
    }

    /// Puts jobs back to where they were fetched from, the first to run first, until Redis takes them; while the server stops, for a while.
    /// Returns how many went back. Those whose queue holds something else are [withheld](crate::server::settle::withheld).
    pub(crate) async fn put_back(&self, units: &[UnitOfWork]) -> usize {
        let (mut outage, mut tries, mut back) = (self.shared.stats.outages.part(), 0, 0);
        while !units.is_empty() {
            match self.settler.requeue(units).await {
                Ok(moved) => {
                    back += moved;
                    outage.over();
                    break;
                }
                Err(error) if is_wrong_type(&error) => {
                    units.iter().filter(|unit| unit.is_held()).for_each(|unit| self.withheld.keep_unbegun(unit));
                    break;
                }
                Err(error) => outage.note("putting jobs back failed", &error),
            }
            tries += u32::from(self.shared.handle.is_stopping());
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

/// Logs a job that was no longer this process's.
pub(super) fn note_settled(unit: &UnitOfWork, settled: Settled) {
    if settled == Settled::NotOurs {
        tracing::warn!(
            queue = &**unit.queue(),
            "a job was no longer in its private list when it was settled: another process put it back, or Redis lost data"
        );
    }
}

impl fmt::Debug for Settlement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settlement").field("settler", &self.settler).finish_non_exhaustive()
    }
}

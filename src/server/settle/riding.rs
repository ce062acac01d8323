//! Which riders the settlement of a job has.

use std::fmt;
use std::sync::Arc;

use crate::contain::contained;
use crate::error::Error;
use crate::payload::Payload;
use crate::server::settle::Destination;
use crate::server::unit::UnitOfWork;
use crate::store::rider::{Riders, is_refused_rider};
use crate::store::{Rider, is_denied, is_refusal};

/// What becomes of an attempt to run a job; see [`ServerBuilder::rider`](crate::ServerBuilder::rider).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ending {
    /// It succeeded.
    Done,
    /// It failed and goes to the retry set.
    Retried,
    /// It failed for the last time and goes to the dead set.
    Died,
    /// It failed and is stored nowhere: `retry: false`, `dead: false`, or a hook said so.
    Discarded,
}

type RiderOf = Arc<dyn Fn(&Payload, Ending) -> Option<Rider> + Send + Sync>;

/// The functions that a server asks for riders.
#[derive(Clone, Default)]
pub(crate) struct Riding(Vec<RiderOf>);

impl Riding {
    pub(crate) fn add(&mut self, rider: impl Fn(&Payload, Ending) -> Option<Rider> + Send + Sync + 'static) {
        self.0.push(Arc::new(rider));
    }

    /// Whether no job has a rider, unless it attaches one itself.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The riders of a job that ends so. A function that panics has none.
    pub(crate) fn riders(&self, payload: &Payload, ending: Ending) -> Vec<Rider> {
        let rider = |rider: &RiderOf| match contained(|| rider(payload, ending)) {
            Ok(rider) => rider,
            Err(panic) => {
                let (jid, class) = (payload.jid(), payload.display_class());
                tracing::error!(jid, class, panic, "a rider function panicked; the job is settled without its rider");
                None
            }
        };
        self.0.iter().filter_map(rider).collect()
    }

    /// The riders of a job that leaves for a destination.
    pub(super) fn of(&self, unit: &UnitOfWork, to: &Destination) -> Riders {
        if let Destination::Done { riders } = to {
            return riders.clone();
        }
        let (payload, ending) = match to {
            Destination::Retry { payload, .. } => (Some(payload), Ending::Retried),
            Destination::Dead { payload, .. } => (payload.as_ref(), Ending::Died),
            // It runs again, as if it had not run.
            Destination::Done { .. }
            | Destination::Schedule { .. }
            | Destination::Queue { .. }
            | Destination::Origin => return Riders::default(),
        };
        if self.is_empty() {
            return Riders::default();
        }
        match (payload, unit.payload()) {
            (Some(payload), _) => Riders::of(self.riders(payload, ending)),
            (None, Ok(payload)) => Riders::of(self.riders(&payload, ending)),
            // Nobody can read it.
            (None, Err(_)) => Riders::default(),
        }
    }
}

/// Whether the riders of a job are the reason for a refusal, or may be.
pub(super) fn is_rider(error: &Error, riders: &Riders) -> bool {
    is_refused_rider(error) || !riders.is_empty() && is_denied(error) && is_refusal(error)
}

impl fmt::Debug for Riding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Riding").field(&self.0.len()).finish()
    }
}

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::server::unit::UnitOfWork;

/// The processors of one capsule that suspects may have: a quarter of them, at least one; half of them while no ordinary job comes.
///
/// Suspects beyond that are set aside: they stay in their private list, and have no processor.
#[derive(Debug)]
pub(crate) struct SuspectSlots {
    processors: usize,
    state: Mutex<State>,
    /// How many are set aside, so that no lock is taken where there are none.
    aside: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    seats_taken: usize,
    aside: VecDeque<UnitOfWork>,
    bytes_aside: usize,
    /// A processor waited in vain for an ordinary job, and none came since.
    idle: bool,
    closed: bool,
}

/// Bytes of payloads that are set aside at most.
const BYTES_ASIDE: usize = 16 * 1_024 * 1_024;

impl SuspectSlots {
    pub(crate) fn new(processors: usize) -> Arc<Self> {
        Arc::new(Self { processors, state: Mutex::default(), aside: AtomicUsize::new(0) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_seat(&self, state: &State) -> bool {
        let part = if state.idle { self.processors / 2 } else { self.processors / 4 };
        state.seats_taken < part.max(1)
    }

    /// A processor for a suspect; `None` while suspects have their part.
    pub(crate) fn seat(self: &Arc<Self>) -> Option<Seat> {
        let mut state = self.state();
        let free = self.has_seat(&state);
        state.seats_taken += usize::from(free);
        free.then(|| Seat(Arc::clone(self)))
    }

    /// Keeps a suspect that has no seat. `false` if there are as many as processors, or enough bytes: it must go back to Redis.
    pub(crate) fn keep(&self, unit: &UnitOfWork) -> bool {
        let mut state = self.state();
        let bytes = unit.bytes().len();
        let fits = !state.closed && state.aside.len() < self.processors && state.bytes_aside + bytes <= BYTES_ASIDE;
        if fits {
            state.bytes_aside += bytes;
            state.aside.push_back(unit.clone());
            self.aside.store(state.aside.len(), Ordering::SeqCst);
        }
        fits
    }

    /// How many are set aside.
    pub(crate) fn set_aside(&self) -> usize {
        self.aside.load(Ordering::SeqCst)
    }

    /// A suspect that was set aside, if there is a seat for it. `idle` if its processor waited in vain for another job.
    pub(crate) fn take(&self, idle: bool) -> Option<UnitOfWork> {
        if self.set_aside() == 0 {
            return None;
        }
        let mut state = self.state();
        state.idle |= idle;
        if !self.has_seat(&state) {
            return None;
        }
        let unit = state.aside.pop_front()?;
        state.bytes_aside -= unit.bytes().len();
        self.aside.store(state.aside.len(), Ordering::SeqCst);
        Some(unit)
    }

    /// An ordinary job came.
    pub(crate) fn see_ordinary(&self) {
        self.state().idle = false;
    }

    /// Keeps nothing more, and returns what was set aside.
    pub(crate) fn close(&self) -> Vec<UnitOfWork> {
        let mut state = self.state();
        state.closed = true;
        state.bytes_aside = 0;
        self.aside.store(0, Ordering::SeqCst);
        state.aside.drain(..).collect()
    }
}

/// A processor that a suspect has, until this is dropped.
#[derive(Debug)]
pub(crate) struct Seat(Arc<SuspectSlots>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.state().seats_taken -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::unit::Batch;

    fn units(count: usize) -> Vec<UnitOfWork> {
        Batch::new("l".into(), "q".into(), vec![b"{}".to_vec(); count]).units().collect()
    }

    #[test]
    fn leaves_ordinary_jobs_three_quarters_of_the_processors() {
        for (processors, quarter, half) in [(1, 1, 1), (2, 1, 1), (5, 1, 2), (10, 2, 5), (100, 25, 50)] {
            let slots = SuspectSlots::new(processors);
            let mut seats: Vec<Seat> = std::iter::from_fn(|| slots.seat()).collect();
            assert_eq!(seats.len(), quarter, "of {processors}");
            assert!(slots.keep(&units(1)[0]));
            assert!(slots.take(false).is_none());
            if half > quarter {
                assert!(slots.take(true).is_some(), "nothing else is there");
            }
            seats.extend(std::iter::from_fn(|| slots.seat()));
            assert_eq!(seats.len(), half, "of {processors}");
            slots.see_ordinary();
            seats.truncate(quarter);
            assert!(slots.seat().is_none());
        }
    }

    #[test]
    fn sets_aside_as_many_as_it_has_processors_and_gives_them_back() {
        let (slots, units) = (SuspectSlots::new(3), units(4));
        assert_eq!(units.iter().filter(|unit| slots.keep(unit)).count(), 3);
        let large = Batch::new("l".into(), "q".into(), vec![vec![b'x'; BYTES_ASIDE]]).units().next().unwrap();
        assert!(slots.take(false).is_some() && !slots.keep(&large), "too large to keep");
        assert_eq!((slots.set_aside(), slots.close().len(), slots.set_aside()), (2, 2, 0));
        assert!(!slots.keep(&units[0]), "it stops");
    }
}

//! Jobs that may have killed processes are tested, so that the right one is convicted and the others run on.

mod policy;
#[cfg(test)]
mod simulation;
mod slots;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

pub(crate) use policy::{FEW, Test};
pub(crate) use slots::{Seat, SuspectSlots};

use crate::server::stats::counter::Counted;
use crate::server::unit::UnitOfWork;
use crate::store::suspects::{Suspects, fingerprint};
use policy::Budget;

/// What a process knows of suspects: payloads that two processes died with.
///
/// Whatever a suspect does, ordinary jobs keep three quarters of the processors ([`SuspectSlots`]) and of the time ([`Budget`]). A suspect is
/// convicted only by a death it met while no other job had begun in its process. So the deaths of others convict nobody, however many
/// killers there are; processes that are killed from outside count as any death.
#[derive(Debug)]
pub(crate) struct Isolation {
    /// Whether processors must ask before they start a job.
    alert: AtomicBool,
    state: Mutex<State>,
    changed: Notify,
    /// Held by the suspect that is next to begin, and by one that is alone. In the order they came.
    turn: tokio::sync::Mutex<()>,
    /// How many wait for it.
    for_turn: AtomicUsize,
    /// Of every capsule.
    slots: Mutex<Vec<Arc<SuspectSlots>>>,
}

#[derive(Debug)]
struct State {
    /// How many processes died with a payload, by its fingerprint; of payloads that were fetched here.
    suspects: HashMap<String, u32>,
    /// Lookups so far.
    lookups: u64,
    /// Whether there are few suspects in Redis.
    few: bool,
    /// The company each suspect that has begun here allows.
    begun: Vec<usize>,
    /// Nothing else may start, since then.
    held: Option<Instant>,
    budget: Budget,
}

/// What a job may do now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// An ordinary job, and nothing in its way.
    Go,
    /// A suspect runs alone.
    Held,
    /// A suspect.
    Suspect(String),
}

impl Default for Isolation {
    fn default() -> Self {
        let state = State {
            suspects: HashMap::new(),
            lookups: 0,
            few: true,
            begun: Vec::new(),
            held: None,
            budget: Budget::new(Instant::now()),
        };
        Self {
            alert: AtomicBool::new(false),
            state: Mutex::new(state),
            changed: Notify::new(),
            turn: tokio::sync::Mutex::default(),
            for_turn: AtomicUsize::new(0),
            slots: Mutex::default(),
        }
    }
}

impl Isolation {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes those who wait for it to change.
    fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let changed = change(&mut state);
        self.alert.store(state.held.is_some() || !state.suspects.is_empty(), Ordering::SeqCst);
        drop(state);
        self.changed.notify_waiters();
        changed
    }

    /// Waits until the state is as wanted.
    async fn until(&self, wanted: impl Fn(&State) -> bool) {
        loop {
            let changed = self.changed.notified();
            if wanted(&self.state()) {
                return;
            }
            changed.await;
        }
    }

    /// Adds the slots of a capsule.
    pub(crate) fn add(&self, slots: Arc<SuspectSlots>) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).push(slots);
    }

    /// Suspects that were fetched here and wait for their turn or for a processor.
    pub(crate) fn waiting(&self) -> usize {
        // In this order, so that none counts twice on its way from one to the other.
        let for_turn = self.for_turn.load(Ordering::SeqCst);
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        for_turn + slots.iter().map(|slots| slots.set_aside()).sum::<usize>()
    }

    /// What [`learn_of_none`](Self::learn_of_none) needs, from before Redis is asked.
    pub(crate) fn lookups(&self) -> u64 {
        self.state().lookups
    }

    /// Redis had no suspects; `lookups` counts those before it was asked. A lookup since then is newer.
    pub(crate) fn learn_of_none(&self, lookups: u64) {
        if self.is_alert() {
            self.update(|state| {
                if state.lookups == lookups {
                    state.suspects.clear();
                }
            });
        }
    }

    /// What Redis has of the payloads that were looked up.
    pub(crate) fn learn(&self, looked_up: &[String], suspects: Suspects) {
        self.update(|state| {
            state.lookups += 1;
            state.few = suspects.count <= FEW;
            for fingerprint in looked_up {
                state.suspects.remove(fingerprint);
            }
            state.suspects.extend(suspects.found);
        });
    }

    /// The payload is no suspect any more.
    pub(crate) fn forget(&self, fingerprint: &str) {
        self.update(|state| state.suspects.remove(fingerprint));
    }

    /// Whether the [`Admission`] is to be asked.
    pub(crate) fn is_alert(&self) -> bool {
        self.alert.load(Ordering::SeqCst)
    }

    /// What this job may do now.
    pub(crate) fn admission(&self, unit: &UnitOfWork) -> Admission {
        let fingerprint = fingerprint(unit.bytes());
        let state = self.state();
        if state.suspects.contains_key(&fingerprint) {
            Admission::Suspect(fingerprint)
        } else if state.held.is_some() {
            Admission::Held
        } else {
            Admission::Go
        }
    }

    /// Waits for the turn of a suspect to begin, and until those that have begun allow its company. Returns how it is to be tested.
    pub(crate) async fn turn(&self, fingerprint: &str, processors: usize) -> (Turn<'_>, Test) {
        let turn = {
            let _waits = Counted::new(&self.for_turn);
            Turn(self.turn.lock().await)
        };
        let test = {
            let state = self.state();
            Test::of(state.suspects.get(fingerprint).copied().unwrap_or(2), state.few, processors)
        };
        self.until(|state| state.begun.len() < state.begun.iter().copied().fold(test.company, usize::min)).await;
        (turn, test)
    }

    /// Has everything else wait. `None` if another suspect has begun here: this one cannot be alone. Waits first while suspects have had their
    /// part of the time; no other begins meanwhile.
    pub(crate) async fn hold(&self, _turn: &Turn<'_>) -> Option<Hold<'_>> {
        loop {
            let wait = {
                let mut state = self.state();
                if !state.begun.is_empty() {
                    return None;
                }
                state.budget.wait(Instant::now())
            };
            if wait.is_zero() {
                break;
            }
            tokio::time::sleep(wait).await;
        }
        self.update(|state| state.held = Some(Instant::now()));
        Some(Hold(self))
    }

    /// Enters a suspect that begins, and allows so many to have begun here.
    pub(crate) fn begin(&self, company: usize) -> Begun<'_> {
        self.update(|state| state.begun.push(company));
        Begun { isolation: self, company }
    }

    /// Until nothing is held any more.
    pub(crate) async fn released(&self) {
        self.until(|state| state.held.is_none()).await;
    }
}

/// The right to be the next suspect that begins.
#[derive(Debug)]
pub(crate) struct Turn<'a>(#[expect(dead_code, reason = "held until dropped")] tokio::sync::MutexGuard<'a, ()>);

/// Nothing else starts until this is dropped.
#[derive(Debug)]
pub(crate) struct Hold<'a>(&'a Isolation);

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.update(|state| {
            if let Some(since) = state.held.take() {
                let now = Instant::now();
                state.budget.spend(now - since, now);
            }
        });
    }
}

/// A suspect that has begun, and not ended.
#[derive(Debug)]
pub(crate) struct Begun<'a> {
    isolation: &'a Isolation,
    company: usize,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.isolation.update(|state| {
            if let Some(at) = state.begun.iter().position(|company| *company == self.company) {
                state.begun.swap_remove(at);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::server::unit::Batch;

    fn suspects(found: &[(&UnitOfWork, u32)]) -> Suspects {
        let found: Vec<_> = found.iter().map(|(unit, died)| (fingerprint(unit.bytes()), *died)).collect();
        Suspects { count: found.len(), found }
    }

    fn units() -> Vec<UnitOfWork> {
        Batch::new("l".into(), "q".into(), vec![b"a".to_vec(), b"b".to_vec(), b"c".to_vec()]).units().collect()
    }

    fn names(units: &[UnitOfWork]) -> Vec<String> {
        units.iter().map(|unit| fingerprint(unit.bytes())).collect()
    }

    /// Whether a future is ready at once.
    async fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(Duration::ZERO, future).await.ok()
    }

    #[tokio::test]
    async fn holds_ordinary_jobs_only_while_a_suspect_is_alone() {
        let (isolation, units) = (Isolation::default(), units());
        let names = names(&units);
        assert!(!isolation.is_alert());
        isolation.learn(&names, suspects(&[(&units[0], 2), (&units[1], 2)]));
        assert!(isolation.is_alert());
        assert_eq!(isolation.admission(&units[2]), Admission::Go);
        assert_eq!(isolation.admission(&units[0]), Admission::Suspect(names[0].clone()));
        let (turn, test) = isolation.turn(&names[0], 10).await;
        assert!(test.alone.is_some(), "there are few");
        let hold = isolation.hold(&turn).await.unwrap();
        assert_eq!(isolation.admission(&units[2]), Admission::Held);
        assert!(at_once(isolation.turn(&names[1], 10)).await.is_none(), "one after the other");
        let begun = isolation.begin(test.company);
        drop((hold, turn));
        assert_eq!(isolation.admission(&units[2]), Admission::Go, "it takes long");
        let (turn, _) = isolation.turn(&names[1], 10).await;
        assert!(isolation.hold(&turn).await.is_none(), "it would not be alone");
        drop((begun, turn));
        names[..2].iter().for_each(|name| isolation.forget(name));
        assert!(!isolation.is_alert());
    }

    #[tokio::test]
    async fn lets_a_suspect_of_many_deaths_begin_when_no_other_has_begun() {
        let (isolation, units) = (Isolation::default(), units());
        let names = names(&units);
        isolation.learn(&names, suspects(&[(&units[0], 2), (&units[1], 4), (&units[2], 2)]));
        let (turn, test) = isolation.turn(&names[0], 100).await;
        let first = isolation.begin(test.company);
        drop(turn);
        assert!(at_once(isolation.turn(&names[1], 100)).await.is_none());
        drop(first);
        let (turn, test) = isolation.turn(&names[1], 100).await;
        let second = isolation.begin(test.company);
        drop(turn);
        assert!(at_once(isolation.turn(&names[2], 100)).await.is_none(), "nobody joins it");
        drop(second);
        assert!(at_once(isolation.turn(&names[2], 100)).await.is_some());
    }

    #[test]
    fn forgets_what_redis_no_longer_has_unless_it_learned_more_since() {
        let (isolation, units) = (Isolation::default(), units());
        let names = names(&units);
        let before = isolation.lookups();
        isolation.learn(&names, suspects(&[(&units[0], 2)]));
        isolation.learn_of_none(before);
        assert!(isolation.is_alert(), "an answer that was overtaken");
        isolation.learn(&names[..1], Suspects::default());
        assert!(!isolation.is_alert(), "it was acquitted elsewhere");
        isolation.learn(&names, suspects(&[(&units[0], 2)]));
        isolation.learn_of_none(isolation.lookups());
        assert!(!isolation.is_alert());
    }
}

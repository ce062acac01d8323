//! Jobs of one batch end on several threads while the acknowledger takes them out of their private list.
//!
//! `Inbox` and `Acknowledger` do what `settle/settler.rs` and `settle/acknowledger.rs` do with a batch.

use std::sync::Arc;

use loom::sync::{Condvar, Mutex};
use loom::thread::{self, JoinHandle};

use crate::server::unit::batch::{Batch, UnitOfWork};

/// The channel to the acknowledger.
#[derive(Default)]
struct Inbox {
    batches: Mutex<Vec<Arc<Batch>>>,
    filled: Condvar,
}

impl Inbox {
    /// `Settler::report`.
    fn report(&self, batch: &Arc<Batch>, last: bool) {
        if last || batch.watch() {
            self.batches.lock().unwrap().push(Arc::clone(batch));
            self.filled.notify_one();
        }
    }

    fn receive(&self) -> Vec<Arc<Batch>> {
        let mut batches = self.batches.lock().unwrap();
        while batches.is_empty() {
            batches = self.filled.wait(batches).unwrap();
        }
        std::mem::take(&mut batches)
    }
}

/// A private list in Redis: the places of its jobs, the oldest first.
type List = Mutex<Vec<usize>>;

struct Stage {
    inbox: Arc<Inbox>,
    list: Arc<List>,
    batch: Arc<Batch>,
}

/// What the acknowledger did.
#[derive(Debug, Default, PartialEq)]
struct Sum {
    acknowledged: usize,
    ended: usize,
}

impl Stage {
    fn new(jobs: usize) -> Self {
        let batch = Batch::new("list".to_owned(), Arc::from("q"), vec![b"{}".to_vec(); jobs]);
        Self { inbox: Arc::default(), list: Arc::new(Mutex::new((0..jobs).collect())), batch }
    }

    fn units(&self) -> Vec<UnitOfWork> {
        self.batch.units().collect()
    }

    /// A processor whose job ends well. Returns whether that counted.
    fn finishes(&self, unit: &UnitOfWork) -> JoinHandle<bool> {
        let (inbox, unit) = (Arc::clone(&self.inbox), unit.clone());
        thread::spawn(move || {
            let last = unit.finish();
            if let Some(last) = last {
                inbox.report(unit.batch(), last);
            }
            last.is_some()
        })
    }

    /// A job that moves to another place, by its bytes. Returns whether it did.
    fn moves(&self, unit: &UnitOfWork) -> JoinHandle<bool> {
        let (inbox, list, unit) = (Arc::clone(&self.inbox), Arc::clone(&self.list), unit.clone());
        thread::spawn(move || {
            let moves = unit.start_moving();
            if moves {
                list.lock().unwrap().retain(|place| *place != unit.place());
                if unit.leave() {
                    inbox.report(unit.batch(), true);
                }
            }
            moves
        })
    }

    /// The acknowledger, until the batch has ended or, if one of its jobs runs on, until so many are acknowledged.
    fn acknowledges(&self, until: usize) -> Sum {
        let (mut sum, mut open) = (Sum::default(), Vec::new());
        while sum.ended == 0 && sum.acknowledged < until {
            if open.is_empty() {
                open = self.inbox.receive();
            }
            for batch in std::mem::take(&mut open) {
                if batch.is_closed() {
                    if batch.end() {
                        sum.ended += 1;
                        sum.acknowledged += batch.trimmed_to(0);
                        self.list.lock().unwrap().clear();
                    }
                    continue;
                }
                match batch.trimmable_to() {
                    // It closed just now, and comes once more.
                    Some(0) => {}
                    Some(to) => {
                        sum.acknowledged += batch.trimmed_to(to);
                        let mut list = self.list.lock().unwrap();
                        let front = list.len().saturating_sub(to);
                        for place in list.drain(..front) {
                            assert!(!self.units()[place].is_held(), "a job that runs was trimmed away");
                        }
                    }
                    None => {
                        for unit in batch.done().filter(UnitOfWork::plucked).collect::<Vec<_>>() {
                            self.list.lock().unwrap().retain(|place| *place != unit.place());
                            sum.acknowledged += 1;
                        }
                    }
                }
                if batch.is_to_be_watched() {
                    open.push(batch);
                }
                thread::yield_now();
            }
        }
        sum
    }
}

pub(crate) fn two_jobs_end_while_their_batch_closes() {
    let stage = Stage::new(2);
    let ends: Vec<_> = stage.units().iter().map(|unit| stage.finishes(unit)).collect();
    let sum = stage.acknowledges(usize::MAX);
    assert!(ends.into_iter().all(|end| end.join().unwrap()));
    assert_eq!(sum, Sum { acknowledged: 2, ended: 1 }, "each once");
    // What came for a batch that has ended changes nothing.
    assert!(!stage.batch.end() && stage.batch.trimmed_to(0) == 0);
}

pub(crate) fn two_jobs_end_while_a_third_runs() {
    let stage = Stage::new(3);
    let units = stage.units();
    let ends = [stage.finishes(&units[0]), stage.finishes(&units[1])];
    let sum = stage.acknowledges(2);
    assert!(ends.into_iter().all(|end| end.join().unwrap()));
    assert_eq!(sum, Sum { acknowledged: 2, ended: 0 }, "neither waits for the third one");
    assert_eq!(*stage.list.lock().unwrap(), [2]);
}

pub(crate) fn a_job_ends_while_the_stop_puts_it_back() {
    let stage = Stage::new(1);
    let unit = &stage.units()[0];
    let (ends, moves) = (stage.finishes(unit), stage.moves(unit));
    let sum = stage.acknowledges(usize::MAX);
    let (ended, moved) = (ends.join().unwrap(), moves.join().unwrap());
    assert!(ended != moved, "one of both decides");
    assert_eq!(sum, Sum { acknowledged: usize::from(ended), ended: 1 });
}

pub(crate) fn a_list_is_trimmed_while_a_job_leaves_it() {
    let stage = Stage::new(3);
    let units = stage.units();
    let (ends, moves) = (stage.finishes(&units[0]), stage.moves(&units[1]));
    let sum = stage.acknowledges(1);
    assert!(ends.join().unwrap() && moves.join().unwrap());
    assert_eq!(sum, Sum { acknowledged: 1, ended: 0 });
    assert!(stage.list.lock().unwrap().contains(&2), "the third one runs");
}

pub(crate) fn a_failed_move_ends_while_others_end() {
    let stage = Stage::new(2);
    let units = stage.units();
    let first = stage.finishes(&units[0]);
    let (inbox, unit) = (Arc::clone(&stage.inbox), units[1].clone());
    // Redis refuses its retry, and then the job counts as done.
    let second = thread::spawn(move || {
        assert!(unit.start_moving());
        unit.stay();
        inbox.report(unit.batch(), unit.finish().unwrap());
    });
    let sum = stage.acknowledges(usize::MAX);
    first.join().unwrap();
    second.join().unwrap();
    assert_eq!(sum, Sum { acknowledged: 2, ended: 1 });
}

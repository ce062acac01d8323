//! The two sides of a queue: the fetcher that claims from it, and the waiter that waits at it while the capsule is idle.
//!
//! `Capsule` does what `Reliable` and `Waiter` of `fetch/reliable.rs` do, without the timers that would hide a lost wakeup.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use loom::cell::UnsafeCell;
use loom::sync::{Condvar, Mutex};
use loom::thread;

use crate::sync::AtomicBool;

mod idle {
    include!(concat!(env!("OUT_DIR"), "/idle.rs"));
}

struct Capsule {
    idle: idle::Idle,
    /// Jobs in the queue.
    queue: Mutex<usize>,
    pushed: Condvar,
    /// Each thread that takes jobs from the queue writes here: loom reports two at a time.
    taker: UnsafeCell<usize>,
    intake: Mutex<usize>,
    /// The server is quiet.
    quiet: AtomicBool,
}

impl Capsule {
    fn new() -> Self {
        Self {
            idle: idle::Idle::new(1, 1),
            queue: Mutex::new(0),
            pushed: Condvar::new(),
            taker: UnsafeCell::new(0),
            intake: Mutex::new(0),
            quiet: AtomicBool::new(false),
        }
    }

    fn push(&self) {
        *self.queue.lock().unwrap() += 1;
        self.pushed.notify_all();
    }

    /// Something else than the waiter wakes the fetcher: the watcher, or a timer.
    fn stir(&self) {
        self.idle.stirred.notify_one();
    }

    fn take(&self, jobs: usize) {
        self.taker.with_mut(|_| {
            *self.intake.lock().unwrap() += jobs;
        });
    }

    /// `Reliable::retrieve_work` and `Reliable::wait`, until a job is there.
    fn fetches(&self) {
        loop {
            self.idle.wait.store(false, Ordering::SeqCst);
            if !self.idle.is_asked(0) {
                let jobs = std::mem::take(&mut *self.queue.lock().unwrap());
                self.take(jobs);
            }
            if *self.intake.lock().unwrap() > 0 {
                break;
            }
            self.idle.wait.store(true, Ordering::SeqCst);
            self.idle.changed.notify_waiters();
            self.idle.stirred.notified().wait();
        }
        // The stop: waiters end.
        {
            let _queue = self.queue.lock().unwrap();
            self.quiet.store(true, Ordering::SeqCst);
        }
        self.idle.changed.notify_waiters();
        self.pushed.notify_all();
    }

    /// `Waiter::may_wait`, `wait` and `deliver`, until the server is quiet.
    fn waits(&self) {
        loop {
            let changed = self.idle.changed.notified();
            if self.quiet.load(Ordering::SeqCst) {
                return;
            }
            if !self.idle.ask(0) {
                changed.wait();
                continue;
            }
            let mut queue = self.queue.lock().unwrap();
            while *queue == 0 && !self.quiet.load(Ordering::SeqCst) {
                queue = self.pushed.wait(queue).unwrap();
            }
            let jobs = (*queue).min(1);
            *queue -= jobs;
            drop(queue);
            if jobs > 0 {
                self.idle.wait.store(false, Ordering::SeqCst);
                self.take(jobs);
                self.idle.stirred.notify_one();
            }
            self.idle.answered(0);
        }
    }
}

/// The job comes at any moment.
pub(crate) fn a_job_comes_while_its_capsule_goes_idle() {
    run(|capsule| capsule.push());
}

/// The fetcher is woken while the waiter begins to wait, and there is no job yet.
pub(crate) fn a_fetcher_is_woken_while_its_waiter_begins_to_wait() {
    run(|capsule| {
        capsule.stir();
        capsule.push();
    });
}

fn run(third: fn(&Capsule)) {
    let capsule = Arc::new(Capsule::new());
    let [waiter, other] = [Arc::clone(&capsule), Arc::clone(&capsule)];
    let waiter = thread::spawn(move || waiter.waits());
    let other = thread::spawn(move || third(&other));
    capsule.fetches();
    waiter.join().unwrap();
    other.join().unwrap();
    assert_eq!(*capsule.intake.lock().unwrap(), 1, "the job is taken once");
}

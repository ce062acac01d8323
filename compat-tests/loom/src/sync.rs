//! Atomics and `Notify` on loom.
//!
//! Loom takes an access with `SeqCst` for one with `AcqRel`, and models `SeqCst` fences alone. So such an access gets a fence before and after.

use loom::sync::atomic::fence;
use loom::sync::{Condvar, Mutex};
pub(crate) use std::sync::atomic::{AtomicU64, Ordering};

fn ordered<T>(order: Ordering, access: impl FnOnce() -> T) -> T {
    let fenced = order == Ordering::SeqCst;
    if fenced {
        fence(Ordering::SeqCst);
    }
    let done = access();
    if fenced {
        fence(Ordering::SeqCst);
    }
    done
}

macro_rules! atomics {
    ($($name:ident: $type:ty;)*) => {$(
        #[derive(Debug, Default)]
        pub(crate) struct $name(loom::sync::atomic::$name);

        impl $name {
            pub(crate) fn new(value: $type) -> Self {
                Self(loom::sync::atomic::$name::new(value))
            }

            pub(crate) fn load(&self, order: Ordering) -> $type {
                ordered(order, || self.0.load(order))
            }

            pub(crate) fn store(&self, value: $type, order: Ordering) {
                ordered(order, || self.0.store(value, order));
            }

            pub(crate) fn swap(&self, value: $type, order: Ordering) -> $type {
                ordered(order, || self.0.swap(value, order))
            }

            pub(crate) fn compare_exchange(
                &self,
                from: $type,
                to: $type,
                order: Ordering,
                failed: Ordering,
            ) -> Result<$type, $type> {
                ordered(order, || self.0.compare_exchange(from, to, order, failed))
            }
        }
    )*};
}

atomics! {
    AtomicBool: bool;
    AtomicU8: u8;
    AtomicUsize: usize;
}

impl AtomicUsize {
    pub(crate) fn fetch_add(&self, value: usize, order: Ordering) -> usize {
        ordered(order, || self.0.fetch_add(value, order))
    }

    pub(crate) fn fetch_sub(&self, value: usize, order: Ordering) -> usize {
        ordered(order, || self.0.fetch_sub(value, order))
    }
}

/// As tokio's: `notify_one` leaves a permit, `notify_waiters` wakes those that called `notified` before.
#[derive(Debug, Default)]
pub(crate) struct Notify {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    permit: bool,
    woken: usize,
}

pub(crate) struct Notified<'a> {
    notify: &'a Notify,
    woken: usize,
}

impl Notify {
    pub(crate) fn notify_one(&self) {
        self.state.lock().unwrap().permit = true;
        self.changed.notify_all();
    }

    pub(crate) fn notify_waiters(&self) {
        self.state.lock().unwrap().woken += 1;
        self.changed.notify_all();
    }

    pub(crate) fn notified(&self) -> Notified<'_> {
        Notified { notify: self, woken: self.state.lock().unwrap().woken }
    }
}

impl Notified<'_> {
    pub(crate) fn wait(self) {
        let mut state = self.notify.state.lock().unwrap();
        while state.woken == self.woken && !state.permit {
            state = self.notify.changed.wait(state).unwrap();
        }
        if state.woken == self.woken {
            state.permit = false;
        }
    }
}

//! Keeps every loop of a server running: one that panics, or returns before it should, is logged, counted and started again.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, JoinSet};

use crate::contain::Contained;
use crate::server::stats::counter::Counter;

/// A loop of a server that must run until it may end.
///
/// Its state is the value itself and outlives a panic in [`run`](Self::run): the next call goes on with it.
pub(crate) trait Part: Send + 'static {
    /// What the log calls it.
    fn name(&self) -> &'static str;

    /// Runs it until it may end.
    fn run(&mut self) -> impl Future<Output = ()> + Send;

    /// Whether a return of `run` is the end, and not a fault.
    fn may_end(&self) -> bool;

    /// Called when `run` panicked, before it is called again: repairs the state that the panic left.
    fn panicked(&mut self, message: &str) {
        let _ = message;
    }
}

/// Starts the parts of one server and starts them again. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Supervisor(Arc<Shared>);

#[derive(Default)]
struct Shared {
    restarts: Counter,
    /// When the last faults were, at most `MANY` of them.
    recent: Mutex<VecDeque<Instant>>,
    #[cfg(test)]
    failpoints: failpoints::Failpoints,
}

/// So many faults within `SPAN`: the server counts as failing.
const MANY: usize = 5;
const SPAN: Duration = Duration::from_secs(60);
/// The pause before a part is started again: after the first fault, and at most. It doubles from fault to fault.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

impl Supervisor {
    /// Spawns a part on this runtime.
    pub(crate) fn spawn(&self, part: impl Part) -> JoinHandle<()> {
        spawn(self.clone().keep(part))
    }

    /// Spawns a part in a set of tasks.
    #[expect(clippy::disallowed_methods, reason = "all tasks of a server are spawned here")]
    pub(crate) fn spawn_in(&self, set: &mut JoinSet<()>, part: impl Part) {
        set.spawn(self.clone().keep(part));
    }

    /// Runs a part on the thread that calls it, until it ends.
    ///
    /// # Cancel safety
    ///
    /// The part is dropped where it is.
    pub(crate) async fn keep(self, mut part: impl Part) {
        let (name, mut pause) = (part.name(), PAUSE.0);
        loop {
            let began = Instant::now();
            let run = part.run();
            #[cfg(test)]
            let run = self.0.failpoints.watch(name, run);
            match Contained::new(Box::pin(run)).await {
                Ok(()) if part.may_end() => return,
                Ok(()) => tracing::error!(part = name, "a part of the server ended before it should; it starts again"),
                Err(panic) => {
                    tracing::error!(part = name, panic, "a part of the server panicked; it starts again");
                    part.panicked(&panic);
                }
            }
            self.fault();
            if began.elapsed() > SPAN {
                pause = PAUSE.0;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Notes a panic in a task that its owner starts again.
    pub(crate) fn note(&self, what: &str, panic: &str) {
        tracing::error!(part = what, panic, "a part of the server panicked; it starts again");
        self.fault();
    }

    fn fault(&self) {
        self.0.restarts.add(1);
        let mut recent = self.0.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == MANY {
            recent.pop_front();
        }
        recent.push_back(Instant::now());
    }

    /// Where a test makes parts panic.
    #[cfg(test)]
    pub(crate) fn failpoints(&self) -> &failpoints::Failpoints {
        &self.0.failpoints
    }

    /// How often a part was started again.
    pub(crate) fn restarts(&self) -> &Counter {
        &self.0.restarts
    }

    /// Whether parts fail again and again.
    pub(crate) fn is_failing(&self) -> bool {
        let recent = self.0.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.len() == MANY && recent.front().is_some_and(|first| first.elapsed() < SPAN)
    }
}

/// Spawns a task whose end somebody awaits, or that needs nobody: everything else is a [`Part`].
#[expect(clippy::disallowed_methods, reason = "all tasks of a server are spawned here")]
pub(crate) fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(task)
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").field("restarts", &self.restarts.total()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod failpoints {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use tokio::sync::Notify;

    /// How often each part that ran is still to panic.
    #[derive(Default)]
    pub(crate) struct Failpoints {
        left: Mutex<BTreeMap<&'static str, usize>>,
        changed: Notify,
    }

    impl Failpoints {
        /// The parts that ran so far.
        pub(crate) fn parts(&self) -> Vec<&'static str> {
            self.left.lock().unwrap().keys().copied().collect()
        }

        /// Has a part panic where it is.
        pub(crate) fn panic(&self, part: &'static str) {
            *self.left.lock().unwrap().entry(part).or_default() += 1;
            self.changed.notify_waiters();
        }

        /// Runs a part until it ends or is to panic.
        pub(super) async fn watch(&self, part: &'static str, run: impl Future<Output = ()>) {
            self.left.lock().unwrap().entry(part).or_default();
            tokio::select! {
                biased;
                () = self.reached(part) => panic!("the test wants {part} to panic"),
                () = run => {}
            }
        }

        async fn reached(&self, part: &'static str) {
            loop {
                let changed = self.changed.notified();
                if let Some(left) = self.left.lock().unwrap().get_mut(part).filter(|left| **left > 0) {
                    *left -= 1;
                    return;
                }
                changed.await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Panics, returns too early, and ends at last.
    struct Clumsy(Arc<Mutex<Vec<String>>>, u32);

    impl Part for Clumsy {
        fn name(&self) -> &'static str {
            "clumsy"
        }

        async fn run(&mut self) {
            self.1 += 1;
            assert!(self.1 != 1, "at the first try");
        }

        fn may_end(&self) -> bool {
            self.1 == 3
        }

        fn panicked(&mut self, message: &str) {
            self.0.lock().unwrap().push(message.to_owned());
        }
    }

    #[tokio::test]
    async fn starts_a_part_again_until_it_may_end() {
        let (supervisor, messages) = (Supervisor::default(), Arc::default());
        supervisor.spawn(Clumsy(Arc::clone(&messages), 0)).await.unwrap();
        assert_eq!(*messages.lock().unwrap(), ["at the first try"]);
        assert_eq!((supervisor.restarts().total(), supervisor.is_failing()), (2, false));
        (0..3).for_each(|_| supervisor.fault());
        assert!(supervisor.is_failing(), "five within a minute");
    }
}

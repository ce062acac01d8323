//! Limits that the gem sidekiq-limit_fetch sets for queues: how many of their jobs run at a time, in Ruby and in Rust.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use crate::error::{Error, Result};
use crate::server::unit::Holdings;
use crate::store::{Store, is_not_permitted};

/// The queues that have a limit, of all processes together or of each, as the last beat found them. Cheap to clone.
///
/// In Redis this process has a permit for each job of such a queue that it fetched and that is not over: entries in the gem's lists. A claim
/// takes permits and jobs in one script. A [correction](Self::correct) returns those of jobs that are over, in one script, too, which writes how many
/// there are to be. So a lost answer loses none for longer than until the next correction, which is five seconds away at most.
#[derive(Clone, Debug)]
pub(crate) struct Limits(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    identity: String,
    holdings: Holdings,
    /// Whether a queue has a limit, or permits may be left of one. False in a shop without the gem: then nothing else is looked at.
    any: AtomicBool,
    queues: Mutex<Queues>,
    /// A queue got a limit: nobody may wait for its jobs any more.
    limited: Notify,
    /// Permits are to be returned.
    due: Notify,
    /// Changes when permits were returned, and when other queues have a limit. Fetchers wait for that.
    changed: watch::Sender<()>,
    /// Held while a script changes permits: a correction must count the jobs of a claim that Redis has carried out, or come before it.
    turn: tokio::sync::Mutex<()>,
    /// Whether no limit counts: this process may not read or write the keys, which the log says, or has left.
    ignored: AtomicBool,
}

/// While this exists, nobody else changes permits of this process.
pub(crate) struct Turn<'a>(#[expect(dead_code, reason = "it is held")] tokio::sync::MutexGuard<'a, ()>);

#[derive(Debug, Default)]
struct Queues {
    limited: HashSet<String>,
    /// Queues that had a limit: permits may be left.
    former: HashSet<String>,
    /// Queues of which the permits may differ from the jobs. No claim takes permits before they are corrected.
    due: HashSet<String>,
}

impl Limits {
    pub(crate) fn new(identity: &str, holdings: Holdings) -> Self {
        Self(Arc::new(Shared {
            identity: identity.to_owned(),
            holdings,
            any: AtomicBool::default(),
            queues: Mutex::default(),
            limited: Notify::new(),
            due: Notify::new(),
            changed: watch::Sender::new(()),
            turn: tokio::sync::Mutex::default(),
            ignored: AtomicBool::default(),
        }))
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.0.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads which of the queues that are served have a limit.
    pub(crate) async fn read(&self, store: &Store, served: &[String]) -> Result<HashSet<String>> {
        if self.0.ignored.load(Ordering::Relaxed) {
            return Ok(HashSet::new());
        }
        let limited = store.limited_by_limit_fetch(served).await?;
        if limited.is_none() {
            self.ignore("this user may not read limit_fetch:*");
        }
        Ok(limited.unwrap_or_default())
    }

    /// Takes over which queues have a limit now.
    pub(crate) fn set(&self, limited: HashSet<String>) {
        let limited = if self.0.ignored.load(Ordering::Relaxed) { HashSet::new() } else { limited };
        let mut queues = self.queues();
        for name in limited.symmetric_difference(&queues.limited) {
            let text = if limited.contains(name) { "Queue has a limit now" } else { "Queue has no limit any more" };
            tracing::info!(queue = name, "{text}");
        }
        if limited == queues.limited {
            return;
        }
        let before = std::mem::replace(&mut queues.limited, limited);
        let Queues { limited, former, due } = &mut *queues;
        // Jobs were fetched without a permit, or have one that they no longer need.
        due.extend(limited.symmetric_difference(&before).cloned());
        former.extend(before);
        former.retain(|name| !limited.contains(name));
        self.note(&queues);
        drop(queues);
        self.0.limited.notify_waiters();
        self.0.due.notify_one();
        self.0.changed.send_replace(());
    }

    fn note(&self, queues: &Queues) {
        self.0.any.store(!queues.limited.is_empty() || !queues.former.is_empty(), Ordering::Release);
    }

    /// From now on no limit counts, since this process cannot heed them.
    pub(crate) fn ignore(&self, why: &str) {
        if !self.0.ignored.swap(true, Ordering::Relaxed) {
            tracing::info!("limits of sidekiq-limit_fetch are not heeded: {why}");
        }
        let mut queues = self.queues();
        *queues = Queues::default();
        self.note(&queues);
    }

    /// Notes an error of an exchange about permits. Returns it, unless it means that this user may not take any.
    pub(crate) fn check(&self, error: Error) -> Result<()> {
        if !is_not_permitted(&error) {
            return Err(error);
        }
        self.ignore("this user may not write limit_fetch:* and limit:*");
        Ok(())
    }

    /// Whether a queue has a limit, or had one of which permits may be left.
    pub(crate) fn any(&self) -> bool {
        self.0.any.load(Ordering::Acquire)
    }

    /// Whether a queue has a limit.
    pub(crate) fn contains(&self, queue: &str) -> bool {
        self.any() && self.queues().limited.contains(queue)
    }

    /// Waits until one of these queues has a limit; for ever if there are none.
    pub(crate) async fn limited(&self, names: &[Arc<str>]) {
        loop {
            let changed = self.0.limited.notified();
            if names.iter().any(|name| self.contains(name)) {
                return;
            }
            changed.await;
        }
    }

    /// The permits of a queue, if it is limited, are no longer as many as the jobs: one is over, or one came without a permit.
    pub(crate) fn differ(&self, queue: &str) {
        if !self.contains(queue) {
            return;
        }
        if self.queues().due.insert(queue.to_owned()) {
            self.0.due.notify_one();
        }
    }

    /// Waits until permits are to be returned. Cancel safe.
    pub(crate) async fn due(&self) {
        self.0.due.notified().await;
    }

    /// Changes when permits were returned, and when other queues have a limit.
    pub(crate) fn changed(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    /// Waits for the other scripts that change permits.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        Turn(self.0.turn.lock().await)
    }

    /// Has Redis count the jobs that this process holds: of queues where the count may differ, or of all. After an error it is to be called again.
    pub(crate) async fn correct(&self, store: &Store, all: bool) -> Result<()> {
        let due: Vec<String> = {
            let mut queues = self.queues();
            let Queues { limited, former, due } = &mut *queues;
            if all {
                due.extend(limited.iter().chain(former.iter()).cloned());
            }
            due.iter().cloned().collect()
        };
        for queue in due {
            let turn = self.turn().await;
            self.correct_queue(store, &queue, &turn).await?;
        }
        Ok(())
    }

    /// Corrects the permits of a queue if they may differ from the jobs.
    pub(crate) async fn correct_queue(&self, store: &Store, queue: &str, _turn: &Turn<'_>) -> Result<()> {
        // What changes from here on is for the next correction.
        if !self.queues().due.remove(queue) {
            return Ok(());
        }
        let is_limited = self.contains(queue);
        let (jobs, lists) = if is_limited { self.0.holdings.of_queue(queue) } else { (0, Vec::new()) };
        let freed = match store.hold_permits(&self.0.identity, queue, jobs, &lists).await {
            Ok(freed) => freed,
            Err(error) => {
                self.queues().due.insert(queue.to_owned());
                return self.check(error);
            }
        };
        if !is_limited {
            let mut queues = self.queues();
            queues.former.remove(queue);
            self.note(&queues);
        }
        if freed {
            self.0.changed.send_replace(());
        }
        Ok(())
    }

    /// Gives the gem a sign of life: else Ruby processes take the permits of this one for those of a dead process.
    pub(crate) async fn show(&self, store: &Store) -> Result<()> {
        if !self.any() {
            return Ok(());
        }
        store.show_to_limit_fetch(&self.0.identity).await.or_else(|error| self.check(error))
    }

    /// Removes the permits of dead processes from the lists of the limited queues.
    pub(crate) async fn free_those_of_the_dead(&self, store: &Store) -> Result<()> {
        let limited: Vec<String> = self.queues().limited.iter().cloned().collect();
        if limited.is_empty() {
            return Ok(());
        }
        let freed = match store.free_permits(&limited).await {
            Ok(freed) => freed,
            Err(error) => return self.check(error),
        };
        if freed > 0 {
            tracing::info!(permits = freed, "removed the permits of dead processes from limited queues");
            self.0.changed.send_replace(());
        }
        Ok(())
    }

    /// Returns all permits: this process runs nothing any more.
    pub(crate) async fn leave(&self, store: &Store) -> Result<()> {
        self.0.ignored.store(true, Ordering::Relaxed);
        let Queues { limited, former, .. } = std::mem::take(&mut *self.queues());
        if !self.0.any.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        for queue in limited.union(&former) {
            store.hold_permits(&self.0.identity, queue, 0, &[]).await?;
        }
        store.leave_limit_fetch(&self.0.identity).await
    }
}

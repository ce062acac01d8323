//! The whole of a server, as its reports see it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use crate::server::control::events::{Event, LifecycleHooks};
use crate::server::report::pulse::Pulse;
use crate::server::run::Runner;
use crate::server::shared::Shared;
use crate::store::Store;

/// The whole of a server, as its reports see it.
pub(crate) struct Process {
    pub(crate) shared: Arc<Shared>,
    pub(crate) runner: Arc<Runner>,
    pub(crate) hooks: LifecycleHooks,
    pub(crate) pulse: Pulse,
    /// Whether Redis may evict jobs, when it was last asked.
    pub(crate) evicts: AtomicBool,
    /// What it waits for while it starts.
    pub(crate) boot: Awaited,
}

impl Process {
    /// Calls the [lifecycle hooks](LifecycleHooks::fire) of a moment.
    pub(crate) async fn fire(&self, event: Event, deadline: Option<Instant>) {
        if !self.hooks.is_empty(event) {
            self.hooks.fire(event, &self.runner.server_context(), deadline).await;
        }
    }

    /// Warns if Redis may evict jobs, once for each change to such a policy. Does nothing where the policy cannot be read.
    pub(crate) async fn judge_eviction(&self, store: &Store) {
        let policy = store.eviction_policy().await;
        let evicts = policy.as_deref().filter(|policy| !matches!(*policy, "noeviction" | ""));
        let did = self.evicts.swap(evicts.is_some(), Ordering::Relaxed);
        if let Some(policy) = evicts.filter(|_| !did) {
            tracing::warn!(policy, "Redis may evict jobs when its memory is full: set maxmemory-policy to noeviction");
        }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("runner", &self.runner).finish_non_exhaustive()
    }
}

/// The cause for which a starting server waits; probes and systemd read it.
#[derive(Debug, Default)]
pub(crate) struct Awaited(Mutex<Option<String>>);

impl Awaited {
    /// The cause of the wait; `None` if the server does not wait.
    #[cfg(any(test, all(feature = "cli", unix)))]
    pub(crate) fn cause(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, cause: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = cause;
    }
}

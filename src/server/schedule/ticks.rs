//! The ticks of a server, from their description to the stop.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::job::JobResult;
use crate::server::control::events::{Event, LifecycleHooks};
use crate::server::control::handle::Handle;
use crate::server::run::Runner;
use crate::server::schedule::leader::{Election, Leadership};
use crate::server::schedule::tick::{Body, Tick, TickContext, TickOptions};

/// The ticks that a user described, and the group whose leader runs the leader-only ones.
#[derive(Clone)]
pub(crate) struct Ticks {
    pub(crate) group: String,
    ticks: Vec<(TickOptions, Body)>,
}

/// The shortest interval.
const SHORTEST: Duration = Duration::from_millis(1);
/// Bytes that the name of a group may have: it becomes part of a key.
const LONGEST_GROUP: usize = 100;

impl Default for Ticks {
    fn default() -> Self {
        Self { group: "default".to_owned(), ticks: Vec::new() }
    }
}

impl Ticks {
    pub(crate) fn add<Fut>(&mut self, options: TickOptions, tick: impl Fn(TickContext) -> Fut + Send + Sync + 'static)
    where
        Fut: Future<Output = JobResult> + Send + 'static,
    {
        self.ticks.push((options, Arc::new(move |context| Box::pin(tick(context)))));
    }

    /// Checks what the user described.
    pub(crate) fn check(&self) -> Result<()> {
        if let Some((tick, _)) = self.ticks.iter().find(|(tick, _)| tick.every < SHORTEST) {
            let (name, every) = (&tick.name, tick.every);
            return Err(Error::config(format!("the interval of tick {name:?} is {every:?}; it must be 1 ms or more")));
        }
        let group = &self.group;
        if group.is_empty()
            || group.len() > LONGEST_GROUP
            || group.contains(|c: char| c.is_control() || c.is_whitespace())
        {
            return Err(Error::config(format!(
                "the leader group {group:?} must have 1 to {LONGEST_GROUP} bytes and no spaces"
            )));
        }
        Ok(())
    }

    /// Starts the ticks, and the election if a tick or a hook needs a leader.
    pub(crate) fn start(self, runner: &Arc<Runner>, hooks: &LifecycleHooks) -> RunningTicks {
        let (supervisor, leadership) = (&runner.shared.supervisor, Arc::new(Leadership::default()));
        let needs_leader = self.ticks.iter().any(|(tick, _)| tick.leader_only) || !hooks.is_empty(Event::Leader);
        let election = needs_leader.then(|| {
            supervisor.spawn(Election::new(runner, self.group.clone(), Arc::clone(&leadership), hooks.clone()))
        });
        let (mut ticks, group) = (JoinSet::new(), Arc::from(self.group));
        for tick in self.ticks {
            let tick = Tick::new(tick, Arc::clone(runner), Arc::clone(&leadership), Arc::clone(&group));
            supervisor.spawn_in(&mut ticks, tick);
        }
        RunningTicks { ticks, leadership, election }
    }
}

impl fmt::Debug for Ticks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ticks: Vec<&TickOptions> = self.ticks.iter().map(|(options, _)| options).collect();
        f.debug_struct("Ticks").field("group", &self.group).field("ticks", &ticks).finish()
    }
}

/// The ticks of a running server.
#[derive(Debug)]
pub(crate) struct RunningTicks {
    ticks: JoinSet<()>,
    leadership: Arc<Leadership>,
    /// `None` on a server that takes no part in elections.
    election: Option<JoinHandle<()>>,
}

impl RunningTicks {
    /// Waits for the runs that are going on, up to the deadline or a stop without a wait, and cancels the rest; then gives the lease back,
    /// which takes `patience` at most.
    pub(crate) async fn stop(mut self, handle: Handle, deadline: Instant, patience: Duration) {
        let ended = async { while self.ticks.join_next().await.is_some() {} };
        tokio::select! {
            () = ended => {}
            () = tokio::time::sleep_until(deadline) => {}
            () = handle.now() => {}
        }
        if !self.ticks.is_empty() {
            tracing::error!(ticks = self.ticks.len(), "ticks still run when the timeout is over; they are cancelled");
        }
        self.ticks.shutdown().await;
        self.leadership.end();
        if let Some(mut election) = self.election
            && tokio::time::timeout(patience, &mut election).await.is_err()
        {
            election.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_and_groups_are_checked() {
        let check = |every: u64, group: &str| {
            let mut ticks = Ticks { group: group.to_owned(), ..Ticks::default() };
            ticks.add(TickOptions::every(Duration::from_micros(every)).name("often"), |_| async { Ok(()) });
            ticks.check().map_err(|error| error.to_string())
        };
        assert_eq!(check(1_000, "billing"), Ok(()));
        let often = "the interval of tick \"often\" is 999µs; it must be 1 ms or more";
        assert_eq!(check(999, "billing"), Err(often.to_owned()));
        for group in ["", "a b", "a\n", &"x".repeat(101)] {
            assert!(check(1_000, group).is_err(), "{group}");
        }
        assert_eq!(check(1_000, &"x".repeat(100)), Ok(()));
    }
}

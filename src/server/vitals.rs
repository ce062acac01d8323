//! Whether this process lives, and whether it takes work: what probes and supervisors ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::server::core::Core;
use crate::server::supervisor::Part;

/// Without a sign of the two runtimes for so long, the process counts as hung.
const HUNG: Duration = Duration::from_secs(20);
/// Between two signs.
const PERIOD: Duration = Duration::from_secs(1);
/// Threads that abandoned jobs may block, or as many as there are slots if those are fewer: beyond it only a new process helps.
const MOST_LOST: usize = 256;

/// When the runtimes of a server last moved. Redis has no part in this: to start a process anew brings Redis back no sooner.
#[derive(Debug)]
pub(crate) struct Pulse {
    since: Instant,
    /// Milliseconds from `since` to the last sign of the runtime that runs jobs.
    jobs: AtomicU64,
    /// The same of the heartbeat's.
    heart: AtomicU64,
    /// A beat reached Redis.
    beaten: AtomicBool,
}

impl Default for Pulse {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            jobs: AtomicU64::default(),
            heart: AtomicU64::default(),
            beaten: AtomicBool::default(),
        }
    }
}

impl Pulse {
    /// A beat reached Redis.
    pub(crate) fn beaten(&self) {
        self.beaten.store(true, Ordering::Relaxed);
    }

    fn sign(&self, of: &AtomicU64) {
        of.store(u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn is_hung(&self, of: &AtomicU64) -> bool {
        self.since.elapsed().saturating_sub(Duration::from_millis(of.load(Ordering::Relaxed))) > HUNG
    }
}

/// Gives signs of the runtime it runs on.
pub(crate) struct Ticks {
    core: Arc<Core>,
    name: &'static str,
    of: fn(&Pulse) -> &AtomicU64,
}

impl Ticks {
    /// For the runtime that runs jobs.
    pub(crate) fn of_jobs(core: Arc<Core>) -> Self {
        Self { core, name: "pulse of the jobs", of: |pulse| &pulse.jobs }
    }

    /// For the heartbeat's runtime.
    pub(crate) fn of_heart(core: Arc<Core>) -> Self {
        Self { core, name: "pulse of the heartbeat", of: |pulse| &pulse.heart }
    }
}

impl Part for Ticks {
    fn name(&self) -> &'static str {
        self.name
    }

    /// Until its runtime ends.
    async fn run(&mut self) {
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.core.pulse.sign((self.of)(&self.core.pulse));
        }
    }

    fn may_end(&self) -> bool {
        false
    }
}

/// What a server says of itself, to whoever is outside its runtimes.
#[derive(Clone, Debug)]
pub(crate) struct Vitals(Arc<Core>);

impl Vitals {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self(core)
    }

    /// Whether it moves; what does not if it does not.
    pub(crate) fn live(&self) -> Result<(), &'static str> {
        let pulse = &self.0.pulse;
        if pulse.is_hung(&pulse.jobs) {
            return Err("jobs block every thread of the runtime");
        }
        if pulse.is_hung(&pulse.heart) {
            return Err("the heartbeat hangs");
        }
        if self.0.supervisor.is_failing() {
            return Err("parts of the server fail again and again");
        }
        if self.0.blocking.threads().1 > self.0.telemetry.concurrency.min(MOST_LOST) {
            return Err("jobs that were given up block too many threads");
        }
        if self.0.progress.is_stuck() && self.takes_jobs() {
            return Err("jobs wait, slots are free, and none is taken");
        }
        Ok(())
    }

    /// Whether nothing keeps it from fetching.
    fn takes_jobs(&self) -> bool {
        let core = &self.0;
        !core.handle.is_quiet() && core.outages.is_online() && !core.liveness.is_silent() && !core.isolation.is_alert()
    }

    /// Looks whether the capsules take the jobs that wait; on every beat, after the sizes of the queues were read.
    pub(crate) fn look_at_progress(&self) {
        let core = &self.0;
        let waits = |queue: &str| core.telemetry.waits(queue) && !core.paused.contains(queue);
        core.progress.look(self.takes_jobs(), waits);
    }

    /// Whether it takes work; why not if it does not.
    pub(crate) fn ready(&self) -> Result<(), &'static str> {
        let core = &self.0;
        if core.handle.is_stopping() {
            return Err("stopping");
        }
        if core.handle.is_quiet() {
            return Err("quiet");
        }
        if !core.pulse.beaten.load(Ordering::Relaxed) {
            return Err("starting");
        }
        if !core.outages.is_online() || core.liveness.is_silent() {
            return Err("Redis does not answer");
        }
        if core.withheld.holds_slots() {
            return Err("jobs hold their slots: the key they belong in has another type");
        }
        self.live()
    }

    /// Every metric, for Prometheus.
    pub(crate) fn metrics(&self) -> String {
        crate::server::telemetry::prometheus::text(&self.0)
    }

    #[cfg(all(feature = "cli", unix))]
    pub(crate) fn handle(&self) -> &crate::server::Handle {
        &self.0.handle
    }

    /// What it waits for while it starts; `None` if it does not wait.
    #[cfg(all(feature = "cli", unix))]
    pub(crate) fn awaited(&self) -> Option<String> {
        self.0.boot.cause()
    }

    /// How many jobs run, and how many may.
    #[cfg(all(feature = "cli", unix))]
    pub(crate) fn busy(&self) -> (usize, usize) {
        (self.0.work.busy(), self.0.telemetry.concurrency)
    }

    /// How long a stop may take.
    #[cfg(all(feature = "cli", unix))]
    pub(crate) fn timeout(&self) -> Duration {
        self.0.config.timeout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_runtime_for_hung_that_gives_no_sign() {
        let pulse = Pulse { since: Instant::now() - Duration::from_secs(30), ..Pulse::default() };
        assert!(pulse.is_hung(&pulse.jobs));
        pulse.sign(&pulse.jobs);
        assert!(!pulse.is_hung(&pulse.jobs) && pulse.is_hung(&pulse.heart));
        assert!(!Pulse::default().is_hung(&AtomicU64::default()), "it has only begun");
    }
}

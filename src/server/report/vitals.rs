//! Whether this process lives, and whether it takes work: what probes and supervisors ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::server::control::supervisor::Part;
use crate::server::report::process::Process;
use crate::server::report::pulse::Pulse;

/// Between two signs.
const PERIOD: Duration = Duration::from_secs(1);
/// Threads that abandoned jobs may block, or as many as there are slots if those are fewer: beyond it only a new process helps.
const MOST_LOST: usize = 256;

/// Gives signs of the runtime it runs on.
pub(crate) struct Ticks {
    process: Arc<Process>,
    name: &'static str,
    of: fn(&Pulse) -> &AtomicU64,
}

impl Ticks {
    /// For the runtime that runs jobs.
    pub(crate) fn of_jobs(process: Arc<Process>) -> Self {
        Self { process, name: "pulse of the jobs", of: |pulse| &pulse.jobs }
    }

    /// For the heartbeat's runtime.
    pub(crate) fn of_heart(process: Arc<Process>) -> Self {
        Self { process, name: "pulse of the heartbeat", of: |pulse| &pulse.heart }
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
            self.process.pulse.sign((self.of)(&self.process.pulse));
        }
    }

    fn may_end(&self) -> bool {
        false
    }
}

/// Reads the state of a server from outside its runtimes.
#[derive(Clone, Debug)]
pub(crate) struct Vitals(Arc<Process>);

impl Vitals {
    pub(crate) fn new(process: Arc<Process>) -> Self {
        Self(process)
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
        if self.0.shared.supervisor.is_failing() {
            return Err("parts of the server fail again and again");
        }
        if self.0.runner.blocking.threads().1 > self.0.shared.stats.telemetry.concurrency.min(MOST_LOST) {
            return Err("jobs that were given up block too many threads");
        }
        if self.0.runner.fetch.progress.is_stuck() && self.takes_jobs() {
            return Err("jobs wait, slots are free, and none is taken");
        }
        Ok(())
    }

    /// Whether nothing keeps it from fetching.
    fn takes_jobs(&self) -> bool {
        let process = &self.0;
        !process.shared.handle.is_quiet()
            && process.shared.stats.outages.is_online()
            && !process.shared.stats.liveness.is_silent()
            && !process.runner.fetch.isolation.is_alert()
    }

    /// Looks whether the capsules take the jobs that wait; on every beat, after the sizes of the queues were read.
    pub(crate) fn look_at_progress(&self) {
        let process = &self.0;
        let fetch = &process.runner.fetch;
        // Other processes may have all that a limit allows.
        let is_kept = |queue: &str| fetch.paused.contains(queue) || fetch.limits.contains(queue);
        let waits = |queue: &str| process.shared.stats.telemetry.waits(queue) && !is_kept(queue);
        process.runner.fetch.progress.look(self.takes_jobs(), waits);
    }

    /// Whether it takes work; why not if it does not.
    pub(crate) fn ready(&self) -> Result<(), &'static str> {
        let process = &self.0;
        if process.shared.handle.is_stopping() {
            return Err("stopping");
        }
        if process.shared.handle.is_quiet() {
            return Err("quiet");
        }
        if !process.pulse.beaten.load(Ordering::Relaxed) {
            return Err("starting");
        }
        if !process.shared.stats.outages.is_online() || process.shared.stats.liveness.is_silent() {
            return Err("Redis does not answer");
        }
        if process.runner.settle.withheld.holds_slots() {
            return Err("jobs hold their slots: the key they belong in has another type");
        }
        self.live()
    }

    /// Every metric, for Prometheus.
    pub(crate) fn metrics(&self) -> String {
        crate::server::report::prometheus::text(&self.0)
    }

    #[cfg(all(feature = "cli", unix))]
    pub(crate) fn handle(&self) -> &crate::server::Handle {
        &self.0.shared.handle
    }

    /// What it waits for while it starts; `None` if it does not wait.
    #[cfg(all(feature = "cli", unix))]
    pub(crate) fn awaited(&self) -> Option<String> {
        self.0.boot.cause()
    }

    /// How many jobs run, and how many may.
    #[cfg(all(feature = "cli", unix))]
    pub(crate) fn busy(&self) -> (usize, usize) {
        (self.0.shared.stats.work.busy(), self.0.shared.stats.telemetry.concurrency)
    }

    /// How long a stop may take.
    #[cfg(all(feature = "cli", unix))]
    pub(crate) fn timeout(&self) -> Duration {
        self.0.shared.config.timeout
    }
}

//! Keeps the permits of this process in step with its jobs.

use std::sync::Arc;

use crate::error::Result;
use crate::server::control::supervisor::Part;
use crate::server::fetch::FetchState;

/// Returns the permits of jobs that are over, at once; and with each sign of life, every 5 s, corrects all of them and removes those of dead
/// processes. Does nothing in a shop without sidekiq-limit_fetch. Runs until it is aborted.
pub(crate) struct Permits(pub(crate) Arc<FetchState>);

impl Part for Permits {
    fn name(&self) -> &'static str {
        "permits"
    }

    async fn run(&mut self) {
        let limits = &self.0.limits;
        let mut outage = self.0.shared.stats.outages.part();
        let mut periods = tokio::time::interval(self.0.shared.stats.liveness.period());
        periods.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut all = true;
        loop {
            match self.correct(all).await {
                Ok(()) => {
                    outage.over();
                    all = tokio::select! {
                        () = limits.due() => false,
                        _ = periods.tick(), if limits.any() => true,
                    };
                }
                Err(error) => {
                    outage.note("correcting the permits of limited queues failed", &error);
                    outage.wait().await;
                }
            }
        }
    }

    fn may_end(&self) -> bool {
        false
    }
}

impl Permits {
    async fn correct(&self, all: bool) -> Result<()> {
        let (limits, store) = (&self.0.limits, &self.0.shared.store);
        if !limits.any() {
            return Ok(());
        }
        limits.correct(store, all).await?;
        if all {
            limits.free_those_of_the_dead(store).await?;
        }
        Ok(())
    }
}

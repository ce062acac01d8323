//! Stops a server that uses more memory than it may.

use std::time::Duration;

use crate::server::control::handle::Handle;
use crate::server::control::supervisor::Part;
use crate::server::settings::os::rss;
use crate::server::unit::MemoryLimit;

/// Between two looks.
const PERIOD: Duration = Duration::from_millis(250);

/// Stops the server once the process uses more than its limit, whether Redis answers or not.
pub(crate) struct MemoryWatch {
    pub(crate) limit: MemoryLimit,
    pub(crate) handle: Handle,
}

impl Part for MemoryWatch {
    fn name(&self) -> &'static str {
        "memory watch"
    }

    /// Until the server stops.
    async fn run(&mut self) {
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.handle.is_stopping() {
                return;
            }
            let rss = rss().unwrap_or(0);
            if let Some(limit) = self.limit.exceeded_by(rss) {
                let (rss_kb, limit_kb) = (rss / 1_024, limit / 1_024);
                tracing::warn!(rss_kb, limit_kb, "more memory than allowed: stopping, to be started again");
                self.handle.stop();
            }
        }
    }

    fn may_end(&self) -> bool {
        self.handle.is_stopping()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::stats::work::WorkState;

    #[tokio::test]
    async fn stops_the_server_without_any_redis() {
        let (limit, handle) = (MemoryLimit::at(1, 0), Handle::new(WorkState::default()));
        let mut watch = MemoryWatch { limit: limit.clone(), handle: handle.clone() };
        watch.run().await;
        assert!(handle.is_stopping() && limit.is_exceeded() && watch.may_end());
    }
}

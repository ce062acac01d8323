//! What the tasks of a server write about themselves: counters, the work set, metrics, signs of life, outages. Nothing here reads Redis or
//! shows anything; that is what `report` does.

pub(crate) mod catalog;
pub(crate) mod counter;
#[cfg(feature = "metrics")]
pub(crate) mod facade;
pub(crate) mod liveness;
pub(crate) mod metrics;
pub(crate) mod outage;
pub(crate) mod telemetry;
pub(crate) mod work;

use std::sync::Arc;

use liveness::Liveness;
use metrics::Metrics;
use outage::Outages;
use telemetry::Telemetry;
use work::{Counters, WorkState};

/// All that the tasks of one server write about themselves.
#[derive(Debug)]
pub(crate) struct Stats {
    pub(crate) counters: Counters,
    pub(crate) metrics: Metrics,
    pub(crate) telemetry: Telemetry,
    pub(crate) work: WorkState,
    pub(crate) liveness: Arc<Liveness>,
    pub(crate) outages: Outages,
}

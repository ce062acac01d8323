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

//! What reads all of a server and shows it: the heartbeat, the probes, the metrics. Nothing below knows it exists.

pub(crate) mod health;
pub(crate) mod heartbeat;
mod info;
mod process;
pub(crate) mod prometheus;
#[cfg(feature = "metrics")]
pub(crate) mod publish;
pub(crate) mod pulse;
mod sample;
pub(crate) mod vitals;

pub(crate) use process::{Awaited, Process};

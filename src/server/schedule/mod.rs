//! Jobs that become due, and what a server does at intervals for its user.

mod beside_ruby;
mod large;
pub(crate) mod leader;
mod plan;
pub(crate) mod poller;
mod sweep;
pub(crate) mod tick;
pub(crate) mod ticks;

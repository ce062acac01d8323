//! Jobs that become due.

mod beside_ruby;
mod large;
mod plan;
pub(crate) mod poller;
mod sweep;

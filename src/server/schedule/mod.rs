//! Jobs that become due.

mod beside_ruby;
mod large;
pub(crate) mod poller;
mod sweep;

//! Returns jobs to their queues: those of dead processes, and those that no processor of this process holds.

pub(crate) mod lookout;
pub(crate) mod named;
pub(crate) mod reconcile;
mod stuck;

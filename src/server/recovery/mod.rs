//! What happens to the jobs that nobody settles: those of dead processes, those fetched for nobody, those of a process that must end now.

#[cfg(feature = "cli")]
pub(crate) mod last_resort;
pub(crate) mod lookout;
pub(crate) mod named;
pub(crate) mod reconcile;
mod stuck;

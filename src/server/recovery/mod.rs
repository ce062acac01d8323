//! What happens to the jobs that nobody settles: those of dead processes and those fetched for nobody.

pub(crate) mod lookout;
pub(crate) mod named;
pub(crate) mod reconcile;
mod stuck;

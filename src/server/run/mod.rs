//! One job, from a claimed unit to its outcome.

mod admission;
mod failure_log;
pub(crate) mod foreign;
pub(crate) mod hooks;
pub(crate) mod iterating;
mod job_log;
pub(crate) mod manager;
pub(crate) mod middleware;
mod processor;
pub(crate) mod registry;
pub(crate) mod retry;
mod runner;

pub use runner::ErrorReport;
pub(crate) use runner::{ErrorHandler, Runner};

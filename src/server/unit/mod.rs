//! Claimed jobs: a [`UnitOfWork`] is one job, a [`Batch`] the jobs of one claim. Data and ownership; no tasks, and no Redis.

mod batch;
mod holdings;
mod memory;
mod memory_limit;
mod unacknowledged;

pub(crate) use batch::{Batch, UnitOfWork};
pub(crate) use holdings::{Expected, Holdings};
pub(crate) use memory::Memory;
pub(crate) use memory_limit::MemoryLimit;
pub(crate) use unacknowledged::{MARGIN, Unacknowledged};

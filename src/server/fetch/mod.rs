//! The way of a job from Redis to a free slot.
//!
//! A capsule has one [`Fetcher`]; it puts [`UnitOfWork`](crate::server::unit::UnitOfWork)s into the capsule's [`Intake`](intake::Intake).

mod basic;
mod fetcher;
mod idle;
pub(crate) mod intake;
pub(crate) mod isolation;
pub(crate) mod limits;
mod pace;
pub(crate) mod paused;
mod permits;
pub(crate) mod progress;
mod reliable;
mod source;
mod watcher;

pub(crate) use fetcher::Fetcher;
pub(crate) use permits::Permits;
pub(crate) use source::Source;

use std::sync::Arc;

use isolation::Isolation;
use limits::Limits;
use paused::Paused;
use progress::Progress;

use crate::server::shared::Shared;
use crate::server::unit::{Holdings, MemoryLimit};

/// What the tasks that fetch jobs share.
#[derive(Debug)]
pub(crate) struct FetchState {
    pub(crate) shared: Arc<Shared>,
    pub(crate) holdings: Holdings,
    pub(crate) isolation: Arc<Isolation>,
    pub(crate) paused: Paused,
    pub(crate) limits: Limits,
    pub(crate) progress: Progress,
    pub(crate) memory_limit: MemoryLimit,
}

//! The way of a job from its outcome back to Redis.
//!
//! The processor reports each outcome to the [`Settler`]. It knows whether jobs lie in private lists meanwhile (`reliable`) or nowhere (`basic`);
//! neither the processor nor the manager does.

mod acknowledger;
pub(crate) mod riding;
mod rounds;
mod settlement;
mod settler;
mod storing;
pub(crate) mod withheld;

pub(crate) use acknowledger::Acknowledger;
pub(crate) use settlement::Settlement;
pub(crate) use settler::{Destination, Settled, Settler};
pub(crate) use storing::Storing;

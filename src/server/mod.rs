//! The working half: fetches jobs, runs them, and leaves Redis as Sidekiq would.
//!
//! ARCHITECTURE.md has its floors.

mod boot;
mod builder;
mod control;
mod fetch;
#[cfg(feature = "cli")]
mod last_resort;
mod launcher;
mod recovery;
pub(crate) mod report;
pub(crate) mod run;
mod schedule;
mod settings;
mod settle;
mod shared;
pub(crate) mod stats;
#[cfg(test)]
#[cfg(all(feature = "api", feature = "testing"))]
mod survival;
mod unit;
mod worker;

pub use builder::ServerBuilder;
pub use control::events::{Event, LifecycleHook, ServerContext};
pub use control::handle::{Handle, Stopped};
pub use run::ErrorReport;
#[cfg(feature = "contract")]
pub(crate) use run::foreign::{Foreign, Owner, error as foreign_error};
pub use run::hooks::EndedJob;
pub use run::middleware::{Next, ServerMiddleware};
pub use run::registry::Wrapping;
#[cfg(feature = "contract")]
pub(crate) use run::registry::{AnyJob, Registry};
pub use schedule::tick::{TickContext, TickOptions};
pub use settings::capsule::{Capsule, CapsuleBuilder, QueueMode};
#[cfg(all(test, feature = "cli"))]
pub(crate) use settings::config::BOOT_TIMEOUT;
#[cfg(feature = "cli")]
pub(crate) use settings::config::MaxRss;
pub use settings::config::{
    Config, DEFAULT_HEALTH, FetchMode, ForeignJobs, Promote, RemoteSignals, UnknownClasses, WireVersion,
};
pub use settle::riding::Ending;
pub use worker::Server;

pub use crate::store::lease::FencedScript;

//! Run Sidekiq jobs in Rust: the same Redis, the same payloads, the same Web UI.
//!
//! - [`Job`]: what to run; [`Server`] runs it; [`cli::run`] is a worker's whole `main`
//! - [`Client`] and [`Payload`]: what to push
//! - [`server`]: capsules, fetchers, middleware, events
//! - the guide in `docs/guide/`: getting started, moving a job, patterns, configuration, deployment, metrics
//! - `active_job` (feature `active-job`): the jobs of a Rails app
//!
//! Features: `cli` (the default, with `server`), `server`, `active-job`, `contract`, `metrics`, `otel`, `testing`, `tls`. An app that
//! only enqueues takes none: `default-features = false`.
//!
//! ```no_run
//! use ferrokiq::{Context, Job, JobResult, Server};
//!
//! struct HardJob;
//!
//! impl Job for HardJob {
//!     const CLASS: &'static str = "HardJob";
//!     type Args = (i64, String);
//!
//!     async fn perform(&self, _cx: Context, (id, name): Self::Args) -> JobResult {
//!         println!("{id}: {name}");
//!         Ok(())
//!     }
//! }
//!
//! #[tokio::main]
//! async fn main() -> std::process::ExitCode {
//!     ferrokiq::cli::run(Server::builder().register(HardJob)).await
//! }
//! ```

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "a test awaits what it spawns"))]

#[cfg(feature = "active-job")]
pub mod active_job;
#[cfg(feature = "server")]
pub mod api;
mod boxed;
#[cfg(feature = "cli")]
pub mod cli;
pub mod client;
#[cfg(feature = "server")]
mod contain;
#[cfg(feature = "server")]
mod distance;
pub mod error;
#[cfg(all(any(test, fuzzing), feature = "cli"))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(test)]
mod generated;
#[cfg(all(any(doc, doctest), feature = "cli"))]
pub mod guide;
mod jid;
pub mod job;
#[cfg(feature = "server")]
mod late;
#[cfg(feature = "server")]
mod limits;
#[cfg(feature = "otel")]
pub mod otel;
pub mod payload;
#[cfg(feature = "server")]
pub mod server;
mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod time;

pub use client::{Client, ClientMiddleware};
pub use error::{Error, ErrorKind, RedisFault, Result};
pub use job::{Args, BlockingJob, Context, Job, JobError, JobOptions, JobResult, OnExhausted, RetryIn};
pub use payload::{Jid, Payload, Retry};
#[cfg(feature = "contract")]
pub use schemars;
#[cfg(feature = "server")]
pub use server::{Event, Server, ServerBuilder, ServerMiddleware};
pub use store::{Credentials, RedisOptions, Tls};

/// The code in the README compiles.
#[cfg(all(doctest, feature = "cli"))]
#[doc = include_str!("../README.md")]
struct Readme;

//! Run Sidekiq jobs in Rust: the same Redis, the same payloads, the same Web UI.
//!
//! - [`Job`]: what to run; [`Server`] runs it; [`cli::run`] is a worker's whole `main`
//! - [`Client`] and [`Payload`]: what to push
//! - [`server`]: capsules, fetchers, middleware, events
//! - the guide in `docs/guide/`: getting started, moving a job, patterns, configuration, deployment, metrics
//! - `api` (feature `api`): queues, sets, processes and metrics of any Sidekiq, read and changed; needs no worker
//! - `active_job` (feature `active-job`): the jobs of a Rails app
//!
//! Features: `cli` (a default, with `server`), `api` (a default), `server`, `active-job`, `contract`, `metrics`, `otel`, `testing`, `tls`. An app that
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
#[cfg(feature = "api")]
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
#[cfg(all(any(test, fuzzing), feature = "api", feature = "cli"))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(test)]
mod generated;
#[cfg(all(any(doc, doctest), feature = "cli"))]
pub mod guide;
mod jid;
pub mod job;
#[cfg(any(feature = "api", feature = "server"))]
#[cfg_attr(not(feature = "server"), allow(dead_code, reason = "the Data API uses a part of it"))]
mod late;
#[cfg(any(feature = "api", feature = "server"))]
#[cfg_attr(not(feature = "server"), allow(dead_code, reason = "the Data API uses a part of it"))]
mod limits;
#[cfg(feature = "otel")]
pub mod otel;
pub mod payload;
#[cfg(any(feature = "api", feature = "server"))]
pub mod probe;
#[cfg(feature = "server")]
pub mod server;
#[cfg_attr(
    any(all(feature = "api", not(feature = "server")), all(feature = "server", not(feature = "api"))),
    allow(dead_code, reason = "the Data API and the server each call a part of it")
)]
mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod time;

pub use client::{Client, ClientMiddleware};
pub use error::{Error, ErrorKind, RedisFault, Result};
pub use job::{Args, BlockingJob, Context, Job, JobError, JobOptions, JobResult, OnExhausted, Outcome, RetryIn};
pub use payload::{Jid, Payload, Retry};
#[cfg(feature = "contract")]
pub use schemars;
#[cfg(feature = "server")]
pub use server::{Ending, Event, Server, ServerBuilder, ServerMiddleware};
pub use store::{Credentials, RedisOptions, Script, Tls};
#[cfg(feature = "server")]
pub use store::{KeyType, Rider};

/// The code in the README compiles.
#[cfg(all(doctest, feature = "cli"))]
#[doc = include_str!("../README.md")]
struct Readme;

//! Run Sidekiq jobs in Rust.

#[cfg(feature = "cli")]
pub mod cli;
pub mod client;
pub mod error;
pub mod job;
pub mod payload;
#[cfg(feature = "server")]
pub mod server;
mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod time;

pub use client::{Client, ClientMiddleware};
pub use error::{Error, ErrorKind, Result};
pub use job::{Args, BlockingJob, Context, Job, JobError, JobOptions, JobResult, OnExhausted, RetryIn};
pub use payload::{Jid, Payload, Retry};
#[cfg(feature = "server")]
pub use server::{Event, Server, ServerBuilder, ServerMiddleware};
pub use store::RedisOptions;

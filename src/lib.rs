//! Run Sidekiq jobs in Rust.

pub mod error;
pub mod payload;
#[cfg(feature = "server")]
pub mod server;
mod store;
pub mod time;

pub use error::{Error, ErrorKind, Result};
pub use payload::{Jid, Payload, Retry};
#[cfg(feature = "server")]
pub use server::{Server, ServerBuilder};
pub use store::RedisOptions;

//! A server and a client against a Redis of the test's own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should end")]
#![expect(clippy::disallowed_methods, reason = "a test awaits what it spawns")]

mod access;
mod ambiguity;
mod bad_input;
mod causes;
mod client;
mod fleet;
mod foreign;
mod forgotten;
mod health;
mod hooks;
mod hostile;
mod large;
mod leader;
mod lifecycle;
mod limits;
mod old_data;
mod operations;
#[cfg(feature = "otel")]
mod otel;
mod outages;
mod outcomes;
mod ownership;
mod passing;
mod processes;
mod promises;
mod promotion;
mod promotion_beside_ruby;
mod reliable;
mod retries;
mod riders;
mod rights;
mod runtimes;
mod sentinel;
mod slow_link;
#[cfg(feature = "active-job")]
mod steps;
mod support;
mod survival;
mod suspects;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
mod tls_redis;
mod watching;
mod wrong_types;

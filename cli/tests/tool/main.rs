//! The tool as a process, on a Redis of the test's own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should end")]
#![expect(clippy::disallowed_methods, reason = "a test awaits what it spawns")]

mod causes;
#[allow(dead_code, reason = "shared with the library's tests")]
#[path = "../../../compat-tests/integration/support.rs"]
mod support;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
#[allow(dead_code, reason = "shared with the library's tests")]
#[path = "../../../compat-tests/integration/tls_redis.rs"]
mod tls_redis;
mod top;

use redis::RedisError;

use super::refusal::Refusal;
#[cfg(feature = "server")]
use super::refusal::redis_error;

use crate::error::{Error, ErrorKind};

/// A failed command as the crate's error. `doing` says what was tried, and never holds a payload.
pub(super) fn failed(doing: &str, error: RedisError) -> Error {
    // An answer, even a refusal, is certain; silence is not. A connection that could not be made sent nothing.
    let kind =
        if error.is_io_error() && !error.is_connection_refusal() { ErrorKind::Ambiguous } else { ErrorKind::Redis };
    Error::new(kind, format!("{doing} failed")).because(Refusal(error))
}

/// A connection that could not be made: whatever it was for did not happen.
pub(super) fn unreachable(whom: &str, error: RedisError) -> Error {
    Error::new(ErrorKind::Redis, format!("cannot reach {whom}")).because(Refusal(error))
}

/// The code in front of Redis's refusal, if it refused.
#[cfg(feature = "server")]
pub(super) fn code(error: &Error) -> Option<&str> {
    redis_error(error)?.code()
}

/// A failover is going on: the same command, sent once more on a new connection, is likely to reach the new primary.
/// Sidekiq's three.
pub(super) fn is_failover(error: &RedisError) -> bool {
    matches!(error.code(), Some("READONLY" | "NOREPLICAS" | "UNBLOCKED"))
}

/// Whether a key held another type than the command is for.
#[cfg(feature = "server")]
pub(crate) fn is_wrong_type(error: &Error) -> bool {
    code(error) == Some("WRONGTYPE")
}

use std::fmt;

use redis::RedisError;

#[cfg(any(feature = "api", feature = "server"))]
use super::refusal::redis_error;
use super::refusal::{Refusal, has_code, without_quotations};
use super::wire::Request;
use crate::error::{Error, ErrorKind, RedisFault};

/// How much of a request Redis applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Applied {
    /// Nothing that counts: the request may be sent again.
    Nothing,
    /// Some commands but not all: the request must not be sent again as a whole.
    Part,
    /// All, part or nothing: the answer is lost or unreadable.
    Unknown,
}

/// A failed request as the crate's error. `doing` says what was tried, and never holds a payload.
pub(super) fn failed(doing: &str, applied: Applied, error: RedisError) -> Error {
    failed_at(doing, applied, None, error)
}

/// The same, with the key whose type was wrong.
fn failed_at(doing: &str, applied: Applied, wrong_key: Option<String>, error: RedisError) -> Error {
    let (kind, how) = match applied {
        Applied::Nothing => (ErrorKind::Redis, "failed"),
        Applied::Part => (ErrorKind::Partial, "was done only in part"),
        Applied::Unknown => (ErrorKind::Ambiguous, "failed"),
    };
    let key = wrong_key.map_or_else(String::new, |key| format!(": the key {key} has another type; rename it"));
    Error::new(kind, format!("{doing} {how}{key}")).with_fault(fault(&error)).because(Refusal(error))
}

impl Request<'_> {
    /// This request, which failed with `error`, as the crate's error.
    pub(super) fn failed(self, doing: &str, error: RedisError) -> Error {
        failed_at(doing, self.applied(&error), self.wrong_key(&error), error)
    }
}

/// What stands in the way: of several refusals, the one that has to be mended first.
fn fault(error: &RedisError) -> RedisFault {
    let is = |codes: &[&str]| has_code(error, codes);
    if error.kind() == redis::ErrorKind::AuthenticationFailed || is(&["NOAUTH", "WRONGPASS", "NOPERM"]) {
        RedisFault::Denied
    } else if is(&[
        "READONLY",
        "LOADING",
        "OOM",
        "MASTERDOWN",
        "MISCONF",
        "BUSY",
        "NOREPLICAS",
        "CLUSTERDOWN",
        "TRYAGAIN",
    ]) {
        RedisFault::Unwilling
    } else if is(&["WRONGTYPE"]) {
        RedisFault::WrongType
    } else if error.is_io_error() || error.is_connection_refusal() {
        RedisFault::Unreachable
    } else {
        RedisFault::Other
    }
}

/// Why a connection could not be made. Everybody who waited for it is told.
#[derive(Clone)]
pub(super) enum Unreachable {
    Redis(Refusal),
    /// Another attempt may succeed.
    Because(String),
    /// The server answered, and cannot be used as it is.
    Unfit {
        why: String,
        fault: RedisFault,
    },
}

impl Unreachable {
    /// Whether the server closed the connection.
    pub(super) fn is_dropped(&self) -> bool {
        matches!(self, Self::Redis(Refusal(error)) if error.is_connection_dropped())
    }
}

impl From<RedisError> for Unreachable {
    fn from(error: RedisError) -> Self {
        Self::Redis(Refusal(error))
    }
}

/// A connection that could not be made: whatever it was for did not happen.
pub(super) fn unreachable(whom: &str, why: Unreachable) -> Error {
    let fault = match &why {
        Unreachable::Redis(Refusal(error)) => match fault(error) {
            RedisFault::Other => RedisFault::Unreachable,
            told => told,
        },
        Unreachable::Because(_) => RedisFault::Unreachable,
        Unreachable::Unfit { fault, .. } => *fault,
    };
    Error::new(ErrorKind::Redis, format!("cannot reach {whom}")).with_fault(fault).because(why)
}

impl std::error::Error for Unreachable {}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = match self {
            Self::Redis(error) => error.to_string(),
            Self::Because(why) | Self::Unfit { why, .. } => why.clone(),
        };
        f.write_str(&without_quotations(said))
    }
}

impl fmt::Debug for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Unreachable").field(&self.to_string()).finish()
    }
}

/// A failover is going on: the same command, sent once more on a new connection, is likely to reach the new primary.
pub(super) fn is_failover(error: &RedisError) -> bool {
    has_code(error, &["READONLY", "UNBLOCKED", "MASTERDOWN"])
}

#[cfg(any(feature = "api", feature = "server"))]
fn was_refused(error: &Error, codes: &[&str]) -> bool {
    redis_error(error).is_some_and(|error| has_code(error, codes))
}

/// Whether a key held another type than the command is for.
#[cfg(any(feature = "api", feature = "server"))]
pub(crate) fn is_wrong_type(error: &Error) -> bool {
    was_refused(error, &["WRONGTYPE"])
}

/// Whether Redis refused a write in a state in which it answers reads. Not `OOM`: Redis takes some writes then.
#[cfg(any(feature = "api", feature = "server"))]
pub(crate) fn refuses_writes(error: &Error) -> bool {
    was_refused(error, &["NOREPLICAS", "READONLY", "MISCONF"])
}

/// Whether Redis refused for want of rights or another password: nothing that goes over by itself.
#[cfg(any(feature = "api", feature = "server"))]
pub(crate) fn is_denied(error: &Error) -> bool {
    error.redis_fault() == Some(RedisFault::Denied)
}

/// Whether Redis refused a command since this user may not use it, or not on these keys.
#[cfg(feature = "server")]
pub(crate) fn is_not_permitted(error: &Error) -> bool {
    let refusal = std::error::Error::source(error).and_then(|source| source.downcast_ref::<Refusal>());
    refusal.is_some_and(|Refusal(error)| has_code(error, &["NOPERM"]))
}

/// Errors after which a connection is not to be trusted: silence, a broken line, a stream that cannot be parsed, a server
/// that is no longer the primary, and one that wants other credentials.
pub(super) fn drops_connection(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_unrecoverable_error()
        || has_code(error, &["READONLY", "UNBLOCKED", "MASTERDOWN", "NOAUTH", "WRONGPASS"])
}

/// Whether Redis answered that it does not want to, and the connection is as good as before.
#[cfg(any(feature = "api", feature = "server"))]
pub(crate) fn is_refusal(error: &Error) -> bool {
    redis_error(error).is_some_and(|error| error.clone().into_server_errors().is_some() && !drops_connection(error))
}

/// The error of a command that Redis refused with this code.
#[cfg(all(test, feature = "server"))]
pub(crate) fn refused_with(code: &str) -> Error {
    let answer = redis::parse_redis_value(format!("-{code} a test's\r\n").as_bytes());
    failed("test", Applied::Nothing, answer.and_then(redis::Value::extract_error).expect_err("it is an error"))
}

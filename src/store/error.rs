use std::fmt;

use redis::RedisError;

use crate::error::{Error, ErrorKind};

/// A failed command as the crate's error. `doing` says what was tried, and never holds a payload.
pub(super) fn failed(doing: &str, error: RedisError) -> Error {
    // An answer, even a refusal, is certain; silence is not. A connection that could not be made sent nothing.
    let kind =
        if error.is_io_error() && !error.is_connection_refusal() { ErrorKind::Ambiguous } else { ErrorKind::Redis };
    Error::new(kind, format!("{doing} failed")).because(Cause(error))
}

/// A connection that could not be made: whatever it was for did not happen.
pub(super) fn unreachable(whom: &str, error: RedisError) -> Error {
    Error::new(ErrorKind::Redis, format!("cannot reach {whom}")).because(Cause(error))
}

/// The code in front of Redis's refusal, if it refused.
#[cfg(feature = "server")]
pub(super) fn code(error: &Error) -> Option<&str> {
    std::error::Error::source(error)?.downcast_ref::<Cause>()?.0.code()
}

/// What the client library says, without what a server quoted: one that does not know a command repeats its arguments, a
/// password among them, and one that refuses a command names the user.
struct Cause(RedisError);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_quotations(self.0.to_string()))
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisError({self})")
    }
}

impl std::error::Error for Cause {}

const REFUSED: &str = " has no permissions";

fn without_quotations(mut text: String) -> String {
    // A password stands behind this word, whoever quotes a login and however.
    for quotation in [", with args", "AUTH "].into_iter().chain(["'AUTH'", "`AUTH`", "\"AUTH\""]) {
        if let Some(at) = text.find(quotation) {
            text.truncate(at);
        }
    }
    // There is one for each command of a pipeline.
    let mut parts: Vec<&str> = text.split(REFUSED).collect();
    let last = parts.pop().unwrap_or_default();
    let nameless = |part: &str| match part.rfind("User ") {
        Some(user) => format!("{}User{REFUSED}", &part[..user]),
        None => format!("{part}{REFUSED}"),
    };
    parts.into_iter().map(nameless).collect::<String>() + last
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_repeats_what_a_server_quotes() {
        for (said, shown) in [
            (
                "ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'me' 's3cr3t' ",
                "unknown command 'HELLO'",
            ),
            ("ERR bad request: `HELLO` `3` `AUTH` `me` `s3cr3t`", "bad request: `HELLO` `3` "),
            ("ERR cannot parse HELLO 3 AUTH me s3cr3t", "cannot parse HELLO 3 "),
            (
                "NOPERM User s3cr3t-user has no permissions to run the 'info' command",
                "User has no permissions to run the 'info' command",
            ),
            (
                "ERR (1, NOPERM: User s3cr3t has no permissions to run 'a'), (2, NOPERM: User s3cr3t has no permissions to run 'b')",
                "(1, NOPERM: User has no permissions to run 'a'), (2, NOPERM: User has no permissions to run 'b')",
            ),
            ("WRONGPASS invalid username-password pair or user is disabled.", "invalid username-password pair"),
        ] {
            let error = redis::parse_redis_value(format!("-{said}\r\n").as_bytes())
                .and_then(redis::Value::extract_error)
                .expect_err("it is an error");
            for error in [failed("ping", error.clone()), unreachable("redis://host", error)] {
                let told = format!("{error} {error:?} {}", std::error::Error::source(&error).unwrap());
                assert!(!told.contains("s3cr3t"), "{told}");
                assert!(told.contains(shown), "{told}");
            }
        }
    }
}

//! What Redis and the client library say of a failure, fit to be shown.

use std::fmt;

use redis::RedisError;

#[cfg(any(feature = "api", feature = "server"))]
use crate::error::Error;

/// An error of the client library, without what a server quoted: one that does not know a command repeats its arguments, a
/// password among them, and one that refuses a command names the user.
#[derive(Clone)]
pub(super) struct Refusal(pub(super) RedisError);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_quotations(own_words(&self.0)))?;
        if has_code(&self.0, &["CROSSSLOT", "MOVED", "ASK", "CLUSTERDOWN"]) {
            f.write_str(
                "; Redis runs in cluster mode, which Sidekiq and ferrokiq cannot use: take a server without it",
            )?;
        }
        Ok(())
    }
}

/// What Redis answered, in its own words; for other errors those of the client library, which renames the codes it knows.
fn own_words(error: &RedisError) -> String {
    let refusals = if error.is_io_error() { None } else { error.clone().into_server_errors() };
    match refusals.as_deref() {
        Some([(_, refusal)]) if refusal.code() != "ERR" => match refusal.details() {
            Some(details) => format!("{} {details}", refusal.code()),
            None => refusal.code().to_owned(),
        },
        _ => error.to_string(),
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisError({self})")
    }
}

impl std::error::Error for Refusal {}

/// What the client library said, where it is behind an error.
#[cfg(any(feature = "api", feature = "server"))]
pub(super) fn redis_error(error: &Error) -> Option<&RedisError> {
    std::error::Error::source(error)?.downcast_ref::<Refusal>().map(|refusal| &refusal.0)
}

const REFUSED: &str = " has no permissions";

pub(super) fn without_quotations(mut text: String) -> String {
    // A password stands behind this word, whoever quotes a login and however; but `AUTH <password>` explains.
    let login = text.match_indices("AUTH").map(|(at, word)| (at, &text[at + word.len()..]));
    let login = login.filter(|(_, rest)| rest.starts_with([' ', '\'', '`', '"']) && !rest.starts_with(" <"));
    let login = login.map(|(at, _)| at).find(|at| !text[..*at].ends_with("NO"));
    if let Some(at) = [login, text.find(", with args")].into_iter().flatten().min() {
        text.truncate(at);
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

/// Whether Redis refused with one of these codes, anything of it if it was several commands: the library tells the code of
/// single commands only.
pub(super) fn has_code(error: &RedisError, codes: &[&str]) -> bool {
    if error.is_io_error() {
        return false;
    }
    error
        .clone()
        .into_server_errors()
        .is_some_and(|refusals| refusals.iter().any(|(_, refusal)| codes.contains(&refusal.code())))
}

#[cfg(test)]
mod tests {
    use crate::store::error::{Applied, failed, unreachable};

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
            ("ERR AUTH <password> called without any password", "AUTH <password> called without any password"),
            ("NOAUTH Authentication required.", "NOAUTH Authentication required."),
            ("LOADING Redis is loading the dataset in memory", "LOADING Redis is loading the dataset in memory"),
            ("WRONGPASS invalid username-password pair or user is disabled.", "invalid username-password pair"),
        ] {
            let error = redis::parse_redis_value(format!("-{said}\r\n").as_bytes())
                .and_then(redis::Value::extract_error)
                .expect_err("it is an error");
            for error in [failed("ping", Applied::Nothing, error.clone()), unreachable("redis://host", error.into())] {
                let told = format!("{error} {error:?} {}", std::error::Error::source(&error).unwrap());
                assert!(!told.contains("s3cr3t"), "{told}");
                assert!(told.contains(shown), "{told}");
            }
        }
    }
}

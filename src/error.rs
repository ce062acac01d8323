//! Failures of the machinery: Redis, payloads, arguments, configuration. Never of a user's job, which fails with a
//! [`JobError`](crate::JobError).

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use crate::jid::Jid;

/// What every fallible function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type BoxError = Box<dyn StdError + Send + Sync>;

/// Something the machinery could not do.
///
/// Opaque on purpose: match on [`kind`](Error::kind) or ask a predicate. `Display` says what went wrong,
/// [`source`](StdError::source) says why, and neither ever holds a password.
///
/// ```
/// use ferrokiq::{ErrorKind, Payload};
///
/// let error = Payload::parse("[]").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Payload);
/// assert!(!error.is_redis());
/// ```
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    source: Option<Arc<dyn StdError + Send + Sync>>,
    jid: Option<Jid>,
    replicas: Option<usize>,
    pushed: Option<usize>,
    fault: Option<RedisFault>,
}

/// The room an [`Error`] comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Redis could not be reached, refused a command or answered nonsense. The command was **not** applied.
    Redis,
    /// Redis did not answer in time: the command may or may not have been applied. [`Error::jid`] names the job,
    /// where one was being pushed, so that the caller can look for it before pushing again.
    Ambiguous,
    /// Redis applied some commands of several and refused the others; [`source`](StdError::source) names what it refused. Never the
    /// outcome of a push.
    Partial,
    /// The push was applied, but fewer replicas than asked for [confirmed](Error::replicas) it in time: the job will run, unless
    /// the primary is lost before its replicas catch up. Pushing again makes a second job, except of a client that is
    /// [idempotent](crate::Client::idempotent).
    Unconfirmed,
    /// A job payload that is not what Sidekiq would accept.
    Payload,
    /// Arguments that do not fit a job, or cannot be written as JSON.
    Args,
    /// Settings that make no sense: found while building a server or client, before anything runs.
    Config,
    /// A middleware refused with an error of its own.
    Middleware,
    /// A write of a leader was refused: its lease is not the current one, since another process leads or Redis lost the lease. Nothing was
    /// written.
    NotLeader,
}

/// What is wrong with Redis, as far as it said so; see [`Error::redis_fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RedisFault {
    /// It cannot be reached, or went silent.
    Unreachable,
    /// Another password, or a user without the right.
    Denied,
    /// A key holds another type than Sidekiq keeps there.
    WrongType,
    /// It does not take this now: a read-only replica, loading, out of memory, too few replicas.
    Unwilling,
    /// Anything else.
    Other,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            source: None,
            jid: None,
            replicas: None,
            pushed: None,
            fault: None,
        }))
    }

    pub(crate) fn payload(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Payload, message)
    }

    pub(crate) fn args(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Args, message)
    }

    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    /// An error of a middleware's own: stops the push and reaches the caller.
    pub fn middleware(source: impl Into<BoxError>) -> Self {
        Self::new(ErrorKind::Middleware, "client middleware failed").because(source)
    }

    pub(crate) fn because(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into().into());
        self
    }

    pub(crate) fn with_jid(mut self, jid: Option<Jid>) -> Self {
        self.0.jid = jid;
        self
    }

    pub(crate) fn with_replicas(mut self, replicas: Option<usize>) -> Self {
        self.0.replicas = replicas;
        self
    }

    pub(crate) fn with_fault(mut self, fault: RedisFault) -> Self {
        self.0.fault = Some(fault);
        self
    }

    pub(crate) fn with_pushed(mut self, pushed: usize) -> Self {
        self.0.pushed = Some(pushed);
        self
    }

    /// The same, for another who waited for the same answer.
    #[cfg(feature = "server")]
    pub(crate) fn copy(&self) -> Self {
        Self(self.0.clone())
    }

    /// The room this error comes from.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The job being pushed when this happened, if there was exactly one.
    pub fn jid(&self) -> Option<&Jid> {
        self.0.jid.as_ref()
    }

    /// Of an [unconfirmed](ErrorKind::Unconfirmed) push: how many replicas had it in time; `None` if that is not known.
    pub fn replicas(&self) -> Option<usize> {
        self.0.replicas
    }

    /// Of a bulk push that failed on the way: how many of its jobs, counted from the first, were through before. Those behind
    /// them, up to the size of a batch, are what [`kind`](Self::kind) speaks of; the rest was not sent.
    pub fn pushed(&self) -> Option<usize> {
        self.0.pushed
    }

    /// What is wrong with Redis, where it [is to blame](Self::is_redis).
    pub fn redis_fault(&self) -> Option<RedisFault> {
        self.0.fault
    }

    /// The error and its causes, the nearest first, joined by colons: one line for a log.
    ///
    /// ```
    /// let error = ferrokiq::Error::middleware(std::io::Error::other("the quota is used up"));
    /// assert_eq!(error.with_causes(), "client middleware failed: the quota is used up");
    /// ```
    pub fn with_causes(&self) -> String {
        let causes = self.causes().map(ToString::to_string);
        std::iter::once(self.to_string()).chain(causes).collect::<Vec<_>>().join(": ")
    }

    /// The causes of this error, the nearest first, without the error itself.
    pub fn causes(&self) -> impl Iterator<Item = &(dyn StdError + 'static)> {
        std::iter::successors(self.source(), |&cause| cause.source())
    }

    /// Whether Redis is to blame, answered or not.
    pub fn is_redis(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Redis | ErrorKind::Ambiguous | ErrorKind::Partial | ErrorKind::Unconfirmed)
    }

    /// Whether the command may have been applied although no answer came.
    pub fn is_ambiguous(&self) -> bool {
        self.0.kind == ErrorKind::Ambiguous
    }

    /// Whether the settings are to blame.
    pub fn is_config(&self) -> bool {
        self.0.kind == ErrorKind::Config
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if let Some(jid) = &self.0.jid {
            write!(f, " (job {jid})")?;
        }
        match self.0.pushed {
            Some(pushed) => write!(f, " (after {pushed} jobs)"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Error");
        debug.field("kind", &self.0.kind).field("message", &self.0.message);
        if let Some(jid) = &self.0.jid {
            debug.field("jid", jid);
        }
        if let Some(replicas) = self.0.replicas {
            debug.field("replicas", &replicas);
        }
        if let Some(pushed) = self.0.pushed {
            debug.field("pushed", &pushed);
        }
        if let Some(source) = &self.0.source {
            debug.field("source", source);
        }
        debug.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_and_leaves_the_why_to_the_source() {
        let error = Error::new(ErrorKind::Ambiguous, "push timed out")
            .because(std::io::Error::other("deadline"))
            .with_jid(Some(Jid::from("abc")));

        assert_eq!(error.to_string(), "push timed out (job abc)");
        assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("deadline"));
        assert!(error.is_redis() && error.is_ambiguous());
    }
}

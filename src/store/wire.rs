use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

#[cfg(feature = "server")]
use redis::Value;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, FromRedisValue, Pipeline, RedisError, RedisResult, ScriptInvocation};

#[cfg(feature = "server")]
use super::invalidations::Invalidations;
use super::primary::PrimaryWatch;
use super::progress::Progress;
#[cfg(feature = "server")]
use crate::error::Result;

/// One connection, and whether it is still of use.
#[derive(Clone)]
pub(super) struct Wire {
    pub(super) connection: MultiplexedConnection,
    /// Whether the library saw it end, or the task that drives it is gone.
    pub(super) ended: Arc<AtomicBool>,
    /// The runtime that drives it. On another one a request may wait for a runtime that nobody polls.
    pub(super) runtime: tokio::runtime::Id,
    /// Where its driver puts the names of changed keys; only a [tracking](super::tracking) connection gets any.
    #[cfg(feature = "server")]
    pub(super) invalidations: Arc<Invalidations>,
    /// With sentinels: what tells that another server is the primary now.
    pub(super) primary: Option<PrimaryWatch>,
    pub(super) generation: Generation,
    /// How long the peer may be silent while an answer is due.
    pub(super) patience: Duration,
    /// When the peer last sent or accepted bytes.
    pub(super) progress: Progress,
}

/// The time between two silences. A connection of an earlier one is not used again, however well it looks: where one fell
/// silent, others that lie still may have, too, and each would take its time to show it.
#[derive(Clone, Default)]
pub(super) struct Generation {
    born: u64,
    now: Arc<AtomicU64>,
}

impl Generation {
    /// That of a connection made now.
    pub(super) fn begin(&self) -> Self {
        Self { born: self.now.load(Ordering::Acquire), now: Arc::clone(&self.now) }
    }

    fn is_over(&self) -> bool {
        self.now.load(Ordering::Acquire) != self.born
    }

    /// Ends it, unless it is over.
    fn end(&self) {
        let _ = self.now.compare_exchange(self.born, self.born + 1, Ordering::AcqRel, Ordering::Acquire);
    }
}

/// What is sent in one go.
#[derive(Clone, Copy)]
pub(super) enum Request<'a> {
    Command(&'a Cmd),
    /// Not sent again once Redis applied one of its commands.
    #[cfg_attr(not(feature = "server"), allow(dead_code, reason = "producers have none"))]
    Pipeline(&'a Pipeline),
    /// Commands that only read.
    Reads(&'a Pipeline),
    /// Commands that change nothing when they are applied a second time.
    Repeatable(&'a Pipeline),
    /// The last command counts: the request is done if Redis applied that one. Those before it change nothing when they are applied a
    /// second time.
    LastCounts(&'a Pipeline),
    /// Redis answers one of the commands only. Changes nothing when it is applied a second time.
    #[cfg(feature = "server")]
    AnsweredOnce(&'a Pipeline),
    Script(&'a ScriptInvocation<'a>),
}

impl Wire {
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
            || self.generation.is_over()
            || self.primary.as_ref().is_some_and(PrimaryWatch::is_lost)
    }

    /// Whether the runtime of the caller drives it.
    pub(super) fn is_of_this_runtime(&self) -> bool {
        tokio::runtime::Handle::try_current().is_ok_and(|handle| handle.id() == self.runtime)
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.ended, &other.ended)
    }

    /// Sends a request. Its answer is not waited for any more once another server is the primary: it may never come.
    pub(super) async fn send<T: FromRedisValue>(&mut self, request: Request<'_>) -> RedisResult<T> {
        if self.has_ended() {
            return Err(unused());
        }
        let post = self.primary.clone();
        let answer = match post {
            None => self.answer(request).await,
            Some(post) => tokio::select! {
                biased;
                answer = self.answer(request) => answer,
                () = post.lost() => Err(moved()),
            },
        };
        if answer.as_ref().is_err_and(RedisError::is_timeout) {
            self.generation.end();
        }
        answer
    }

    async fn answer<T: FromRedisValue>(&mut self, request: Request<'_>) -> RedisResult<T> {
        let Self { connection, progress, patience, .. } = self;
        progress.answer(*patience, request.send(connection)).await
    }

    /// Changes how long the peer may be silent.
    pub(super) fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Runs a command that may block for as long as this wire's patience.
    #[cfg(feature = "server")]
    pub(super) async fn query<T: FromRedisValue>(&mut self, doing: &str, command: &Cmd) -> Result<T> {
        let request = Request::Command(command);
        self.send(request).await.map_err(|error| request.failed(doing, error))
    }

    /// Runs a pipeline that may block for as long as this wire's patience.
    #[cfg(feature = "server")]
    pub(super) async fn pipe<T: FromRedisValue>(&mut self, doing: &str, pipeline: &Pipeline) -> Result<T> {
        let request = Request::Pipeline(pipeline);
        self.send(request).await.map_err(|error| request.failed(doing, error))
    }
}

/// As a refused connection: nothing was sent.
fn unused() -> RedisError {
    std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "this connection is not to be used any more").into()
}

/// As silence: the server that was the primary may have done what it was asked, and may have passed it on.
fn moved() -> RedisError {
    std::io::Error::new(std::io::ErrorKind::ConnectionAborted, "another server is the primary now").into()
}

impl Request<'_> {
    async fn send<T: FromRedisValue>(self, connection: &mut MultiplexedConnection) -> RedisResult<T> {
        match self {
            Self::Command(command) => command.query_async(connection).await,
            Self::Pipeline(pipeline)
            | Self::Reads(pipeline)
            | Self::Repeatable(pipeline)
            | Self::LastCounts(pipeline) => pipeline.query_async(connection).await,
            #[cfg(feature = "server")]
            Self::AnsweredOnce(pipeline) => {
                let answer = connection.req_packed_commands(pipeline, 0, 1).await?.pop().unwrap_or(Value::Nil);
                Ok(T::from_redis_value(answer.extract_error()?)?)
            }
            Self::Script(script) => script.invoke_async(connection).await,
        }
    }
}

/// The database of the connection, for code that must not guess.
impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("db", &self.connection.get_db()).field("ended", &self.has_ended()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_ends_the_generation_of_all_connections_made_before_it_and_no_later_one() {
        let all = Generation::default();
        let (one, other) = (all.begin(), all.begin());
        one.end();
        assert!(one.is_over() && other.is_over());
        let next = all.begin();
        other.end();
        assert!(!next.is_over(), "the silence of an earlier one");
        next.end();
        assert!(next.is_over());
    }
}

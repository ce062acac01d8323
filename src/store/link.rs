//! The connection all short commands of a runtime share.
//!
//! The client library's own manager does not notice a half-open link, a demoted primary or a time-out. Here every such
//! sign drops the connection at once; the next command makes a new one.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

#[cfg(any(feature = "api", feature = "server"))]
use redis::ScriptInvocation;
use redis::{Cmd, FromRedisValue, Pipeline, RedisError};

use super::connect::Connector;
use super::error::{Unreachable, drops_connection, is_failover, unreachable};
#[cfg(feature = "server")]
use super::meter::Meter;
use super::options::RedisOptions;
use super::refusal::has_code;
use super::wire::{Request, Wire};
use crate::error::Result;

#[derive(Clone)]
pub(super) struct Link(Arc<Shared>);

struct Shared {
    connector: Arc<Connector>,
    /// The connections in use, one for each runtime that uses this link. Never locked across an await.
    current: Mutex<Vec<Wire>>,
    /// How many connections were made.
    made: AtomicU64,
    /// Held while a connection is being made, so that a hundred waiting tasks make one; and when and why that failed last.
    connecting: tokio::sync::Mutex<Option<(Instant, Unreachable)>>,
}

/// Times a script is loaded for one call, while somebody else has Redis forget scripts.
const LOADS: usize = 5;

impl Link {
    pub(super) fn new(options: RedisOptions) -> Self {
        Self(Arc::new(Shared {
            connector: Arc::new(Connector::new(options)),
            current: Mutex::default(),
            made: AtomicU64::new(0),
            connecting: tokio::sync::Mutex::new(None),
        }))
    }

    #[cfg(feature = "server")]
    pub(super) fn fresh(&self) -> Self {
        Self::new(self.options().clone())
    }

    pub(super) fn options(&self) -> &RedisOptions {
        &self.0.connector.options
    }

    /// A connection of one's own. `patience` is how long an answer may take.
    pub(super) async fn dedicated(&self, patience: Duration) -> Result<Wire> {
        self.0.connector.connect(patience).await.map_err(|why| self.unreachable(why))
    }

    /// A connection of one's own that is counted, where it can be.
    #[cfg(feature = "server")]
    pub(super) async fn metered(&self, meter: &Meter) -> Result<Wire> {
        let patience = self.options().response_timeout;
        self.0.connector.connect_with(patience, meter).await.map_err(|why| self.unreachable(why))
    }

    /// How many connections were made: a new one may have reached a Redis with older data.
    #[cfg(feature = "server")]
    pub(super) fn connections_made(&self) -> u64 {
        self.0.made.load(Ordering::Acquire)
    }

    /// Resolves when a connection ended since the last call. Cancel safe.
    #[cfg(feature = "server")]
    pub(super) async fn connection_ended(&self) {
        self.0.connector.ended.notified().await;
    }

    fn unreachable(&self, why: Unreachable) -> crate::error::Error {
        unreachable(&self.options().to_string(), why)
    }

    async fn wire(&self) -> Result<Wire> {
        if let Some(wire) = self.current() {
            return Ok(wire);
        }
        let asked = Instant::now();
        let mut failure = self.0.connecting.lock().await;
        if let Some(wire) = self.current() {
            return Ok(wire);
        }
        // Whoever waited while it failed has its answer: one after the other would wait for each other's time-outs.
        if let Some((_, why)) = failure.as_ref().filter(|(at, _)| *at > asked) {
            return Err(self.unreachable(why.clone()));
        }
        match self.0.connector.connect(self.options().response_timeout).await {
            Ok(wire) => {
                *failure = None;
                self.0.made.fetch_add(1, Ordering::AcqRel);
                self.slot().push(wire.clone());
                Ok(wire)
            }
            Err(why) => {
                *failure = Some((Instant::now(), why.clone()));
                Err(self.unreachable(why))
            }
        }
    }

    fn current(&self) -> Option<Wire> {
        let mut slot = self.slot();
        slot.retain(|wire| !wire.has_ended());
        slot.iter().find(|wire| wire.is_of_this_runtime()).cloned()
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Vec<Wire>> {
        self.0.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After an error that may mean the connection is no good: the next command makes a new one.
    fn suspect(&self, wire: &Wire, error: &RedisError) {
        if !drops_connection(error) {
            return;
        }
        self.slot().retain(|current| !current.is(wire));
    }

    /// Has the next command of this runtime make a new connection. This one ends with the commands on their way; a connection keeps buffers of
    /// the largest request and answer that it carried.
    #[cfg(feature = "server")]
    pub(super) fn renew(&self) {
        self.slot().retain(|wire| !wire.is_of_this_runtime());
    }

    /// Runs a command.
    pub(super) async fn query<T: FromRedisValue>(&self, doing: &str, command: &Cmd) -> Result<T> {
        self.run(doing, Request::Command(command)).await
    }

    /// Runs a pipeline. [`ErrorKind::Partial`](crate::ErrorKind::Partial) if Redis applied only some of its commands.
    #[cfg(any(feature = "api", feature = "server"))]
    pub(super) async fn pipe<T: FromRedisValue>(&self, doing: &str, pipeline: &Pipeline) -> Result<T> {
        self.run(doing, Request::Pipeline(pipeline)).await
    }

    /// Runs a pipeline of commands that only read.
    pub(super) async fn read<T: FromRedisValue>(&self, doing: &str, pipeline: &Pipeline) -> Result<T> {
        self.run(doing, Request::Reads(pipeline)).await
    }

    /// Runs a pipeline whose commands change nothing when they are applied a second time.
    pub(super) async fn pipe_repeatable<T: FromRedisValue>(&self, doing: &str, pipeline: &Pipeline) -> Result<T> {
        self.run(doing, Request::Repeatable(pipeline)).await
    }

    /// Runs a script, loading it where it is not known.
    #[cfg(any(feature = "api", feature = "server"))]
    pub(super) async fn eval<T: FromRedisValue>(&self, doing: &str, script: &ScriptInvocation<'_>) -> Result<T> {
        self.run(doing, Request::Script(script)).await
    }

    /// Sent once more if that is [worth it](Again); never after silence.
    pub(super) async fn run<T: FromRedisValue>(&self, doing: &str, request: Request<'_>) -> Result<T> {
        let mut again = Again::default();
        loop {
            let mut wire = self.wire().await?;
            let error = match wire.send(request).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            self.suspect(&wire, &error);
            if !again.is_worth_it(request, &error) {
                return Err(request.failed(doing, error));
            }
        }
    }
}

/// Whether to send a request once more that [may be](Request::may_be_repeated): once on a new connection where a failover is going on, or where the one at hand was
/// given up before anything was sent; and a few times where a script was forgotten between its loading and its call.
#[derive(Default)]
pub(super) struct Again {
    moved: bool,
    loaded: usize,
}

impl Again {
    pub(super) fn is_worth_it(&mut self, request: Request<'_>, error: &RedisError) -> bool {
        if !request.may_be_repeated(error) {
            return false;
        }
        if is_failover(error) || error.is_connection_refusal() {
            return !std::mem::replace(&mut self.moved, true);
        }
        self.loaded += 1;
        has_code(error, &["NOSCRIPT"]) && self.loaded <= LOADS
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Link").field(self.options()).finish()
    }
}

//! The connection all short commands share, and the making of others.
//!
//! The client library's own manager does not notice a half-open link, a demoted primary or a time-out. Here every such
//! sign drops the connection at once; the next command makes a new one.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, Cmd, FromRedisValue, Pipeline, ProtocolVersion, PushInfo, PushKind, RedisError, RedisResult,
    ScriptInvocation,
};

use super::error::{failed, is_failover, unreachable};
use super::options::RedisOptions;
use crate::error::Result;

#[derive(Clone)]
pub(super) struct Link(Arc<Shared>);

struct Shared {
    options: RedisOptions,
    client: redis::Client,
    /// The connection in use. Never locked across an await.
    current: Mutex<Option<Wire>>,
    /// Held while a connection is being made, so that a hundred waiting tasks make one.
    connecting: tokio::sync::Mutex<()>,
}

/// A connection and whether the library saw it end.
#[derive(Clone)]
pub(super) struct Wire {
    pub(super) connection: MultiplexedConnection,
    ended: Arc<AtomicBool>,
}

impl Link {
    pub(super) fn new(options: RedisOptions) -> Result<Self> {
        let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(
            TcpKeepalive::new().with_time(Duration::from_secs(15)).with_interval(Duration::from_secs(5)),
        );
        #[cfg(target_os = "linux")]
        let tcp = tcp.set_user_timeout(Duration::from_secs(10));
        let redis = options
            .info
            .redis_settings()
            .clone()
            .set_protocol(ProtocolVersion::RESP3)
            .set_lib_name("ferrokiq", env!("CARGO_PKG_VERSION"));
        let info = options.info.clone().set_tcp_settings(tcp).set_redis_settings(redis);
        #[cfg(feature = "tls")]
        // Without a provider rustls panics at the first connection; a second installation is refused and harmless.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = redis::Client::open(info).map_err(|error| unreachable(&options.to_string(), error))?;
        Ok(Self(Arc::new(Shared {
            options,
            client,
            current: Mutex::new(None),
            connecting: tokio::sync::Mutex::new(()),
        })))
    }

    #[cfg(feature = "server")]
    pub(super) fn fresh(&self) -> Self {
        Self(Arc::new(Shared {
            options: self.0.options.clone(),
            client: self.0.client.clone(),
            current: Mutex::new(None),
            connecting: tokio::sync::Mutex::new(()),
        }))
    }

    pub(super) fn options(&self) -> &RedisOptions {
        &self.0.options
    }

    /// A connection of one's own. `patience` is how long an answer may take.
    pub(super) async fn dedicated(&self, patience: Duration) -> Result<Wire> {
        let ended = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&ended);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.0.options.connect_timeout))
            .set_response_timeout(Some(patience))
            .set_push_sender(move |push: PushInfo| {
                if push.kind == PushKind::Disconnection {
                    seen.store(true, Ordering::Release);
                }
                Ok::<(), redis::aio::SendError>(())
            });
        let connection = self
            .0
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .map_err(|error| unreachable(&self.0.options.to_string(), error))?;
        Ok(Wire { connection, ended })
    }

    async fn wire(&self) -> Result<Wire> {
        if let Some(wire) = self.current() {
            return Ok(wire);
        }
        let _one_at_a_time = self.0.connecting.lock().await;
        if let Some(wire) = self.current() {
            return Ok(wire);
        }
        let wire = self.dedicated(self.0.options.response_timeout).await?;
        *self.slot() = Some(wire.clone());
        Ok(wire)
    }

    fn current(&self) -> Option<Wire> {
        let mut slot = self.slot();
        if slot.as_ref().is_some_and(Wire::has_ended) {
            *slot = None;
        }
        slot.clone()
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Wire>> {
        self.0.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After an error that may mean the connection is no good: the next command makes a new one.
    fn suspect(&self, wire: &Wire, error: &RedisError) {
        if !drops_connection(error) {
            return;
        }
        let mut slot = self.slot();
        if slot.as_ref().is_some_and(|current| Arc::ptr_eq(&current.ended, &wire.ended)) {
            *slot = None;
        }
    }

    /// Runs a command.
    pub(super) async fn query<T: FromRedisValue>(&self, doing: &str, command: &Cmd) -> Result<T> {
        self.run(doing, Request::Command(command)).await
    }

    /// Runs a pipeline.
    pub(super) async fn pipe<T: FromRedisValue>(&self, doing: &str, pipeline: &Pipeline) -> Result<T> {
        self.run(doing, Request::Pipeline(pipeline)).await
    }

    /// Runs a script, loading it where it is not known.
    pub(super) async fn eval<T: FromRedisValue>(&self, doing: &str, script: &ScriptInvocation<'_>) -> Result<T> {
        self.run(doing, Request::Script(script)).await
    }

    /// Sent once more on a new connection if a failover refused it; never after silence.
    async fn run<T: FromRedisValue>(&self, doing: &str, request: Request<'_>) -> Result<T> {
        let mut tried = false;
        loop {
            let mut wire = self.wire().await?;
            match request.send(&mut wire.connection).await {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    self.suspect(&wire, &error);
                    if std::mem::replace(&mut tried, true) || !is_failover(&error) {
                        return Err(failed(doing, error));
                    }
                }
            }
        }
    }
}

enum Request<'a> {
    Command(&'a Cmd),
    Pipeline(&'a Pipeline),
    Script(&'a ScriptInvocation<'a>),
}

impl Request<'_> {
    async fn send<T: FromRedisValue>(&self, connection: &mut MultiplexedConnection) -> RedisResult<T> {
        match self {
            Self::Command(command) => command.query_async(connection).await,
            Self::Pipeline(pipeline) => pipeline.query_async(connection).await,
            Self::Script(script) => script.invoke_async(connection).await,
        }
    }
}

impl Wire {
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Runs a command that may block for as long as this wire's patience.
    #[cfg(feature = "server")]
    pub(super) async fn query<T: FromRedisValue>(&mut self, doing: &str, command: &Cmd) -> Result<T> {
        command.query_async(&mut self.connection).await.map_err(|error| failed(doing, error))
    }

    /// Runs a pipeline that may block for as long as this wire's patience.
    #[cfg(feature = "server")]
    pub(super) async fn pipe<T: FromRedisValue>(&mut self, doing: &str, pipeline: &Pipeline) -> Result<T> {
        pipeline.query_async(&mut self.connection).await.map_err(|error| failed(doing, error))
    }
}

/// Errors after which a connection is not to be trusted: silence, a broken line, a stream that cannot be parsed, and a
/// server that is no longer the primary.
fn drops_connection(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_unrecoverable_error()
        || matches!(error.code(), Some("READONLY" | "UNBLOCKED" | "MASTERDOWN"))
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Link").field(&self.0.options).finish()
    }
}

/// The database of the connection, for code that must not guess.
impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("db", &self.connection.get_db()).field("ended", &self.has_ended()).finish()
    }
}

//! How a connection is made: where to, as whom, over what.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, ProtocolVersion, PushInfo, PushKind, RedisResult, Value, cmd,
};
use tokio::sync::Notify;

use super::dial::{dial, within};
use super::error::Unreachable;
#[cfg(feature = "server")]
use super::invalidations::Invalidations;
use super::meter::Meter;
use super::options::{RedisOptions, host_and_port};
use super::primary::{Address, Sentinels};
use super::sentinel::{Connects, Primary};
use super::stream;
use super::url::lone_word_is_password;
use super::wire::{Generation, Wire};
use crate::boxed::BoxFuture;

/// Makes connections to one Redis, wherever it is at that moment.
pub(super) struct Connector {
    pub(super) options: RedisOptions,
    pub(super) primary: Option<Primary>,
    generation: Generation,
    /// Notified when a connection ends.
    pub(super) ended: Arc<Notify>,
    /// Whether the warning that certificates are not verified was logged.
    has_warned: AtomicBool,
}

impl Connector {
    pub(super) fn new(options: RedisOptions) -> Self {
        let primary = options.sentinels.as_ref().map(|Sentinels { primary, nodes }| {
            let nodes = nodes.iter().cloned().map(tuned).map(lone_word_is_password).collect();
            let sentinels = Sentinels { primary: primary.clone(), nodes };
            Primary::new(sentinels, options.tls.clone(), options.connect_timeout)
        });
        Self {
            options,
            primary,
            generation: Generation::default(),
            ended: Arc::default(),
            has_warned: AtomicBool::new(false),
        }
    }

    /// A new connection. `patience` is how long an answer may take.
    pub(super) async fn connect(self: &Arc<Self>, patience: Duration) -> Result<Wire, Unreachable> {
        self.connect_with(patience, &Meter::default()).await
    }

    /// As [`connect`](Self::connect), counted; not where it is TLS.
    pub(super) async fn connect_with(self: &Arc<Self>, patience: Duration, meter: &Meter) -> Result<Wire, Unreachable> {
        let Some(primary) = &self.primary else { return self.open(self.settings()?, patience, meter).await };
        primary.listen(Arc::downgrade(self));
        let mut said = Vec::new();
        let mut tried = Vec::new();
        for turn in 0..primary.count() {
            match primary.ask(turn).await {
                Ok(address) if tried.contains(&address) => {}
                Ok(address) => match self.primary_at(&address, patience, meter).await {
                    Ok(mut wire) => {
                        primary.was_right(turn);
                        primary.is_now(address.clone());
                        wire.primary = Some(primary.post(address));
                        return Ok(wire);
                    }
                    Err(why) => {
                        said.push(why.to_string());
                        tried.push(address);
                    }
                },
                Err(why) => said.push(why),
            }
        }
        Err(Unreachable::Because(format!("no sentinel names a primary: {}", said.join("; "))))
    }

    /// A connection to the server at this address, if it is a primary.
    pub(super) async fn primary_at(
        &self,
        address: &Address,
        patience: Duration,
        meter: &Meter,
    ) -> Result<Wire, Unreachable> {
        let (host, port) = address;
        let about =
            |why: &dyn std::fmt::Display| Unreachable::Because(format!("{}: {why}", host_and_port(host, *port)));
        let settings = self.settings()?;
        let addr = moved(settings.addr(), address);
        let mut wire = self.open(settings.set_addr(addr), patience, meter).await.map_err(|error| about(&error))?;
        match within(self.options.connect_timeout, is_primary(&mut wire.connection))
            .await
            .unwrap_or_else(|late| Err(late.into()))
        {
            Ok(true) => Ok(wire),
            Ok(false) => Err(about(&"it is no primary")),
            Err(error) => Err(about(&error)),
        }
    }

    /// The settings of a connection with the credentials of this moment.
    fn settings(&self) -> Result<ConnectionInfo, Unreachable> {
        let info = tuned(self.options.info.clone());
        let Some(source) = &self.options.credentials else { return Ok(lone_word_is_password(info)) };
        let settings = source.apply(info.redis_settings().clone()).map_err(Unreachable::Because)?;
        Ok(info.set_redis_settings(settings))
    }

    async fn open(&self, info: ConnectionInfo, patience: Duration, meter: &Meter) -> Result<Wire, Unreachable> {
        let (ended, generation) = (Arc::new(AtomicBool::new(false)), self.generation.begin());
        let (seen, notify) = (EndsWith(Arc::clone(&ended)), Arc::clone(&self.ended));
        #[cfg(feature = "server")]
        let invalidations = Arc::new(Invalidations::default());
        #[cfg(feature = "server")]
        let reported = Arc::clone(&invalidations);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.options.connect_timeout))
            .set_response_timeout(None)
            .set_push_sender(move |push: PushInfo| {
                let EndsWith(seen) = &seen;
                match push.kind {
                    PushKind::Disconnection => {
                        seen.store(true, Ordering::Release);
                        notify.notify_one();
                        #[cfg(feature = "server")]
                        reported.wake();
                    }
                    #[cfg(feature = "server")]
                    PushKind::Invalidate => reported.add(push.data),
                    _ => {}
                }
                Ok::<(), redis::aio::SendError>(())
            });
        let Self { options, .. } = self;
        if options.is_unverified() && !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                url = %options,
                "TLS WITHOUT VERIFICATION: an attacker on the network can read and change every job; pin the server with ssl_fingerprint"
            );
        }
        // Boxed: the handshake is large, and part of every future that may connect.
        let dialled = Box::pin(dial(&info, &options.tls, (meter, &options.line), options.connect_timeout, config));
        let (connection, progress) = dialled.await?;
        let runtime = tokio::runtime::Handle::current().id();
        Ok(Wire {
            connection,
            ended,
            runtime,
            #[cfg(feature = "server")]
            invalidations,
            primary: None,
            generation,
            patience,
            progress,
        })
    }
}

impl Connects for Connector {
    fn primary(&self) -> Option<&Primary> {
        self.primary.as_ref()
    }

    fn check<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<(), String>> {
        let patience = self.options.connect_timeout;
        Box::pin(async move {
            self.primary_at(address, patience, &Meter::default()).await.map(drop).map_err(|why| why.to_string())
        })
    }
}

/// Belongs to the task that drives a connection, and is dropped with it: at the latest when its runtime ends.
struct EndsWith(Arc<AtomicBool>);

impl Drop for EndsWith {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// What every connection of ours has: no delay, a dead peer noticed, RESP3, our name.
fn tuned(info: ConnectionInfo) -> ConnectionInfo {
    let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(stream::keepalive());
    #[cfg(target_os = "linux")]
    let tcp = tcp.set_user_timeout(stream::USER_TIMEOUT);
    let redis = info
        .redis_settings()
        .clone()
        .set_protocol(ProtocolVersion::RESP3)
        .set_lib_name("ferrokiq", env!("CARGO_PKG_VERSION"));
    info.set_tcp_settings(tcp).set_redis_settings(redis)
}

/// Another address, over TLS as before if it was.
fn moved(addr: &ConnectionAddr, (host, port): &Address) -> ConnectionAddr {
    match addr {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => ConnectionAddr::TcpTls {
            host: host.clone(),
            port: *port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => ConnectionAddr::Tcp(host.clone(), *port),
    }
}

/// Whether a server takes writes. `HELLO` tells it to every user; `ROLE` is for administrators.
async fn is_primary(connection: &mut impl ConnectionLike) -> RedisResult<bool> {
    let hello: HashMap<String, Value> = cmd("HELLO").query_async(connection).await?;
    Ok(match hello.get("role") {
        Some(Value::SimpleString(role)) => role == "master",
        Some(Value::BulkString(role)) => role == b"master",
        _ => true,
    })
}

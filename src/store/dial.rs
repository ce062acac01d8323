//! Opens one connection: TCP or socket, TLS on top, the greeting; and names the cause of a failure as far as the first bytes show it.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, RedisConnectionInfo, RedisResult};
use tokio::io::{AsyncRead, AsyncWrite};

use super::error::Unreachable;
#[cfg(feature = "tls")]
use super::handshake;
use super::meter::Meter;
use super::progress::{Line, Progress};
use super::stream::Stream;
use super::tls::Tls;
use crate::error::RedisFault;

/// Opens a connection; each of its steps may take `limit`. `meter` counts what is written, but not over TLS: what that takes is not what it
/// writes. `line` is what all connections to the server share.
#[cfg_attr(not(feature = "tls"), expect(unused_variables, reason = "there is no TLS"))]
pub(super) async fn dial(
    info: &ConnectionInfo,
    tls: &Tls,
    (meter, line): (&Meter, &Line),
    limit: Duration,
    config: AsyncConnectionConfig,
) -> Result<(MultiplexedConnection, Progress), Unreachable> {
    let is_tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
    let meter = if is_tls { Meter::default() } else { meter.clone() };
    let stream = within(limit, Stream::connect(info.addr(), &meter, line)).await.and_then(|made| made);
    let stream = stream.map_err(redis::RedisError::from)?;
    let (progress, first_bytes) = (stream.progress(), stream.first_bytes());
    let made = match info.addr() {
        #[cfg(feature = "tls")]
        ConnectionAddr::TcpTls { host, .. } => match within(limit, handshake::secure(tls, host, stream)).await {
            Ok(Ok(stream)) => {
                greet(info.redis_settings(), stream, config, limit).await.map_err(handshake::refused_later)
            }
            Ok(Err(why)) => Err(Unreachable::Because(why)),
            Err(_) => Err(Unreachable::Because(format!(
                "no answer to the TLS handshake within {limit:?}; a port without TLS has a URL with redis://"
            ))),
        },
        #[cfg(not(feature = "tls"))]
        ConnectionAddr::TcpTls { .. } => Err(Unreachable::Because("TLS needs ferrokiq's feature `tls`".to_owned())),
        _ => greet(info.redis_settings(), stream, config, limit).await.map_err(Unreachable::from),
    };
    match made {
        Ok(connection) => Ok((connection, progress)),
        Err(error) => Err(match (cause(is_tls, first_bytes.get()), info.addr()) {
            (Some(why), _) => why,
            (None, ConnectionAddr::Tcp(..)) if error.is_dropped() && first_bytes.get().is_empty() => {
                Unreachable::Because(format!("{error}; the server sent nothing: does the port want TLS (rediss://)?"))
            }
            _ => error,
        }),
    }
}

/// Returns the cause of a connection that could not be made, by the first bytes of the server.
fn cause(is_tls: bool, first_bytes: &[u8]) -> Option<Unreachable> {
    if first_bytes.starts_with(b"-DENIED") {
        return Some(Unreachable::Unfit { why: protected(first_bytes), fault: RedisFault::Denied });
    }
    if lacks_hello(first_bytes) {
        let why = "the server does not know HELLO, so it has no RESP3: take Redis 7.0 or newer, or Valkey. If it is one, remove \
                   `rename-command HELLO`; a proxy in between must speak RESP3, too";
        return Some(Unreachable::Unfit { why: why.to_owned(), fault: RedisFault::Other });
    }
    other_protocol(is_tls, first_bytes).map(|why| Unreachable::Because(why.to_owned()))
}

/// The refusal of a server in protected mode, in its own words as far as they are known, and what to do.
fn protected(first_bytes: &[u8]) -> String {
    let said = String::from_utf8_lossy(first_bytes.strip_prefix(b"-").unwrap_or(first_bytes));
    let sentences = said.rfind(". ").map_or(&*said, |end| &said[..end]);
    format!(
        "the server refuses clients of other machines: {sentences}; give its users a password (see docs/acl), \
         or set `protected-mode no` in a network that nobody else can reach"
    )
}

fn lacks_hello(first_bytes: &[u8]) -> bool {
    let said = String::from_utf8_lossy(first_bytes).to_ascii_lowercase();
    said.starts_with("-noproto") || (said.starts_with("-err unknown command") && said.contains("hello"))
}

/// Why a server that has no room for another client, or speaks another protocol, cannot be reached.
fn other_protocol(is_tls: bool, first_bytes: &[u8]) -> Option<&'static str> {
    if first_bytes.starts_with(b"-ERR max number of clients") {
        return Some("the server has as many clients as maxclients allows: raise it, or run fewer processes");
    }
    if first_bytes.starts_with(b"HTTP/") {
        return Some("this is a web server, not Redis: is the port right?");
    }
    // A record of TLS begins with its type, 20 to 23, and version 3.
    let speaks_tls = matches!(first_bytes, [20..=23, 3, ..]);
    match (is_tls, speaks_tls) {
        (false, true) => Some("this port wants TLS: use a URL with rediss://"),
        (true, false) if !first_bytes.is_empty() => Some("this port has no TLS: use a URL with redis://"),
        _ => None,
    }
}

async fn greet(
    settings: &RedisConnectionInfo,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    config: AsyncConnectionConfig,
    limit: Duration,
) -> RedisResult<MultiplexedConnection> {
    let made = MultiplexedConnection::new_with_config(settings, stream, config);
    let (connection, driver) = within(limit, made).await??;
    start(driver);
    Ok(connection)
}

/// Runs the driver of a connection. It ends with the last handle of the connection; if it ends before, every command fails and another
/// connection is made.
#[expect(clippy::disallowed_methods, reason = "commands notice its end")]
fn start(driver: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(driver);
}

pub(super) async fn within<T>(span: Duration, made: impl Future<Output = T>) -> std::io::Result<T> {
    tokio::time::timeout(span, made).await.map_err(|_| std::io::ErrorKind::TimedOut.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_of_a_server_name_the_cause() {
        for (is_tls, first_bytes, named) in [
            (false, &b"-ERR max number of clients reached\r\n"[..], "maxclients"),
            (false, b"\x15\x03\x01\x00\x02\x02\x46", "rediss://"),
            (true, b"-ERR unknown command\r\n", "redis://"),
            (false, b"HTTP/1.1 400 Bad Request\r\n", "web server"),
            (false, b"-ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH'", "no RESP3"),
            (false, b"-ERR unknown command `HELLO`, with args beginning with: `3`", "no RESP3"),
            (false, b"-NOPROTO unsupported protocol version\r\n", "no RESP3"),
            (
                false,
                b"-DENIED Redis is running in protected mode because no password is set. In this mode connec",
                "DENIED Redis is running in protected mode because no password is set; give",
            ),
        ] {
            let why = cause(is_tls, first_bytes).map(|why| why.to_string()).unwrap_or_default();
            assert!(why.contains(named) && !why.contains("AUTH"), "{named}: {why}");
        }
        for (is_tls, first_bytes) in [(false, &b"-WRONGPASS"[..]), (true, b"\x16\x03\x03"), (true, b""), (false, b"")] {
            assert!(cause(is_tls, first_bytes).is_none());
        }
    }
}

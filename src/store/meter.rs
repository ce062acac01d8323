//! A connection that tells how much of what was said on it is out of the process's hands.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use redis::ConnectionAddr;
use redis::io::tcp::socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

/// Counts the bytes the system took off a connection's hands: what it has, it delivers, even if the process is killed.
#[derive(Clone)]
pub(super) struct Meter(Arc<Counter>);

struct Counter {
    written: AtomicU64,
    on_write: Box<dyn Fn(u64) + Send + Sync>,
}

impl Meter {
    /// One that tells `on_write` how many bytes went out so far, each time some do.
    pub(super) fn new(on_write: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self(Arc::new(Counter { written: AtomicU64::new(0), on_write: Box::new(on_write) }))
    }

    /// Bytes written since the connection was made.
    pub(super) fn written(&self) -> u64 {
        self.0.written.load(Ordering::Acquire)
    }

    fn count(&self, bytes: usize) {
        let written = self.0.written.fetch_add(bytes as u64, Ordering::AcqRel) + bytes as u64;
        (self.0.on_write)(written);
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Meter").field(&self.written()).finish()
    }
}

/// A stream that is counted.
pub(super) struct Metered {
    stream: Stream,
    meter: Meter,
}

enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Metered {
    /// Connects, set up as all connections of ours are. `None` where bytes cannot be counted: what TLS took is not what it wrote.
    pub(super) async fn connect(addr: &ConnectionAddr, meter: &Meter) -> io::Result<Option<Self>> {
        let stream = match addr {
            ConnectionAddr::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                let socket = SockRef::from(&stream);
                socket.set_tcp_keepalive(&keepalive())?;
                #[cfg(target_os = "linux")]
                socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
                Stream::Tcp(stream)
            }
            #[cfg(unix)]
            ConnectionAddr::Unix(path) => Stream::Unix(UnixStream::connect(path).await?),
            _ => return Ok(None),
        };
        Ok(Some(Self { stream, meter: meter.clone() }))
    }
}

/// When a peer that says nothing is asked whether it is there.
pub(super) fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new().with_time(Duration::from_secs(15)).with_interval(Duration::from_secs(5))
}

/// How long what was written may go unconfirmed.
#[cfg(target_os = "linux")]
pub(super) const USER_TIMEOUT: Duration = Duration::from_secs(10);

macro_rules! inner {
    ($self:ident, $stream:ident => $call:expr) => {
        match &mut $self.stream {
            Stream::Tcp($stream) => $call,
            #[cfg(unix)]
            Stream::Unix($stream) => $call,
        }
    };
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        inner!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = inner!(self, stream => Pin::new(stream).poll_write(cx, buf));
        if let Poll::Ready(Ok(bytes)) = written {
            self.meter.count(bytes);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inner!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inner!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}

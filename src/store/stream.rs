//! Our end of a connection, on which what is written is counted.

use std::io::{self, Read};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use redis::ConnectionAddr;
use redis::io::tcp::socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use super::meter::Meter;
use super::progress::{Line, Progress};
use super::resolve::resolve;

/// Counts every byte that the system took, and notes when the peer last showed a sign.
pub(super) struct Stream {
    socket: Socket,
    meter: Meter,
    progress: Progress,
    first_bytes: FirstBytes,
    /// Whether `first_bytes` is set: spares later reads the lock.
    has_first_bytes: bool,
    /// The system takes no more bytes: once it does, the peer has read some.
    blocked: bool,
}

/// The first bytes a peer sent: they show a server of another protocol, and the reason of a server that refuses every client.
#[derive(Clone, Default)]
pub(super) struct FirstBytes(Arc<OnceLock<Vec<u8>>>);

impl FirstBytes {
    /// Bytes that are kept.
    const MOST: usize = 256;

    fn record(&self, bytes: &[u8]) {
        if !bytes.is_empty() {
            let _ = self.0.set(bytes[..bytes.len().min(Self::MOST)].to_vec());
        }
    }

    /// What the peer sent, at most 256 bytes; empty if it sent nothing.
    pub(super) fn get(&self) -> &[u8] {
        self.0.get().map_or(&[], Vec::as_slice)
    }
}

enum Socket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

macro_rules! inner {
    ($self:ident, $socket:ident => $call:expr) => {
        match &mut $self.socket {
            Socket::Tcp($socket) => $call,
            #[cfg(unix)]
            Socket::Unix($socket) => $call,
        }
    };
}

impl Stream {
    /// When the peer last showed a sign.
    pub(super) fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// The first bytes the peer sent.
    pub(super) fn first_bytes(&self) -> FirstBytes {
        self.first_bytes.clone()
    }

    /// Connects, set up as all connections of ours are. TLS is a layer on top of this stream.
    pub(super) async fn connect(addr: &ConnectionAddr, meter: &Meter, line: &Line) -> io::Result<Self> {
        let socket = match addr {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                Socket::Tcp(tcp(host, *port).await?)
            }
            #[cfg(unix)]
            ConnectionAddr::Unix(path) => Socket::Unix(UnixStream::connect(path).await?),
            _ => return Err(io::ErrorKind::Unsupported.into()),
        };
        Ok(Self {
            socket,
            meter: meter.clone(),
            progress: Progress::new(line.clone()),
            first_bytes: FirstBytes::default(),
            has_first_bytes: false,
            blocked: false,
        })
    }

    /// Records what the peer sent before it closed the connection: a server that has no room for another client sends its reason at once.
    /// Read from the system: the runtime may not have polled the socket yet.
    fn read_reason(&mut self) {
        let mut space = [0; FirstBytes::MOST];
        if !self.has_first_bytes
            && let Ok(bytes) = inner!(self, socket => (&*SockRef::from(&*socket)).read(&mut space))
        {
            self.first_bytes.record(&space[..bytes]);
        }
    }
}

/// The first of the addresses of a host that answers.
#[expect(clippy::disallowed_methods, reason = "each attempt is awaited")]
async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut attempts = JoinSet::new();
    for address in resolve(host, port).await? {
        attempts.spawn(TcpStream::connect(address));
    }
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    while let Some(attempt) = attempts.join_next().await {
        match attempt {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                let socket = SockRef::from(&stream);
                socket.set_tcp_keepalive(&keepalive())?;
                #[cfg(target_os = "linux")]
                socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
                return Ok(stream);
            }
            Ok(Err(error)) => failure = error,
            Err(_) => {}
        }
    }
    Err(failure)
}

/// When a peer that says nothing is asked whether it is there.
pub(super) fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new().with_time(Duration::from_secs(15)).with_interval(Duration::from_secs(5))
}

/// How long what was written may go unconfirmed.
#[cfg(target_os = "linux")]
pub(super) const USER_TIMEOUT: Duration = Duration::from_secs(10);

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = inner!(self, socket => Pin::new(socket).poll_read(cx, buf));
        if buf.filled().len() > before {
            self.progress.made();
            if !std::mem::replace(&mut self.has_first_bytes, true) {
                self.first_bytes.record(&buf.filled()[before..]);
            }
        }
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = inner!(self, socket => Pin::new(socket).poll_write(cx, buf));
        if let Poll::Ready(Ok(bytes)) = written {
            self.meter.count(bytes);
            self.progress.wrote(bytes);
            if std::mem::take(&mut self.blocked) {
                self.progress.made();
            }
        }
        if let Poll::Ready(Err(_)) = written {
            self.read_reason();
        }
        self.blocked |= written.is_pending();
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inner!(self, socket => Pin::new(socket).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inner!(self, socket => Pin::new(socket).poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn counts_what_was_said() {
        let listener = TcpListener::bind("localhost:0").await.unwrap();
        let addr = ConnectionAddr::Tcp("localhost".to_owned(), listener.local_addr().unwrap().port());
        let meter = Meter::default();
        let mut stream = Stream::connect(&addr, &meter, &Line::default()).await.unwrap();
        let (mut peer, _) = listener.accept().await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        assert_eq!(meter.written(), 5);
        let mut said = [0; 5];
        peer.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"hello");
    }

    #[tokio::test]
    async fn says_why_nobody_answers() {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let refused =
            Stream::connect(&ConnectionAddr::Tcp("127.0.0.1".to_owned(), port), &Meter::default(), &Line::default())
                .await;
        assert_eq!(refused.err().map(|error| error.kind()), Some(io::ErrorKind::ConnectionRefused));
    }
}

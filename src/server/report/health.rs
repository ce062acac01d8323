//! A listener for probes and for Prometheus: `GET /live`, `/ready` and `/metrics`, and not a word more of HTTP than that takes.
//!
//! One request for a connection, of 8 KiB at most, whose head must be here within a second. Connections are always accepted; beyond
//! 64 open ones each new one takes the place of the oldest that has sent the least. It runs on the heartbeat's thread, which no job can hold
//! up, and until that ends: a server that drains still answers.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use crate::contain::Contained;
use crate::error::{Error, ErrorKind, Result};
use crate::server::control::supervisor::{Part, spawn};
use crate::server::report::prometheus::CONTENT_TYPE;
use crate::server::report::vitals::Vitals;

const LONGEST_REQUEST: usize = 8 * 1_024;
/// Until the head of the request is here.
const PATIENCE: Duration = Duration::from_secs(1);
/// Until the answer is written, and again until the other side has read it.
const PATIENCE_TO_WRITE: Duration = Duration::from_secs(2);
const CONNECTIONS: usize = 64;
const PLAIN: &str = "text/plain; charset=utf-8";

/// Takes the address, or says who must act.
pub(crate) fn bind(address: SocketAddr) -> Result<TcpListener> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        tracing::info!("/live, /ready and /metrics on http://{}", listener.local_addr()?);
        Ok(listener)
    });
    bound.map_err(|error| Error::new(ErrorKind::Config, format!("health: cannot listen on {address}")).because(error))
}

/// Answers probes until its runtime ends.
pub(crate) struct Listener {
    listener: TcpListener,
    vitals: Vitals,
    open: Open,
}

impl Listener {
    pub(crate) fn new(listener: TcpListener, vitals: Vitals) -> Self {
        Self { listener, vitals, open: Open::default() }
    }
}

impl Part for Listener {
    fn name(&self) -> &'static str {
        "health listener"
    }

    async fn run(&mut self) {
        let listener = self.listener.try_clone().and_then(tokio::net::TcpListener::from_std);
        let listener = match listener {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "probes cannot be answered"),
        };
        loop {
            match listener.accept().await {
                Ok((stream, _)) => self.open.answer(stream, self.vitals.clone()),
                // No more files, most likely: that passes.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    fn may_end(&self) -> bool {
        false
    }
}

/// The open connections, oldest first.
#[derive(Debug, Default)]
struct Open(VecDeque<Connection>);

#[derive(Debug)]
struct Connection {
    progress: Arc<AtomicU8>,
    task: AbortHandle,
}

/// How far a connection is: nothing was read, something was, the head was.
mod progress {
    pub(super) const SILENT: u8 = 0;
    pub(super) const READING: u8 = 1;
    pub(super) const ANSWERING: u8 = 2;
}

impl Open {
    fn answer(&mut self, stream: TcpStream, vitals: Vitals) {
        self.make_room();
        let progress = Arc::new(AtomicU8::new(progress::SILENT));
        let answering = Contained::new(Box::pin(answer(stream, vitals, Arc::clone(&progress))));
        let task = spawn(async move {
            if let Err(panic) = answering.await {
                tracing::error!(panic, "answering a probe panicked");
            }
        });
        self.0.push_back(Connection { progress, task: task.abort_handle() });
    }

    /// Closes the oldest of those that are least far, if there are too many.
    fn make_room(&mut self) {
        self.0.retain(|connection| !connection.task.is_finished());
        if self.0.len() < CONNECTIONS {
            return;
        }
        let least_far = |(_, connection): &(usize, &Connection)| connection.progress.load(Ordering::Relaxed);
        if let Some((at, _)) = self.0.iter().enumerate().min_by_key(least_far)
            && let Some(connection) = self.0.remove(at)
        {
            connection.task.abort();
        }
    }
}

/// One that is too slow, or gone, gets no answer.
async fn answer(stream: TcpStream, vitals: Vitals, progress: Arc<AtomicU8>) {
    let _ = try_to_answer(stream, &vitals, &progress).await;
}

async fn try_to_answer(mut stream: TcpStream, vitals: &Vitals, progress: &AtomicU8) -> std::io::Result<()> {
    let response = match tokio::time::timeout(PATIENCE, read_head(&mut stream, progress)).await?? {
        Some(head) => respond(&head, vitals),
        None => Response::refusal(431, "Request Header Fields Too Large"),
    };
    progress.store(progress::ANSWERING, Ordering::Relaxed);
    let write = async {
        stream.write_all(&response.bytes()).await?;
        stream.shutdown().await
    };
    tokio::time::timeout(PATIENCE_TO_WRITE, write).await??;
    // What was sent and not read would end the connection before the answer is read.
    let read_the_rest = async {
        let mut rest = [0; 1_024];
        for _ in 0..64 {
            if stream.read(&mut rest).await? == 0 {
                break;
            }
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE_TO_WRITE, read_the_rest).await?
}

/// Up to the empty line; `None` if there is too much of it.
async fn read_head(stream: &mut TcpStream, progress: &AtomicU8) -> std::io::Result<Option<Vec<u8>>> {
    let mut head = Vec::with_capacity(512);
    loop {
        let mut piece = [0; 1_024];
        let read = stream.read(&mut piece).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        progress.store(progress::READING, Ordering::Relaxed);
        let seen = head.len().saturating_sub(3);
        head.extend_from_slice(&piece[..read]);
        if let Some(end) = head[seen..].windows(4).position(|four| four == b"\r\n\r\n") {
            head.truncate(seen + end);
            return Ok((head.len() <= LONGEST_REQUEST).then_some(head));
        }
        if head.len() > LONGEST_REQUEST {
            return Ok(None);
        }
    }
}

#[derive(Debug, PartialEq)]
struct Response {
    status: u16,
    reason: &'static str,
    kind: &'static str,
    body: String,
    /// `HEAD`: the body is not sent.
    bare: bool,
}

impl Response {
    fn refusal(status: u16, reason: &'static str) -> Self {
        Self { status, reason, kind: PLAIN, body: format!("{reason}\n"), bare: false }
    }

    fn verdict(verdict: std::result::Result<(), &'static str>) -> Self {
        match verdict {
            Ok(()) => Self { status: 200, reason: "OK", kind: PLAIN, body: "ok\n".to_owned(), bare: false },
            Err(why) => Self { body: format!("{why}\n"), ..Self::refusal(503, "Service Unavailable") },
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let Self { status, reason, kind, body, bare } = self;
        let allow = if *status == 405 { "Allow: GET, HEAD\r\n" } else { "" };
        let length = body.len();
        format!(
            "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{allow}Cache-Control: no-store\r\nConnection: close\r\n\r\n{}",
            if *bare { "" } else { body }
        )
        .into_bytes()
    }
}

fn respond(head: &[u8], vitals: &Vitals) -> Response {
    let (bare, path) = match request(head) {
        Ok(request) => request,
        Err((status, reason)) => return Response::refusal(status, reason),
    };
    let response = match path {
        "/live" => Response::verdict(vitals.live()),
        "/ready" => Response::verdict(vitals.ready()),
        "/metrics" => Response { status: 200, reason: "OK", kind: CONTENT_TYPE, body: vitals.metrics(), bare },
        _ => Response::refusal(404, "Not Found"),
    };
    Response { bare, ..response }
}

/// Whether only the head is wanted, and the path without its query.
fn request(head: &[u8]) -> std::result::Result<(bool, &str), (u16, &'static str)> {
    const BAD: (u16, &str) = (400, "Bad Request");
    let head = std::str::from_utf8(head).map_err(|_| BAD)?;
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(BAD);
    };
    // A header is a name, a colon, and text that steers nothing.
    let is_header = |line: &str| {
        let name = line.split_once(':').map_or("", |(name, _)| name);
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        !name.is_empty() && name.bytes().all(is_name) && !line.contains(|c: char| c.is_control() && c != '\t')
    };
    if !target.starts_with('/') || target.contains(|c: char| c.is_control()) || !lines.all(is_header) {
        return Err(BAD);
    }
    if !matches!(version, "HTTP/1.1" | "HTTP/1.0") {
        return Err((505, "HTTP Version Not Supported"));
    }
    let bare = match method {
        "GET" => false,
        "HEAD" => true,
        _ => return Err((405, "Method Not Allowed")),
    };
    Ok((bare, target.split('?').next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_requests_and_nothing_that_resembles_one() {
        for (head, answer) in [
            ("GET /live HTTP/1.1\r\nHost: a", Ok((false, "/live"))),
            ("GET /ready?full=1 HTTP/1.0", Ok((false, "/ready"))),
            ("HEAD /metrics HTTP/1.1\r\nAccept: */*\r\nX-A:\tb", Ok((true, "/metrics"))),
            ("POST /live HTTP/1.1\r\nContent-Length: 3", Err(405)),
            ("get /live HTTP/1.1", Err(405)),
            ("GET /live HTTP/2.0", Err(505)),
            ("GET /live", Err(400)),
            ("GET  /live HTTP/1.1", Err(400)),
            ("GET /live HTTP/1.1 x", Err(400)),
            ("GET http://a/live HTTP/1.1", Err(400)),
            ("GET /li\tve HTTP/1.1", Err(400)),
            ("GET /live HTTP/1.1\r\nno header", Err(400)),
            ("GET /live HTTP/1.1\r\n: x", Err(400)),
            ("GET /live HTTP/1.1\r\nA : x", Err(400)),
            ("GET /live HTTP/1.1\r\nA: x\ny", Err(400)),
            ("GET /live HTTP/1.1\r\n folded: x", Err(400)),
            ("", Err(400)),
            ("\r\nGET /live HTTP/1.1", Err(400)),
            ("\0\u{1}\u{2}", Err(400)),
        ] {
            assert_eq!(request(head.as_bytes()).map_err(|(status, _)| status), answer, "{head:?}");
        }
        assert_eq!(request(b"GET /\xff HTTP/1.1"), Err((400, "Bad Request")));
    }

    #[test]
    fn says_why_not_and_how_long_it_is() {
        let bytes = |response: Response| String::from_utf8(response.bytes()).unwrap();
        let quiet = bytes(Response::verdict(Err("quiet")));
        assert!(quiet.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{quiet}");
        assert!(quiet.contains("Content-Length: 6\r\n") && quiet.ends_with("\r\n\r\nquiet\n"), "{quiet}");
        let head = bytes(Response { bare: true, ..Response::verdict(Ok(())) });
        assert!(head.contains("Content-Length: 3\r\n") && head.ends_with("\r\n\r\n"), "{head}");
        assert!(bytes(Response::refusal(405, "Method Not Allowed")).contains("Allow: GET, HEAD\r\n"));
    }
}

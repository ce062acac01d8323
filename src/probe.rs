//! The health check of a worker, called over HTTP.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};

/// The default address of health checks: port 7433 of this machine.
pub const DEFAULT_HEALTH: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7433);

/// An answer that is longer is not one of ours.
const LONGEST: usize = 4 * 1_024;

/// Calls the health check of a worker that runs with `--health`: for container platforms whose probes run a command, and images without a
/// shell. A worker's own program has it as the command `health`, and so has the operator's tool.
///
/// Each call makes a connection of its own and blocks the thread until the answer is there, for the timeout at most.
///
/// ```no_run
/// # fn main() -> ferrokiq::Result<()> {
/// let probe: ferrokiq::probe::Probe = "127.0.0.1:7433".parse()?;
/// println!("{}", probe.ready()?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Probe {
    at: SocketAddr,
    timeout: Duration,
}

impl Probe {
    /// Of the worker that listens at this address. The timeout is two seconds.
    pub fn new(at: SocketAddr) -> Self {
        Self { at, timeout: Duration::from_secs(2) }
    }

    /// How long one call may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Whether the worker makes progress; returns the first line of its answer, as `live: ok`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`]: no worker answers there within the timeout, what answers is no worker, or the worker
    /// is not live; its reason is in the message.
    pub fn live(&self) -> Result<String> {
        self.ask("live")
    }

    /// Whether the worker fetches jobs; returns the first line of its answer, as `ready: ok`.
    ///
    /// # Errors
    ///
    /// As [`live`](Self::live).
    pub fn ready(&self) -> Result<String> {
        self.ask("ready")
    }

    fn ask(&self, question: &str) -> Result<String> {
        let answer = self.answer(question).map_err(|error| {
            Error::new(ErrorKind::Config, format!("no worker answers at {}", self.at)).because(error)
        })?;
        let text = String::from_utf8_lossy(&answer);
        let said = text.split_once("\r\n\r\n").and_then(|(_, body)| body.lines().next()).unwrap_or_default();
        let said: String = said.chars().filter(|c| !c.is_control()).take(200).collect();
        match text.split(' ').nth(1).filter(|_| text.starts_with("HTTP/1.1 ")) {
            Some("200") => Ok(format!("{question}: {said}")),
            Some("503") => Err(Error::config(format!("not {question}: {said}"))),
            _ => Err(Error::config(format!("what answers at {} is no worker", self.at))),
        }
    }

    fn answer(&self, path: &str) -> std::io::Result<Vec<u8>> {
        let deadline = Instant::now() + self.timeout;
        let left = || {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() { Err(std::io::Error::from(std::io::ErrorKind::TimedOut)) } else { Ok(left) }
        };
        let mut stream = TcpStream::connect_timeout(&self.at, left()?)?;
        stream.set_write_timeout(Some(left()?))?;
        let request = format!("GET /{path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.at);
        stream.write_all(request.as_bytes())?;
        let (mut answer, mut piece) = (Vec::new(), [0; 1_024]);
        while answer.len() < LONGEST {
            stream.set_read_timeout(Some(left()?))?;
            match stream.read(&mut piece)? {
                0 => break,
                read => answer.extend_from_slice(&piece[..read]),
            }
        }
        Ok(answer)
    }
}

impl Default for Probe {
    /// Of the worker on this machine that listens at [`DEFAULT_HEALTH`].
    fn default() -> Self {
        Self::new(DEFAULT_HEALTH)
    }
}

impl FromStr for Probe {
    type Err = Error;

    /// Of the worker at `host:port`, with an IP address for a host, or at a port of this machine.
    fn from_str(text: &str) -> Result<Self> {
        parse_health(text).map(Self::new).map_err(Error::config)
    }
}

/// `host:port`, with an IP address for a host, or a port of this machine alone.
pub(crate) fn parse_health(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse() {
        return Ok(SocketAddr::new(DEFAULT_HEALTH.ip(), port));
    }
    text.parse().map_err(|_| "it is a port or an IP address with a port, 0.0.0.0:7433 say".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// What is made of an answer.
    fn told(answer: &'static [u8]) -> Result<String, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 512];
            let read = stream.read(&mut asked).unwrap();
            let _ = stream.write_all(answer);
            String::from_utf8_lossy(&asked[..read]).into_owned()
        });
        let told = Probe::new(at).timeout(Duration::from_secs(5)).ready().map_err(|error| error.to_string());
        assert!(server.join().unwrap().starts_with("GET /ready HTTP/1.1\r\nHost: 127.0.0.1:"));
        told
    }

    #[test]
    fn tells_what_the_worker_says() {
        assert_eq!(told(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nok\n"), Ok("ready: ok".to_owned()));
        assert_eq!(told(b"HTTP/1.1 503 No\r\n\r\nquiet\n"), Err("not ready: quiet".to_owned()));
        assert_eq!(told(b"HTTP/1.1 503 No\r\n\r\n\x1b[31mred\n"), Err("not ready: [31mred".to_owned()));
        for answer in [&b""[..], b"HTTP/1.1 404 No\r\n\r\n", b"+OK\r\n", b"HTTP/1.0 200 OK\r\n\r\nok", &[b'x'; 100_000]]
        {
            let error = told(answer).unwrap_err();
            assert!(error.ends_with("is no worker") || error.starts_with("no worker answers at 127.0.0.1:"), "{error}");
        }
    }

    #[test]
    fn waits_no_longer_than_it_was_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let probe = Probe::new(listener.local_addr().unwrap()).timeout(Duration::from_secs(1));
        let began = Instant::now();
        let error = probe.live().unwrap_err();
        assert!(error.to_string().starts_with("no worker answers at "), "{error}");
        assert!(began.elapsed() < Duration::from_secs(4));
        drop(listener);
        assert!(probe.live().is_err());
    }

    #[test]
    fn reads_addresses() {
        for (text, address) in [
            ("7433", "127.0.0.1:7433"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::]:7433", "[::]:7433"),
            ("127.0.0.1:0", "127.0.0.1:0"),
        ] {
            assert_eq!(text.parse::<Probe>().unwrap().at.to_string(), address);
        }
        for text in ["", "x", "70000", "-1", "127.0.0.1", "example.com:80", ":7433", "7433 "] {
            assert!(text.parse::<Probe>().is_err(), "{text}");
        }
    }
}

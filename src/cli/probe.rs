use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use super::size::parse_health;
use crate::error::{Error, ErrorKind, Result};

/// What is asked of a worker that runs with `--health`: for container platforms whose probes run a command, and images without a shell.
///
/// The same command stands in a worker's own program (`worker health`) and in `ferrokiq`.
#[derive(Clone, Debug, Args)]
pub struct Probe {
    /// Where the worker listens
    #[arg(long, value_name = "[HOST:]PORT", default_value = "127.0.0.1:7433", value_parser = parse_health)]
    at: SocketAddr,

    /// What to ask: whether it moves, or whether it takes work
    #[arg(value_enum, default_value = "ready")]
    question: Question,

    /// Seconds to wait for an answer
    #[arg(long, value_name = "SECS", default_value = "2", value_parser = clap::value_parser!(u64).range(1..=255))]
    wait: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Question {
    Live,
    Ready,
}

/// An answer that is longer is not one of ours.
const LONGEST: usize = 4 * 1_024;

impl Probe {
    /// Asks, and returns what was answered if all is well: one line.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`]: nobody answers there, in time, or what answers is no worker; or it is not well, and says why.
    pub fn ask(&self) -> Result<String> {
        let asked = match self.question {
            Question::Live => "live",
            Question::Ready => "ready",
        };
        let answer = self.answer(asked).map_err(|error| {
            Error::new(ErrorKind::Config, format!("no worker answers at {}", self.at)).because(error)
        })?;
        let text = String::from_utf8_lossy(&answer);
        let said = text.split_once("\r\n\r\n").and_then(|(_, body)| body.lines().next()).unwrap_or_default();
        let said: String = said.chars().filter(|c| !c.is_control()).take(200).collect();
        match text.split(' ').nth(1).filter(|_| text.starts_with("HTTP/1.1 ")) {
            Some("200") => Ok(format!("{asked}: {said}")),
            Some("503") => Err(Error::config(format!("not {asked}: {said}"))),
            _ => Err(Error::config(format!("what answers at {} is no worker", self.at))),
        }
    }

    fn answer(&self, path: &str) -> std::io::Result<Vec<u8>> {
        let deadline = Instant::now() + Duration::from_secs(self.wait);
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
        let told = Probe { at, question: Question::Ready, wait: 5 }.ask().map_err(|error| error.to_string());
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
        let at = listener.local_addr().unwrap();
        let began = Instant::now();
        let error = Probe { at, question: Question::Live, wait: 1 }.ask().unwrap_err();
        assert!(error.to_string().starts_with("no worker answers at "), "{error}");
        assert!(began.elapsed() < Duration::from_secs(4));
        drop(listener);
        assert!(Probe { at, question: Question::Live, wait: 1 }.ask().is_err());
    }
}

//! A proxy between a client and Redis that refuses commands, or loses their answers. For tests of this crate only; it needs nothing of the
//! crate, so other test targets can include it with `#[path]`.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// Which commands something happens to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Which {
    /// The one with this number, counted from 0.
    Number(usize),
    /// Every one with this name, in capitals.
    Named(&'static str),
}

/// What happens to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Redis never sees it; the client gets this code. In a transaction `WRONGTYPE` is found by `EXEC`, every other code when the command
    /// is queued: then the transaction is discarded.
    Refuse(&'static str),
    /// Redis runs it; the connection ends before its answer. Redis does not get the commands behind it.
    LoseAnswer,
}

/// A proxy on a socket of its own. Commands that only set up a connection always pass and are not counted.
pub(crate) struct Refusing(Arc<Mutex<Plan>>);

#[derive(Default)]
struct Plan {
    fault: Option<(Which, Fault)>,
    /// The commands since the plan was made.
    seen: Vec<String>,
}

/// Commands that set up a connection.
const SETUP: [&str; 4] = ["HELLO", "AUTH", "SELECT", "CLIENT"];

impl Refusing {
    /// Listens on the socket `near` and forwards to the socket `far`, in tasks of this runtime.
    pub(crate) fn start(near: &Path, far: &Path) -> io::Result<Self> {
        let (listener, far) = (UnixListener::bind(near)?, far.to_owned());
        let plan = Arc::new(Mutex::default());
        let of_task = Arc::clone(&plan);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (plan, far) = (Arc::clone(&of_task), far.clone());
                tokio::spawn(async move {
                    // An error is the end of either connection, and so of both.
                    if let Ok(far) = UnixStream::connect(far).await {
                        let _ = Connection::new(near, far, plan).serve().await;
                    }
                });
            }
        });
        Ok(Self(plan))
    }

    /// Counts commands from now on, and does `fault` to those it is for.
    pub(crate) fn plan(&self, fault: Option<(Which, Fault)>) {
        *lock(&self.0) = Plan { fault, seen: Vec::new() };
    }

    /// Names of the commands that clients sent since the last plan, in order.
    pub(crate) fn seen(&self) -> Vec<String> {
        lock(&self.0).seen.clone()
    }
}

fn lock(plan: &Mutex<Plan>) -> MutexGuard<'_, Plan> {
    plan.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Connection {
    near: Peer,
    far: Peer,
    plan: Arc<Mutex<Plan>>,
    /// The transaction that was begun and not yet ended.
    transaction: Option<Transaction>,
}

#[derive(Default)]
struct Transaction {
    /// A command was refused when it was queued.
    discarded: bool,
    /// Commands so far.
    queued: usize,
    /// Places and codes of commands that `EXEC` finds refused.
    refused: Vec<(usize, &'static str)>,
}

/// One end of a connection, with the bytes that were read and not yet used.
struct Peer {
    stream: UnixStream,
    read: Vec<u8>,
}

impl Peer {
    /// The next whole RESP value.
    async fn next(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = extent(&self.read) {
                return Ok(self.read.drain(..end).collect());
            }
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }
}

impl Connection {
    fn new(near: UnixStream, far: UnixStream, plan: Arc<Mutex<Plan>>) -> Self {
        let peer = |stream| Peer { stream, read: Vec::new() };
        Self { near: peer(near), far: peer(far), plan, transaction: None }
    }

    /// Until either end closes, or an answer is lost.
    async fn serve(mut self) -> io::Result<()> {
        loop {
            let request = self.near.next().await?;
            let name = name(&request);
            let answer = match self.fault(&name) {
                Some(Fault::Refuse(code)) => self.refuse(&name, code).await?,
                fault => {
                    let answer = self.forward(&name, &request).await?;
                    if fault == Some(Fault::LoseAnswer) {
                        return Ok(());
                    }
                    answer
                }
            };
            self.near.send(&answer).await?;
        }
    }

    /// Notes a command; returns what is planned for it.
    fn fault(&self, name: &str) -> Option<Fault> {
        if SETUP.contains(&name) {
            return None;
        }
        let mut plan = lock(&self.plan);
        let number = plan.seen.len();
        plan.seen.push(name.to_owned());
        let is_meant = |which| match which {
            Which::Number(at) => at == number,
            Which::Named(wanted) => wanted == name,
        };
        plan.fault.filter(|(which, _)| is_meant(*which)).map(|(_, fault)| fault)
    }

    async fn ask(&mut self, request: &[u8]) -> io::Result<Vec<u8>> {
        self.far.send(request).await?;
        self.far.next().await
    }

    async fn forward(&mut self, name: &str, request: &[u8]) -> io::Result<Vec<u8>> {
        match (name, self.transaction.take()) {
            ("EXEC", Some(Transaction { discarded: true, .. })) => {
                self.ask(b"DISCARD\r\n").await?;
                Ok(b"-EXECABORT Transaction discarded because of previous errors.\r\n".to_vec())
            }
            ("EXEC", Some(transaction)) => {
                let answers = self.ask(request).await?;
                Ok(with_refusals(&answers, &transaction.refused))
            }
            (name, before) => {
                self.transaction = if name == "MULTI" { Some(Transaction::default()) } else { before };
                let answer = self.ask(request).await?;
                if let Some(transaction) = self.transaction.as_mut().filter(|_| name != "MULTI") {
                    transaction.queued += 1;
                }
                Ok(answer)
            }
        }
    }

    async fn refuse(&mut self, name: &str, code: &'static str) -> io::Result<Vec<u8>> {
        if name == "EXEC" && self.transaction.take().is_some() {
            self.ask(b"DISCARD\r\n").await?;
            return Ok(format!("-EXECABORT Transaction discarded because of: {code} refused\r\n").into_bytes());
        }
        if let Some(transaction) = &mut self.transaction {
            if code == "WRONGTYPE" {
                transaction.refused.push((transaction.queued, code));
                transaction.queued += 1;
                return Ok(b"+QUEUED\r\n".to_vec());
            }
            transaction.discarded = true;
        }
        Ok(refusal(code))
    }
}

fn refusal(code: &str) -> Vec<u8> {
    format!("-{code} refused by the proxy\r\n").into_bytes()
}

/// The answers of `EXEC`, with refusals in the places of the commands that Redis did not get.
fn with_refusals(answers: &[u8], refused: &[(usize, &'static str)]) -> Vec<u8> {
    let Some(mut at) = end_of_line(answers).filter(|_| answers.starts_with(b"*")) else { return answers.to_vec() };
    let mut items = Vec::new();
    while let Some(length) = extent(&answers[at..]) {
        items.push(answers[at..at + length].to_vec());
        at += length;
    }
    for (place, code) in refused {
        items.insert(*place, refusal(code));
    }
    [format!("*{}\r\n", items.len()).into_bytes(), items.concat()].concat()
}

/// The name of a command, in capitals.
fn name(request: &[u8]) -> String {
    let word = request.split(|byte| *byte == b'\n').nth(2).unwrap_or_default();
    String::from_utf8_lossy(word).trim().to_ascii_uppercase()
}

/// Where the first line ends.
fn end_of_line(bytes: &[u8]) -> Option<usize> {
    Some(bytes.windows(2).position(|pair| pair == b"\r\n")? + 2)
}

/// How many bytes the first RESP value has; `None` if it is not all there.
fn extent(bytes: &[u8]) -> Option<usize> {
    let line = end_of_line(bytes)?;
    let number = || std::str::from_utf8(&bytes[1..line - 2]).ok()?.parse::<isize>().ok();
    match bytes[0] {
        b'$' | b'=' | b'!' => {
            let end = usize::try_from(number()?).map_or(line, |length| line + length + 2);
            (bytes.len() >= end).then_some(end)
        }
        kind @ (b'*' | b'~' | b'>' | b'%') => {
            let items = usize::try_from(number()?).unwrap_or(0) * if kind == b'%' { 2 } else { 1 };
            (0..items).try_fold(line, |at, _| Some(at + extent(&bytes[at..])?))
        }
        _ => Some(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_end_of_a_value() {
        for (value, whole) in [
            ("+OK\r\n", true),
            ("+OK\r", false),
            ("$3\r\nab\n\r\n", true),
            ("$3\r\nab\n", false),
            ("$-1\r\n", true),
            ("*2\r\n:1\r\n*1\r\n$0\r\n\r\n", true),
            ("*2\r\n:1\r\n*1\r\n", false),
            ("*-1\r\n", true),
            ("%1\r\n+a\r\n_\r\n", true),
            ("%1\r\n+a\r\n", false),
        ] {
            assert_eq!(extent(value.as_bytes()), whole.then_some(value.len()), "{value:?}");
        }
    }

    #[test]
    fn puts_refusals_where_the_commands_were() {
        let answers = with_refusals(b"*1\r\n:5\r\n", &[(0, "WRONGTYPE"), (2, "WRONGTYPE")]);
        let refused = "-WRONGTYPE refused by the proxy\r\n";
        assert_eq!(String::from_utf8(answers).unwrap(), format!("*3\r\n{refused}:5\r\n{refused}"));
    }
}

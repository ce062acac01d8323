//! A wire between a worker and Redis that fails on command.

use std::io::{Error, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::ledger::Jid;

/// What happens to bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Pass,
    /// Everything is read, acknowledged to the sender, and dropped: a half-open connection.
    Blackhole,
    /// Requests arrive, answers do not.
    DropReplies,
    /// Connections are refused, those that exist are reset.
    Refuse,
}

/// Where in the life of a command something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Redis has not seen it.
    Before,
    /// Redis has run it; the answer is on its way.
    After,
    /// The answer was delivered.
    Answered,
}

/// Waits for the nth request that holds these bytes.
pub(crate) struct Trap {
    pattern: Vec<u8>,
    left: u32,
    moment: Moment,
    spring: Box<dyn FnOnce() + Send>,
}

struct Shared {
    /// The port new connections go to.
    to: AtomicU16,
    mode: Mutex<Mode>,
    trap: Mutex<Option<Trap>>,
    /// Connections that carried a request with these bytes become black holes.
    hole: Mutex<Option<Vec<u8>>>,
    /// Cut each new connection after so many bytes of requests, or of answers; 0 is never.
    cut_requests: AtomicU64,
    cut_replies: AtomicU64,
    delay_us: AtomicU64,
    /// Bytes a second that all connections share; 0 for any number. And when the next bytes may pass.
    rate: AtomicU64,
    next: Mutex<Option<Instant>>,
    /// Is told of every job in an answer.
    record: Mutex<Option<Tell>>,
    open: Mutex<Vec<Connection>>,
}

struct Connection {
    near: TcpStream,
    far: TcpStream,
    swallowed: Arc<AtomicBool>,
}

#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Proxy {
    pub(crate) fn start(to: u16) -> Result<Self, Error> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            to: AtomicU16::new(to),
            mode: Mutex::new(Mode::Pass),
            trap: Mutex::new(None),
            hole: Mutex::new(None),
            cut_requests: AtomicU64::new(0),
            cut_replies: AtomicU64::new(0),
            delay_us: AtomicU64::new(0),
            rate: AtomicU64::new(0),
            next: Mutex::new(None),
            record: Mutex::new(None),
            open: Mutex::default(),
        });
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if *lock(&of_thread.mode) != Mode::Refuse {
                    let to = of_thread.to.load(Ordering::Relaxed);
                    let _ = forward(&of_thread, near, to);
                }
            }
        });
        Ok(Self { port, shared })
    }

    /// For a worker.
    pub(crate) fn url(&self) -> String {
        crate::redis::worker_url(self.port)
    }

    /// For whoever needs every right.
    pub(crate) fn url_of_all(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    pub(crate) fn set(&self, mode: Mode) {
        *lock(&self.shared.mode) = mode;
        if mode == Mode::Refuse {
            self.cut();
        }
    }

    pub(crate) fn delay(&self, delay: Duration) {
        self.shared.delay_us.store(u64::try_from(delay.as_micros()).unwrap_or(0), Ordering::Relaxed);
    }

    /// All connections together carry so many bytes a second.
    pub(crate) fn throttle(&self, rate: u64) {
        self.shared.rate.store(rate, Ordering::Relaxed);
    }

    /// Ends every connection; new ones go to another server.
    pub(crate) fn point_to(&self, port: u16) {
        self.shared.to.store(port, Ordering::Relaxed);
        self.cut();
    }

    /// Ends every connection.
    pub(crate) fn cut(&self) {
        for Connection { near, far, .. } in lock(&self.shared.open).drain(..) {
            let _ = (near.shutdown(Shutdown::Both), far.shutdown(Shutdown::Both));
        }
    }

    /// Connections that exist carry nothing more; those made later do.
    pub(crate) fn swallow_existing(&self) {
        for connection in lock(&self.shared.open).iter() {
            connection.swallowed.store(true, Ordering::Relaxed);
        }
    }

    /// Tells of every job that Redis gives away on connections made from now on, whether or not anybody is left to take it.
    pub(crate) fn record(&self, tell: impl Fn(Jid) + Send + Sync + 'static) {
        *lock(&self.shared.record) = Some(Arc::new(tell));
    }

    /// Cuts each connection made from now on after so many bytes; 0 for never.
    pub(crate) fn cut_after(&self, requests: u64, replies: u64) {
        self.shared.cut_requests.store(requests, Ordering::Relaxed);
        self.shared.cut_replies.store(replies, Ordering::Relaxed);
    }

    /// Connections that carry such a request carry nothing more.
    pub(crate) fn swallow(&self, pattern: Option<&str>) {
        *lock(&self.shared.hole) = pattern.map(|pattern| pattern.as_bytes().to_vec());
    }

    /// Has something done at the nth request that holds these bytes; until somebody does something about it, the connection hangs.
    pub(crate) fn trap(&self, pattern: &str, nth: u32, moment: Moment, spring: impl FnOnce() + Send + 'static) {
        let trap = Trap { pattern: pattern.as_bytes().to_vec(), left: nth, moment, spring: Box::new(spring) };
        *lock(&self.shared.trap) = Some(trap);
    }

    pub(crate) fn disarm(&self) {
        *lock(&self.shared.trap) = None;
    }
}

fn contains(piece: &[u8], pattern: &[u8]) -> bool {
    piece.windows(pattern.len()).any(|window| window == pattern)
}

impl Shared {
    /// Waits until so many bytes may pass.
    fn pace(&self, bytes: usize) {
        let rate = self.rate.load(Ordering::Relaxed);
        if rate == 0 {
            return;
        }
        let until = {
            let (mut next, now) = (lock(&self.next), Instant::now());
            let until = next.map_or(now, |next| next.max(now)) + Duration::from_secs_f64(bytes as f64 / rate as f64);
            *next = Some(until);
            until
        };
        thread::sleep(until.saturating_duration_since(Instant::now()));
    }

    /// The trap, if this request springs it.
    fn sprung(&self, piece: &[u8]) -> Option<Trap> {
        let mut slot = lock(&self.trap);
        let trap = slot.as_mut().filter(|trap| contains(piece, &trap.pattern))?;
        trap.left = trap.left.saturating_sub(1);
        if trap.left == 0 { slot.take() } else { None }
    }
}

type Tell = Arc<dyn Fn(Jid) + Send + Sync>;

/// Finds the jobs in a stream of answers.
struct Witness {
    tell: Tell,
    /// What a job may have begun in.
    rest: Vec<u8>,
}

impl Witness {
    const MARK: &'static [u8] = br#""jid":""#;

    fn new(tell: Tell) -> Self {
        Self { tell, rest: Vec::new() }
    }

    fn see(&mut self, piece: &[u8]) {
        self.rest.extend_from_slice(piece);
        let whole = Self::MARK.len() + Jid::default().len();
        let mut at = 0;
        while at + whole <= self.rest.len() {
            if self.rest[at..].starts_with(Self::MARK) {
                let mut job = Jid::default();
                job.copy_from_slice(&self.rest[at + Self::MARK.len()..at + whole]);
                (self.tell)(job);
                at += whole;
            } else {
                at += 1;
            }
        }
        self.rest.drain(..at);
    }
}

fn forward(shared: &Arc<Shared>, near: TcpStream, to: u16) -> Result<(), Error> {
    let far = TcpStream::connect(("127.0.0.1", to))?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    // What a trap left to be done when the answer comes.
    let pending: Arc<Mutex<Option<Trap>>> = Arc::default();
    let swallowed = Arc::new(AtomicBool::new(false));
    let connection = Connection { near: near.try_clone()?, far: far.try_clone()?, swallowed: Arc::clone(&swallowed) };
    lock(&shared.open).push(connection);
    let limit = |limit: &AtomicU64| match limit.load(Ordering::Relaxed) {
        0 => u64::MAX,
        bytes => bytes,
    };
    let (mut requests, mut replies) = (limit(&shared.cut_requests), limit(&shared.cut_replies));
    {
        let (shared, pending, swallowed) = (Arc::clone(shared), Arc::clone(&pending), Arc::clone(&swallowed));
        let (mut from, mut to) = (near.try_clone()?, far.try_clone()?);
        thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1_024];
            while let Ok(read @ 1..) = from.read(&mut buffer) {
                let piece = &buffer[..read];
                if lock(&shared.hole).as_ref().is_some_and(|pattern| contains(piece, pattern)) {
                    swallowed.store(true, Ordering::Relaxed);
                }
                if *lock(&shared.mode) == Mode::Blackhole || swallowed.load(Ordering::Relaxed) {
                    continue;
                }
                if let Some(trap) = shared.sprung(piece) {
                    if trap.moment == Moment::Before {
                        (trap.spring)();
                        return;
                    }
                    *lock(&pending) = Some(trap);
                }
                shared.pace(read);
                let passed = usize::try_from(requests).unwrap_or(usize::MAX).min(read);
                if to.write_all(&piece[..passed]).is_err() || passed < read {
                    break;
                }
                requests -= passed as u64;
            }
            // What Redis still gives away is to be seen by whoever records it.
            let how = if lock(&shared.record).is_some() { Shutdown::Write } else { Shutdown::Both };
            let _ = (from.shutdown(Shutdown::Both), to.shutdown(how));
        });
    }
    let (shared, mut from, mut to) = (Arc::clone(shared), far, near);
    let mut witness = lock(&shared.record).clone().map(Witness::new);
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1_024];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            if let Some(witness) = &mut witness {
                witness.see(&buffer[..read]);
                // The one it was for may be gone: what comes is still to be seen.
                let _ = to.write_all(&buffer[..read]);
                continue;
            }
            shared.pace(read);
            let delay = shared.delay_us.load(Ordering::Relaxed);
            if delay > 0 {
                thread::sleep(Duration::from_micros(delay));
            }
            if matches!(*lock(&shared.mode), Mode::Blackhole | Mode::DropReplies) || swallowed.load(Ordering::Relaxed) {
                continue;
            }
            let trap = lock(&pending).take();
            if let Some(trap) = trap {
                if trap.moment == Moment::After {
                    (trap.spring)();
                    return;
                }
                let _ = to.write_all(&buffer[..read]);
                (trap.spring)();
                continue;
            }
            let passed = usize::try_from(replies).unwrap_or(usize::MAX).min(read);
            if to.write_all(&buffer[..passed]).is_err() || passed < read {
                break;
            }
            replies -= passed as u64;
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    });
    Ok(())
}

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use redis::{RedisError, RedisResult};
use tokio::time::Instant;

/// When the peer of a connection last showed that it is there: bytes arrived, or it made room for bytes that could not be written.
///
/// An answer of many megabytes takes long on a slow line. A connection counts as silent by this, not by how long the whole answer takes. A request
/// of many bytes lies in buffers on its way, where nothing shows how far it is: for these bytes the peer may be silent for longer.
#[derive(Clone, Debug)]
pub(super) struct Progress(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    since: Instant,
    /// Milliseconds from `since`.
    last: AtomicU64,
    /// Bytes written to the peer.
    written: AtomicU64,
    /// Bytes that the peer has received, as its answers show.
    received: AtomicU64,
    /// Requests without an answer.
    open: AtomicUsize,
    line: Line,
}

/// Bytes that the connections to one server have written and that the server has not shown to have received: they share a line, and a small request
/// waits behind the large ones of other connections.
#[derive(Clone, Debug, Default)]
pub(super) struct Line(Arc<AtomicU64>);

/// Bytes per second of the slowest line on which large requests arrive.
const SLOWEST: u64 = 32 * 1_024;

impl Line {
    /// How much longer than usual a server may be silent, since these bytes may still be on their way.
    fn allowance(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed).saturating_mul(1_000) / SLOWEST).min(LONGEST)
    }
}

/// A request without an answer.
struct Open<'a>(&'a Shared);

impl<'a> Open<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.open.fetch_add(1, Ordering::Relaxed);
        Self(shared)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    fn has_received(&self, bytes: u64) {
        let before = self.received.fetch_max(bytes, Ordering::Relaxed);
        self.line.0.fetch_sub(bytes.saturating_sub(before), Ordering::Relaxed);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.has_received(self.written.load(Ordering::Relaxed));
    }
}

/// An answer takes this long at most, however steadily it arrives: 16 MiB at 60 KB/s.
const LONGEST: Duration = Duration::from_secs(300);

impl Progress {
    pub(super) fn new(line: Line) -> Self {
        Self(Arc::new(Shared {
            since: Instant::now(),
            last: AtomicU64::new(0),
            written: AtomicU64::new(0),
            received: AtomicU64::new(0),
            open: AtomicUsize::new(0),
            line,
        }))
    }

    /// So many bytes were written.
    pub(super) fn wrote(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.0.line.0.fetch_add(bytes, Ordering::Relaxed);
        self.0.written.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The peer is there.
    pub(super) fn made(&self) {
        let millis = u64::try_from(self.0.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.last.store(millis, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.0.since + Duration::from_millis(self.0.last.load(Ordering::Relaxed))
    }

    /// Awaits an answer until the peer has been silent for `patience`, and for what the bytes on their way take on the [slowest line](SLOWEST).
    ///
    /// # Errors
    ///
    /// A time-out, as the client library's own.
    pub(super) async fn answer<T>(
        &self,
        patience: Duration,
        answer: impl Future<Output = RedisResult<T>>,
    ) -> RedisResult<T> {
        let mut answer = std::pin::pin!(answer);
        // The bytes before this request: its answer shows that the peer has received them.
        let before = self.0.written.load(Ordering::Relaxed);
        let open = Open::new(&self.0);
        let sent = Instant::now();
        let mut last_sign = sent;
        let mut until = sent + patience;
        loop {
            if let Ok(answer) = tokio::time::timeout_at(until, &mut answer).await {
                drop(open);
                let is_last = self.0.open.load(Ordering::Relaxed) == 0;
                self.0.has_received(if is_last { self.0.written.load(Ordering::Relaxed) } else { before });
                return answer;
            }
            last_sign = last_sign.max(self.last());
            let later = last_sign + patience + self.0.line.allowance();
            if later <= until || sent.elapsed() >= LONGEST {
                return Err(RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut)));
            }
            until = later;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(3);

    #[tokio::test(start_paused = true)]
    async fn an_answer_may_take_as_long_as_it_arrives() {
        let progress = Progress::new(Line::default());
        let slow = async {
            for _ in 0..20 {
                tokio::time::sleep(Duration::from_secs(2)).await;
                progress.made();
            }
            Ok(7)
        };
        assert_eq!(progress.answer(PATIENCE, slow).await.unwrap(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_the_wait_after_the_patience() {
        let (progress, began) = (Progress::new(Line::default()), Instant::now());
        let stalls = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            progress.made();
            std::future::pending::<RedisResult<()>>().await
        };
        let error = progress.answer(PATIENCE, stalls).await.unwrap_err();
        assert!(error.is_timeout(), "{error}");
        assert_eq!(began.elapsed().as_secs(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_never_ends_is_given_up() {
        let (progress, began) = (Progress::new(Line::default()), Instant::now());
        let endless = async {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                progress.made();
            }
        };
        assert!(progress.answer::<()>(PATIENCE, endless).await.unwrap_err().is_timeout());
        assert!(began.elapsed() >= LONGEST && began.elapsed() < LONGEST + PATIENCE * 2, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_on_their_way_excuse_silence_of_all_connections_of_the_line() {
        let line = Line::default();
        let (large, small) = (Progress::new(line.clone()), Progress::new(line.clone()));
        let took = async |progress: &Progress| {
            let began = Instant::now();
            assert!(
                progress.answer(PATIENCE, std::future::pending::<RedisResult<()>>()).await.unwrap_err().is_timeout()
            );
            began.elapsed()
        };
        assert_eq!(took(&small).await, PATIENCE);
        large.wrote(10 * 32 * 1_024);
        assert_eq!(took(&small).await, PATIENCE + Duration::from_secs(10));
        // The answer to the last request shows that all of it arrived.
        assert_eq!(large.answer(PATIENCE, async { Ok(7) }).await.unwrap(), 7);
        assert_eq!(took(&small).await, PATIENCE);
        large.wrote(32 * 1_024);
        drop(large);
        assert_eq!(took(&small).await, PATIENCE, "nothing is on its way on a connection that is closed");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_shows_that_what_was_written_before_its_request_arrived() {
        let line = Line::default();
        let progress = Progress::new(line.clone());
        progress.wrote(64 * 1_024);
        let open = progress.answer(PATIENCE, std::future::pending::<RedisResult<()>>());
        let mut open = std::pin::pin!(open);
        assert!(tokio::time::timeout(Duration::ZERO, &mut open).await.is_err());
        progress.wrote(32 * 1_024);
        let last = async {
            progress.wrote(320 * 1_024);
            Ok(())
        };
        progress.answer(PATIENCE, last).await.unwrap();
        assert_eq!(line.allowance(), Duration::from_secs(10), "the last request may be on its way");
    }

    #[tokio::test(start_paused = true)]
    async fn a_signal_of_the_peer_counts_from_when_it_came() {
        let progress = Progress::new(Line::default());
        progress.wrote(64 * 1_024);
        let began = Instant::now();
        let signals = async {
            tokio::time::sleep(Duration::from_secs(4)).await;
            progress.made();
            std::future::pending::<RedisResult<()>>().await
        };
        assert!(progress.answer(PATIENCE, signals).await.unwrap_err().is_timeout());
        assert_eq!(began.elapsed().as_secs(), 4 + 3 + 2);
    }
}

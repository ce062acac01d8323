use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::{RedisError, RedisResult};
use tokio::time::Instant;

/// When the peer of a connection last showed that it is there: bytes arrived, or it made room for bytes that could not be written.
///
/// An answer of many megabytes takes long on a slow line. A connection counts as silent by this, not by how long the whole answer takes.
#[derive(Clone, Debug)]
pub(super) struct Progress(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    since: Instant,
    /// Milliseconds from `since`.
    last: AtomicU64,
}

/// An answer takes this long at most, however steadily it arrives: 16 MiB at 60 KB/s.
const LONGEST: Duration = Duration::from_secs(300);

impl Progress {
    pub(super) fn new() -> Self {
        Self(Arc::new(Shared { since: Instant::now(), last: AtomicU64::new(0) }))
    }

    /// The peer is there.
    pub(super) fn made(&self) {
        let millis = u64::try_from(self.0.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.last.store(millis, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.0.since + Duration::from_millis(self.0.last.load(Ordering::Relaxed))
    }

    /// Awaits an answer until the peer has been silent for `patience`.
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
        let sent = Instant::now();
        let mut last_sign = sent;
        loop {
            if let Ok(answer) = tokio::time::timeout_at(last_sign + patience, &mut answer).await {
                return answer;
            }
            let last = self.last();
            if last <= last_sign || sent.elapsed() >= LONGEST {
                return Err(RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut)));
            }
            last_sign = last;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(3);

    #[tokio::test(start_paused = true)]
    async fn an_answer_may_take_as_long_as_it_arrives() {
        let progress = Progress::new();
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
        let (progress, began) = (Progress::new(), Instant::now());
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
        let (progress, began) = (Progress::new(), Instant::now());
        let endless = async {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                progress.made();
            }
        };
        assert!(progress.answer::<()>(PATIENCE, endless).await.unwrap_err().is_timeout());
        assert!(began.elapsed() >= LONGEST && began.elapsed() < LONGEST + PATIENCE * 2, "{:?}", began.elapsed());
    }
}

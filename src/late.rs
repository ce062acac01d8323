//! A Redis that is late: whether to try again after an error, when, and what to log meanwhile. Workers wait so at their start, and the operator's
//! tool with `--wait`.

use std::time::{Duration, Instant};

use crate::error::{Error, RedisFault};
use crate::limits::is_out_of_files;

/// Between two attempts: the first pause, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// Between two log lines of one wait.
const REMARK: Duration = Duration::from_secs(10);

/// One wait for Redis.
#[derive(Debug)]
pub(crate) struct Wait {
    began: Instant,
    timeout: Duration,
    pause: Duration,
    remarked: Option<Instant>,
}

/// What to do before the next attempt.
#[derive(Debug)]
pub(crate) struct Next {
    /// The error and its causes.
    pub(crate) cause: String,
    pub(crate) pause: Duration,
    /// How much longer it may take.
    pub(crate) left: Duration,
    /// Whether a line is due: the first is, and then one every ten seconds.
    pub(crate) remark: bool,
}

impl Wait {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { began: Instant::now(), timeout, pause: PAUSE.0, remarked: None }
    }

    /// What follows from a failed attempt; `None` if no further attempt may succeed in time.
    pub(crate) fn after(&mut self, error: &Error) -> Option<Next> {
        let left = self.timeout.saturating_sub(self.began.elapsed());
        let cause = error.with_causes();
        if left.is_zero() || !is_late(error, &cause) {
            return None;
        }
        let remark = self.remarked.is_none_or(|at| at.elapsed() >= REMARK);
        if remark {
            self.remarked = Some(Instant::now());
        }
        let pause = self.pause.min(left);
        self.pause = (self.pause * 2).min(PAUSE.1);
        Some(Next { cause, pause, left, remark })
    }

    /// How long it took, if an attempt had failed.
    pub(crate) fn waited(&self) -> Option<Duration> {
        self.remarked.map(|_| self.began.elapsed())
    }
}

/// Whether a later attempt may succeed: Redis is unreachable or not ready. It cannot succeed if this process has no file descriptor left.
fn is_late(error: &Error, cause: &str) -> bool {
    matches!(error.redis_fault(), Some(RedisFault::Unreachable | RedisFault::Unwilling)) && !is_out_of_files(cause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn waits_for_a_redis_that_is_late_and_for_nothing_else() {
        let error = |fault| Error::new(ErrorKind::Redis, "ping failed").with_fault(fault);
        let mut wait = Wait::new(Duration::from_secs(60));
        assert_eq!(wait.waited(), None);
        for (fault, is_late) in [
            (RedisFault::Unreachable, true),
            (RedisFault::Unwilling, true),
            (RedisFault::Denied, false),
            (RedisFault::WrongType, false),
            (RedisFault::Other, false),
        ] {
            assert_eq!(wait.after(&error(fault)).is_some(), is_late, "{fault:?}");
        }
        assert!(wait.after(&Error::config("x")).is_none());
        let out_of_files = error(RedisFault::Unreachable).because("Too many open files (os error 24)");
        assert!(wait.after(&out_of_files).is_none());
        assert!(Wait::new(Duration::ZERO).after(&error(RedisFault::Unreachable)).is_none());
    }

    #[test]
    fn pauses_longer_up_to_a_second_and_logs_the_first_failure() {
        let (mut wait, error) = (Wait::new(Duration::from_secs(60)), Error::new(ErrorKind::Redis, "cannot reach it"));
        let error = error.with_fault(RedisFault::Unreachable).because("connection refused");
        let nexts: Vec<Next> = (0..6).map(|_| wait.after(&error).unwrap()).collect();
        assert_eq!(nexts[0].cause, "cannot reach it: connection refused");
        assert_eq!(
            nexts.iter().map(|next| next.pause.as_millis()).collect::<Vec<_>>(),
            [100, 200, 400, 800, 1_000, 1_000]
        );
        assert_eq!(nexts.iter().filter(|next| next.remark).count(), 1);
        assert!(wait.waited().is_some());
    }
}

use std::time::{Duration, Instant};

use crate::error::Error;

/// A time without Redis: one line when it begins, one with its length when it is over, as Sidekiq.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    since: Option<Instant>,
    failures: u32,
}

impl Outage {
    /// Another failure; only the first is logged.
    pub(crate) fn note(&mut self, what: &str, error: &Error) {
        self.failures = self.failures.saturating_add(1);
        if self.since.is_none() {
            self.since = Some(Instant::now());
            let why = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            tracing::error!(%error, why, "{what}");
        }
    }

    /// How long to wait before the next try: doubling from 50 ms to 1 s, with jitter so that a fleet does not come back
    /// all at once.
    pub(crate) fn pause(&self) -> Duration {
        let longest = Duration::from_millis(50 << self.failures.saturating_sub(1).min(5)).min(Duration::from_secs(1));
        longest.mul_f64(0.5 + rand::random::<f64>() / 2.0)
    }

    /// It worked.
    pub(crate) fn over(&mut self) {
        if let Some(since) = self.since.take() {
            tracing::info!("Redis is online, {:.3} sec downtime", since.elapsed().as_secs_f64());
        }
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_longer_but_never_beyond_a_second() {
        let (mut outage, error) = (Outage::default(), Error::config("x"));
        let mut longest = Duration::ZERO;
        for _ in 0..50 {
            outage.note("test", &error);
            assert!(outage.pause() >= Duration::from_millis(25));
            longest = longest.max(outage.pause());
        }
        assert!(longest > Duration::from_millis(400) && longest <= Duration::from_secs(1), "{longest:?}");
        outage.over();
        assert!(outage.since.is_none());
    }
}

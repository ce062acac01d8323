//! How fast the jobs of a capsule are finished, and so how many to fetch ahead.

use std::time::{Duration, Instant};

/// Measured while there are jobs, from one time that some come to the next.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// The present period, since jobs last came.
    came: Option<Came>,
    /// When the last of those that came was taken, and how many were finished then.
    emptied: Option<(Instant, u64)>,
    /// The period before.
    last: Finished,
    ahead: usize,
}

/// When jobs came, and how many had been taken and finished.
#[derive(Clone, Copy, Debug)]
struct Came {
    at: Instant,
    taken: u64,
    finished: u64,
}

/// So many jobs, in so much time.
#[derive(Clone, Copy, Debug, Default)]
struct Finished(u64, Duration);

/// Jobs are fetched ahead for so many round trips: half of them are taken while the other half is on its way, and neither side is even.
const ROUND_TRIPS: f64 = 4.0;

impl Finished {
    /// How many that would be in a round trip; never more than they were.
    fn per(self, round_trip: Duration) -> f64 {
        let Self(jobs, span) = self;
        if span <= round_trip { jobs as f64 } else { jobs as f64 * round_trip.as_secs_f64() / span.as_secs_f64() }
    }
}

impl Pace {
    /// Jobs came, when so many had been taken and finished since the server started.
    pub(crate) fn comes(&mut self, taken: u64, finished: u64) {
        self.last = self.since(finished);
        self.came = Some(Came { at: Instant::now(), taken, finished });
        self.emptied = None;
    }

    /// The last of those that came was taken.
    pub(crate) fn emptied(&mut self, finished: u64) {
        self.emptied = Some((Instant::now(), finished));
    }

    /// How many jobs to fetch ahead, at most `most`. Jobs that came just now tell nothing yet; those before them do.
    pub(crate) fn measure(&mut self, finished: u64, round_trip: Duration, most: usize) -> usize {
        let now = self.since(finished);
        let telling = if self.emptied.is_some() || now.1 >= round_trip { now } else { self.last };
        self.ahead = ((ROUND_TRIPS * telling.per(round_trip)) as usize).min(most);
        self.ahead
    }

    /// What was [measured](Self::measure) last.
    pub(crate) fn ahead(&self) -> usize {
        self.ahead
    }

    /// What was finished of late while there were jobs: nothing if all of it had begun before, for then jobs are long.
    fn since(&self, finished: u64) -> Finished {
        let Some(came) = self.came else { return Finished::default() };
        let (until, finished) = self.emptied.unwrap_or_else(|| (Instant::now(), finished));
        let jobs = if finished > came.taken { finished - came.finished } else { 0 };
        Finished(jobs, until.saturating_duration_since(came.at))
    }

    /// One that saw so many jobs finished in so much time.
    #[cfg(test)]
    pub(crate) fn seen(jobs: u64, span: Duration) -> Self {
        Self { last: Finished(jobs, span), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer than a test takes.
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn is_what_a_few_round_trips_finish() {
        let ahead = |jobs, span: u64, round_trip: u64| {
            Pace::seen(jobs, Duration::from_micros(span)).measure(0, Duration::from_micros(round_trip), 400)
        };
        assert_eq!(ahead(100, 1_000, 200), 80);
        assert_eq!(ahead(1, 100_000, 200), 0, "slow jobs are not fetched ahead");
        assert_eq!(ahead(20, 2, 200), 80, "no more than four times what was seen");
        assert_eq!(ahead(100_000, 1_000, 200), 400);
        assert_eq!(ahead(100_000, 1_000, 0), 0);
    }

    #[test]
    fn goes_by_the_jobs_before_until_those_that_came_tell_something() {
        let mut pace = Pace::default();
        pace.comes(0, 0);
        pace.emptied(50);
        pace.comes(50, 50);
        assert_eq!(pace.measure(50, LONG, 400), 200);
        assert_eq!(pace.ahead(), 200);
        pace.emptied(50);
        assert_eq!(pace.measure(50, LONG, 400), 0, "all were taken and none is finished: they are slow");
    }

    #[test]
    fn does_not_take_long_jobs_that_end_together_for_short_ones() {
        let mut pace = Pace::default();
        pace.comes(4, 0);
        pace.emptied(4);
        assert_eq!(pace.measure(4, LONG, 400), 0, "the four that were finished had begun before");
        pace.comes(8, 4);
        pace.emptied(9);
        assert_eq!(pace.measure(9, LONG, 400), 20);
    }
}

//! How a suspect is tested: with whom it may run, and for how long everything else waits.

use std::time::{Duration, Instant};

/// Up to so many suspects are few: each begins alone. More are tested in groups.
pub(crate) const FEW: usize = 8;

/// How a suspect is to be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Test {
    /// Suspects that may have begun in the process at the same time, this one included.
    pub(crate) company: usize,
    /// Whether it begins while nothing else runs. Only a suspect that dies so is convicted.
    pub(crate) alone: Option<Alone>,
}

/// How long a suspect keeps everything else waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alone {
    /// Waits so long at most for the jobs that run to end; if they do not, the suspect runs beside them.
    pub(crate) drain: Duration,
    /// Runs so long at most before others begin beside it.
    pub(crate) hold: Duration,
}

const BRIEFLY: Alone = Alone { drain: Duration::from_secs(1), hold: Duration::from_secs(2) };
const LONG: Alone = Alone { drain: Duration::from_secs(5), hold: Duration::from_secs(30) };

impl Test {
    /// The test of a payload that so many processes `died` with, in a process with so many `processors`.
    ///
    /// Many suspects are most likely the neighbours of one killer, or of none: they run together, then in groups of a sixteenth of the
    /// processors, then one by one. So a killer is convicted with its fifth death at the latest, and with its third if suspects are few.
    pub(crate) fn of(died: u32, few: bool, processors: usize) -> Self {
        let small_group = processors / 16;
        match died {
            0..=2 => Self { company: usize::MAX, alone: few.then_some(BRIEFLY) },
            3 if !few && small_group > 1 => Self { company: small_group, alone: None },
            _ => Self { company: 1, alone: Some(LONG) },
        }
    }
}

/// Keeps the time that everything else waits for suspects to a quarter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Seconds that may be spent; below zero while more was spent than had been earned.
    credit: f64,
    at: Instant,
}

impl Budget {
    /// Seconds a process has at its start, and may save.
    const MOST: f64 = 2.0;
    /// Part of the time that may be spent.
    const SHARE: f64 = 0.25;

    pub(crate) fn new(now: Instant) -> Self {
        Self { credit: Self::MOST, at: now }
    }

    fn earn(&mut self, now: Instant) {
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * Self::SHARE;
        *self = Self { credit: (self.credit + earned).min(Self::MOST), at: now };
    }

    /// How long until there is credit; zero if there is.
    pub(crate) fn wait(&mut self, now: Instant) -> Duration {
        self.earn(now);
        Duration::from_secs_f64((-self.credit).max(0.0) / Self::SHARE)
    }

    /// Everything else has waited for so long.
    pub(crate) fn spend(&mut self, held: Duration, now: Instant) {
        self.earn(now);
        self.credit -= held.as_secs_f64();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_few_suspects_alone_and_many_in_groups_that_shrink() {
        let companies =
            |few, processors| (2..6).map(|died| Test::of(died, few, processors).company).collect::<Vec<_>>();
        assert_eq!(companies(false, 100), [usize::MAX, 6, 1, 1]);
        assert_eq!(companies(false, 10), [usize::MAX, 1, 1, 1]);
        assert_eq!(companies(true, 100), [usize::MAX, 1, 1, 1]);
        for processors in [1, 10, 100, 1_000] {
            assert!((2..9).all(|died| Test::of(died, true, processors).alone.is_some()));
            assert!((5..9).all(|died| Test::of(died, false, processors).alone.is_some()));
            assert!(Test::of(2, false, processors).alone.is_none(), "many do not stop the rest");
        }
    }

    #[test]
    fn spends_a_quarter_of_the_time() {
        let start = Instant::now();
        let (mut budget, mut now, mut spent) = (Budget::new(start), start, Duration::ZERO);
        for held in [2, 30, 1, 7, 3, 20, 1].map(Duration::from_secs) {
            now += budget.wait(now) + held;
            budget.spend(held, now);
            spent += held;
        }
        now += budget.wait(now);
        let quarter = (now - start).mul_f64(0.25) + Duration::from_secs_f64(Budget::MOST);
        assert!(spent <= quarter + Duration::from_millis(1), "{spent:?} of {:?}", now - start);
        assert_eq!(budget.wait(now + Duration::from_secs(3_600)), Duration::ZERO);
        budget.spend(Duration::from_secs(3), now + Duration::from_secs(3_600));
        assert!(budget.wait(now + Duration::from_secs(3_600)) > Duration::ZERO, "no more than two seconds are saved");
    }
}

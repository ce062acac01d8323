//! The sorted sets `schedule`, `retry` and `dead`.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use redis::{Script, ScriptInvocation};

use super::{Store, is_denied, keys, scripts};
use crate::error::Result;

/// A sorted set that holds jobs until a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitingSet {
    Retry,
    Schedule,
    Dead,
    /// Jobs that GitLab's fetcher gave up after they were interrupted too often. No worker of ours touches it.
    Interrupted,
}

impl WaitingSet {
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Retry => keys::RETRY,
            Self::Schedule => keys::SCHEDULE,
            Self::Dead => keys::DEAD,
            Self::Interrupted => keys::INTERRUPTED,
        }
    }
}

/// Bytes that one script or answer carries, as a rule: about a millisecond of Redis. A job that is larger goes alone.
pub(crate) const BUDGET: usize = 1 << 20;

/// Bytes of due members that are read at once. Moving them takes twice that, old payload and new, and stays within the budget.
pub(crate) const READ: usize = BUDGET / 4;

/// Members that one look reads at most where most of them stay: a quarter of a millisecond of Redis.
pub(crate) const PAGE: usize = 1_000;

/// Jobs that one script moves at most: a quarter of a millisecond of Redis.
pub(crate) const BATCH: usize = 100;

/// Splits items into batches of [`BATCH`] items and [`BUDGET`] bytes at most; an item that is larger is a batch of its own.
pub(crate) fn batches<T>(items: &[T], bytes: impl Fn(&T) -> usize) -> impl Iterator<Item = &[T]> {
    let mut rest = items;
    std::iter::from_fn(move || {
        let mut room = BUDGET;
        let fits = |item: &&T| {
            let left = room.checked_sub(bytes(item));
            room = left.unwrap_or(0);
            left.is_some()
        };
        let count = rest.iter().take(BATCH).take_while(fits).count().max(1).min(rest.len());
        let (batch, after) = rest.split_at(count);
        rest = after;
        (count > 0).then_some(batch)
    })
}

/// Which due members to read.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    /// Rank to begin at.
    pub(crate) from: usize,
    /// Sizes in bytes; members of other sizes are passed over.
    pub(crate) sizes: RangeInclusive<usize>,
    /// Members larger than this are counted as such.
    pub(crate) max_payload: usize,
    /// Seconds that they are overdue at least.
    pub(crate) overdue: u64,
}

/// Members of a set whose time has come.
#[derive(Debug)]
pub(crate) struct Due {
    /// Epoch seconds by Redis's clock.
    pub(crate) now: f64,
    pub(crate) members: Vec<Vec<u8>>,
    /// Members between the rank where the look began and the rank where it ended that are of another size.
    pub(crate) passed: usize,
    /// Of these, members that are too large for a payload.
    pub(crate) oversized: usize,
    /// Whether there are due members behind these.
    pub(crate) more: bool,
    /// The time of the first member at or behind the rank where the look began, in epoch seconds.
    pub(crate) first: Option<f64>,
    /// The score of the first of `members`, as Redis writes it; empty without members.
    pub(crate) score: String,
}

/// A place in a sorted set that stays where it is while members before it leave: a score, and how many members of that score lie before it.
/// The default is the place before all members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// As Redis writes it.
    pub(crate) score: String,
    pub(crate) skip: usize,
}

/// Which members that are due, but not long, to read.
#[derive(Debug)]
pub(crate) struct JustLook<'a> {
    /// Members that are overdue by so many seconds are left out.
    pub(crate) overdue: u64,
    pub(crate) from: &'a Place,
    /// The score to end at; the time of Redis without it.
    pub(crate) until: Option<&'a str>,
    /// Sizes in bytes; members of other sizes are passed over.
    pub(crate) sizes: RangeInclusive<usize>,
}

/// Members of a set that became due a short time ago.
#[derive(Debug)]
pub(crate) struct JustDue {
    /// Epoch seconds by Redis's clock, as Redis writes them.
    pub(crate) now: String,
    pub(crate) members: Vec<Vec<u8>>,
    /// The place behind the last member that was read or passed over.
    pub(crate) next: Place,
    /// How many of `members`, the last ones, have the score of `next`.
    pub(crate) tied: usize,
    /// Members passed over that are larger than the requested sizes.
    pub(crate) larger: usize,
    /// Whether there are members behind these.
    pub(crate) more: bool,
    /// The time of the first member that is not left out, in epoch seconds.
    pub(crate) first: Option<f64>,
    /// The score of the first of `members`, as Redis writes it; empty without members.
    pub(crate) score: String,
}

/// What keeps the dead set small. Each burial trims it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeadLimits {
    /// Entries that died so many seconds ago, by the clock of Redis, are removed.
    pub(crate) age: f64,
    /// All entries but the newest so many, less one, are removed: Sidekiq's own arithmetic.
    pub(crate) keep: u64,
}

impl DeadLimits {
    /// Entries up to this rank are removed.
    pub(super) fn rank(self) -> i64 {
        -i64::try_from(self.keep).unwrap_or(i64::MAX)
    }
}

/// Where a due member goes.
#[derive(Debug)]
pub(crate) enum Promotion<'a> {
    /// To a queue, as these bytes.
    Push { queue: &'a str, bytes: &'a str },
    /// Back to the schedule at this score, as these bytes.
    Later { score: String, bytes: &'a str },
    /// To this score in the same set, as these bytes.
    Delay { score: String, bytes: &'a str },
    /// To nowhere.
    Drop,
    /// To the dead set, unchanged, with the time of Redis as its score.
    Bury,
    /// The same, as these bytes.
    BuryAs(&'a [u8]),
}

impl Promotion<'_> {
    /// Its new payload; empty for the present one.
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Push { bytes, .. } | Self::Later { bytes, .. } | Self::Delay { bytes, .. } => bytes.as_bytes(),
            Self::Bury | Self::Drop => b"",
            Self::BuryAs(bytes) => bytes,
        }
    }

    /// The queue it goes to.
    pub(super) fn queue(&self) -> Option<&str> {
        if let Self::Push { queue, .. } = self { Some(queue) } else { None }
    }

    /// What the script does with the member, and where. `places` declares a queue once for all members that go there.
    pub(super) fn destination<'a>(&'a self, places: &mut Places<'a>) -> (&'static str, Cow<'a, str>) {
        match self {
            Self::Push { queue, .. } => ("push", places.of(queue).to_string().into()),
            Self::Later { score, .. } => ("later", score.into()),
            Self::Delay { score, .. } => ("delay", score.into()),
            Self::Drop => ("drop", "".into()),
            Self::Bury | Self::BuryAs(_) => ("bury", "".into()),
        }
    }
}

/// The queues of one call of `promote`, each among the keys of the script once.
#[derive(Debug, Default)]
pub(super) struct Places<'a>(Vec<&'a str>);

impl<'a> Places<'a> {
    /// Keys of `promote` before its queues.
    const OTHERS: usize = 4;

    /// The place of a queue among the keys, counted from 1.
    fn of(&mut self, queue: &'a str) -> usize {
        // Jobs of one queue mostly follow each other, and there are few queues.
        let at = self.0.iter().rposition(|known| *known == queue).unwrap_or_else(|| {
            self.0.push(queue);
            self.0.len() - 1
        });
        Self::OTHERS + 1 + at
    }

    /// Declares them.
    pub(super) fn declare(&self, promote: &mut ScriptInvocation<'_>) {
        for queue in &self.0 {
            promote.key(keys::queue(queue));
        }
    }
}

/// The beginning of a call that promotes members of a set.
pub(super) fn begin_promotion(script: &Script, set: WaitingSet, limits: Option<DeadLimits>) -> ScriptInvocation<'_> {
    let mut promote = script.key(set.key());
    promote.key(keys::QUEUES).key(keys::SCHEDULE).key(keys::DEAD);
    match limits {
        Some(limits) => promote.arg(limits.age).arg(limits.rank()),
        None => promote.arg("").arg(""),
    };
    promote
}

impl Store {
    /// Reads due members by Redis's clock, [`BATCH`] and about [`READ`] bytes at most, and at least one if there is one. Writes nothing.
    #[cfg(feature = "server")]
    pub(crate) async fn due(&self, set: WaitingSet, look: &Look) -> Result<Due> {
        let mut due = scripts::DUE.key(set.key());
        due.arg(look.from).arg(BATCH).arg(READ).arg(*look.sizes.start()).arg(*look.sizes.end()).arg(look.max_payload);
        due.arg(look.overdue);
        type Answer = (String, Vec<Vec<u8>>, usize, usize, bool, Option<String>, Option<String>);
        let (now, members, passed, oversized, more, first, score): Answer =
            self.eval("look for due jobs", &due).await?;
        self.release_after(&members);
        let (first, score) = (first.and_then(|score| score.parse().ok()), score.unwrap_or_default());
        Ok(Due { now: now.parse().unwrap_or_default(), members, passed, oversized, more, first, score })
    }

    /// Reads members that became due a short time ago by Redis's clock: [`PAGE`] of any size and about [`READ`] bytes at most, at least
    /// one if there is one. Writes nothing.
    #[cfg(feature = "server")]
    pub(crate) async fn just_due(&self, set: WaitingSet, look: &JustLook<'_>) -> Result<JustDue> {
        let mut due = scripts::JUST_DUE.key(set.key());
        due.arg(look.overdue).arg(&look.from.score).arg(look.from.skip).arg(look.until.unwrap_or_default());
        due.arg(PAGE).arg(READ).arg(*look.sizes.start()).arg(*look.sizes.end());
        type Answer = (String, Vec<Vec<u8>>, String, usize, usize, usize, bool, Option<String>, Option<String>);
        let (now, members, score, skip, tied, larger, more, first, of_first): Answer =
            self.eval("look for due jobs", &due).await?;
        self.release_after(&members);
        let (first, next) = (first.and_then(|score| score.parse().ok()), Place { score, skip });
        Ok(JustDue { now, members, next, tied, larger, more, first, score: of_first.unwrap_or_default() })
    }

    /// Moves those of the due members that a look covered to the dead set that are too large for a payload; how many.
    #[cfg(feature = "server")]
    pub(crate) async fn bury_larger(
        &self,
        set: WaitingSet,
        look: &Look,
        covered: usize,
        limits: DeadLimits,
    ) -> Result<usize> {
        let mut bury = scripts::BURY_LARGER.key(set.key());
        bury.key(keys::DEAD).arg(look.from).arg(covered).arg(look.max_payload).arg(limits.age).arg(limits.rank());
        self.eval("bury", &bury).await
    }

    /// Moves members to where they belong, [`BATCH`] and about [`BUDGET`] bytes in one script; `limits` trim the dead set after a burial.
    /// Returns how many were moved and how many stay because the key they belong in holds something else or may not be written; the others
    /// were moved by another poller.
    ///
    /// After an error the batches before are moved.
    pub(crate) async fn promote(
        &self,
        set: WaitingSet,
        promotions: &[(&[u8], Promotion<'_>)],
        limits: Option<DeadLimits>,
    ) -> Result<(usize, usize)> {
        let (mut moved, mut stuck) = (0, 0);
        for batch in batches(promotions, |(member, promotion)| member.len() + promotion.bytes().len()) {
            let batch: Vec<_> = batch.iter().collect();
            let (more_moved, more_stuck) = match self.promote_together(set, &batch, limits).await {
                Err(error) if is_denied(&error) => self.promote_by_queue(set, batch, limits).await?,
                promoted => promoted?,
            };
            moved += more_moved;
            stuck += more_stuck;
        }
        Ok((moved, stuck))
    }

    async fn promote_together(
        &self,
        set: WaitingSet,
        batch: &[&(&[u8], Promotion<'_>)],
        limits: Option<DeadLimits>,
    ) -> Result<(usize, usize)> {
        let mut promote = begin_promotion(&scripts::PROMOTE, set, limits);
        let mut places = Places::default();
        for (member, promotion) in batch {
            let (what, place) = promotion.destination(&mut places);
            promote.arg(*member).arg(what).arg(&*place).arg(promotion.bytes());
        }
        places.declare(&mut promote);
        self.eval("promote", &promote).await
    }

    /// The same after Redis refused the call, perhaps for one of the queues that it declares: a script for each queue. Members of a queue that
    /// may not be written stay.
    async fn promote_by_queue(
        &self,
        set: WaitingSet,
        mut batch: Vec<&(&[u8], Promotion<'_>)>,
        limits: Option<DeadLimits>,
    ) -> Result<(usize, usize)> {
        let (mut moved, mut stuck) = (0, 0);
        // Stable: of one queue they keep their order.
        batch.sort_by_key(|(_, promotion)| promotion.queue());
        for of_queue in batch.chunk_by(|(_, one), (_, other)| one.queue() == other.queue()) {
            match self.promote_together(set, of_queue, limits).await {
                Err(error) if is_denied(&error) && of_queue[0].1.queue().is_some() => {
                    self.check_promotion(set, limits).await?;
                    stuck += of_queue.len();
                }
                promoted => {
                    let (more_moved, more_stuck) = promoted?;
                    moved += more_moved;
                    stuck += more_stuck;
                }
            }
        }
        Ok((moved, stuck))
    }

    /// Returns an error if it is not for want of a right to a queue that members of a set cannot be promoted.
    pub(super) async fn check_promotion(&self, set: WaitingSet, limits: Option<DeadLimits>) -> Result<()> {
        self.promote_together(set, &[], limits).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_bounded_by_number_and_bytes_and_leave_nothing_out() {
        let sizes = |bytes: &[usize]| -> Vec<usize> { batches(bytes, |bytes| *bytes).map(<[usize]>::len).collect() };
        assert_eq!(sizes(&[]), [] as [usize; 0]);
        assert_eq!(sizes(&[1; 250]), [100, 100, 50]);
        assert_eq!(sizes(&[7 * BUDGET; 3]), [1, 1, 1], "one that is too large goes alone");
        assert_eq!(sizes(&[BUDGET / 2, BUDGET / 2, 1, BUDGET, 0, 2 * BUDGET, 1]), [2, 1, 2, 1, 1]);
    }
}

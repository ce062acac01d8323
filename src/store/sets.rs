//! The sorted sets `schedule`, `retry` and `dead`.

use super::{Store, keys, scripts};
use crate::error::Result;
use crate::time::EpochSecs;

/// A sorted set that holds jobs until a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitingSet {
    Retry,
    Schedule,
    Dead,
}

impl WaitingSet {
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Retry => keys::RETRY,
            Self::Schedule => keys::SCHEDULE,
            Self::Dead => keys::DEAD,
        }
    }
}

/// Members of a set whose time has come.
#[derive(Debug)]
pub(crate) struct Due {
    /// Epoch seconds by Redis's clock.
    pub(crate) now: f64,
    pub(crate) members: Vec<Vec<u8>>,
    /// The time of the first of them.
    pub(crate) first: Option<f64>,
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
    /// To the dead set, unchanged.
    Bury { score: String },
}

impl Store {
    /// Up to `n` members that are due by Redis's clock, passing over the first `skip`; with the time there.
    pub(crate) async fn due(&self, set: WaitingSet, skip: usize, n: usize) -> Result<Due> {
        let (now, members, first): (String, _, Option<String>) =
            self.eval("look for due jobs", scripts::DUE.key(set.key()).arg(skip).arg(n)).await?;
        let first = first.and_then(|score| score.parse().ok());
        Ok(Due { now: now.parse().unwrap_or_default(), members, first })
    }

    /// Moves due members to where they belong. Returns how many were moved and how many stay because their queue's key
    /// is no list; the others were moved by another poller.
    pub(crate) async fn promote(
        &self,
        set: WaitingSet,
        promotions: &[(&[u8], Promotion<'_>)],
        limits: DeadLimits,
        now: EpochSecs,
    ) -> Result<(usize, usize)> {
        let mut promote = scripts::PROMOTE.key(set.key());
        promote.key(keys::QUEUES).key(keys::SCHEDULE).key(keys::DEAD).arg(now.0 - limits.age).arg(limits.rank());
        for (member, promotion) in promotions {
            promote.arg(*member);
            match promotion {
                Promotion::Push { queue, bytes } => promote.arg("push").arg(*queue).arg(*bytes),
                Promotion::Later { score, bytes } => promote.arg("later").arg(score).arg(*bytes),
                Promotion::Bury { score } => promote.arg("bury").arg(score).arg(*member),
            };
        }
        self.eval("promote", &promote).await
    }
}

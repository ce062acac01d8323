//! The sorted sets `schedule`, `retry` and `dead`.

use redis::Pipeline;

use super::claims::{Moved, Owned};
use super::{Store, keys, scripts};
use crate::error::Result;

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

/// What keeps the dead set small, at the time of a burial.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeadLimits {
    /// Entries up to this score go.
    pub(crate) before: f64,
    /// Entries but the newest so many, less one, go: Sidekiq's own arithmetic.
    pub(crate) keep: u64,
}

impl DeadLimits {
    fn rank(self) -> i64 {
        -i64::try_from(self.keep).unwrap_or(i64::MAX)
    }
}

/// A failed job, out of its private list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retried<'a> {
    pub(crate) list: &'a str,
    /// Its bytes there.
    pub(crate) raw: &'a [u8],
    /// Its bytes in the retry set.
    pub(crate) bytes: &'a [u8],
    pub(crate) score: &'a str,
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
    /// Moves jobs of a process out of their private lists into `retry`, and tells of each what came of it. Asking again after silence changes
    /// nothing.
    pub(crate) async fn retry(&self, identity: &str, jobs: &[Retried<'_>]) -> Result<Vec<Moved>> {
        let mut settle = scripts::SETTLE.key(keys::RETRY);
        settle.key(keys::REGISTRY).arg(identity).arg("").arg("");
        for Retried { list, raw, bytes, score } in jobs {
            settle.key(*list).arg(*raw).arg(*bytes).arg(*score);
        }
        let moved: Vec<i8> = self.link.eval("retry", &settle).await?;
        Ok(moved.into_iter().map(Moved::told).collect())
    }

    /// Moves a job out of its private list into `dead`; see [`retry`](Self::retry).
    pub(crate) async fn bury(&self, of: Owned<'_>, bytes: &[u8], score: &str, limits: DeadLimits) -> Result<Moved> {
        let mut settle = scripts::SETTLE.key(keys::DEAD);
        settle.key(keys::REGISTRY).arg(of.identity).arg(limits.before).arg(limits.rank());
        settle.key(of.list).arg(of.raw).arg(bytes).arg(score);
        self.link.eval::<(i8,)>("bury", &settle).await.map(|(moved,)| Moved::told(moved))
    }

    /// Adds to `retry` a job that lies in no private list.
    pub(crate) async fn retry_unowned(&self, bytes: &[u8], score: &str) -> Result<()> {
        self.link.query("retry", redis::cmd("ZADD").arg(keys::RETRY).arg(score).arg(bytes)).await
    }

    /// Adds to `dead` a job that lies in no private list.
    pub(crate) async fn bury_unowned(&self, bytes: &[u8], score: &str, limits: DeadLimits) -> Result<()> {
        let mut pipeline = Pipeline::with_capacity(3);
        pipeline.atomic();
        pipeline.cmd("ZADD").arg(keys::DEAD).arg(score).arg(bytes).ignore();
        pipeline.cmd("ZREMRANGEBYSCORE").arg(keys::DEAD).arg("-inf").arg(limits.before).ignore();
        pipeline.cmd("ZREMRANGEBYRANK").arg(keys::DEAD).arg(0).arg(limits.rank()).ignore();
        self.link.pipe("bury", &pipeline).await
    }

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
    ) -> Result<(usize, usize)> {
        let mut promote = scripts::PROMOTE.key(set.key());
        promote.key(keys::QUEUES).key(keys::SCHEDULE).key(keys::DEAD).arg(limits.before).arg(limits.rank());
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

//! Promotion of large members. Redis builds their new bytes from those it has: a command with these bytes would take several times their size in
//! memory.

use crate::error::Result;
use crate::payload::{Edits, Fetched, Payload};
use crate::server::run::Runner;
use crate::server::schedule::plan::Plan;
use crate::store::in_place::DueInPlace;
use crate::store::sets::{Promotion, WaitingSet};
use crate::time::EpochSecs;

/// Moves one member to its destination, and counts it. Returns the same as [`promote`](crate::store::Store::promote).
pub(super) async fn promote(
    runner: &Runner,
    set: WaitingSet,
    score: &str,
    member: &Fetched,
    plan: Plan<Payload>,
) -> Result<(usize, usize)> {
    let (moved, stuck) = send(runner, set, score, member, plan).await?;
    tracing::debug!(jobs = moved, "enqueued a large due job");
    runner.shared.stats.telemetry.of_set(set).promoted.add(moved);
    Ok((moved, stuck))
}

async fn send(
    runner: &Runner,
    set: WaitingSet,
    score: &str,
    member: &Fetched,
    plan: Plan<Payload>,
) -> Result<(usize, usize)> {
    let limits = Some(runner.shared.dead_limits());
    let (to, payload) = match &plan {
        Plan::Push { queue, bytes } => (Promotion::Push { queue, bytes: "" }, Some(bytes)),
        Plan::Later { score, bytes } => {
            (Promotion::Later { score: EpochSecs(*score).to_string(), bytes: "" }, Some(bytes))
        }
        Plan::Delay { score, bytes } => {
            (Promotion::Delay { score: EpochSecs(*score).to_string(), bytes: "" }, Some(bytes))
        }
        Plan::Drop => (Promotion::Drop, None),
        Plan::Bury | Plan::BuryAs(_) => (Promotion::Bury, None),
    };
    let edits = match payload {
        Some(payload) => member.edits(Some(payload)),
        None if matches!(plan, Plan::Bury | Plan::Drop) => Some(Edits::default()),
        None => None,
    };
    if let Some(edits) = edits {
        let due = DueInPlace { score, member: member.bytes(), to, pieces: edits.pieces() };
        if let Some(promoted) = runner.shared.store.promote_in_place(set, &due, limits).await? {
            return Ok(promoted);
        }
    }
    let plan = plan.written();
    runner.shared.store.promote(set, &[(member.bytes(), plan.promotion())], limits).await
}

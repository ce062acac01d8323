//! Large members whose time has come. Redis makes their new bytes from those it holds: on the way to Redis they would take their size several
//! times.

use super::Plan;
use crate::error::Result;
use crate::payload::{Edits, Fetched, Payload};
use crate::server::core::Core;
use crate::store::sets::{DueInPlace, Promotion, WaitingSet};
use crate::time::EpochSecs;

/// Moves one member to where it goes. Returns as [`promote`](crate::store::Store::promote).
pub(super) async fn promote(
    core: &Core,
    set: WaitingSet,
    score: &str,
    member: &Fetched,
    plan: Plan<Payload>,
) -> Result<(usize, usize)> {
    let limits = Some(core.dead_limits());
    let (to, payload) = match &plan {
        Plan::Push { queue, bytes } => (Promotion::Push { queue, bytes: "" }, Some(bytes)),
        Plan::Later { score, bytes } => {
            (Promotion::Later { score: EpochSecs(*score).to_string(), bytes: "" }, Some(bytes))
        }
        Plan::Bury | Plan::BuryAs(_) => (Promotion::Bury, None),
    };
    let edits = match payload {
        Some(payload) => member.edits(Some(payload)),
        None if matches!(plan, Plan::Bury) => Some(Edits::default()),
        None => None,
    };
    if let Some(edits) = edits {
        let due = DueInPlace { score, member: member.bytes(), to, pieces: edits.pieces() };
        if let Some(promoted) = core.store.promote_in_place(set, &due, limits).await? {
            return Ok(promoted);
        }
    }
    let plan = plan.written();
    core.store.promote(set, &[(member.bytes(), plan.promotion())], limits).await
}

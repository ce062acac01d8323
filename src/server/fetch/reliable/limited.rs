//! Claims of a capsule of which a queue has a limit of sidekiq-limit_fetch.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::server::fetch::reliable::Reliable;
use crate::server::unit::Batch;
use crate::store::claims::Claimed;

/// Pause between looks at limited queues. Nothing reports that another process returned a permit, and nobody waits for a job of such a queue:
/// the wait would take a permit. It doubles from the first to the second while nothing comes.
pub(super) const LIMITED_NAP: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(200));

impl Reliable {
    fn is_limited(&self, at: usize) -> bool {
        self.source.limits.contains(&self.queues[at].0)
    }

    /// Whether one of the capsule's queues has a limit.
    pub(super) fn has_limits(&self) -> bool {
        self.source.limits.any() && (0..self.queues.len()).any(|at| self.is_limited(at))
    }

    /// Claims from the queues in their order: from limited ones that follow each other at once, and from others at once.
    pub(super) async fn claim_in_parts(&mut self, want: usize) -> Result<Vec<Arc<Batch>>> {
        let (mut batches, mut have, mut from) = (Vec::new(), 0, 0);
        self.is_full = false;
        while from < self.order.len() && have < want && !self.is_full {
            let is_limited = self.is_limited(self.order[from]);
            let others = self.order[from..].iter().position(|at| self.is_limited(*at) != is_limited);
            let to = others.map_or(self.order.len(), |others| from + others);
            match self.claim_from(from..to, want - have, is_limited).await {
                Ok(more) => {
                    have += more.iter().map(|batch| batch.jobs()).sum::<usize>();
                    batches.extend(more);
                }
                Err(error) if batches.is_empty() => return Err(error),
                Err(error) => {
                    // The next claim asks for it again.
                    tracing::debug!(%error, "only some queues were asked for jobs");
                    break;
                }
            }
            from = to;
        }
        Ok(batches)
    }

    /// Claims from some of the queues in their order, which all have a limit, with a permit for each job.
    pub(super) async fn claim_with_permits(
        &self,
        some: Range<usize>,
        number: u64,
        n: usize,
    ) -> Result<Option<Claimed>> {
        let (source, order) = (&self.source, &self.order[some]);
        let _turn = source.limits.turn().await;
        if !order.iter().all(|at| self.is_limited(*at)) {
            // A limit ended meanwhile, and with it the count of permits. The next claim takes none.
            return Ok(Some(Claimed::default()));
        }
        let queues: Vec<(&str, &str)> =
            order.iter().map(|at| (&*self.queues[*at].0, self.queues[*at].1.as_str())).collect();
        match source.store.claim_limited(&source.private, number, n, &queues).await {
            Err(error) => source.limits.check(error).map(|()| Some(Claimed::default())),
            claimed => claimed,
        }
    }
}

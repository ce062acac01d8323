use std::sync::Arc;

use crate::error::Result;
use crate::server::fetch::Source;
use crate::server::unit::Batch;
use crate::store::claims::BlockingWire;
use crate::store::{CLAIM_BYTES, are_large, is_refusal, queue_key};

/// Jobs leave Redis when they are fetched, as in Sidekiq's open-source version: what runs when the process dies is lost.
#[derive(Debug)]
pub(crate) struct Basic {
    source: Source,
    queues: Vec<(Arc<str>, String)>,
    order: Vec<usize>,
    wire: Option<BlockingWire>,
    /// Bytes of one job, as far as the jobs that came last and those that are next tell. Redis counts what it pops and does not weigh it.
    size: usize,
}

/// What a job is taken for while nothing is known.
const UNKNOWN: usize = 64 * 1_024;

impl Basic {
    pub(super) fn new(source: Source) -> Self {
        let queues =
            source.capsule.weights().iter().map(|(name, _)| (Arc::from(name.as_str()), queue_key(name))).collect();
        Self { source, queues, order: Vec::new(), wire: None, size: UNKNOWN }
    }

    pub(super) async fn retrieve_work(&mut self, want: usize) -> Result<Option<Vec<Arc<Batch>>>> {
        if self.source.limits.any() {
            self.source.limits.ignore("the basic fetcher takes no permits; choose the reliable one");
        }
        self.source.order(&mut self.order);
        if self.order.is_empty() {
            self.source.rest().await;
            return Ok(None);
        }
        let keys: Vec<&str> = self.order.iter().map(|at| self.queues[*at].1.as_str()).collect();
        let wire = match &mut self.wire {
            Some(wire) => wire,
            None => self.wire.insert(self.source.store.blocking().await?),
        };
        let id = wire.id();
        let want = want.min(CLAIM_BYTES / self.size).max(1);
        match self.source.until_quiet(id, &[], wire.pop(want, &keys)).await {
            Ok((None, _)) => {
                self.size = UNKNOWN;
                Ok(Some(Vec::new()))
            }
            Ok((Some((key, jobs)), next)) => {
                if are_large(&jobs) {
                    // With the memory that it keeps.
                    self.wire = None;
                }
                let mean = jobs.iter().map(Vec::len).sum::<usize>() / jobs.len().max(1);
                self.size = next.map_or(UNKNOWN, |next| next.max(mean).max(1));
                let queue = self
                    .queues
                    .iter()
                    .find(|(_, known)| *known == key)
                    .map_or_else(|| Arc::from(key.trim_start_matches("queue:")), |(name, _)| Arc::clone(name));
                Ok(Some(vec![Batch::new(String::new(), queue, jobs)]))
            }
            Err(error) => {
                // A connection on which Redis refused is as good as before.
                if !is_refusal(&error) {
                    self.wire = None;
                }
                Err(error)
            }
        }
    }
}

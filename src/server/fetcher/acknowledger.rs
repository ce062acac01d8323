use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Batch, Holdings, UnitOfWork};
use crate::error::Error;
use crate::server::outage::Outage;
use crate::store::Store;
use crate::store::claims::Private;

/// How long a job that is done may wait for the rest of its batch before it is taken out of the private list by itself.
const PATIENCE: Duration = Duration::from_millis(5);
/// Private lists one round trip takes away at most.
const LISTS: usize = 64;

/// Takes jobs that are done out of their private lists, off the path of the jobs.
#[derive(Debug)]
pub(crate) struct Acknowledger {
    store: Store,
    private: Private,
    holdings: Holdings,
    inbox: mpsc::UnboundedReceiver<Arc<Batch>>,
    /// Batches that are partly done.
    partial: Vec<(Instant, Arc<Batch>)>,
    outage: Outage,
}

impl Acknowledger {
    /// Batches come through `inbox` twice: when their first job is done, and when the last is.
    pub(crate) fn new(
        store: Store,
        private: Private,
        holdings: Holdings,
        inbox: mpsc::UnboundedReceiver<Arc<Batch>>,
        outage: Outage,
    ) -> Self {
        Self { store, private, holdings, inbox, partial: Vec::new(), outage }
    }

    /// Runs until every sender is gone and everything is acknowledged.
    pub(crate) async fn run(mut self) {
        let mut batches = Vec::with_capacity(LISTS);
        loop {
            let due = self.partial.first().map(|(since, _)| *since + PATIENCE);
            tokio::select! {
                count = self.inbox.recv_many(&mut batches, LISTS) => {
                    if count == 0 {
                        break;
                    }
                    self.sort(&mut batches).await;
                }
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.acknowledge_partial().await;
                }
            }
        }
        self.acknowledge_partial().await;
    }

    async fn sort(&mut self, batches: &mut Vec<Arc<Batch>>) {
        let now = Instant::now();
        let mut closed = Vec::with_capacity(batches.len());
        for batch in batches.drain(..) {
            if batch.is_closed() {
                closed.push(batch);
            } else {
                self.partial.push((now, batch));
            }
        }
        if closed.is_empty() {
            return;
        }
        let lists: Vec<&str> = closed.iter().map(|batch| batch.list()).collect();
        let expected = closed.iter().filter(|batch| !batch.is_gone()).count();
        let mut sure = true;
        let there = loop {
            match self.store.acknowledge(&self.private, &lists).await {
                Ok(there) => break there,
                Err(error) => {
                    sure = false;
                    self.hold(&error).await;
                }
            }
        };
        self.outage.over();
        closed.iter().for_each(|batch| self.holdings.remove(batch));
        if sure && there < expected {
            tracing::warn!(
                batches = expected - there,
                "finished jobs were no longer owned: another process put them back, they run twice"
            );
        }
    }

    async fn acknowledge_partial(&mut self) {
        let now = Instant::now();
        // Those that closed meanwhile came, or come, through the inbox once more.
        self.partial.retain(|(_, batch)| !batch.is_closed());
        let due: Vec<UnitOfWork> = self
            .partial
            .iter_mut()
            .filter(|(since, _)| *since + PATIENCE <= now)
            .flat_map(|(since, batch)| {
                *since = now;
                batch.done().collect::<Vec<_>>()
            })
            .collect();
        for some in due.chunks(LISTS) {
            let jobs: Vec<(&str, &[u8])> = some.iter().map(|unit| (unit.batch().list(), unit.bytes())).collect();
            while let Err(error) = self.store.acknowledge_some(&jobs).await {
                self.hold(&error).await;
            }
            self.outage.over();
            some.iter().for_each(UnitOfWork::acknowledged);
        }
        self.partial.sort_by_key(|(since, _)| *since);
    }

    /// Redis is away: what is done stays in the private lists, and in memory, until it is back.
    async fn hold(&mut self, error: &Error) {
        self.outage.note("acknowledging jobs failed", error);
        self.outage.wait().await;
    }
}

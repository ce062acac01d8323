use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::unacknowledged::{MARGIN, Unacknowledged};
use super::{Batch, Holdings, UnitOfWork};
use crate::server::outage::Outage;
use crate::store::Store;
use crate::store::claims::{Acknowledgement, Private};

/// How long a job that is done may wait for those before it, before it is taken out of the private list by itself.
const PATIENCE: Duration = Duration::from_millis(5);
/// Batches taken from the inbox at once.
const BATCHES: usize = 64;

/// Takes jobs that are done out of their private lists, off the path of the jobs.
///
/// Jobs end nearly in the order they were fetched in. So a list is trimmed from its old end while they do, and taken away whole
/// once all are done; only a job that others in front of it keep waiting is searched for.
#[derive(Debug)]
pub(crate) struct Acknowledger {
    store: Store,
    private: Private,
    holdings: Holdings,
    inbox: mpsc::UnboundedReceiver<Arc<Batch>>,
    unacknowledged: Unacknowledged,
    /// Batches that are partly done.
    open: Vec<Arc<Batch>>,
    /// Batches that are done.
    closed: Vec<Arc<Batch>>,
    /// When jobs that others keep waiting are searched for.
    due: Instant,
    outage: Outage,
}

impl Acknowledger {
    /// Batches come through `inbox` twice: when their first job is done, and when the last is.
    pub(crate) fn new(
        store: Store,
        private: Private,
        holdings: Holdings,
        inbox: mpsc::UnboundedReceiver<Arc<Batch>>,
        unacknowledged: Unacknowledged,
        outage: Outage,
    ) -> Self {
        Self {
            store,
            private,
            holdings,
            inbox,
            unacknowledged,
            open: Vec::new(),
            closed: Vec::new(),
            due: Instant::now(),
            outage,
        }
    }

    /// Runs until every sender is gone and everything is acknowledged.
    pub(crate) async fn run(mut self) {
        let mut batches = Vec::with_capacity(BATCHES);
        loop {
            tokio::select! {
                count = self.inbox.recv_many(&mut batches, BATCHES) => {
                    if count == 0 {
                        break;
                    }
                }
                () = self.unacknowledged.due() => {}
                () = tokio::time::sleep_until(self.due), if !self.open.is_empty() => {}
            }
            self.sort(&mut batches);
            self.acknowledge(Instant::now() >= self.due).await;
        }
        self.acknowledge(true).await;
    }

    fn sort(&mut self, batches: &mut Vec<Arc<Batch>>) {
        if self.open.is_empty() {
            self.due = Instant::now() + PATIENCE;
        }
        // One that closed meanwhile came, or comes, through the inbox once more.
        self.open.retain(|batch| !batch.is_closed());
        for batch in batches.drain(..) {
            if batch.is_closed() {
                self.closed.push(batch);
            } else {
                self.open.push(batch);
            }
        }
    }

    /// One round trip for what is done; the jobs that others keep waiting, too, if they have waited long enough or are many.
    async fn acknowledge(&mut self, due: bool) {
        let (mut trims, mut held_up) = (Vec::new(), Vec::new());
        for batch in &self.open {
            match batch.trimmable_to() {
                // It closed just now, and comes through the inbox once more.
                Some(0) => {}
                Some(to) => trims.push((batch, to)),
                None => held_up.push(batch),
            }
        }
        let many = trims.is_empty() && self.closed.is_empty() && self.unacknowledged.count() >= MARGIN / 2;
        if !(due || many) {
            held_up.clear();
        }
        let single: Vec<UnitOfWork> = held_up.into_iter().flat_map(Batch::done).collect();
        let what = Acknowledgement {
            lists: self.closed.iter().map(|batch| batch.list()).collect(),
            trims: trims.iter().map(|(batch, to)| (batch.list(), *to)).collect(),
            jobs: single.iter().map(|unit| (unit.batch().list(), unit.bytes())).collect(),
        };
        if !what.is_empty() {
            let expected = self.closed.iter().filter(|batch| batch.done().next().is_some()).count();
            tell(&self.store, &self.private, &what, expected, &mut self.outage).await;
            self.closed.iter().for_each(|batch| self.holdings.remove(batch));
        }
        let mut jobs: usize = trims.into_iter().map(|(batch, to)| batch.trimmed_to(to)).sum();
        jobs += single.iter().filter(|unit| unit.plucked()).count();
        jobs += self.closed.drain(..).map(|batch| batch.trimmed_to(0)).sum::<usize>();
        self.unacknowledged.acknowledged(jobs as u64);
        if due {
            self.due = Instant::now() + PATIENCE;
            self.open.retain(|batch| batch.is_to_be_watched());
        }
    }
}

/// Until Redis has answered. While it is away, what is done stays in the private lists, and in memory.
async fn tell(store: &Store, private: &Private, what: &Acknowledgement<'_>, expected: usize, outage: &mut Outage) {
    let mut sure = true;
    let there = loop {
        match store.acknowledge(private, what).await {
            Ok(there) => break there,
            Err(error) => {
                sure = false;
                outage.note("acknowledging jobs failed", &error);
                outage.wait().await;
            }
        }
    };
    outage.over();
    if sure && there < expected {
        tracing::warn!(
            batches = expected - there,
            "finished jobs were no longer owned: another process put them back, they run twice"
        );
    }
}

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::unacknowledged::{MARGIN, Unacknowledged};
use super::{Batch, Holdings, UnitOfWork};
use crate::server::outage::{Outage, Outages};
use crate::store::Store;
use crate::store::claims::{Acknowledgement, Private};
use crate::store::courier::{Carrying, Courier};

/// How long a job that is done may wait for those before it, before it is taken out of the private list by itself.
const PATIENCE: Duration = Duration::from_millis(5);
/// Batches taken from the inbox at once.
const BATCHES: usize = 64;
/// Round trips under way at once: jobs count once they are handed over, so there is no waiting for the answer; four times as many where it
/// takes long.
const AT_ONCE: usize = 4;
/// The same where jobs count only once Redis has answered: fewer and larger ones cost less.
const AT_ONCE_ANSWERED: usize = 1;
const LONG: Duration = Duration::from_micros(500);

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
    outages: Outages,
    /// Round trips under way; each says how long it took.
    telling: JoinSet<Duration>,
    courier: Courier,
    /// Whether they take long.
    long: bool,
}

impl Acknowledger {
    /// Batches come through `inbox` twice: when their first job is done, and when the last is.
    pub(crate) fn new(
        store: Store,
        private: Private,
        holdings: Holdings,
        inbox: mpsc::UnboundedReceiver<Arc<Batch>>,
        unacknowledged: Unacknowledged,
        outages: Outages,
    ) -> Self {
        let courier = store.courier(unacknowledged.clone());
        Self {
            store,
            private,
            holdings,
            inbox,
            unacknowledged,
            open: Vec::new(),
            closed: Vec::new(),
            due: Instant::now(),
            outages,
            telling: JoinSet::new(),
            courier,
            long: false,
        }
    }

    /// Runs until every sender is gone and everything is acknowledged.
    pub(crate) async fn run(mut self) {
        let mut batches = Vec::with_capacity(BATCHES);
        loop {
            let at_once = self.at_once();
            tokio::select! {
                Some(told) = self.telling.join_next() => {
                    self.long = told.is_ok_and(|took| took > LONG);
                }
                count = self.inbox.recv_many(&mut batches, BATCHES), if self.telling.len() < at_once => {
                    if count == 0 {
                        break;
                    }
                }
                () = self.unacknowledged.due(), if self.telling.len() < at_once => {}
                () = tokio::time::sleep_until(self.due), if !self.open.is_empty() => {}
            }
            self.sort(&mut batches);
            self.acknowledge(Instant::now() >= self.due).await;
        }
        self.acknowledge(true).await;
        while self.telling.join_next().await.is_some() {}
    }

    /// How many round trips may be under way.
    fn at_once(&self) -> usize {
        let usual = if self.courier.counts() { AT_ONCE } else { AT_ONCE_ANSWERED };
        if self.long { usual * 4 } else { usual }
    }

    fn sort(&mut self, batches: &mut Vec<Arc<Batch>>) {
        if self.open.is_empty() {
            self.due = Instant::now() + PATIENCE;
        }
        // One that closed meanwhile came, or comes, through the inbox once more.
        self.open.retain(|batch| !batch.is_closed());
        for batch in batches.drain(..) {
            if batch.is_closed() {
                // It comes twice, and was through the first time already if its jobs are quick.
                if batch.end() {
                    self.closed.push(batch);
                }
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
                Some(to) => trims.push((Arc::clone(batch), to)),
                None => held_up.push(batch),
            }
        }
        let many = trims.is_empty() && self.closed.is_empty() && self.unacknowledged.count() >= MARGIN / 2;
        if !(due || many) {
            held_up.clear();
        }
        let single: Vec<UnitOfWork> = held_up.into_iter().flat_map(Batch::done).collect();
        let done = Done { closed: std::mem::take(&mut self.closed), trims, single };
        if !done.is_empty() {
            let (store, private, unacknowledged) =
                (self.store.clone(), self.private.clone(), self.unacknowledged.clone());
            let (holdings, mut outage) = (self.holdings.clone(), self.outages.part());
            // A connection more is worth it only where jobs are so quick that they wait for their acknowledgement.
            let quick = self.courier.counts() || unacknowledged.count() >= MARGIN / 2;
            let (expected, jobs) = (done.lists_with_jobs(), done.mark());
            let carrying = if quick { self.courier.carry(&private, &done.what(), jobs).await } else { None };
            self.telling.spawn(async move {
                let began = Instant::now();
                let told = match carrying {
                    Some(Carrying::Over(told)) => told,
                    Some(Carrying::Going(carrying)) => carrying.await,
                    None => None,
                };
                match told {
                    Some(there) => compare(there, expected),
                    None => {
                        done.tell(&store, &private, expected, &mut outage).await;
                        unacknowledged.acknowledged(jobs);
                    }
                }
                done.closed.iter().for_each(|batch| holdings.remove(batch));
                began.elapsed()
            });
        }
        if due {
            self.due = Instant::now() + PATIENCE;
            self.open.retain(|batch| batch.is_to_be_watched());
        }
    }
}

/// Jobs that one round trip takes out of their private lists.
struct Done {
    /// Batches of which all jobs are done.
    closed: Vec<Arc<Batch>>,
    /// Batches of which all are done but the newest so many.
    trims: Vec<(Arc<Batch>, usize)>,
    single: Vec<UnitOfWork>,
}

impl Done {
    fn is_empty(&self) -> bool {
        self.closed.is_empty() && self.trims.is_empty() && self.single.is_empty()
    }

    /// How many of the lists that go as a whole still hold jobs.
    fn lists_with_jobs(&self) -> usize {
        self.closed.iter().filter(|batch| batch.done().next().is_some()).count()
    }

    /// Notes that they are on their way out, so that nobody takes them out again; returns how many they are.
    fn mark(&self) -> u64 {
        let mut jobs: usize = self.trims.iter().map(|(batch, to)| batch.trimmed_to(*to)).sum();
        jobs += self.single.iter().filter(|unit| unit.plucked()).count();
        jobs += self.closed.iter().map(|batch| batch.trimmed_to(0)).sum::<usize>();
        jobs as u64
    }

    /// Until Redis has answered; while it is away, what is done stays in the private lists, and in memory. Several may be under way and
    /// overtake each other: a list that was trimmed further, or is gone, stays as it is.
    async fn tell(&self, store: &Store, private: &Private, expected: usize, outage: &mut Outage) {
        let what = self.what();
        let mut sure = true;
        let there = loop {
            match store.acknowledge(private, &what).await {
                Ok(there) => break there,
                Err(error) => {
                    sure = false;
                    outage.note("acknowledging jobs failed", &error);
                    outage.wait().await;
                }
            }
        };
        outage.over();
        if sure {
            compare(there, expected);
        }
    }

    fn what(&self) -> Acknowledgement<'_> {
        Acknowledgement {
            lists: self.closed.iter().map(|batch| batch.list()).collect(),
            trims: self.trims.iter().map(|(batch, to)| (batch.list(), *to)).collect(),
            jobs: self.single.iter().map(|unit| (unit.batch().list(), unit.bytes())).collect(),
        }
    }
}

/// Of the lists that were to be taken away, so many were there.
fn compare(there: usize, expected: usize) {
    if there < expected {
        tracing::warn!(
            batches = expected - there,
            "finished jobs were no longer owned: another process put them back, they run twice"
        );
    }
}

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::server::control::supervisor::{Part, Supervisor};
use crate::server::stats::outage::Outages;
use crate::server::unit::{Batch, Holdings, UnitOfWork};
use crate::server::unit::{MARGIN, Unacknowledged};
use crate::store::Store;
use crate::store::claims::{Acknowledgement, Private};
use crate::store::courier::{Arrived, Carrying, Courier, TOGETHER, Tally};

/// How long a job that is done may wait for those before it, before it is taken out of the private list by itself.
const PATIENCE: Duration = Duration::from_millis(5);
/// Batches taken from the inbox at once.
const BATCHES: usize = 64;
/// Acknowledgements under way at once where jobs count once they are handed over: there is no waiting for their answers.
const AT_ONCE: usize = 2 * TOGETHER;
/// The same where jobs count only once Redis has answered: fewer and larger ones cost less; four times as many where it takes long.
const AT_ONCE_ANSWERED: usize = 1;
const LONG: Duration = Duration::from_micros(500);
/// Bytes of payloads that acknowledgements may keep until they are answered: then answers are asked for.
const KEPT: usize = 1024 * 1024;

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
    /// Round trips under way.
    telling: JoinSet<()>,
    /// What is about to go out; kept here so that a panic does not lose it.
    pending: Option<Done>,
    courier: Courier,
    supervisor: Supervisor,
    /// Whether the last one took long.
    long: Arc<AtomicBool>,
    /// Held by those that go with everything else: after an outage there are many.
    turns: Arc<Semaphore>,
    /// Bytes of payloads that were kept for acknowledgements since their answers were last asked for.
    kept: usize,
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
        supervisor: Supervisor,
    ) -> Self {
        let courier = store.courier(Counts { unacknowledged: unacknowledged.clone(), supervisor: supervisor.clone() });
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
            pending: None,
            courier,
            supervisor,
            long: Arc::default(),
            turns: Arc::new(Semaphore::new(4 * AT_ONCE_ANSWERED)),
            kept: 0,
        }
    }

    /// Runs until every sender is gone and everything is acknowledged.
    async fn acknowledge_all(&mut self) {
        if let Some(done) = self.pending.take() {
            self.tell(done, None);
        }
        let mut batches = Vec::with_capacity(BATCHES);
        loop {
            let at_once = self.at_once();
            tokio::select! {
                Some(_) = self.telling.join_next() => {}
                count = self.inbox.recv_many(&mut batches, BATCHES), if self.telling.len() < at_once => {
                    if count == 0 {
                        break;
                    }
                }
                () = self.unacknowledged.due(), if self.telling.len() < at_once => {}
                () = tokio::time::sleep_until(self.due), if !self.open.is_empty() => {}
                () = tokio::time::sleep(PATIENCE), if self.courier.owes() => self.ask().await,
            }
            self.sort(&mut batches);
            self.acknowledge(Instant::now() >= self.due).await;
            if self.telling.len() >= self.at_once() || self.kept >= KEPT {
                self.ask().await;
            }
        }
        self.acknowledge(true).await;
        loop {
            self.ask().await;
            if self.telling.join_next().await.is_none() {
                break;
            }
        }
    }

    /// How many round trips may be under way.
    fn at_once(&self) -> usize {
        if self.courier.counts() {
            AT_ONCE
        } else if self.long.load(Ordering::Relaxed) {
            4 * AT_ONCE_ANSWERED
        } else {
            AT_ONCE_ANSWERED
        }
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
        let mut done = Done { closed: std::mem::take(&mut self.closed), trims, single, expected: 0, jobs: 0 };
        if !done.is_empty() {
            // A connection more is worth it only where jobs are so quick that they wait for their acknowledgement.
            let quick = self.courier.counts() || self.unacknowledged.count() >= MARGIN / 2;
            done.expected = done.lists_with_jobs();
            done.jobs = done.mark();
            self.kept += done.bytes();
            let done = self.pending.insert(done);
            let alone = self.telling.is_empty();
            let carrying =
                if quick { self.courier.carry(&self.private, &done.what(true), done.jobs, alone).await } else { None };
            if let Some(done) = self.pending.take() {
                self.tell(done, carrying);
            }
        }
        if due {
            self.due = Instant::now() + PATIENCE;
            self.open.retain(|batch| batch.is_to_be_watched());
        }
    }
}

impl Acknowledger {
    /// Sees to the answers of what was sent silently.
    async fn ask(&mut self) {
        if let Some(asking) = self.courier.ask(&self.private).await {
            self.kept = 0;
            self.tell(Done::default(), Some(asking));
        }
    }

    /// One more round trip.
    fn tell(&mut self, done: Done, carrying: Option<Carrying>) {
        let telling = Telling {
            done,
            carrying,
            store: self.store.clone(),
            private: self.private.clone(),
            holdings: self.holdings.clone(),
            unacknowledged: self.unacknowledged.clone(),
            outages: self.outages.clone(),
            began: Instant::now(),
            long: Arc::clone(&self.long),
            turns: Arc::clone(&self.turns),
        };
        self.supervisor.spawn_in(&mut self.telling, telling);
    }
}

impl Part for Acknowledger {
    fn name(&self) -> &'static str {
        "acknowledger"
    }

    /// What it knows of batches outlives a panic. That an acknowledgement goes out twice changes nothing in Redis.
    async fn run(&mut self) {
        self.acknowledge_all().await;
    }

    fn may_end(&self) -> bool {
        self.inbox.is_closed()
    }
}

/// Counts what the courier hands over.
struct Counts {
    unacknowledged: Unacknowledged,
    supervisor: Supervisor,
}

impl Tally for Counts {
    fn handed_over(&self, jobs: u64) {
        self.unacknowledged.acknowledged(jobs);
    }

    fn taken_back(&self, jobs: u64) {
        self.unacknowledged.take_back(jobs);
    }

    fn panicked(&self, message: &str) {
        self.supervisor.note("courier's connection", message);
    }
}

/// One round trip: until Redis has answered, whatever happens on the way.
struct Telling {
    done: Done,
    /// The same on the courier's connection, the first time.
    carrying: Option<Carrying>,
    store: Store,
    private: Private,
    holdings: Holdings,
    unacknowledged: Unacknowledged,
    outages: Outages,
    began: Instant,
    long: Arc<AtomicBool>,
    turns: Arc<Semaphore>,
}

impl Part for Telling {
    fn name(&self) -> &'static str {
        "acknowledgement"
    }

    async fn run(&mut self) {
        let Self { done, store, private, holdings, unacknowledged, outages, .. } = self;
        // What was sent and not answered may be applied: then the lists are gone for that reason.
        let sent_before = self.carrying.is_some();
        let arrived = match self.carrying.take() {
            Some(carrying) => carrying.arrived().await,
            None => Arrived::Unknown,
        };
        // A silent one waits for the answer of another.
        let measures = !matches!(arrived, Arrived::Silently);
        match arrived {
            Arrived::Counted(there) => compare(there, done.expected),
            Arrived::Silently => {}
            Arrived::Unknown if done.is_empty() => {}
            Arrived::Unknown => {
                // It is never closed.
                let _turn = self.turns.acquire().await;
                done.tell(store, private, outages, !sent_before).await;
                unacknowledged.acknowledged(std::mem::take(&mut done.jobs));
            }
        }
        done.closed.iter().for_each(|batch| holdings.remove(batch));
        if measures {
            self.long.store(self.began.elapsed() > LONG, Ordering::Relaxed);
        }
    }

    fn may_end(&self) -> bool {
        true
    }
}

/// Jobs that one round trip takes out of their private lists.
#[derive(Debug, Default)]
struct Done {
    /// Batches of which all jobs are done.
    closed: Vec<Arc<Batch>>,
    /// Batches of which all are done but the newest so many.
    trims: Vec<(Arc<Batch>, usize)>,
    single: Vec<UnitOfWork>,
    /// Of the lists that go as a whole, how many still hold jobs.
    expected: usize,
    /// How many jobs it acknowledges.
    jobs: u64,
}

impl Done {
    fn is_empty(&self) -> bool {
        self.closed.is_empty() && self.trims.is_empty() && self.single.is_empty()
    }

    /// How large the payloads of its batches are together.
    fn bytes(&self) -> usize {
        let trimmed = self.trims.iter().map(|(batch, _)| batch);
        let single = self.single.iter().map(UnitOfWork::batch);
        self.closed.iter().chain(trimmed).chain(single).map(|batch| batch.bytes()).sum()
    }

    /// How many of the lists that go as a whole still hold jobs now.
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
    /// `sure`: these were not sent before.
    async fn tell(&self, store: &Store, private: &Private, outages: &Outages, mut sure: bool) {
        let mut outage = outages.part();
        let there = loop {
            match store.acknowledge(private, &self.what(sure)).await {
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
            compare(there, self.expected);
        }
    }

    /// `sure`: these were not sent before. What may have been applied is not asked for again where it would take out a job that runs.
    fn what(&self, sure: bool) -> Acknowledgement<'_> {
        let single = self.single.iter().filter(|unit| sure || !unit.has_equal_in_list());
        Acknowledgement {
            lists: self.closed.iter().map(|batch| batch.list()).collect(),
            trims: self.trims.iter().map(|(batch, to)| (batch.list(), *to)).collect(),
            jobs: single.map(|unit| (unit.batch().list(), unit.bytes())).collect(),
        }
    }
}

/// Of the lists that were to be taken away, so many were there.
fn compare(there: usize, expected: usize) {
    if there < expected {
        tracing::warn!(
            batches = expected - there,
            "finished jobs were no longer in their private lists: another process put them back and they run twice, or Redis lost data"
        );
    }
}

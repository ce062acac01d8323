mod limited;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use limited::LIMITED_NAP;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::error::{Error, ErrorKind, Result};
use crate::server::control::supervisor::Part;
use crate::server::fetch::Source;
use crate::server::fetch::idle::Idle;
use crate::server::fetch::watcher::Watcher;
use crate::server::unit::Batch;
use crate::server::unit::Expected;
use crate::store::claims::{BLOCK, BlockingWire};
use crate::store::{are_large, backoff, is_refusal, queue_key};

/// Jobs move into private lists of this process and leave them only when they are done, retried, dead or requeued.
///
/// While there is work, one script claims many jobs at once. While there is none, a waiter per queue lets Redis block
/// until a job is moved to it. Of queues beyond the first eight, Redis reports when a job is pushed to them, to one
/// [`Watcher`] for all of them; where Redis does not, the script looks at them now and then.
#[derive(Debug)]
pub(crate) struct Reliable {
    source: Source,
    /// Name and key, in the order of the capsule's weights.
    queues: Vec<(Arc<str>, String)>,
    /// The number of a claim whose answer was lost: it is asked for again.
    unanswered: Option<u64>,
    /// The lists of the claims since the last call of `retrieve_work`, and of the unanswered one. Their jobs are delivered before the next call.
    expected: Vec<Expected>,
    /// The order of this claim, kept to save the allocation.
    order: Vec<usize>,
    idle: Arc<Idle>,
    /// The waiters, and the watcher if there are more queues than waiters.
    waiters: JoinSet<()>,
    /// When the last claim found fewer jobs than wanted, or something stirred after it. For a moment, claims leave out queues that
    /// are known to be empty.
    drained: Option<Instant>,
    /// Whether the last claim left jobs where they are since they are large.
    is_full: bool,
    /// Keys on which Redis refused LLEN, already logged.
    complained: Vec<String>,
    nap: Duration,
    /// The nap while a queue has a limit.
    limited_nap: Duration,
    /// Changes when permits were returned, and when other queues have a limit.
    limits_changed: watch::Receiver<()>,
}

/// Waiters, each with a connection, a capsule has at most.
const MAX_WAITERS: usize = 8;
/// How long Redis holds the command of a waiter at most: a queue without jobs costs it less, and a connection that died without a word is
/// noticed that much later.
const LONG_BLOCK: Duration = Duration::from_secs(12);
/// Queues a claim asks first; the others only if those have too little. Each costs Redis and this process a little, whatever it holds.
const ASKED_FIRST: usize = 16;
/// How long a claim may rely on what the watcher knows: after a busy while the reports may still lie unread.
const FRESH: Duration = Duration::from_millis(10);
/// Jobs of one claim, whatever is wanted.
const MAX_CLAIM: usize = 1_600;
/// Pause between looks at queues that have no waiter and of which Redis reports nothing; it doubles from the first to the second while nothing comes.
const NAP: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(1));
/// The same where a push to any queue wakes the fetcher: only a safety net.
const LONG_NAP: Duration = Duration::from_secs(5);

impl Reliable {
    pub(super) fn new(source: Source) -> Self {
        let queues: Vec<_> =
            source.capsule.weights().iter().map(|(name, _)| (Arc::from(name.as_str()), queue_key(name))).collect();
        let idle = Idle::new(queues.len().min(MAX_WAITERS), queues.len());
        Self {
            limits_changed: source.limits.changed(),
            source,
            queues,
            unanswered: None,
            expected: Vec::new(),
            order: Vec::new(),
            idle: Arc::new(idle),
            waiters: JoinSet::new(),
            drained: None,
            is_full: false,
            complained: Vec::new(),
            nap: NAP.0,
            limited_nap: LIMITED_NAP.0,
        }
    }

    pub(super) async fn retrieve_work(&mut self, want: usize) -> Result<Option<Vec<Arc<Batch>>>> {
        self.idle.wait.store(false, Ordering::SeqCst);
        let asked_again = self.unanswered.is_some();
        if !asked_again {
            self.expected.clear();
        }
        let mut batches = self.claim(want.min(MAX_CLAIM)).await?;
        if asked_again && batches.as_ref().is_some_and(Vec::is_empty) {
            // The claim before never arrived; there was no look at the queues since.
            batches = self.claim(want.min(MAX_CLAIM)).await?;
        }
        if batches.as_ref().is_some_and(|batches| !batches.is_empty()) {
            self.nap = NAP.0;
            self.limited_nap = LIMITED_NAP.0;
        }
        Ok(batches)
    }

    /// Claims from the queues that may hold jobs. Returns `None` if there are none: then it sends nothing to Redis.
    async fn claim(&mut self, want: usize) -> Result<Option<Vec<Arc<Batch>>>> {
        let drained = self.drained.take().is_some_and(|at| at.elapsed() < FRESH);
        if self.unanswered.is_some() {
            // It may have moved jobs of any queue.
            self.order.clear();
            self.order.extend(0..self.queues.len());
            return self.claim_from(0..self.order.len(), want, false).await.map(Some);
        }
        self.source.order(&mut self.order);
        if self.order.is_empty() {
            self.source.rest().await;
            return Ok(None);
        }
        let Idle { watched, .. } = &*self.idle;
        self.order.retain(|queue| !(self.idle.is_asked(*queue) || drained && watched.is_empty(*queue)));
        let first = self.order.len().min(ASKED_FIRST);
        if first == 0 {
            self.drained = Some(Instant::now());
            return Ok(None);
        }
        if self.has_limits() {
            return self.claim_in_parts(want).await.map(Some);
        }
        let mut batches = self.claim_from(0..first, want, false).await?;
        let jobs = |batches: &[Arc<Batch>]| batches.iter().map(|batch| batch.jobs()).sum::<usize>();
        let have = jobs(&batches);
        if have < want && !self.is_full && first < self.order.len() {
            match self.claim_from(first..self.order.len(), want - have, false).await {
                Ok(others) => batches.extend(others),
                Err(error) if batches.is_empty() => return Err(error),
                Err(error) => {
                    // The next claim asks for it again.
                    tracing::debug!(%error, "only some queues were asked for jobs");
                    return Ok(Some(batches));
                }
            }
        }
        self.drained = (jobs(&batches) < want && !self.is_full).then(Instant::now);
        Ok(Some(batches))
    }

    /// Claims from some of the queues in their order; `limited`: with a permit for each job.
    async fn claim_from(&mut self, some: Range<usize>, want: usize, limited: bool) -> Result<Vec<Arc<Batch>>> {
        let again = self.unanswered.is_some();
        let epoch = self.source.registration.epoch();
        let number = *self.unanswered.get_or_insert_with(|| self.source.numbers.fetch_add(1, Ordering::Relaxed));
        if !again {
            self.expected.push(self.source.holdings.expect(self.source.private.claim_prefix(number)));
        }
        let lookups = self.source.isolation.lookups();
        let claimed = if limited {
            self.claim_with_permits(some, number, want).await?
        } else {
            let order = self.order[some].iter();
            let queues: Vec<(&str, &str)> =
                order.map(|at| (&*self.queues[*at].0, self.queues[*at].1.as_str())).collect();
            self.source.store.claim(&self.source.private, (number, again), want, &queues).await?
        };
        let Some(claimed) = claimed else {
            self.unanswered = None;
            self.source.liveness.doubt();
            return Err(Error::new(ErrorKind::Redis, "this process is no longer registered"));
        };
        let jobs = claimed.lists.iter().flat_map(|list| list.jobs.iter().map(Vec::as_slice));
        self.source.look_for_suspects((claimed.suspects, lookups), jobs).await?;
        self.unanswered = None;
        self.is_full = claimed.is_full;
        for (key, refusal) in claimed.refused {
            if self.complained.contains(&key) {
                continue;
            }
            if refusal.contains("WRONGTYPE") {
                tracing::error!(key, "this key is no list: no job of that queue can be fetched until it is renamed");
            } else {
                tracing::error!(
                    key,
                    refusal,
                    "Redis refuses LLEN: jobs of that queue are fetched one by one, or not at all"
                );
            }
            self.complained.push(key);
        }
        let lists = claimed.lists.into_iter();
        let batches: Vec<_> =
            lists.map(|list| self.source.hold(epoch, list.key, self.name(&list.queue), list.jobs)).collect();
        if !limited && self.source.limits.any() {
            // One may have got a limit meanwhile.
            batches.iter().for_each(|batch| self.source.limits.differ(batch.queue()));
        }
        Ok(batches)
    }

    /// The shared name of a queue of this capsule.
    fn name(&self, queue: &str) -> Arc<str> {
        self.queues
            .iter()
            .find(|(name, _)| **name == *queue)
            .map_or_else(|| Arc::from(queue), |(name, _)| Arc::clone(name))
    }

    /// Lets the waiters wait until one brings something, or it is time for another look.
    pub(super) async fn wait(&mut self) {
        let waited_for = self.queues.len().min(MAX_WAITERS);
        if self.waiters.is_empty() {
            for (number, (name, key)) in self.queues[..waited_for].iter().enumerate() {
                let waiter = Waiter {
                    source: self.source.clone(),
                    idle: Arc::clone(&self.idle),
                    number,
                    queue: Arc::clone(name),
                    key: key.clone(),
                    list: None,
                    next: None,
                    unsure: false,
                    block: BLOCK,
                };
                self.source.supervisor.spawn_in(&mut self.waiters, waiter);
            }
            let watched: Vec<Arc<str>> = self.queues[waited_for..].iter().map(|(_, key)| key.as_str().into()).collect();
            if !watched.is_empty() {
                let places = waited_for..self.queues.len();
                let watcher = Watcher::new(self.source.clone(), Arc::clone(&self.idle), places, watched);
                self.source.supervisor.spawn_in(&mut self.waiters, watcher);
            }
        }
        self.idle.wait.store(true, Ordering::SeqCst);
        self.idle.changed.notify_waiters();
        let woken_by_all = waited_for == self.queues.len() || self.idle.watched.is_covered();
        let has_limits = self.has_limits();
        let nap = match (has_limits, woken_by_all) {
            (true, _) => self.limited_nap,
            (false, true) => LONG_NAP,
            (false, false) => self.nap,
        };
        self.nap = (self.nap * 2).min(NAP.1);
        self.limited_nap = (self.limited_nap * 2).min(LIMITED_NAP.1);
        tokio::select! {
            () = self.idle.stirred.notified() => {
                self.nap = NAP.0;
                self.drained = self.drained.map(|_| Instant::now());
            }
            Ok(()) = self.limits_changed.changed() => self.drained = None,
            // The next claim looks at every queue.
            () = tokio::time::sleep(nap) => self.drained = None,
            () = self.source.handle.quieted() => {}
        }
    }

    pub(super) async fn close(mut self) {
        self.idle.changed.notify_waiters();
        let all = async { while self.waiters.join_next().await.is_some() {} };
        // A job that Redis moves later lies in a private list that is on the index: recovery finds it.
        let _ = tokio::time::timeout(LAST_ANSWERS, all).await;
    }
}

/// How long the end of a capsule waits for what Redis holds: `CLIENT UNBLOCK` ends each wait in a round trip.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Waits at one queue while the capsule is idle, on a connection of its own, and puts what comes into the intake.
struct Waiter {
    source: Source,
    idle: Arc<Idle>,
    /// The place of the queue in the capsule.
    number: usize,
    queue: Arc<str>,
    key: String,
    /// A private list that is on the index and, as far as is known, empty.
    list: Option<Expected>,
    /// The private list after that one. Redis confirms that it is on the index with the answer for that one.
    next: Option<Expected>,
    /// Whether the last command failed: it may have moved a job into `list` all the same.
    unsure: bool,
    /// How long Redis may hold the next command. It doubles with each one that ends without a job, where commands can be ended.
    block: Duration,
}

impl Part for Waiter {
    fn name(&self) -> &'static str {
        "waiter"
    }

    /// Until the server is quieted.
    async fn run(&mut self) {
        let mut wire = None;
        let mut failures = 0;
        while self.may_wait().await {
            let outcome = self.wait(&mut wire).await;
            self.idle.answered(self.number);
            match outcome {
                Ok(large) => {
                    failures = 0;
                    if large {
                        // With the memory that it keeps.
                        wire = None;
                    }
                }
                Err(error) => {
                    tracing::debug!(queue = &*self.queue, %error, "waiting for a job failed");
                    failures += 1;
                    self.unsure = true;
                    let refused = is_refusal(&error);
                    if !refused {
                        // The connection is dropped: what its command still does ends up in `list`, which is read first.
                        wire = None;
                    }
                    self.pause(backoff(failures)).await;
                    if refused {
                        // With its memory full Redis lets nobody wait; the claim is allowed, and looks instead, first.
                        self.idle.wait.store(false, Ordering::SeqCst);
                        self.idle.stirred.notify_one();
                    }
                }
            }
        }
    }

    fn may_end(&self) -> bool {
        self.source.handle.is_quiet()
    }

    /// What its command still does ends up in `list`, which is read first.
    fn panicked(&mut self, _message: &str) {
        self.unsure = true;
        self.idle.answered(self.number);
    }
}

impl Waiter {
    /// Until the capsule is idle and has a free slot; then nobody else claims from the queue. `false` when the server was quieted.
    async fn may_wait(&self) -> bool {
        loop {
            let changed = self.idle.changed.notified();
            if self.source.handle.is_quiet() {
                return false;
            }
            let may = !self.source.paused.contains(&self.queue)
                && !self.source.limits.contains(&self.queue)
                && !self.source.liveness.is_silent()
                && self.source.intake.has_room();
            if may && self.idle.ask(self.number) {
                return true;
            }
            // A slot that frees itself while the capsule is idle tells nobody; look again soon.
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(Duration::from_millis(5)), if self.idle.wait.load(Ordering::SeqCst) => {}
            }
        }
    }

    /// Waits for a job once. Returns whether the connection carried a large one.
    async fn wait(&mut self, wire: &mut Option<BlockingWire>) -> Result<bool> {
        let Source { store, private, numbers, registration, holdings, liveness, .. } = &self.source;
        let epoch = registration.epoch();
        let wire = match wire {
            Some(wire) => wire,
            None => wire.insert(store.blocking().await?),
        };
        if self.unsure {
            // Read on this connection: if one fell silent, others that lie still may have, too.
            let jobs = match &self.list {
                Some(list) => wire.all_private_jobs(list.name()).await?,
                None => Vec::new(),
            };
            self.unsure = false;
            if !jobs.is_empty() {
                // The next list may not be on the index.
                self.next = None;
                return self.deliver(epoch, jobs, (true, 0)).await;
            }
        }
        let new_list = || holdings.expect(private.list(numbers.fetch_add(1, Ordering::Relaxed), &self.queue));
        let list = match &self.list {
            Some(list) => list,
            None => {
                let list = new_list();
                wire.index(private, list.name()).await?;
                &*self.list.insert(list)
            }
        };
        let next = self.next.get_or_insert_with(new_list);
        let (id, lookups) = (wire.id(), self.source.isolation.lookups());
        let block = std::mem::replace(&mut self.block, BLOCK);
        let waiting = wire.move_one(private, &self.key, list.name(), next.name(), block);
        let waited = self.source.until_quiet(id, std::slice::from_ref(&self.queue), waiting).await?;
        if waited.forgotten {
            liveness.doubt();
        }
        match waited.job {
            Some(job) => self.deliver(epoch, vec![job], (waited.suspects, lookups)).await,
            None if id.is_some() => {
                // It must end before others may take this process for dead.
                self.block = (block * 2).min(LONG_BLOCK).min(liveness.span() / 2).max(BLOCK);
                Ok(false)
            }
            None => Ok(false),
        }
    }

    /// Hands over what is in the list. After a failure it is still there, and is read again. Returns whether that is large.
    async fn deliver(&mut self, epoch: u64, jobs: Vec<Vec<u8>>, suspects: (bool, u64)) -> Result<bool> {
        let large = are_large(&jobs);
        self.source.look_for_suspects(suspects, jobs.iter().map(Vec::as_slice)).await?;
        // Until the jobs are delivered.
        let expected = std::mem::replace(&mut self.list, self.next.take());
        let list = expected.as_ref().map(|list| list.name().to_owned()).unwrap_or_default();
        // What came first goes in first; only then may somebody claim what comes next.
        self.idle.wait.store(false, Ordering::SeqCst);
        self.source.intake.push(&[self.source.hold(epoch, list, Arc::clone(&self.queue), jobs)]);
        // It may have got a limit during the wait.
        self.source.limits.differ(&self.queue);
        drop(expected);
        self.idle.stirred.notify_one();
        Ok(large)
    }

    async fn pause(&self, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.source.handle.quieted() => {}
        }
    }
}

#[cfg(test)]
#[cfg(all(unix, feature = "testing"))]
mod tests {
    use super::*;
    use crate::Server;
    use crate::testing::Redis;
    use crate::testing::refusing::{Fault, Refusing, Which};

    async fn until(proxy: &Refusing, command: &str, times: usize) {
        let seen = || proxy.seen().iter().filter(|name| *name == command).count();
        let waiting = async {
            while seen() < times {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap();
    }

    #[tokio::test]
    async fn no_job_is_waited_for_with_a_list_that_no_recovery_would_find() {
        let redis = Redis::start().unwrap();
        let near = redis.dir().join("proxy.sock");
        let proxy = Refusing::start(&near, &redis.dir().join("redis.sock")).unwrap();
        proxy.plan(Some((Which::Named("SADD"), Fault::Refuse("READONLY"))));
        let options = format!("unix://{}", near.display()).parse().unwrap();
        let server = Server::builder().redis(options).build().unwrap();
        let handle = server.handle();
        let running = tokio::spawn(server.run(std::future::pending()));
        // At the boot each command is looked for by its name; one `SADD` is the heartbeat's.
        until(&proxy, "SADD", 4).await;
        assert_eq!(proxy.seen().iter().filter(|name| *name == "BLMOVE").count(), 1, "{:?}", proxy.seen());
        proxy.plan(None);
        until(&proxy, "BLMOVE", 2).await;
        handle.stop();
        running.await.unwrap().unwrap();
    }
}

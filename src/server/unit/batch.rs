use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crate::payload::{Edits, Fetched, LARGE, Malformed, Payload};
use crate::server::unit::memory::{Memory, Portion};
use crate::store::in_place::InPlace;
use crate::store::settle::Leaving;

/// Jobs that left a queue together, and what became of each.
///
/// Under the reliable fetcher they lie in one private list, which is taken away whole once all of them are done.
pub(crate) struct Batch {
    /// The private list; empty if the jobs lie nowhere but here.
    list: String,
    queue: Arc<str>,
    /// The epoch of the registration it was claimed in: in a later one another process may have recovered its jobs.
    epoch: u64,
    /// Number of the settlement of the first job; the others follow.
    first_settlement: u64,
    jobs: Box<[Held]>,
    /// Jobs, from the first on, that are no longer in the private list. Only the acknowledger moves it.
    front: AtomicUsize,
    /// Jobs behind the front that left the list, or are about to: the places of the others there are no longer theirs here.
    out_of_turn: AtomicUsize,
    /// Jobs that are neither done nor gone.
    open: AtomicUsize,
    /// Whether the acknowledger knows that jobs of it are done.
    watched: AtomicBool,
    /// Whether its private list is on its way out as a whole.
    ended: AtomicBool,
    /// What its payloads count for in the memory of their capsule.
    portion: OnceLock<Portion>,
    /// Whether its jobs went into an intake.
    delivered: AtomicBool,
}

struct Held {
    fetched: Fetched,
    state: AtomicU8,
}

/// Not done, and still ours.
const HELD: u8 = 0;
/// Done; the private list still has it.
const DONE: u8 = 1;
/// On its way out of the private list.
const MOVING: u8 = 2;
/// Done, and no longer in the private list.
const GONE: u8 = 3;
/// Moved out of the private list to somewhere else.
const SETTLED: u8 = 4;

/// Numbers settlements. One count for all servers of this program: each process entry in Redis records its own.
static SETTLEMENTS: AtomicU64 = AtomicU64::new(1);

/// What a private list holds if Redis lost nothing.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    /// The jobs that are not done, oldest first.
    pub(crate) unfinished: Vec<UnitOfWork>,
    /// How many are in the list at most.
    pub(crate) jobs: usize,
    /// The jobs that were moved elsewhere and must not be in the list.
    pub(crate) settled: Vec<UnitOfWork>,
}

impl Batch {
    /// Jobs that were claimed in the first epoch.
    pub(crate) fn new(list: String, queue: Arc<str>, jobs: Vec<Vec<u8>>) -> Arc<Self> {
        Self::claimed_in(0, list, queue, jobs)
    }

    pub(crate) fn claimed_in(epoch: u64, list: String, queue: Arc<str>, jobs: Vec<Vec<u8>>) -> Arc<Self> {
        let open = AtomicUsize::new(jobs.len());
        let first_settlement = SETTLEMENTS.fetch_add(jobs.len() as u64, Ordering::Relaxed);
        let jobs =
            jobs.into_iter().map(|bytes| Held { fetched: Fetched::new(bytes), state: AtomicU8::new(HELD) }).collect();
        Arc::new(Self {
            list,
            queue,
            epoch,
            first_settlement,
            jobs,
            front: AtomicUsize::new(0),
            out_of_turn: AtomicUsize::new(0),
            open,
            watched: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            portion: OnceLock::new(),
            delivered: AtomicBool::new(false),
        })
    }

    /// Its jobs go into an intake: from here on a processor, or the stop, sees to them.
    pub(crate) fn deliver(&self) {
        self.delivered.store(true, Ordering::Release);
    }

    /// Whether [`deliver`](Self::deliver) was called. If not, and for long, the fetcher panicked with it in hand.
    pub(crate) fn is_delivered(&self) -> bool {
        self.delivered.load(Ordering::Acquire)
    }

    /// Its private list.
    pub(crate) fn list(&self) -> &str {
        &self.list
    }

    /// Where its jobs come from.
    pub(crate) fn queue(&self) -> &str {
        &self.queue
    }

    /// The epoch of the registration it was claimed in.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many jobs there were.
    pub(crate) fn jobs(&self) -> usize {
        self.jobs.len()
    }

    /// Counts its payloads as held by a capsule for as long as it exists. Returns how large they are together.
    pub(crate) fn count_in(&self, memory: &Memory) -> usize {
        let bytes = self.jobs.iter().map(|job| job.fetched.bytes().len()).sum();
        self.portion.get_or_init(|| memory.hold(bytes));
        bytes
    }

    /// What its payloads count for in the memory of their capsule.
    pub(crate) fn bytes(&self) -> usize {
        self.portion.get().map_or(0, Portion::bytes)
    }

    pub(crate) fn units(self: &Arc<Self>) -> impl Iterator<Item = UnitOfWork> {
        (0..self.jobs.len()).map(|at| UnitOfWork { batch: Arc::clone(self), at })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.open() == 0
    }

    /// How many of its jobs are neither done nor gone.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Whether its private list is to be taken away as a whole: once.
    pub(crate) fn end(&self) -> bool {
        !self.ended.swap(true, Ordering::AcqRel)
    }

    /// Whether the acknowledger is to be told of this batch; it is told once while it watches.
    pub(crate) fn watch(&self) -> bool {
        !self.watched.swap(true, Ordering::AcqRel)
    }

    /// Whether the acknowledger must go on watching. If not, it is told of the next job that is done.
    pub(crate) fn is_to_be_watched(self: &Arc<Self>) -> bool {
        // A swap, which reads what the last `watch` wrote: a job that ended before that is seen below. One that ends after it reports again.
        self.watched.swap(false, Ordering::AcqRel);
        self.done().next().is_some() && self.watch()
    }

    /// How many of its jobs are in the private list.
    pub(super) fn held(&self) -> usize {
        let held = |job: &&Held| !matches!(job.state.load(Ordering::Acquire), GONE | SETTLED);
        self.jobs.iter().filter(held).count()
    }

    /// How many of its jobs are in the private list, this one left out.
    pub(crate) fn held_but(&self, unit: &UnitOfWork) -> usize {
        let held = |at: usize, job: &Held| {
            let is_unit = at == unit.at && std::ptr::eq(self, &*unit.batch);
            !(is_unit || matches!(job.state.load(Ordering::Acquire), GONE | SETTLED))
        };
        self.jobs.iter().enumerate().filter(|(at, job)| held(*at, job)).count()
    }

    /// What its private list must hold now.
    pub(crate) fn expected(self: &Arc<Self>) -> Expected {
        let mut expected = Expected::default();
        for unit in self.units() {
            match unit.state().load(Ordering::Acquire) {
                HELD | MOVING => expected.unfinished.push(unit),
                DONE => expected.jobs += 1,
                SETTLED => expected.settled.push(unit),
                _ => {}
            }
        }
        expected.jobs += expected.unfinished.len();
        expected
    }

    /// The jobs that are done and still in the private list.
    pub(crate) fn done(self: &Arc<Self>) -> impl Iterator<Item = UnitOfWork> {
        self.units().filter(|unit| unit.state().load(Ordering::Acquire) == DONE)
    }

    /// How many jobs the list may be trimmed to, the newest: those behind the jobs that are done one after the other from the
    /// first on. `None` if there are none, or if one behind them left the list out of its turn: then its places are not ours.
    pub(crate) fn trimmable_to(&self) -> Option<usize> {
        let mut front = self.front.load(Ordering::Relaxed);
        let gone = self.jobs[front..]
            .iter()
            .take_while(|job| matches!(job.state.load(Ordering::Acquire), GONE | SETTLED))
            .count();
        if gone > 0 {
            front += gone;
            self.front.store(front, Ordering::Relaxed);
            self.out_of_turn.fetch_sub(gone, Ordering::AcqRel);
        }
        if self.out_of_turn.load(Ordering::Acquire) > 0 {
            return None;
        }
        let done = self.jobs[front..].iter().take_while(|job| job.state.load(Ordering::Acquire) == DONE).count();
        (done > 0).then(|| self.jobs.len() - front - done)
    }

    /// The list was trimmed to its newest `jobs`. Returns how many that acknowledged.
    pub(crate) fn trimmed_to(self: &Arc<Self>, jobs: usize) -> usize {
        let front = self.jobs.len() - jobs;
        let from = self.front.swap(front, Ordering::Relaxed);
        self.units().take(front).skip(from).filter(|unit| unit.turn(DONE, GONE)).count()
    }
}

/// One fetched job: the bytes as they came, and the queue they came from.
pub(crate) struct UnitOfWork {
    batch: Arc<Batch>,
    at: usize,
}

impl UnitOfWork {
    /// The bytes as fetched; every later step starts from these.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.fetched().bytes()
    }

    fn fetched(&self) -> &Fetched {
        &self.batch.jobs[self.at].fetched
    }

    /// Reads its payload. That of a large job shares the bytes.
    ///
    /// # Errors
    ///
    /// As [`Payload::from_bytes`]; the error may leave out the bytes.
    pub(crate) fn payload(&self) -> Result<Payload, Malformed> {
        self.fetched().payload()
    }

    /// Whether it is settled by itself.
    pub(crate) fn is_large(&self) -> bool {
        self.bytes().len() >= LARGE
    }

    /// How the bytes to store differ from those in its private list: those of `payload`, or the same. `None` if they have to be sent whole.
    pub(crate) fn edits(&self, payload: Option<&Payload>) -> Option<Edits> {
        self.fetched().edits(payload).filter(|_| self.lies_in_redis())
    }

    /// The queue it was fetched from, whatever its payload says.
    pub(crate) fn queue(&self) -> &Arc<str> {
        &self.batch.queue
    }

    pub(crate) fn batch(&self) -> &Arc<Batch> {
        &self.batch
    }

    /// Whether it lies in a private list, where others find it; basic's jobs lie nowhere but here.
    pub(crate) fn lies_in_redis(&self) -> bool {
        !self.batch.list.is_empty()
    }

    /// The number of its settlement: a unit is settled once, however often that is tried.
    pub(crate) fn settlement(&self) -> u64 {
        self.batch.first_settlement + self.at as u64
    }

    /// Its settlement: as these bytes, due in so many seconds.
    pub(crate) fn leaving<'a>(&'a self, bytes: &'a [u8], delay: f64) -> Leaving<'a> {
        let list = self.lies_in_redis().then_some(self.batch.list.as_str());
        Leaving {
            number: self.settlement(),
            list,
            // They find the job in its list.
            raw: if list.is_some() { self.bytes() } else { &[] },
            bytes,
            delay,
        }
    }

    /// The same as these edits of its bytes.
    pub(crate) fn leaving_in_place<'a>(&'a self, edits: &'a Edits, delay: f64) -> InPlace<'a> {
        InPlace {
            number: self.settlement(),
            epoch: self.batch.epoch,
            list: &self.batch.list,
            raw: self.bytes(),
            pieces: edits.pieces(),
            delay,
        }
    }

    /// Whether it is done, or was moved elsewhere.
    pub(crate) fn is_over(&self) -> bool {
        !matches!(self.state().load(Ordering::Acquire), HELD | MOVING)
    }

    fn state(&self) -> &AtomicU8 {
        &self.batch.jobs[self.at].state
    }

    fn turn(&self, from: u8, to: u8) -> bool {
        self.state().compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Whether it is not done, and nobody moves it.
    pub(crate) fn is_held(&self) -> bool {
        self.state().load(Ordering::Acquire) == HELD
    }

    /// Its place among the jobs that were fetched together.
    pub(crate) fn place(&self) -> usize {
        self.at
    }

    /// Marks it done. `None` if it was given up before; else whether it was the last open one of its batch.
    pub(crate) fn finish(&self) -> Option<bool> {
        self.turn(HELD, DONE).then(|| self.close())
    }

    /// Claims the right to move it out of the private list: whoever gets it decides what becomes of the job.
    pub(crate) fn start_moving(&self) -> bool {
        let moving = self.turn(HELD, MOVING);
        if moving {
            self.batch.out_of_turn.fetch_add(1, Ordering::AcqRel);
        }
        moving
    }

    /// The move failed: it is still there.
    pub(crate) fn stay(&self) {
        if self.turn(MOVING, HELD) {
            self.batch.out_of_turn.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// The move is done. Whether it was the last open one of its batch.
    pub(crate) fn leave(&self) -> bool {
        self.state().store(SETTLED, Ordering::Release);
        self.close()
    }

    /// A done job was taken out of the list out of its turn. `false` if it was out already.
    pub(crate) fn plucked(&self) -> bool {
        let plucked = self.turn(DONE, GONE);
        if plucked {
            self.batch.out_of_turn.fetch_add(1, Ordering::AcqRel);
        }
        plucked
    }

    /// Whether its private list holds another job of the same bytes.
    pub(crate) fn has_equal_in_list(&self) -> bool {
        let others = self.batch.jobs.iter().enumerate().filter(|(at, _)| *at != self.at);
        let in_list = |job: &Held| !matches!(job.state.load(Ordering::Acquire), GONE | SETTLED);
        others.filter(|(_, job)| in_list(job)).any(|(_, job)| job.fetched.bytes() == self.bytes())
    }

    fn close(&self) -> bool {
        self.batch.open.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

impl Clone for UnitOfWork {
    fn clone(&self) -> Self {
        Self { batch: Arc::clone(&self.batch), at: self.at }
    }
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("list", &self.list).field("jobs", &self.jobs.len()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for UnitOfWork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UnitOfWork").field("queue", &self.batch.queue).field("at", &self.at).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(jobs: usize) -> (Arc<Batch>, Vec<UnitOfWork>) {
        let batch = Batch::new("list".into(), "q".into(), vec![b"{}".to_vec(); jobs]);
        let units = batch.units().collect();
        (batch, units)
    }

    #[test]
    fn closes_with_its_last_job_whatever_became_of_the_others() {
        let (batch, units) = batch(3);
        assert_eq!(units[0].finish(), Some(false));
        assert!(units[1].start_moving());
        assert!(!units[1].leave());
        assert!(!batch.is_closed());
        assert_eq!(units[2].finish(), Some(true));
        assert!(batch.is_closed());
        assert_eq!(batch.done().count(), 2);
    }

    #[test]
    fn knows_whether_the_list_holds_the_same_bytes_once_more() {
        let jobs = vec![b"{}".to_vec(), b"[]".to_vec(), b"{}".to_vec()];
        let batch = Batch::new("list".into(), "q".into(), jobs);
        let units: Vec<_> = batch.units().collect();
        let equal = || units.iter().map(UnitOfWork::has_equal_in_list).collect::<Vec<_>>();
        assert_eq!(equal(), [true, false, true]);
        units[2].finish();
        assert_eq!(equal(), [true, false, true], "it is done, and still there");
        assert!(units[2].plucked());
        assert_eq!(equal(), [false, false, true]);
    }

    #[test]
    fn is_trimmed_only_while_each_job_has_its_own_place_in_the_list() {
        let (batch, units) = batch(6);
        units[1].finish();
        assert_eq!(batch.trimmable_to(), None, "the first still runs");
        units[0].finish();
        assert_eq!(batch.trimmable_to(), Some(4));
        assert_eq!((batch.trimmed_to(4), batch.trimmable_to()), (2, None));

        assert!(units[4].start_moving());
        units[2].finish();
        assert_eq!(batch.trimmable_to(), None, "nobody knows whether the fifth is still there");
        units[4].stay();
        assert_eq!(batch.trimmable_to(), Some(3));
        assert!(units[4].start_moving());
        units[4].leave();
        assert_eq!(batch.trimmable_to(), None);
        assert!(units[2].plucked() && !units[2].plucked());
        units[3].finish();
        assert!(units[3].plucked());
        units[5].finish();
        assert_eq!(batch.trimmable_to(), Some(0), "those between are out of the list");
        assert!(batch.is_closed());
    }

    #[test]
    fn lets_only_one_decide() {
        let (_, units) = batch(1);
        assert!(units[0].start_moving());
        assert!(!units[0].start_moving(), "a requeue and a retry cannot both have it");
        assert_eq!(units[0].finish(), None, "a job that is being requeued is not done");
        units[0].stay();
        assert_eq!(units[0].finish(), Some(true));
    }
}

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

/// Jobs that left a queue together, and what became of each.
///
/// Under the reliable fetcher they lie in one private list, which is taken away whole once all of them are done.
pub(crate) struct Batch {
    /// The private list; empty if the jobs lie nowhere but here.
    list: String,
    queue: Arc<str>,
    jobs: Box<[Held]>,
    /// Jobs that are neither done nor gone.
    open: AtomicUsize,
    /// Whether the acknowledger watches this batch for single jobs that are done.
    pub(super) watched: AtomicBool,
}

struct Held {
    bytes: Vec<u8>,
    state: AtomicU8,
}

/// Not done, and still ours.
const HELD: u8 = 0;
/// Done; the private list still has it.
const DONE: u8 = 1;
/// On its way out of the private list.
const MOVING: u8 = 2;
/// No longer in the private list.
const GONE: u8 = 3;

impl Batch {
    pub(crate) fn new(list: String, queue: Arc<str>, jobs: Vec<Vec<u8>>) -> Arc<Self> {
        let open = AtomicUsize::new(jobs.len());
        let jobs = jobs.into_iter().map(|bytes| Held { bytes, state: AtomicU8::new(HELD) }).collect();
        Arc::new(Self { list, queue, jobs, open, watched: AtomicBool::new(false) })
    }

    /// Its private list.
    pub(crate) fn list(&self) -> &str {
        &self.list
    }

    pub(crate) fn units(self: &Arc<Self>) -> impl Iterator<Item = UnitOfWork> {
        (0..self.jobs.len()).map(|at| UnitOfWork { batch: Arc::clone(self), at })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.open.load(Ordering::Acquire) == 0
    }

    /// Whether nothing of it is left in its private list.
    pub(super) fn is_gone(&self) -> bool {
        self.jobs.iter().all(|job| job.state.load(Ordering::Acquire) == GONE)
    }

    /// How many of its jobs are in the private list, this one left out.
    pub(super) fn held_but(&self, unit: &UnitOfWork) -> usize {
        let held = |at: usize, job: &Held| {
            job.state.load(Ordering::Acquire) != GONE && !(at == unit.at && std::ptr::eq(self, &*unit.batch))
        };
        self.jobs.iter().enumerate().filter(|(at, job)| held(*at, job)).count()
    }

    /// The bytes of the jobs that are not done and ought to be in the private list, oldest first.
    pub(crate) fn unfinished(&self) -> impl Iterator<Item = &[u8]> {
        self.jobs
            .iter()
            .filter(|job| matches!(job.state.load(Ordering::Acquire), HELD | MOVING))
            .map(|job| job.bytes.as_slice())
    }

    /// The jobs that are done and still in the private list.
    pub(crate) fn done(self: &Arc<Self>) -> impl Iterator<Item = UnitOfWork> {
        self.units().filter(|unit| unit.state().load(Ordering::Acquire) == DONE)
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
        &self.batch.jobs[self.at].bytes
    }

    /// The queue it was fetched from, whatever its payload says.
    pub(crate) fn queue(&self) -> &Arc<str> {
        &self.batch.queue
    }

    pub(crate) fn batch(&self) -> &Arc<Batch> {
        &self.batch
    }

    fn state(&self) -> &AtomicU8 {
        &self.batch.jobs[self.at].state
    }

    fn turn(&self, from: u8, to: u8) -> bool {
        self.state().compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Marks it done. `None` if it was given up before; else whether it was the last open one of its batch.
    pub(super) fn finish(&self) -> Option<bool> {
        self.turn(HELD, DONE).then(|| self.close())
    }

    /// Claims the right to move it out of the private list: whoever gets it decides what becomes of the job.
    pub(super) fn start_moving(&self) -> bool {
        self.turn(HELD, MOVING)
    }

    /// The move failed: it is still there.
    pub(super) fn stay(&self) {
        self.turn(MOVING, HELD);
    }

    /// The move is done. Whether it was the last open one of its batch.
    pub(super) fn leave(&self) -> bool {
        self.state().store(GONE, Ordering::Release);
        self.close()
    }

    /// A done job was taken out of the list by itself.
    pub(super) fn acknowledged(&self) {
        self.turn(DONE, GONE);
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
        assert!(batch.is_closed() && !batch.is_gone());
        assert_eq!(batch.done().count(), 2);
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

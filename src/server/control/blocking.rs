//! The threads that blocking jobs run on: a pool of the server's own.
//!
//! The runtime's pool also resolves host names and opens files; jobs that never return must not take it away. A thread is started when a job
//! needs one, used again, and ends when it was idle for a while, but for one. There are as many as blocking jobs run at the same time, so at most as many
//! as the capsules have slots, plus the **abandoned** ones: their job timed out or was aborted, and still runs.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};

use crate::contain::{contained, discard};
use crate::job::JobError;
use crate::limits::refused;

/// Runs blocking jobs. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct BlockingPool(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Idle threads wait here for work.
    arrivals: Condvar,
    /// Jobs that wait for a thread are woken here when another job no longer needs one.
    released: Notify,
}

#[derive(Default)]
struct State {
    work: VecDeque<Work>,
    /// Threads that take work: all but the abandoned.
    threads: usize,
    /// Jobs that have a thread, or will take one at once.
    reserved: usize,
    abandoned: usize,
    /// Threads started so far; names them.
    started: u64,
    closed: bool,
}

/// A job for a thread.
struct Work {
    phase: Arc<AtomicU8>,
    job: Box<dyn FnOnce() -> Answer + Send>,
}

/// Sends the outcome of a job to the task that waits for it.
type Answer = Box<dyn FnOnce() + Send>;

/// How far a job is. Changed only under the lock of the pool.
mod phase {
    pub(super) const WAITING: u8 = 0;
    pub(super) const RUNNING: u8 = 1;
    pub(super) const DONE: u8 = 2;
    /// No task waits for it any more.
    pub(super) const ABANDONED: u8 = 3;
}

/// How long an idle thread is kept.
const KEEP: Duration = Duration::from_secs(10);
/// Threads that abandoned jobs may block; beyond it blocking jobs fail.
const MOST_ABANDONED: usize = 512;

/// What a thread could not do for a job.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The job panicked, with this message.
    Panicked(String),
    NoThread(JobError),
}

/// A thread that is free for one job. Given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Reservation(BlockingPool);

impl BlockingPool {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a thread is free for a job, so that the job's time-out starts with the job. Waits only if the system refuses another
    /// thread while others run. Cancel safe.
    ///
    /// # Errors
    ///
    /// The system refuses the first thread, or abandoned jobs block too many.
    pub(crate) async fn reserve(&self) -> Result<Reservation, JobError> {
        loop {
            match self.try_reserve() {
                Ok(Some(reservation)) => return Ok(reservation),
                Ok(None) => self.0.released.notified().await,
                Err(error) => {
                    // The next one that waits must not wait for ever.
                    self.0.released.notify_one();
                    return Err(error);
                }
            }
        }
    }

    fn try_reserve(&self) -> Result<Option<Reservation>, JobError> {
        let mut state = self.state();
        if state.abandoned >= MOST_ABANDONED {
            return Err(no_thread(format!("{MOST_ABANDONED} are blocked by jobs that were given up")));
        }
        if state.reserved >= state.threads
            && let Err(error) = self.start_thread(&mut state)
        {
            return if state.threads > 0 { Ok(None) } else { Err(no_thread(error)) };
        }
        state.reserved += 1;
        Ok(Some(Reservation(self.clone())))
    }

    /// Starts the first thread, which is kept until the pool is closed: a worker with blocking jobs must be able to run one.
    ///
    /// # Errors
    ///
    /// The system refuses it.
    pub(crate) fn start(&self) -> crate::error::Result<()> {
        let started = self.start_thread(&mut self.state());
        started.map_err(|error| refused("cannot start a thread for blocking jobs", error))
    }

    #[expect(clippy::disallowed_methods, reason = "`work` contains every panic")]
    fn start_thread(&self, state: &mut State) -> std::io::Result<()> {
        let pool = self.clone();
        // Linux shows 15 bytes of it.
        let name = format!("ferrokiq-job-{}", state.started);
        std::thread::Builder::new().name(name).spawn(move || pool.work())?;
        state.started += 1;
        state.threads += 1;
        Ok(())
    }

    /// Runs a job on a thread, within this runtime. `jid` is for the log.
    ///
    /// # Cancel safety
    ///
    /// A job that has begun cannot be ended: its thread counts as abandoned until it is.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        jid: String,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let (answer, answered) = oneshot::channel();
        let (phase, runtime) = (Arc::new(AtomicU8::new(phase::WAITING)), Handle::current());
        let job = move || -> Answer {
            let _entered = runtime.enter();
            let outcome = contained(job);
            Box::new(move || discard("the outcome of a job", answer.send(outcome)))
        };
        let work = Work { phase: Arc::clone(&phase), job: Box::new(job) };
        let _waiting = Waiting { pool: self, phase, jid };
        self.submit(work).map_err(|error| Failure::NoThread(no_thread(error)))?;
        match answered.await {
            Ok(outcome) => outcome.map_err(Failure::Panicked),
            Err(_) => Err(Failure::NoThread(no_thread("it ended before the job began"))),
        }
    }

    fn submit(&self, work: Work) -> std::io::Result<()> {
        let mut state = self.state();
        // With a reservation there is one.
        if state.threads == 0 {
            self.start_thread(&mut state)?;
        }
        state.work.push_back(work);
        drop(state);
        self.0.arrivals.notify_one();
        Ok(())
    }

    /// What a thread does.
    fn work(&self) {
        let mut state = self.state();
        loop {
            if let Some(work) = state.work.pop_front() {
                drop(state);
                self.run_here(work);
                state = self.state();
                continue;
            }
            if state.closed {
                break;
            }
            let (woken, waited) = self.0.arrivals.wait_timeout(state, KEEP).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            if waited.timed_out() && state.work.is_empty() && state.threads > state.reserved.max(1) {
                break;
            }
        }
        state.threads -= 1;
    }

    fn run_here(&self, Work { phase, job }: Work) {
        {
            let state = self.state();
            if phase.load(Ordering::Relaxed) != phase::WAITING {
                drop(state);
                return discard("a job that was given up before it began", job);
            }
            phase.store(phase::RUNNING, Ordering::Relaxed);
        }
        let answer = contained(job);
        {
            let mut state = self.state();
            if phase.swap(phase::DONE, Ordering::Relaxed) == phase::ABANDONED {
                state.abandoned -= 1;
                state.threads += 1;
            }
        }
        if let Ok(answer) = answer {
            answer();
        }
    }

    /// Threads, and those of them that abandoned jobs block.
    pub(crate) fn threads(&self) -> (usize, usize) {
        let state = self.state();
        (state.threads + state.abandoned, state.abandoned)
    }

    /// Ends idle threads at once.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.0.arrivals.notify_all();
    }
}

fn no_thread(why: impl fmt::Display) -> JobError {
    JobError::new("ThreadError", format!("cannot start a thread for a blocking job: {why}"))
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.0.state().reserved -= 1;
        self.0.0.released.notify_one();
    }
}

/// A task that waits for a job on a thread.
struct Waiting<'a> {
    pool: &'a BlockingPool,
    phase: Arc<AtomicU8>,
    jid: String,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        let before = self.phase.load(Ordering::Relaxed);
        if before == phase::DONE {
            return;
        }
        self.phase.store(phase::ABANDONED, Ordering::Relaxed);
        if before == phase::RUNNING {
            state.threads -= 1;
            state.abandoned += 1;
            let (jid, abandoned) = (&self.jid, state.abandoned);
            drop(state);
            tracing::warn!(
                jid,
                abandoned,
                "a blocking job was given up and still runs: its thread is lost until it ends"
            );
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingPool").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    async fn run<T: Send + 'static>(
        pool: &BlockingPool,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let _reservation = pool.reserve().await.unwrap();
        pool.run("jid".to_owned(), job).await
    }

    fn until_threads(pool: &BlockingPool, expected: (usize, usize)) {
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while pool.threads() != expected {
            assert!(std::time::Instant::now() < deadline, "{:?}, not {expected:?}", pool.threads());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[tokio::test]
    async fn runs_jobs_on_threads_that_are_used_again() {
        let pool = BlockingPool::default();
        let mut names = Vec::new();
        for _ in 0..20 {
            names.push(run(&pool, || std::thread::current().name().map(str::to_owned)).await.unwrap());
        }
        assert!(names.iter().all(|name| name.as_deref() == Some("ferrokiq-job-0")), "{names:?}");
        let Err(Failure::Panicked(panic)) = run(&pool, || panic!("no")).await else { panic!("it should") };
        assert_eq!((panic.as_str(), pool.threads()), ("no", (1, 0)));
        run(&pool, || Handle::current().spawn(async {})).await.unwrap().await.unwrap();
        let (one, other) = tokio::join!(pool.reserve(), pool.reserve());
        assert_eq!(pool.threads(), (2, 0), "two jobs at the same time");
        drop((one, other));
        pool.close();
        until_threads(&pool, (0, 0));
    }

    #[tokio::test]
    async fn replaces_a_thread_whose_job_was_given_up() {
        let pool = BlockingPool::default();
        let (release, released) = mpsc::channel::<()>();
        let (begins, mut begun) = tokio::sync::mpsc::channel(1);
        let stuck = {
            let pool = pool.clone();
            tokio::spawn(async move {
                run(&pool, move || {
                    begins.blocking_send(()).unwrap();
                    let _ = released.recv();
                })
                .await
                .map(drop)
            })
        };
        begun.recv().await.unwrap();
        stuck.abort();
        assert!(stuck.await.unwrap_err().is_cancelled());
        assert_eq!(pool.threads(), (1, 1));
        assert_eq!(run(&pool, || 7).await.unwrap(), 7, "another thread takes its place");
        assert_eq!(pool.threads(), (2, 1));
        drop(release);
        until_threads(&pool, (2, 0));
    }

    #[tokio::test]
    async fn fails_jobs_once_too_many_threads_are_lost() {
        let pool = BlockingPool::default();
        pool.state().abandoned = MOST_ABANDONED;
        let error = pool.reserve().await.unwrap_err();
        assert!(error.to_string().starts_with("ThreadError: cannot start a thread"), "{error}");
    }
}

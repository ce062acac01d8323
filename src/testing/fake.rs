use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::runners::Runners;
use crate::boxed::BoxFuture;
use crate::client::{Client, Pushed, TestSink};
use crate::error::Result;
use crate::job::{BlockingJob, Job, JobError};
use crate::payload::Payload;
use crate::time::EpochSecs;

/// Keeps what is pushed in memory. Cheap to clone; clones share what was pushed.
///
/// Jobs run only when told to: those of one class by [`drain`](Self::drain) and [`perform_one`](Self::perform_one), those of all
/// [registered](Self::register) classes by [`drain_all`](Self::drain_all). As in Ruby, scheduled jobs are kept with the others and run
/// with them; [`drain_due`](Self::drain_due) runs what is due by a time and leaves the rest.
#[derive(Clone, Default)]
pub struct Fake(Arc<Kept>);

#[derive(Default)]
struct Kept {
    jobs: Mutex<Vec<Payload>>,
    runners: Mutex<Runners>,
    pushed: Pushed,
}

impl Fake {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets [`drain_all`](Self::drain_all) and [`drain_due`](Self::drain_due) run a job.
    #[must_use]
    pub fn register<J: Job>(self, job: J) -> Self {
        lock(&self.0.runners).add(job);
        self
    }

    /// The same for a blocking job, which runs on the thread that drains.
    #[must_use]
    pub fn register_blocking<J: BlockingJob>(self, job: J) -> Self {
        lock(&self.0.runners).add_blocking(job);
        self
    }

    /// A client whose jobs come here. What Sidekiq rejects is rejected.
    pub fn client(&self) -> Client {
        Client::over_test(Arc::clone(&self.0) as Arc<dyn TestSink>)
    }

    /// What was pushed and not yet run, in order; scheduled jobs have `at`. Ruby's `Sidekiq::Job.jobs`.
    pub fn jobs(&self) -> Vec<Payload> {
        lock(&self.0.jobs).clone()
    }

    /// Those of one class: `HardJob.jobs`, `Sidekiq::Queues.jobs_by_class`.
    pub fn jobs_of(&self, class: &str) -> Vec<Payload> {
        self.select(|payload| payload.class() == class)
    }

    /// Those of one queue: `Sidekiq::Queues["critical"]`.
    pub fn jobs_in(&self, queue: &str) -> Vec<Payload> {
        self.select(|payload| payload.queue() == queue)
    }

    /// Those that are to run at a time.
    pub fn scheduled(&self) -> Vec<Payload> {
        self.select(|payload| due(payload).is_some())
    }

    fn select(&self, which: impl Fn(&Payload) -> bool) -> Vec<Payload> {
        lock(&self.0.jobs).iter().filter(|payload| which(payload)).cloned().collect()
    }

    /// Forgets everything, what was pushed idempotently too: `Sidekiq::Job.clear_all`.
    pub fn clear(&self) {
        lock(&self.0.jobs).clear();
        self.0.pushed.clear();
    }

    /// Forgets the jobs of one class: `HardJob.clear`.
    pub fn clear_of(&self, class: &str) {
        lock(&self.0.jobs).retain(|payload| payload.class() != class);
    }

    /// Forgets the jobs of one queue.
    pub fn clear_in(&self, queue: &str) {
        lock(&self.0.jobs).retain(|payload| payload.queue() != queue);
    }

    /// Runs every job of one class, those it pushes of its own class too. Returns how many ran. `HardJob.drain`.
    ///
    /// # Errors
    ///
    /// The first failure; the jobs behind it are still there.
    pub async fn drain<J: Job>(&self, job: &J) -> std::result::Result<usize, JobError> {
        let mut ran = 0;
        while self.perform_one(job).await? {
            ran += 1;
        }
        Ok(ran)
    }

    /// Runs the first job of one class; whether there was one. `HardJob.perform_one`, which raises if there is none.
    ///
    /// # Errors
    ///
    /// What it failed with; it is gone all the same.
    pub async fn perform_one<J: Job>(&self, job: &J) -> std::result::Result<bool, JobError> {
        let Some(payload) = self.0.take(|payload| payload.class() == J::CLASS) else { return Ok(false) };
        super::perform(job, self.client(), payload).await?;
        Ok(true)
    }

    /// Runs every job, those that are pushed meanwhile too, by what was [registered](Self::register). Returns how many ran.
    /// `Sidekiq::Job.drain_all`.
    ///
    /// # Errors
    ///
    /// The first failure, `NameError` for a job of a class that is not registered; the jobs behind it are still there.
    pub async fn drain_all(&self) -> std::result::Result<usize, JobError> {
        self.run_all(|_| true).await
    }

    /// As [`drain_all`](Self::drain_all), but only what is due at a time: as if the clock stood there.
    ///
    /// # Errors
    ///
    /// As [`drain_all`](Self::drain_all).
    pub async fn drain_due(&self, at: impl Into<EpochSecs>) -> std::result::Result<usize, JobError> {
        let at = at.into();
        self.run_all(move |payload| due(payload).is_none_or(|due| due <= at.0)).await
    }

    async fn run_all(&self, which: impl Fn(&Payload) -> bool) -> std::result::Result<usize, JobError> {
        let mut ran = 0;
        while let Some(payload) = self.0.take(&which) {
            let Some(runner) = lock(&self.0.runners).of(payload.display_class()) else {
                let message =
                    format!("uninitialized constant {}: it is not registered with `testing::Fake`", payload.class());
                return Err(JobError::new("NameError", message));
            };
            runner(self.client(), payload).await?;
            ran += 1;
        }
        Ok(ran)
    }
}

/// When a job is to run, if not at once.
pub(super) fn due(payload: &Payload) -> Option<f64> {
    payload.decode("at")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kept {
    fn take(&self, which: impl Fn(&Payload) -> bool) -> Option<Payload> {
        let mut jobs = lock(&self.jobs);
        let at = jobs.iter().position(which)?;
        Some(jobs.remove(at))
    }
}

impl TestSink for Kept {
    fn pushed(&self) -> &Pushed {
        &self.pushed
    }

    fn accept<'a>(&'a self, _client: &'a Client, payload: Payload) -> BoxFuture<'a, Result<()>> {
        lock(&self.jobs).push(payload);
        Box::pin(async { Ok(()) })
    }
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fake").field("jobs", &lock(&self.0.jobs).len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::job::{Context, JobResult};

    /// Pushes itself again, one less, until there is nothing left.
    struct Countdown;

    impl Job for Countdown {
        const CLASS: &'static str = "CountdownJob";
        type Args = (u32,);

        async fn perform(&self, cx: Context, (left,): Self::Args) -> JobResult {
            match left {
                0 => Ok(()),
                13 => Err("bad luck".into()),
                _ => Self::perform_async(cx.client(), (left - 1,)).await.map(drop).map_err(JobError::from),
            }
        }
    }

    struct Block;

    impl BlockingJob for Block {
        const CLASS: &'static str = "BlockJob";
        type Args = ();

        fn options() -> crate::JobOptions {
            crate::JobOptions::new().queue("slow")
        }

        fn perform(&self, _cx: Context, (): ()) -> JobResult {
            Ok(())
        }
    }

    #[tokio::test]
    async fn runs_one_a_class_or_all() {
        let fake = Fake::new();
        let client = fake.client();
        Countdown::perform_async(&client, (3,)).await.unwrap();
        Block::perform_async(&client, ()).await.unwrap();
        assert!(fake.perform_one(&Countdown).await.unwrap());
        assert_eq!(fake.jobs_of("CountdownJob")[0].args(), "[2]");
        assert_eq!(fake.drain(&Countdown).await.unwrap(), 3);
        assert!(!fake.perform_one(&Countdown).await.unwrap());
        assert_eq!((fake.jobs().len(), fake.jobs_in("slow").len(), fake.jobs_in("default").len()), (1, 1, 0));

        let error = fake.drain_all().await.unwrap_err();
        assert!(error.class() == "NameError" && error.message().contains("BlockJob"), "{error}");
        Block::perform_async(&client, ()).await.unwrap();
        Countdown::perform_async(&client, (1,)).await.unwrap();
        let fake = fake.register(Countdown).register_blocking(Block);
        assert_eq!(fake.drain_all().await.unwrap(), 3);
    }

    #[tokio::test]
    async fn a_failure_leaves_the_jobs_behind_it() {
        let fake = Fake::new().register(Countdown);
        Countdown::perform_bulk(&fake.client(), [(0,), (13,), (0,)]).await.unwrap();
        assert_eq!(fake.drain_all().await.unwrap_err().message(), "bad luck");
        assert_eq!(fake.jobs().len(), 1);
    }

    #[tokio::test]
    async fn keeps_scheduled_jobs_until_they_are_due() {
        let fake = Fake::new().register(Countdown);
        let now = EpochSecs::now();
        Countdown::perform_in(&fake.client(), Duration::from_secs(60), (0,)).await.unwrap();
        Countdown::perform_async(&fake.client(), (0,)).await.unwrap();
        assert_eq!(fake.scheduled().len(), 1);
        assert_eq!(fake.drain_due(now).await.unwrap(), 1);
        assert_eq!(fake.drain_due(now + Duration::from_secs(120)).await.unwrap(), 1);
        assert!(fake.jobs().is_empty());
    }

    #[tokio::test]
    async fn forgets_by_class_and_queue() {
        let fake = Fake::new();
        for _ in 0..2 {
            Countdown::perform_async(&fake.client(), (0,)).await.unwrap();
            Block::perform_async(&fake.client(), ()).await.unwrap();
        }
        fake.clear_of("CountdownJob");
        assert_eq!(fake.jobs().len(), 2);
        fake.clear_in("slow");
        assert_eq!(fake.jobs().len(), 0);
    }

    #[tokio::test]
    async fn takes_an_idempotent_push_once() {
        let fake = Fake::new();
        let job = || Payload::parse(r#"{"class":"A","args":[],"jid":"once"}"#).unwrap();
        let client = fake.client().idempotent();
        for _ in 0..2 {
            assert_eq!(client.push(job()).await.unwrap().unwrap().as_str(), "once");
        }
        assert_eq!(fake.jobs().len(), 1);
        // A push that is not idempotent neither looks for the mark nor leaves one.
        fake.client().push(job()).await.unwrap();
        assert_eq!(fake.jobs().len(), 2);
        fake.clear();
        client.push(job()).await.unwrap();
        assert_eq!(fake.jobs().len(), 1);
    }
}

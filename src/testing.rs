//! Stand-ins for Redis in the tests of an app: Sidekiq's `Sidekiq::Testing.fake!` and `inline!`.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> ferrokiq::Result<()> {
//! use ferrokiq::{Context, Job, JobResult, testing::Fake};
//!
//! struct Greet;
//! impl Job for Greet {
//!     const CLASS: &'static str = "GreetJob";
//!     type Args = (String,);
//!     async fn perform(&self, _cx: Context, (name,): Self::Args) -> JobResult {
//!         if name.is_empty() { Err("nobody to greet".into()) } else { Ok(()) }
//!     }
//! }
//!
//! let fake = Fake::new();
//! Greet::perform_async(&fake.client(), ("amy".into(),)).await?;
//! assert_eq!(fake.jobs()[0].args(), r#"["amy"]"#);
//! assert!(fake.drain(&Greet).await.is_ok_and(|ran| ran == 1));
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
#[cfg(feature = "server")]
use std::time::Duration;

use crate::client::{Client, TestSink};
use crate::error::{Error, Result};
use crate::job::{Args, Context, Job, JobError, JobResult, Run, StopSignal};
use crate::payload::Payload;

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Keeps what is pushed in memory. Cheap to clone; clones share what was pushed.
#[derive(Clone, Default)]
pub struct Fake(Arc<Pushed>);

#[derive(Default)]
struct Pushed(Mutex<Vec<Payload>>);

impl Fake {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// A client whose jobs come here. What Sidekiq rejects is rejected.
    pub fn client(&self) -> Client {
        Client::over_test(Arc::clone(&self.0) as Arc<dyn TestSink>)
    }

    /// What was pushed and not yet drained, in order; scheduled jobs have `at`.
    pub fn jobs(&self) -> Vec<Payload> {
        self.0.all().clone()
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.0.all().clear();
    }

    /// Runs every job of one class, those it pushes of its own class too. Returns how many ran.
    ///
    /// # Errors
    ///
    /// The first failure; the jobs behind it are still there.
    pub async fn drain<J: Job>(&self, job: &J) -> std::result::Result<usize, JobError> {
        let mut ran = 0;
        while let Some(payload) = self.0.take(J::CLASS) {
            perform(job, self.client(), payload).await?;
            ran += 1;
        }
        Ok(ran)
    }
}

impl Pushed {
    fn all(&self) -> MutexGuard<'_, Vec<Payload>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, class: &str) -> Option<Payload> {
        let mut all = self.all();
        let at = all.iter().position(|payload| payload.class() == class)?;
        Some(all.remove(at))
    }
}

impl TestSink for Pushed {
    fn accept<'a>(&'a self, _client: &'a Client, payload: Payload) -> BoxFuture<'a, Result<()>> {
        self.all().push(payload);
        Box::pin(async { Ok(()) })
    }
}

type Runner = Box<dyn Fn(Client, Payload) -> BoxFuture<'static, JobResult> + Send + Sync>;

/// Runs jobs where they are pushed: a failure is an error of the push.
#[derive(Default)]
pub struct Inline(Vec<(&'static str, Runner)>);

impl Inline {
    /// One that knows no job.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets it run a job.
    #[must_use]
    pub fn register<J: Job>(mut self, job: J) -> Self {
        let job = Arc::new(job);
        let runner: Runner = Box::new(move |client, payload| {
            let job = Arc::clone(&job);
            Box::pin(async move { perform(&*job, client, payload).await })
        });
        self.0.push((J::CLASS, runner));
        self
    }

    /// A client whose jobs run at once, scheduled ones too. A job of an unknown class is an error.
    pub fn client(self) -> Client {
        Client::over_test(Arc::new(self))
    }
}

impl TestSink for Inline {
    fn accept<'a>(&'a self, client: &'a Client, payload: Payload) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let class = payload.class().to_owned();
            let Some((_, runner)) = self.0.iter().find(|(known, _)| *known == class) else {
                return Err(Error::config(format!("{class} is not registered with `testing::Inline`")));
            };
            let outcome = runner(client.clone(), payload).await;
            outcome.map_err(|error| Error::middleware(format!("{class} failed inline: {error}")))
        })
    }
}

/// Runs a job as a server would, middleware aside.
///
/// # Errors
///
/// What the job failed with; `ArgumentError` if the payload's arguments do not fit.
pub async fn perform<J: Job>(job: &J, client: Client, payload: Payload) -> JobResult {
    let args = J::Args::from_json(payload.args())?;
    let run = Run {
        queue: payload.queue().into(),
        client,
        stop: StopSignal::default(),
        deadline: None,
        max_iteration_runtime: None,
    };
    job.perform(Context::new(payload, run), args).await
}

/// What becomes of a job that failed.
#[cfg(feature = "server")]
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum AfterFailure {
    /// It is tried again: the bytes that wait in the retry set, and for how long.
    Retry(Payload, Duration),
    /// It goes to the dead set.
    Dead(Payload),
    /// It goes nowhere.
    Discarded(Payload),
}

/// What a server with default settings would do with a failed job: for tests of [`Job::retry_in`] and
/// [`Job::retries_exhausted`].
///
/// ```
/// # use ferrokiq::{Context, Job, JobError, JobResult, Payload, RetryIn};
/// use ferrokiq::testing::{AfterFailure, after_failure};
///
/// struct Fragile;
/// impl Job for Fragile {
///     const CLASS: &'static str = "FragileJob";
///     type Args = ();
/// #   async fn perform(&self, _: Context, _: ()) -> JobResult { Ok(()) }
///     fn retry_in(&self, _count: u32, _error: &JobError) -> RetryIn { RetryIn::Kill }
/// }
///
/// let payload = Payload::new("FragileJob", []);
/// assert!(matches!(after_failure(&Fragile, payload, &"broken".into()), AfterFailure::Dead(_)));
/// ```
#[cfg(feature = "server")]
pub fn after_failure<J: Job>(job: &J, payload: Payload, error: &JobError) -> AfterFailure {
    use crate::server::retry::{Bench, Verdict, judge};

    let queue = payload.queue().to_owned();
    let now = crate::time::EpochSecs::now();
    let bench = Bench { queue: &queue, max_retries: 25, now, stamps: crate::time::StampForm::default() };
    match judge(payload.clone(), error, Some(&HooksOf(job)), &bench, &mut rand::rng()) {
        Verdict::Retry { payload, at } => {
            AfterFailure::Retry(payload, Duration::try_from_secs_f64(at.0 - now.0).unwrap_or_default())
        }
        Verdict::Bury { payload } => AfterFailure::Dead(payload),
        Verdict::Discard { payload } => AfterFailure::Discarded(payload),
        Verdict::Choke { .. } => AfterFailure::Dead(payload),
    }
}

#[cfg(feature = "server")]
struct HooksOf<'a, J>(&'a J);

#[cfg(feature = "server")]
impl<J: Job> crate::server::retry::Hooks for HooksOf<'_, J> {
    fn default_retry(&self) -> crate::Retry {
        J::options().retry_option()
    }
    fn retry_in(&self, count: u32, error: &JobError) -> crate::RetryIn {
        self.0.retry_in(count, error)
    }
    fn retries_exhausted(&self, payload: &Payload, error: &JobError) -> crate::OnExhausted {
        self.0.retries_exhausted(payload, error)
    }
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fake").field(&self.0.all().len()).finish()
    }
}

impl fmt::Debug for Inline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(class, _)| class)).finish()
    }
}

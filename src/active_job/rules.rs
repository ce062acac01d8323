use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;

use super::data::JobData;
use crate::job::JobError;

/// What becomes of a job that fails, before Sidekiq hears of it: the `retry_on` and `discard_on` of its class.
///
/// Of several rules for an error the last one said applies, as in Rails. An error that none applies to is Sidekiq's: it retries the payload as any
/// other. Errors go by [class name](JobError::class); `StandardError` stands for all.
///
/// ```
/// use std::time::Duration;
/// use ferrokiq::active_job::{RetryOn, Rules};
///
/// let rules = Rules::new()
///     .retry_on(["Net::OpenTimeout", "Timeout::Error"], RetryOn::new().wait(Duration::from_secs(30)).attempts(10))
///     .retry_on(["Billing::Busy"], RetryOn::new().polynomially_longer().queue("slow"))
///     .discard_on(["ActiveJob::DeserializationError"]);
/// # drop(rules);
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "rules do nothing until `ActiveJob::rules` returns them"]
pub struct Rules(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    errors: Vec<String>,
    then: Then,
}

#[derive(Clone, Debug)]
enum Then {
    Retry(RetryOn),
    Discard,
}

impl Rules {
    /// None: every error is Sidekiq's.
    pub fn new() -> Self {
        Self::default()
    }

    /// Enqueues the job again after these errors. They are counted together, and apart from those of other rules.
    pub fn retry_on<E: Into<String>>(self, errors: impl IntoIterator<Item = E>, how: RetryOn) -> Self {
        self.with(errors, Then::Retry(how))
    }

    /// Counts the job as done after these errors.
    pub fn discard_on<E: Into<String>>(self, errors: impl IntoIterator<Item = E>) -> Self {
        self.with(errors, Then::Discard)
    }

    fn with<E: Into<String>>(mut self, errors: impl IntoIterator<Item = E>, then: Then) -> Self {
        self.0.push(Rule { errors: errors.into_iter().map(Into::into).collect(), then });
        self
    }

    /// What becomes of a job. Counts the error in its data.
    pub(super) fn decide(&self, data: &mut JobData, error: &JobError, rng: &mut impl RngExt) -> Decision {
        let applies = |rule: &&Rule| rule.errors.iter().any(|name| name == error.class() || name == "StandardError");
        let Some(rule) = self.0.iter().rev().find(applies) else { return Decision::Raise };
        let Then::Retry(how) = &rule.then else { return Decision::Discard };
        let name = format!("[{}]", rule.errors.join(", "));
        let executions = match data.exception_executions(&name) {
            Some(count) => {
                data.count_exception(&name, count.saturating_add(1));
                count.saturating_add(1)
            }
            None => data.executions,
        };
        if how.attempts.is_some_and(|attempts| executions >= attempts) {
            return match &how.exhausted {
                Some(handler) => Decision::Exhausted(Arc::clone(handler)),
                None => Decision::Raise,
            };
        }
        Decision::Retry { wait: how.delay(executions, rng), queue: how.queue.clone(), priority: how.priority }
    }
}

/// What a job's rules say to an error.
pub(super) enum Decision {
    /// The error is Sidekiq's.
    Raise,
    Discard,
    /// Its attempts are used up, and the rule has an answer of its own.
    Exhausted(Arc<Handler>),
    Retry {
        wait: Duration,
        queue: Option<String>,
        priority: Option<i64>,
    },
}

type Handler = dyn Fn(&JobError) + Send + Sync;

/// How a job is enqueued again: after 3 s and jitter, until it ran 5 times, in its queue; unless said.
#[derive(Clone)]
#[must_use = "it does nothing until it is given to `Rules::retry_on`"]
pub struct RetryOn {
    wait: Wait,
    attempts: Option<u64>,
    jitter: f64,
    queue: Option<String>,
    priority: Option<i64>,
    exhausted: Option<Arc<Handler>>,
}

#[derive(Clone)]
enum Wait {
    For(Duration),
    Longer,
    By(Arc<dyn Fn(u64) -> Duration + Send + Sync>),
}

/// The longest wait that still is a moment.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

impl Default for RetryOn {
    fn default() -> Self {
        Self::new()
    }
}

impl RetryOn {
    /// As Rails does it unless told otherwise.
    pub fn new() -> Self {
        Self {
            wait: Wait::For(Duration::from_secs(3)),
            attempts: Some(5),
            jitter: 0.15,
            queue: None,
            priority: None,
            exhausted: None,
        }
    }

    /// Wait so long.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = Wait::For(wait);
        self
    }

    /// Wait 3 s, 18 s, 83 s, ...: `executions ** 4 + 2` seconds and jitter.
    pub fn polynomially_longer(mut self) -> Self {
        self.wait = Wait::Longer;
        self
    }

    /// Wait as long as a function says, which gets how often these errors were met. Without jitter, as in Rails.
    pub fn wait_by(mut self, wait: impl Fn(u64) -> Duration + Send + Sync + 'static) -> Self {
        self.wait = Wait::By(Arc::new(wait));
        self
    }

    /// How often the job runs, the first time included; 5 unless said. After that the error is Sidekiq's.
    pub fn attempts(mut self, attempts: u64) -> Self {
        self.attempts = Some(attempts);
        self
    }

    /// Until it succeeds.
    pub fn unlimited(mut self) -> Self {
        self.attempts = None;
        self
    }

    /// Wait longer by up to this share, drawn by lot; 0.15 unless said, as in an app with the defaults of Rails 6.1 or later.
    pub fn jitter(mut self, share: f64) -> Self {
        self.jitter = share;
        self
    }

    /// The queue to go to.
    pub fn queue(mut self, name: &str) -> Self {
        self.queue = Some(name.to_owned());
        self
    }

    /// The priority it has then. Sidekiq does not look at it.
    pub fn priority(mut self, priority: i64) -> Self {
        self.priority = Some(priority);
        self
    }

    /// What to do once the attempts are used up; the job counts as done then, and Sidekiq hears nothing. The block of `retry_on`.
    pub fn exhausted(mut self, handler: impl Fn(&JobError) + Send + Sync + 'static) -> Self {
        self.exhausted = Some(Arc::new(handler));
        self
    }

    fn delay(&self, executions: u64, rng: &mut impl RngExt) -> Duration {
        let secs = match &self.wait {
            Wait::For(wait) => self.jittered(wait.as_secs_f64(), rng),
            Wait::Longer => self.jittered((executions as f64).powi(4), rng) + 2.0,
            Wait::By(wait) => return wait(executions).min(LONGEST),
        };
        Duration::try_from_secs_f64(secs).unwrap_or(LONGEST).min(LONGEST)
    }

    fn jittered(&self, secs: f64, rng: &mut impl RngExt) -> f64 {
        secs + rng.random_range(0.0..1.0) * secs * self.jitter
    }
}

impl fmt::Debug for RetryOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryOn").field("attempts", &self.attempts).field("queue", &self.queue).finish_non_exhaustive()
    }
}

//! Class names and the jobs behind them.

use std::collections::{HashMap, HashSet};
use std::fmt::{self, Write};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::boxed::BoxFuture;
use crate::contain::{contained, discard};
use crate::distance::distance;
use crate::error::{Error, Result};
#[cfg(feature = "contract")]
use crate::job::ArgsSchema;
use crate::job::{Args, BlockingJob, Context, Job, JobError, JobOptions, JobResult, OnExhausted, RetryIn};
use crate::payload::{Payload, Retry};
use crate::server::control::blocking::{BlockingPool, Failure};
use crate::server::run::middleware::Performs;
use crate::server::run::retry::RetryHooks;
use crate::server::stats::metrics::{ClassCounters, Metrics};

/// A job whose type is forgotten.
pub(crate) trait AnyJob: Performs + RetryHooks + Send + Sync {
    fn timeout(&self) -> Option<Duration>;

    /// Whether it needs a thread of the [`BlockingPool`].
    fn blocks(&self) -> bool;

    /// What jobs of this class are pushed with.
    #[cfg(feature = "contract")]
    fn options(&self) -> JobOptions;

    /// What its arguments are.
    #[cfg(feature = "contract")]
    fn args_schema(&self) -> ArgsSchema;

    /// Reads the arguments as [`perform`](Performs::perform) would, and does nothing else.
    #[cfg(feature = "contract")]
    fn check(&self, payload: &Payload) -> std::result::Result<(), JobError>;
}

/// A registered class.
pub(crate) struct Registered {
    pub(crate) job: Arc<dyn AnyJob>,
    /// Counters of payloads that go by the class's own name.
    pub(crate) metrics: Arc<ClassCounters>,
}

/// Jobs that come inside payloads of another class, as a job framework above Sidekiq wraps its own. The wrapper decides nothing: the class
/// inside is looked up.
#[derive(Clone, Copy, Debug)]
pub struct Wrapping {
    /// Classes of the payloads around them.
    pub wrappers: &'static [&'static str],
    /// The class inside a payload; `None` if it does not say.
    pub inner: fn(&Payload) -> Option<String>,
    /// What a job fails with whose class inside nobody registered.
    pub unknown: fn(&Payload) -> JobError,
}

type Classes = HashMap<Box<str>, Registered>;

/// Every class this process can run.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    plain: Classes,
    wrapped: Vec<(&'static Wrapping, Classes)>,
}

/// Classes on their way into a [`Registry`].
#[derive(Default)]
pub(crate) struct Registrations(Vec<(Option<&'static Wrapping>, String, Arc<dyn AnyJob>)>);

impl Registrations {
    pub(crate) fn add(&mut self, class: &str, job: Arc<dyn AnyJob>) {
        self.0.push((None, class.to_owned(), job));
    }

    /// A class that comes inside payloads of another.
    pub(crate) fn add_wrapped(&mut self, wrapping: &'static Wrapping, class: &str, job: Arc<dyn AnyJob>) {
        self.0.push((Some(wrapping), class.to_owned(), job));
    }

    pub(crate) fn build(self, metrics: &Metrics) -> Result<Registry> {
        let mut registry = Registry::default();
        for (wrapping, class, job) in self.0 {
            if class.is_empty() || class.chars().any(|c| c.is_control() || c == '|') {
                return Err(Error::config(format!("{class:?} is no class name")));
            }
            let metrics = metrics.register(&class);
            let classes = registry.classes(wrapping);
            if classes.insert(constant(&class).into(), Registered { job, metrics }).is_some() {
                return Err(Error::config(format!("class {class} is registered twice")));
            }
        }
        Ok(registry)
    }
}

impl Registry {
    fn classes(&mut self, wrapping: Option<&'static Wrapping>) -> &mut Classes {
        let Some(wrapping) = wrapping else { return &mut self.plain };
        let known = self.wrapped.iter().position(|(known, _)| known.wrappers == wrapping.wrappers);
        let at = known.unwrap_or_else(|| {
            self.wrapped.push((wrapping, Classes::new()));
            self.wrapped.len() - 1
        });
        &mut self.wrapped[at].1
    }

    /// Whether jobs of a class need a thread.
    pub(crate) fn any_blocks(&self) -> bool {
        let wrapped = self.wrapped.iter().flat_map(|(_, classes)| classes.values());
        self.plain.values().chain(wrapped).any(|registered| registered.job.blocks())
    }

    /// The job a payload is for: of its class, or of the class inside if that is a wrapper.
    ///
    /// # Errors
    ///
    /// [`Wrapping::inner`] panicked.
    pub(crate) fn of(&self, payload: &Payload) -> std::result::Result<Option<&Registered>, JobError> {
        match self.wrapping(payload) {
            None => Ok(self.plain.get(constant(payload.class()))),
            Some((wrapping, classes)) => {
                let class = contained(|| (wrapping.inner)(payload)).map_err(|panic| JobError::panicked(&panic))?;
                Ok(class.and_then(|class| classes.get(constant(&class))))
            }
        }
    }

    /// What a payload fails with that is for no job known here.
    pub(crate) fn unknown(&self, payload: &Payload) -> JobError {
        match self.wrapping(payload) {
            Some((wrapping, _)) => {
                contained(|| (wrapping.unknown)(payload)).unwrap_or_else(|panic| JobError::panicked(&panic))
            }
            None if payload.get("class").is_some_and(|class| class.starts_with('"')) => {
                JobError::new("NameError", format!("uninitialized constant {}", payload.display_class()))
            }
            None => JobError::new("TypeError", "the class of the job is no string"),
        }
    }

    /// Returns advice for an operator about a job of an unregistered class: the nearest registered name, and the registered names.
    /// `None` if the job failed for another reason.
    pub(crate) fn hint(&self, payload: &Payload, error: &JobError) -> Option<String> {
        if error.class() != "NameError" {
            return None;
        }
        let (wanted, classes) = match self.wrapping(payload) {
            Some((wrapping, classes)) => (contained(|| (wrapping.inner)(payload)).ok().flatten()?, classes),
            None => (payload.class().to_owned(), &self.plain),
        };
        let mut names: Vec<&str> = classes.keys().map(|class| &**class).collect();
        names.sort_unstable();
        if names.is_empty() {
            return Some("this worker registers no such class, and no other".to_owned());
        }
        let mut hint = "this worker registers no such class".to_owned();
        if let Some(meant) = nearest(constant(&wanted), &names) {
            let _ = write!(hint, "; did you mean {meant}?");
        }
        let listed = names.iter().take(LISTED).copied().collect::<Vec<_>>().join(", ");
        let _ = write!(hint, "{} registered: {listed}", if hint.ends_with('?') { "" } else { ";" });
        if names.len() > LISTED {
            let _ = write!(hint, " and {} more", names.len() - LISTED);
        }
        Some(hint)
    }

    /// Whether a payload is of one of these classes, which are written as [`constant`] writes them: by its own class, or the class inside.
    pub(crate) fn is_of(&self, payload: &Payload, classes: &HashSet<String>) -> bool {
        let known = |class: &str| classes.contains(constant(class));
        known(payload.class())
            || known(payload.display_class())
            || self.wrapping(payload).is_some_and(|(wrapping, _)| {
                contained(|| (wrapping.inner)(payload)).ok().flatten().is_some_and(|class| known(&class))
            })
    }

    fn wrapping(&self, payload: &Payload) -> Option<&(&'static Wrapping, Classes)> {
        let class = payload.class();
        self.wrapped.iter().find(|(wrapping, _)| wrapping.wrappers.contains(&constant(class)))
    }

    /// Every class that is pushed by its own name, in no order.
    #[cfg(feature = "contract")]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &dyn AnyJob)> {
        self.plain.iter().map(|(class, registered)| (&**class, &*registered.job))
    }

    pub(crate) fn len(&self) -> usize {
        self.plain.len() + self.wrapped.iter().map(|(_, classes)| classes.len()).sum::<usize>()
    }
}

impl Drop for Registry {
    /// Jobs are code of users: one that panics when it is dropped must not take the end of the server with it.
    fn drop(&mut self) {
        let wrapped = self.wrapped.drain(..).flat_map(|(_, classes)| classes);
        for (_, registered) in self.plain.drain().chain(wrapped) {
            discard("a job's class", registered);
        }
    }
}

/// Classes that a hint lists.
const LISTED: usize = 10;

/// Returns the name that differs from the wanted one by a few letters, or by its modules alone.
fn nearest<'a>(wanted: &str, names: &[&'a str]) -> Option<&'a str> {
    let last = |name: &str| name.rsplit("::").next().unwrap_or_default().to_lowercase();
    let plain = wanted.to_lowercase();
    let near = names.iter().filter_map(|name| {
        let letters = distance(&plain, &name.to_lowercase())?;
        let length = wanted.len().min(name.len());
        let is_near = letters <= if length < 6 { 1 } else { 2.max(length / 4) } || last(wanted) == last(name);
        is_near.then_some((letters, *name))
    });
    near.min().map(|(_, name)| name)
}

/// Ruby resolves `Foo`, `::Foo` and `Object::Foo` to the same constant.
pub(crate) fn constant(class: &str) -> &str {
    let mut class = class.strip_prefix("::").unwrap_or(class);
    while let Some(inner) = class.strip_prefix("Object::") {
        class = inner;
    }
    class
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registered").finish_non_exhaustive()
    }
}

impl fmt::Debug for Registrations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(_, class, _)| class)).finish()
    }
}

fn decode<A: Args>(payload: &Payload) -> std::result::Result<A, JobError> {
    A::from_json(payload.args()).map_err(JobError::from)
}

/// What a wrapper around a job asks the job itself.
macro_rules! by_value {
    ($wrapper:ident, $kind:ident, $blocks:literal) => {
        impl<J: $kind> RetryHooks for $wrapper<J> {
            fn default_retry(&self) -> Retry {
                J::options().retry_option()
            }
            fn retry_in(&self, count: u32, error: &JobError) -> RetryIn {
                self.job.retry_in(count, error)
            }
            fn retries_exhausted(&self, payload: &Payload, error: &JobError) -> OnExhausted {
                self.job.retries_exhausted(payload, error)
            }
        }

        impl<J: $kind> AnyJob for $wrapper<J> {
            fn timeout(&self) -> Option<Duration> {
                self.job.timeout()
            }

            fn blocks(&self) -> bool {
                $blocks
            }

            #[cfg(feature = "contract")]
            fn options(&self) -> JobOptions {
                J::options()
            }

            #[cfg(feature = "contract")]
            fn args_schema(&self) -> ArgsSchema {
                J::args_schema()
            }

            #[cfg(feature = "contract")]
            fn check(&self, payload: &Payload) -> std::result::Result<(), JobError> {
                J::check_args(payload)
            }
        }
    };
}

/// A [`Job`] by value.
pub(crate) struct Async<J> {
    pub(crate) job: J,
}

impl<J: Job> Performs for Async<J> {
    fn perform(self: Arc<Self>, cx: Context) -> BoxFuture<'static, JobResult> {
        Box::pin(async move {
            let args = decode(cx.payload())?;
            self.job.perform(cx, args).await
        })
    }
}

by_value!(Async, Job, false);

/// A [`BlockingJob`] by value. It runs on a thread of the server's pool, never on the reactor.
pub(crate) struct Blocking<J> {
    pub(crate) job: J,
    pub(crate) pool: BlockingPool,
}

impl<J: BlockingJob> Performs for Blocking<J> {
    fn perform(self: Arc<Self>, cx: Context) -> BoxFuture<'static, JobResult> {
        Box::pin(async move {
            let args = decode(cx.payload())?;
            let (pool, jid) = (self.pool.clone(), cx.jid().to_owned());
            match pool.run(jid, move || self.job.perform(cx, args)).await {
                Ok(outcome) => outcome,
                Err(Failure::Panicked(panic)) => Err(JobError::panicked(&panic)),
                Err(Failure::NoThread(error)) => Err(error),
            }
        })
    }
}

by_value!(Blocking, BlockingJob, true);

/// An async function.
pub(crate) struct Function<F, A> {
    function: F,
    options: JobOptions,
    args: PhantomData<fn() -> A>,
}

impl<F, A> Function<F, A> {
    pub(crate) fn new(function: F, options: JobOptions) -> Self {
        Self { function, options, args: PhantomData }
    }
}

impl<F, A, Fut> Performs for Function<F, A>
where
    F: Fn(Context, A) -> Fut + Send + Sync + 'static,
    A: Args,
    Fut: Future<Output = JobResult> + Send + 'static,
{
    fn perform(self: Arc<Self>, cx: Context) -> BoxFuture<'static, JobResult> {
        Box::pin(async move {
            let args = decode(cx.payload())?;
            (self.function)(cx, args).await
        })
    }
}

impl<F: Send + Sync, A> RetryHooks for Function<F, A> {
    fn default_retry(&self) -> Retry {
        self.options.retry_option()
    }
    fn retry_in(&self, _: u32, _: &JobError) -> RetryIn {
        RetryIn::Default
    }
    fn retries_exhausted(&self, _: &Payload, _: &JobError) -> OnExhausted {
        OnExhausted::Bury
    }
}

impl<F, A, Fut> AnyJob for Function<F, A>
where
    F: Fn(Context, A) -> Fut + Send + Sync + 'static,
    A: Args,
    Fut: Future<Output = JobResult> + Send + 'static,
{
    fn timeout(&self) -> Option<Duration> {
        None
    }

    fn blocks(&self) -> bool {
        false
    }

    #[cfg(feature = "contract")]
    fn options(&self) -> JobOptions {
        self.options.clone()
    }

    #[cfg(feature = "contract")]
    fn args_schema(&self) -> ArgsSchema {
        ArgsSchema::unknown()
    }

    #[cfg(feature = "contract")]
    fn check(&self, payload: &Payload) -> std::result::Result<(), JobError> {
        decode::<A>(payload).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(classes: &[String]) -> Registry {
        let mut registrations = Registrations::default();
        for class in classes {
            let job = Function::new(async |_: Context, (): ()| Ok(()), JobOptions::default());
            registrations.add(class, Arc::new(job));
        }
        registrations.build(&Metrics::default()).unwrap()
    }

    fn hint(classes: &[String], class: &str) -> Option<String> {
        let payload = Payload::new(class, []);
        let registry = registry(classes);
        registry.hint(&payload, &registry.unknown(&payload))
    }

    #[test]
    fn a_class_that_nobody_registered_has_a_hint_with_the_nearest_one() {
        let classes = ["HardJob", "Reports::Daily", "Zip"].map(str::to_owned);
        let listed = "registered: HardJob, Reports::Daily, Zip";
        for (class, meant) in [
            ("HardJbo", Some("HardJob")),
            ("hardjob", Some("HardJob")),
            ("::HardJobs", Some("HardJob")),
            ("Daily", Some("Reports::Daily")),
            ("Billing::HardJob", Some("HardJob")),
            ("Zap", Some("Zip")),
            ("Unlike", None),
            (&"x".repeat(1 << 20), None),
        ] {
            let expected = match meant {
                Some(meant) => format!("this worker registers no such class; did you mean {meant}? {listed}"),
                None => format!("this worker registers no such class; {listed}"),
            };
            let shown: String = class.chars().take(20).collect();
            assert_eq!(hint(&classes, class), Some(expected), "{shown}");
        }
        assert_eq!(hint(&[], "A").as_deref(), Some("this worker registers no such class, and no other"));
    }

    #[test]
    fn a_hint_lists_a_bounded_number_of_classes_and_belongs_to_unknown_classes_alone() {
        let classes: Vec<String> = (0..100).map(|n| format!("Job{n:03}")).collect();
        let hint_of_many = hint(&classes, "Other").unwrap();
        assert!(hint_of_many.ends_with("Job008, Job009 and 90 more"), "{hint_of_many}");
        let registry = registry(&classes);
        assert_eq!(registry.hint(&Payload::new("Other", []), &JobError::new("ArgumentError", "x")), None);
    }
}

use std::any::type_name;
use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::panic::Location;
use std::time::Duration;

use super::args::ArgsError;

type BoxError = Box<dyn StdError + Send + Sync>;

/// Why a job failed: what stands as `error_class`, `error_message` and `error_backtrace` in the retry and dead sets.
///
/// Made by `?` from any error: its type becomes the class, its message and those of its sources the message. A plain string
/// becomes `RuntimeError`, as `raise "..."` does in Ruby. [`new`](Self::new) names a class that must not drift.
///
/// ```
/// use ferrokiq::{JobError, JobResult};
///
/// fn charge(amount: &str) -> JobResult {
///     let amount: u32 = amount.parse()?;
///     if amount == 0 {
///         return Err("nothing to charge".into());
///     }
///     Err(JobError::new("Billing::Declined", format!("{amount} is too much")))
/// }
///
/// assert_eq!(charge("x").unwrap_err().class(), "core::num::error::ParseIntError");
/// assert_eq!(charge("0").unwrap_err().class(), "RuntimeError");
/// assert_eq!(charge("7").unwrap_err().class(), "Billing::Declined");
/// ```
///
/// A job that should not be retried returns one of four special errors. [`Outcome`](crate::Outcome) shows middleware which one it is.
///
/// | constructor | what becomes of the job |
/// |---|---|
/// | [`snooze`](Self::snooze) | waits in the schedule, unchanged; no failure |
/// | [`requeue`](Self::requeue) | goes to the end of its queue, now |
/// | [`kill`](Self::kill) | goes to the dead set, now |
/// | [`discard`](Self::discard) | is dropped |
///
/// ```
/// use std::time::Duration;
/// use ferrokiq::{JobError, JobResult};
///
/// fn deliver(status: u16) -> JobResult {
///     match status {
///         200 => Ok(()),
///         429 => Err(JobError::snooze(Duration::from_secs(30))),
///         410 => Err(JobError::discard("the subscriber is gone")),
///         400 => Err(JobError::kill("the request is malformed: a developer has to look at it")),
///         _ => Err("the server failed".into()), // retried
///     }
/// }
///
/// assert!(!deliver(429).unwrap_err().is_failure());
/// assert!(deliver(410).unwrap_err().is_failure());
/// ```
pub struct JobError(Box<Inner>);

struct Inner {
    class: Cow<'static, str>,
    message: String,
    backtrace: Vec<String>,
    source: Option<BoxError>,
    disposition: Disposition,
}

/// What becomes of a job that returned an error. An own mark, not the class: an error of the user's may have any class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// Its options and the hooks of its class decide.
    Fail,
    Kill,
    Discard,
    Snooze(Duration),
    Requeue,
}

/// What Sidekiq raises then.
#[cfg(feature = "server")]
const INTERRUPTED: &str = "Sidekiq::Job::Interrupted";

impl JobError {
    /// An error of a class of its own.
    #[track_caller]
    pub fn new(class: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            class: class.into(),
            message: message.into(),
            backtrace: vec![frame(Location::caller())],
            source: None,
            disposition: Disposition::Fail,
        }))
    }

    /// Runs the job again in `delay`, at the earliest. The job waits in the schedule. No retry is counted, no error is written, and its bytes stay
    /// the same: a job may snooze as often as it likes.
    ///
    /// The run counts as processed, not as failed. Error handlers and hooks are not called. The time is that of Redis; a zero delay means the
    /// next look of a poller at the schedule, and a century is the longest.
    #[track_caller]
    pub fn snooze(delay: Duration) -> Self {
        Self::new("Snooze", format!("snoozed for {delay:?}")).with_disposition(Disposition::Snooze(delay))
    }

    /// Runs the job again, behind the other jobs of its queue, at once. No retry is counted and no error is written; `enqueued_at` is the
    /// present time. A job that cannot run yet should [snooze](Self::snooze): in an empty queue this one comes back immediately.
    ///
    /// Counted as Sidekiq counts an interrupted job: as processed and as failed. Error handlers and hooks are not called.
    #[track_caller]
    pub fn requeue() -> Self {
        Self::new("Requeue", "goes back to its queue").with_disposition(Disposition::Requeue)
    }

    /// Fails for good: the job goes to the dead set with this error, whatever its retries are. As Ruby's `sidekiq_retry_in` that returns
    /// `:kill`: [`retries_exhausted`](crate::Job::retries_exhausted) is called, and a job with `dead: false` is dropped.
    #[track_caller]
    pub fn kill(error: impl Into<Self>) -> Self {
        error.into().with_disposition(Disposition::Kill)
    }

    /// Gives the job up: it goes nowhere. As Ruby's `sidekiq_retry_in` that returns `:discard`: the run counts as processed and as failed, and
    /// death hooks are called. A job that has nothing to do any more, and is no failure, returns `Ok(())`.
    #[track_caller]
    pub fn discard(error: impl Into<Self>) -> Self {
        error.into().with_disposition(Disposition::Discard)
    }

    /// Whether this is a failure; `false` for [`snooze`](Self::snooze) and [`requeue`](Self::requeue). Code that reports errors passes over those.
    pub fn is_failure(&self) -> bool {
        !matches!(self.0.disposition, Disposition::Snooze(_) | Disposition::Requeue)
    }

    pub(crate) fn disposition(&self) -> Disposition {
        self.0.disposition
    }

    pub(crate) fn with_disposition(mut self, disposition: Disposition) -> Self {
        self.0.disposition = disposition;
        self
    }

    /// An iterable job was interrupted between two items: neither a success nor a failure.
    #[cfg(feature = "server")]
    pub(crate) fn interruption() -> Self {
        Self::new(INTERRUPTED, "interrupted between two items").with_disposition(Disposition::Requeue)
    }

    /// A job panicked with this message.
    #[cfg(feature = "server")]
    pub(crate) fn panicked(message: &str) -> Self {
        Self::new("RuntimeError", format!("panicked: {message}"))
    }

    /// The same error under another class name. A snooze or a requeue becomes a failure by it, as an error that Ruby's middleware raises instead
    /// of `Sidekiq::Job::Interrupted` does.
    #[must_use]
    pub fn with_class(mut self, class: impl Into<Cow<'static, str>>) -> Self {
        if !self.is_failure() {
            self.0.disposition = Disposition::Fail;
        }
        self.0.class = class.into();
        self
    }

    /// The same error with these lines as its backtrace. Without, there is the place where it became a `JobError`.
    #[must_use]
    pub fn with_backtrace<L: Into<String>>(mut self, lines: impl IntoIterator<Item = L>) -> Self {
        self.0.backtrace = lines.into_iter().map(Into::into).collect();
        self
    }

    /// `error_class`.
    pub fn class(&self) -> &str {
        &self.0.class
    }

    /// `error_message`, before it is cut at 10,000 characters.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The lines of `error_backtrace`.
    pub fn backtrace(&self) -> &[String] {
        &self.0.backtrace
    }

    /// The error it was made from, if it was made from one.
    pub fn source(&self) -> Option<&(dyn StdError + Send + Sync + 'static)> {
        self.0.source.as_deref()
    }
}

impl<E: Into<BoxError>> From<E> for JobError {
    #[track_caller]
    fn from(error: E) -> Self {
        let source = error.into();
        let class = class_of::<E>(&source);
        let mut message = source.to_string();
        let mut backtrace = vec![frame(Location::caller())];
        let mut cause = source.source();
        while let Some(next) = cause {
            let text = next.to_string();
            backtrace.push(format!("caused by: {text}"));
            // Some errors repeat their source in their own message.
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            cause = next.source();
        }
        Self(Box::new(Inner { class, message, backtrace, source: Some(source), disposition: Disposition::Fail }))
    }
}

/// As Ruby writes a frame whose method is unknown.
fn frame(at: &Location<'_>) -> String {
    format!("{}:{}", at.file(), at.line())
}

fn class_of<E>(error: &BoxError) -> Cow<'static, str> {
    let name = type_name::<E>();
    if let Some(error) = error.downcast_ref::<ArgsError>() {
        error.class().into()
    } else if name == type_name::<&str>() || name == type_name::<String>() || name == type_name::<Cow<'_, str>>() {
        "RuntimeError".into()
    } else if name.starts_with("alloc::boxed::Box<dyn ") {
        "StandardError".into()
    } else {
        // Generic parameters would make a new class of every instantiation.
        name.split('<').next().unwrap_or(name).into()
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.class, self.0.message)
    }
}

impl fmt::Debug for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobError")
            .field("class", &self.0.class)
            .field("message", &self.0.message)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(std::io::Error);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("cannot send")
        }
    }

    impl StdError for Outer {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            Some(&self.0)
        }
    }

    #[cfg(feature = "server")]
    #[test]
    fn an_interruption_is_no_matter_of_the_class() {
        assert_eq!(JobError::interruption().disposition(), Disposition::Requeue);
        assert_eq!(JobError::new(INTERRUPTED, "mine").disposition(), Disposition::Fail);
        assert_eq!(JobError::interruption().with_class("Mine").disposition(), Disposition::Fail);
    }

    #[test]
    fn a_final_error_keeps_its_ending_and_the_place_it_was_made() {
        for (error, ending) in
            [(JobError::kill("x"), Disposition::Kill), (JobError::discard("x"), Disposition::Discard)]
        {
            assert!(error.backtrace()[0].contains("src/job/error.rs:"), "{:?}", error.backtrace());
            assert_eq!(error.message(), "x");
            assert_eq!(error.with_class("A").disposition(), ending);
        }
    }

    #[test]
    fn takes_any_error_with_its_causes_and_the_place() {
        let fail = || -> Result<(), JobError> { Err(Outer(std::io::Error::other("pipe broke")))? };
        let error = fail().unwrap_err();
        assert_eq!(error.class(), "ferrokiq::job::error::tests::Outer");
        assert_eq!(error.message(), "cannot send: pipe broke");
        assert!(error.backtrace()[0].contains("src/job/error.rs:"), "{:?}", error.backtrace());
        assert_eq!(error.backtrace()[1], "caused by: pipe broke");
    }

    #[test]
    fn names_strings_and_boxes_as_ruby_would() {
        assert_eq!(JobError::from("x").class(), "RuntimeError");
        assert_eq!(JobError::from(String::from("x")).class(), "RuntimeError");
        let boxed: BoxError = "x".into();
        assert_eq!(JobError::from(boxed).class(), "StandardError");
        assert_eq!(JobError::from("x").with_class("A::B").to_string(), "A::B: x");
    }
}

use std::any::type_name;
use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::panic::Location;

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
pub struct JobError(Box<Inner>);

struct Inner {
    class: Cow<'static, str>,
    message: String,
    backtrace: Vec<String>,
    source: Option<BoxError>,
    /// Whether this is an interruption by this library; an error of the user's with the same class is a failure like any other.
    is_interruption: bool,
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
            is_interruption: false,
        }))
    }

    /// An iterable job was interrupted between two items: neither a success nor a failure.
    #[cfg(feature = "server")]
    pub(crate) fn interruption() -> Self {
        let mut error = Self::new(INTERRUPTED, "interrupted between two items");
        error.0.is_interruption = true;
        error
    }

    /// A job panicked with this message.
    #[cfg(feature = "server")]
    pub(crate) fn panicked(message: &str) -> Self {
        Self::new("RuntimeError", format!("panicked: {message}"))
    }

    /// Whether this is the end of a run that is to go on later.
    #[cfg(feature = "server")]
    pub(crate) fn is_interruption(&self) -> bool {
        self.0.is_interruption
    }

    /// The same error under another class name. An interruption becomes a failure by it, as an error that Ruby's middleware raises instead does.
    #[must_use]
    pub fn with_class(mut self, class: impl Into<Cow<'static, str>>) -> Self {
        self.0.is_interruption = false;
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
        Self(Box::new(Inner { class, message, backtrace, source: Some(source), is_interruption: false }))
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
        assert!(JobError::interruption().is_interruption());
        assert!(!JobError::new(INTERRUPTED, "mine").is_interruption());
        assert!(!JobError::interruption().with_class("Mine").is_interruption());
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

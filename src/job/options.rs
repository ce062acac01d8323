use std::time::Duration;

use serde::Serialize;

use crate::payload::{Payload, Retry, to_json};

/// What a payload says besides class and arguments: Sidekiq's `sidekiq_options` and `set`.
///
/// Only what is set is written; the rest is Sidekiq's default (`retry: true`, `queue: "default"`).
///
/// ```
/// use ferrokiq::JobOptions;
///
/// let options = JobOptions::new().queue("critical").retry(5).backtrace(20).tags(["vip"]);
/// # drop(options);
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "options do nothing until they are used"]
pub struct JobOptions(Vec<(Box<str>, Box<str>)>);

impl JobOptions {
    /// Nothing set.
    pub fn new() -> Self {
        Self::default()
    }

    /// The queue, without prefix.
    pub fn queue(self, name: &str) -> Self {
        self.with("queue", name)
    }

    /// `true` (25 times), `false` (never, and not into the dead set), or how often.
    pub fn retry(self, retry: impl Into<Retry>) -> Self {
        self.with("retry", retry.into())
    }

    /// The queue retries go to.
    pub fn retry_queue(self, name: &str) -> Self {
        self.with("retry_queue", name)
    }

    /// Retry until so long after the first failure, instead of so often. Whole seconds.
    pub fn retry_for(self, span: Duration) -> Self {
        self.with("retry_for", span.as_secs())
    }

    /// Whether a job that used up its retries goes to the dead set; it does unless said.
    pub fn dead(self, dead: bool) -> Self {
        self.with("dead", dead)
    }

    /// Keep so many lines of the backtrace of a failure; none unless said.
    pub fn backtrace(self, lines: u32) -> Self {
        self.with("backtrace", lines)
    }

    /// Tags the Web UI shows and filters by.
    pub fn tags<T: Into<String>>(self, tags: impl IntoIterator<Item = T>) -> Self {
        let tags: Vec<String> = tags.into_iter().map(Into::into).collect();
        self.with("tags", tags)
    }

    /// Any other key, such as one that a Ruby middleware reads.
    ///
    /// # Panics
    ///
    /// If `value` cannot be written as JSON: NaN, an infinity, a map whose keys are no strings.
    pub fn with(mut self, key: &str, value: impl Serialize) -> Self {
        let value = to_json(&value).expect("an option's value can be written as JSON").into();
        self.put(key.into(), value);
        self
    }

    fn put(&mut self, key: Box<str>, value: Box<str>) {
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key, value)),
        }
    }

    /// These options, overruled by others.
    pub(crate) fn merge(mut self, others: Self) -> Self {
        for (key, value) in others.0 {
            self.put(key, value);
        }
        self
    }

    /// A payload that says this, in Sidekiq's order: `retry` and `queue` first.
    pub(crate) fn payload(&self) -> Payload {
        let mut payload = Payload::empty();
        payload.insert("retry", true);
        payload.insert("queue", "default");
        for (key, value) in &self.0 {
            payload.insert_raw(key, value.clone());
        }
        payload
    }

    /// What is set, in order: key and JSON.
    #[cfg(feature = "contract")]
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// What `retry` says here.
    #[cfg(feature = "server")]
    pub(crate) fn retry_option(&self) -> Retry {
        self.payload().retry()
    }
}

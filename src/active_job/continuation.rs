//! A job in steps that runs again from where it was interrupted: `ActiveJob::Continuable` of Rails 8.1.

use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::value::RawValue;

use super::argument::Argument;
use super::context::ActiveJobContext;
use super::convert::{FromArgument, IntoArgument};
use super::data::JobData;
use super::error::deserialization;
use crate::error::{Error, Result};
use crate::job::{ArgsError, JobError, JobResult};
use crate::payload::Payload;

/// Class of the error that ends a run at a checkpoint.
pub(super) const INTERRUPT: &str = "ActiveJob::Continuation::Interrupt";
const INVALID_STEP: &str = "ActiveJob::Continuation::InvalidStepError";
/// Class of the error of a job that was resumed too often.
pub(super) const RESUME_LIMIT: &str = "ActiveJob::Continuation::ResumeLimitError";

/// One step of a job: its cursor and its checkpoints. [`ActiveJobContext::step`] passes it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Step {
    cx: ActiveJobContext,
    name: Arc<str>,
    is_resumed: bool,
}

impl Step {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether an earlier run began it.
    pub fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    /// Returns the cursor that was [set](Self::set) last, in this run or in an earlier one. `None` before the first.
    ///
    /// # Errors
    ///
    /// `ArgumentError` for a cursor of another type.
    pub fn cursor<T: FromArgument>(&self) -> std::result::Result<Option<T>, ArgsError> {
        match self.cx.progress().lock().current.as_ref().map(|current| current.cursor.clone()) {
            None | Some(Argument::Nil) => Ok(None),
            Some(cursor) => T::from_argument(cursor).map(Some),
        }
    }

    /// Sets the cursor, a number or a string for example, and is a [checkpoint](Self::checkpoint): the `set!` of Rails. Rails 8.1 reads only
    /// cursors of JSON's own types.
    ///
    /// # Errors
    ///
    /// As [`checkpoint`](Self::checkpoint).
    pub fn set(&self, cursor: impl IntoArgument) -> JobResult {
        if let Some(current) = &mut self.cx.progress().lock().current {
            current.cursor = cursor.into_argument();
        }
        self.checkpoint()
    }

    /// A place where the job may be interrupted.
    ///
    /// # Errors
    ///
    /// `ActiveJob::Continuation::Interrupt` while the server stops. The job returns it, and runs again from here.
    pub fn checkpoint(&self) -> JobResult {
        self.cx.checkpoint()
    }
}

impl ActiveJobContext {
    /// Does a step of the job, unless an earlier run did it: the `step` of `ActiveJob::Continuable`.
    ///
    /// A job that is interrupted, or that fails after progress, is enqueued again after 5 s. It continues with the step that was interrupted, at
    /// the [cursor](Step::cursor) that was set last. Steps have names, which stay the same from version to version of the job, and their
    /// order. What a step did since its last checkpoint is done again. A job that uses steps may run in Rails and in Rust by turns.
    ///
    /// Between two steps is a checkpoint.
    ///
    /// ```
    /// use ferrokiq::JobResult;
    /// use ferrokiq::active_job::{ActiveJob, ActiveJobContext};
    ///
    /// struct ImportJob;
    ///
    /// impl ActiveJob for ImportJob {
    ///     const CLASS: &'static str = "ImportJob";
    ///     type Args = (i64,);
    ///
    ///     async fn perform(&self, cx: ActiveJobContext, (import,): Self::Args) -> JobResult {
    ///         cx.step("validate", |_| async { Ok(()) }).await?;
    ///         cx.step("records", |step| async move {
    ///             for record in step.cursor()?.unwrap_or(0)..1_000_i64 {
    ///                 println!("record {record} of import {import}");
    ///                 step.set(record + 1)?;
    ///             }
    ///             Ok(())
    ///         })
    ///         .await
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// What the step fails with, which the job returns. `ActiveJob::Continuation::Interrupt` while the server stops.
    /// `ActiveJob::Continuation::InvalidStepError` for a step inside another, one that was there before, and one that is out of order.
    /// `ActiveJob::DeserializationError` if `continuation` in the payload is malformed.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a step whose future is dropped stays begun, so that the next is an error.
    pub async fn step<F, Fut>(&self, name: &str, work: F) -> JobResult
    where
        F: FnOnce(Step) -> Fut + Send,
        Fut: Future<Output = JobResult> + Send,
    {
        self.progress().begin_using(self.data())?;
        if self.progress().is_advanced() {
            self.checkpoint()?;
        }
        let Some(is_resumed) = self.progress().lock().begin(name)? else { return Ok(()) };
        let outcome = work(Step { cx: self.clone(), name: name.into(), is_resumed }).await;
        self.progress().lock().end(outcome.is_ok());
        outcome
    }

    /// A place where the job may be interrupted, outside of any step.
    ///
    /// # Errors
    ///
    /// As [`Step::checkpoint`].
    pub fn checkpoint(&self) -> JobResult {
        if !self.is_stopping() {
            return Ok(());
        }
        let place = self.progress().lock().description();
        Err(JobError::new(INTERRUPT, format!("Interrupted {place} (stopping)")))
    }

    /// How often the job was resumed, this run included. 0 for a job without [steps](Self::step).
    pub fn resumptions(&self) -> u64 {
        resumptions(self.data())
    }
}

/// Whether an error is one of the steps themselves: it resumes nothing.
pub(super) fn is_of_steps(error: &JobError) -> bool {
    error.class().starts_with("ActiveJob::Continuation::")
}

/// As Rails counts it when a run begins.
fn resumptions(data: &JobData) -> u64 {
    let before: u64 = data.raw.decode("resumptions").unwrap_or(0);
    let is_started = State::read(data).is_ok_and(|state| state.current.is_some() || !state.completed.is_empty());
    before.saturating_add(u64::from(is_started))
}

/// The steps of one run.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Whether the job uses steps; what the payload has is not touched otherwise.
    is_used: bool,
    completed: Vec<String>,
    current: Option<Current>,
    /// The steps of this run so far.
    encountered: Vec<String>,
    is_running: bool,
    /// Whether this run completed a step.
    is_advanced: bool,
}

#[derive(Clone, Debug)]
struct Current {
    name: String,
    cursor: Argument,
    /// Where this run found it.
    initial: Argument,
}

impl Progress {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin_using(&self, data: &JobData) -> std::result::Result<(), ArgsError> {
        let mut state = self.lock();
        if !state.is_used {
            *state = State { is_used: true, ..State::read(data)? };
        }
        Ok(())
    }

    /// Whether this run made progress: then an error resumes the job.
    pub(super) fn is_advanced(&self) -> bool {
        let state = self.lock();
        state.is_advanced || state.current.as_ref().is_some_and(|current| current.cursor != current.initial)
    }

    /// Writes the completed steps and the cursor into the job's data, as Rails does, if the job uses steps.
    pub(super) fn write(&self, data: &mut JobData) -> Result<()> {
        let state = self.lock();
        if state.is_used {
            let resumptions = resumptions(data);
            data.raw.insert_raw("continuation", state.to_json()?);
            data.raw.insert("resumptions", resumptions);
        }
        Ok(())
    }
}

impl State {
    fn read(data: &JobData) -> std::result::Result<Self, ArgsError> {
        let strange = || deserialization("continuation of the job's data is no such thing");
        let Some(raw) = data.raw.get("continuation").filter(|raw| *raw != "null") else { return Ok(Self::default()) };
        let raw = Payload::parse(raw).map_err(|_| strange())?;
        let completed = match raw.get("completed") {
            None => Vec::new(),
            Some(_) => raw.decode("completed").ok_or_else(strange)?,
        };
        let current = match raw.get("current") {
            None => None,
            Some(current) => {
                let (name, cursor): (String, Box<RawValue>) = serde_json::from_str(current).map_err(|_| strange())?;
                let cursor = Argument::parse(cursor.get())?;
                Some(Current { name, initial: cursor.clone(), cursor })
            }
        };
        Ok(Self { completed, current, ..Self::default() })
    }

    /// Whether the step resumes an earlier run; `None` for one that is done.
    fn begin(&mut self, name: &str) -> std::result::Result<Option<bool>, JobError> {
        let invalid = |why: String| Err(JobError::new(INVALID_STEP, format!("Step '{name}' {why}")));
        let is_completed = self.completed.iter().any(|done| done == name);
        if self.encountered.iter().any(|known| known == name) {
            return invalid("has already been encountered".to_owned());
        }
        match &self.current {
            Some(current) if self.is_running => return invalid(format!("is nested inside step '{}'", current.name)),
            Some(current) if current.name != name && !is_completed => {
                return invalid(format!("found, expected to resume from '{}'", current.name));
            }
            _ => {}
        }
        if let Some(expected) = self.completed.get(self.encountered.len()).filter(|expected| *expected != name) {
            return invalid(format!("found, expected to see '{expected}'"));
        }
        self.encountered.push(name.to_owned());
        if is_completed {
            return Ok(None);
        }
        let is_resumed = self.current.is_some();
        let new = || Current { name: name.to_owned(), cursor: Argument::Nil, initial: Argument::Nil };
        self.current.get_or_insert_with(new);
        self.is_running = true;
        Ok(Some(is_resumed))
    }

    fn end(&mut self, is_done: bool) {
        self.is_running = false;
        if is_done && let Some(current) = self.current.take() {
            self.completed.push(current.name);
            self.is_advanced = true;
        }
    }

    /// Returns the text that Rails has for it.
    fn description(&self) -> String {
        match (&self.current, self.completed.last()) {
            (Some(Current { name, cursor, .. }), _) => format!("at '{name}', cursor '{}'", inspect(cursor)),
            (None, Some(last)) => format!("after '{last}'"),
            (None, None) => "not started".to_owned(),
        }
    }

    fn to_json(&self) -> Result<String> {
        #[derive(Serialize)]
        struct Written<'a> {
            completed: &'a [String],
            #[serde(skip_serializing_if = "Option::is_none")]
            current: Option<(&'a str, Box<RawValue>)>,
        }
        let current = match &self.current {
            None => None,
            Some(Current { name, cursor, .. }) => {
                let cursor = RawValue::from_string(cursor.write()?);
                Some((&**name, cursor.map_err(|error| Error::args("a cursor is no JSON").because(error))?))
            }
        };
        crate::payload::to_json(&Written { completed: &self.completed, current })
    }
}

/// As `inspect` of Ruby shows a cursor.
fn inspect(cursor: &Argument) -> String {
    match cursor {
        Argument::Nil => "nil".to_owned(),
        Argument::Bool(value) => value.to_string(),
        Argument::Number(number) => number.to_string(),
        Argument::Symbol(symbol) => format!(":{symbol}"),
        Argument::Array(items) => format!("[{}]", items.iter().map(inspect).collect::<Vec<_>>().join(", ")),
        Argument::String(text) => {
            let mut out = String::from("\"");
            let mut chars = text.chars().peekable();
            while let Some(char) = chars.next() {
                match char {
                    '"' | '\\' => out.extend(['\\', char]),
                    '#' if chars.peek().is_some_and(|next| matches!(next, '{' | '$' | '@')) => out.push_str("\\#"),
                    '\n' => out.push_str("\\n"),
                    '\r' => out.push_str("\\r"),
                    '\t' => out.push_str("\\t"),
                    '\u{1b}' => out.push_str("\\e"),
                    char if char.is_control() => _ = write!(out, "\\u{:04X}", u32::from(char)),
                    char => out.push(char),
                }
            }
            out.push('"');
            out
        }
        other => other.kind().to_owned(),
    }
}

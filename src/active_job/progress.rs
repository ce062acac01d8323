//! How far a job in steps has come: its completed steps and the cursor of the current one.

use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::value::RawValue;

use super::argument::Argument;
use super::data::JobData;
use super::error::deserialization;
use crate::error::{Error, Result};
use crate::job::{ArgsError, JobError};
use crate::payload::Payload;

const INVALID_STEP: &str = "ActiveJob::Continuation::InvalidStepError";

/// As Rails counts it when a run begins.
pub(super) fn resumptions(data: &JobData) -> u64 {
    let before: u64 = data.raw.decode("resumptions").unwrap_or(0);
    let is_started = State::read(data).is_ok_and(|state| state.current.is_some() || !state.completed.is_empty());
    before.saturating_add(u64::from(is_started))
}

/// The steps of one run.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<State>);

#[derive(Debug, Default)]
pub(super) struct State {
    /// Whether the job uses steps; what the payload has is not touched otherwise.
    is_used: bool,
    completed: Vec<String>,
    pub(super) current: Option<Current>,
    /// The steps of this run so far.
    encountered: Vec<String>,
    is_running: bool,
    /// Whether this run completed a step.
    is_advanced: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Current {
    name: String,
    pub(super) cursor: Argument,
    /// Where this run found it.
    initial: Argument,
}

impl Progress {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin_using(&self, data: &JobData) -> std::result::Result<(), ArgsError> {
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
    pub(super) fn read(data: &JobData) -> std::result::Result<Self, ArgsError> {
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
    pub(super) fn begin(&mut self, name: &str) -> std::result::Result<Option<bool>, JobError> {
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

    pub(super) fn end(&mut self, is_done: bool) {
        self.is_running = false;
        if is_done && let Some(current) = self.current.take() {
            self.completed.push(current.name);
            self.is_advanced = true;
        }
    }

    /// Returns the text that Rails has for it.
    pub(super) fn description(&self) -> String {
        match (&self.current, self.completed.last()) {
            (Some(Current { name, cursor, .. }), _) => format!("at '{name}', cursor '{}'", inspect(cursor)),
            (None, Some(last)) => format!("after '{last}'"),
            (None, None) => "not started".to_owned(),
        }
    }

    pub(super) fn to_json(&self) -> Result<String> {
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
pub(super) fn inspect(cursor: &Argument) -> String {
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

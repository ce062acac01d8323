use ferrokiq::api::Moved;
use serde_json::json;

use crate::frame::{Code, Done, Failure, Tool};

/// How far an operation on many entries has come.
pub(super) struct Tally {
    /// A participle: `retried`.
    what: &'static str,
    done: usize,
    gone: usize,
    stuck: usize,
}

impl Tally {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, done: 0, gone: 0, stuck: 0 }
    }

    pub(super) fn add(&mut self, moved: Moved) {
        self.done += moved.done;
        self.gone += moved.gone;
        self.stuck += moved.stuck;
    }

    /// Counts what is done.
    pub(super) fn done(&mut self, entries: usize) {
        self.done += entries;
    }

    /// Counts what cannot be.
    pub(super) fn stuck(&mut self, entries: usize) {
        self.stuck += entries;
    }

    /// Why it stopped, and how far it had come.
    pub(super) fn stopped(&self, why: Failure) -> Failure {
        let rest = if why.is_ambiguous() { "of the next hundred nobody knows" } else { "the rest is as it was" };
        Failure::Told(why.code(), format!("{}; {} were {}, {rest}", why.line(), self.done, self.what))
    }

    /// Stopped by Ctrl-C.
    pub(super) fn interrupted(&self) -> Failure {
        self.stopped(Failure::Told(Code::Interrupted, "interrupted".to_owned()))
    }

    /// Prints how many, and how many are left because they came `later`; fails if something could not be done, or was not `all` there.
    pub(super) fn end(self, tool: &mut Tool, later: usize, all: Result<(), Failure>) -> Done {
        let Self { what, done, gone, stuck } = self;
        if tool.screen.is_json() {
            let mut line = json!({what: done, "gone": gone, "stuck": stuck});
            if later > 0 {
                line["later"] = later.into();
            }
            tool.screen.json(&line)?;
        } else {
            let gone = if gone > 0 { format!(", {gone} were gone already") } else { String::new() };
            let later = if later > 0 { format!(", {later} that came later stay") } else { String::new() };
            tool.screen.line(&format!("{done} {what}{gone}{later}"))?;
        }
        all?;
        if stuck > 0 {
            let why = "are no job payloads, or their queue's key is no list; they stay";
            return Err(Failure::failed(format!("{stuck} {why}")));
        }
        Ok(Code::Fine)
    }
}

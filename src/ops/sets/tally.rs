use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use ferrokiq::api::{Moved, SortedEntry};
use ferrokiq::time::EpochSecs;
use serde_json::json;

use super::filter::since;
use crate::ops::frame::{Code, Done, Failure, Tool};

/// How far an operation on many entries has come.
pub(super) struct Tally {
    /// A participle: `retried`.
    what: &'static str,
    done: usize,
    gone: usize,
    stuck: usize,
    started: EpochSecs,
    hasher: RandomState,
    /// Hashes of the jids that were moved: eight bytes each.
    jids: HashSet<u64>,
}

/// Seconds the clocks of workers may differ from this one.
const SKEW: f64 = 60.0;

impl Tally {
    pub(super) fn new(what: &'static str) -> Self {
        let (hasher, jids) = (RandomState::new(), HashSet::new());
        Self { what, done: 0, gone: 0, stuck: 0, started: EpochSecs::now(), hasher, jids }
    }

    /// Leaves out what was run by this very operation, failed and came back: it is not to run a second time.
    pub(super) fn fresh(&mut self, mut page: Vec<SortedEntry>) -> Vec<SortedEntry> {
        page.retain(|entry| {
            let was_run = !self.jids.insert(self.hasher.hash_one(entry.record.jid()));
            // A copy of a job, or one that an earlier page showed already, is older.
            !was_run || since(entry, false).0 < self.started.0 - SKEW
        });
        page
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

    /// Says how many; fails if something could not be done, or was not `all` there.
    pub(super) fn end(self, tool: &mut Tool, all: Result<(), Failure>) -> Done {
        let Self { what, done, gone, stuck, .. } = self;
        if tool.screen.is_json() {
            tool.screen.json(&json!({what: done, "gone": gone, "stuck": stuck}))?;
        } else {
            let gone = if gone > 0 { format!(", {gone} were gone already") } else { String::new() };
            tool.screen.line(&format!("{done} {what}{gone}"))?;
        }
        all?;
        if stuck > 0 {
            let why = "are no job payloads, or their queue's key is no list; they stay";
            return Err(Failure::failed(format!("{stuck} {why}")));
        }
        Ok(Code::Fine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_no_job_twice_that_failed_again_but_every_copy() {
        let mut tally = Tally::new("retried");
        let entry = |jid: &str, failed: f64| {
            SortedEntry::new(
                format!(r#"{{"class":"A","jid":"{jid}","failed_at":{failed:.1}}}"#).into_bytes(),
                EpochSecs(1.0),
            )
        };
        let now = EpochSecs::now().0;
        let page = |tally: &mut Tally, entries: &[(&str, f64)]| {
            tally.fresh(entries.iter().map(|(jid, failed)| entry(jid, *failed)).collect()).len()
        };
        assert_eq!(page(&mut tally, &[("a", now - 900.0), ("b", now - 900.0), ("a", now - 950.0)]), 3);
        assert_eq!(page(&mut tally, &[("a", now + 1.0), ("c", now + 1.0)]), 1);
    }
}

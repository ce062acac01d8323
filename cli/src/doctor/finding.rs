//! What a check found, how bad it is, and what would mend it.

use ferrokiq::api::Unindexed;
use serde_json::{Value, json};

/// Every check, and what it looks for.
pub(super) const CHECKS: [(&str, &str); 44] = [
    ("cluster", "Redis runs in cluster mode; nothing else is checked then"),
    ("commands", "Redis hides commands that a worker needs"),
    ("unchecked", "INFO is refused, or does not report the eviction policy"),
    ("version", "Redis or Valkey older than 7.0"),
    ("eviction", "maxmemory-policy other than noeviction"),
    ("persistence", "no snapshots and no append-only file, or the last one failed"),
    ("replica", "the URL leads to a replica"),
    ("loading", "Redis still reads its data"),
    ("memory", "80 % of maxmemory in use, 95 % for an error"),
    ("clock", "the clock of Redis is off by more than 1 s, 10 s for an error"),
    ("latency", "a round trip takes more than 10 ms"),
    ("key-type", "a key of Sidekiq's holds something else"),
    ("ghost-process", "a process is listed and has no heartbeat (--fix)"),
    ("bad-process", "what is listed does not describe itself as a process"),
    ("silent-process", "the last beat is older than 60 s"),
    ("mixed-sidekiqs", "Sidekiq 8 beside older ones, which misread its times"),
    ("no-process", "jobs wait, and no process is alive"),
    ("unserved-queue", "jobs wait in a queue that no process serves"),
    ("paused-queue", "jobs have waited in a paused queue for more than an hour"),
    (
        "unnamed-queue",
        "a list of jobs that is not in the list of queues (--fix, unless it is named after a queue: NAME:working)",
    ),
    ("ghost-work", "running jobs of a process that is not alive"),
    ("orphaned-jobs", "jobs of a dead ferrokiq worker that nobody puts back (--fix, with a worker's rights)"),
    (
        "foreign-list",
        "running jobs in lists of other fetchers (GitLab's, go-workers, exq), with their owner where it is known to live or to be dead",
    ),
    ("unknown-class", "jobs are retried since no process that ran them has their class (NameError)"),
    ("overdue", "a job is due for 2 minutes: nobody polls"),
    ("score", "a time in milliseconds, before 2001, or ten years ahead"),
    ("dead-set", "more than 10,000 dead jobs"),
    ("not-a-job", "bytes that are no JSON object"),
    ("no-class", "a job without class"),
    ("no-jid", "a job without jid"),
    ("no-queue", "a job without queue"),
    ("no-args", "args missing or null (--fix: [])"),
    ("bad-args", "args that are no array"),
    ("no-retry", "a job without retry"),
    ("bad-retry-count", "a retry_count that is no number"),
    ("no-failure", "a job in the retry set without failed_at"),
    ("float-millis", "times in milliseconds with a point (--fix: seconds)"),
    ("whole-seconds", "times in seconds without a point (--fix: the point)"),
    ("text-times", "times that are no numbers"),
    ("gem-job", "jobs that hold something of a Ruby gem; an error where only Rust serves their queue, else a note"),
    ("gem-keys", "keys of Ruby gems, and what goes blind or waits where Rust runs their jobs; a note"),
    ("limit-fetch", "queues that Rust serves and that block others by sidekiq-limit_fetch, which Rust does not heed"),
    ("dynamic-queues", "sidekiq-limit_fetch with dynamic: true fetches from queues that only Rust is to serve"),
    ("huge-job", "a job of more than 256 KiB"),
];

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    /// Jobs are lost, stuck or misread, or will be.
    Error,
    /// Nothing is broken yet, or only what people see.
    Warning,
    /// Nothing is wrong: something to know before a class moves to Rust. Does not change the exit code.
    Note,
}

impl Severity {
    fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// A place that holds jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Queue(String),
    Schedule,
    Retry,
    Dead,
}

impl Place {
    /// Its key.
    pub(super) fn key(&self) -> String {
        match self {
            Self::Queue(name) => format!("queue:{name}"),
            Self::Schedule => "schedule".to_owned(),
            Self::Retry => "retry".to_owned(),
            Self::Dead => "dead".to_owned(),
        }
    }
}

/// A repair that destroys nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fix {
    /// Take processes without a heartbeat off the list.
    ForgetGhosts(Vec<String>),
    /// Add queues to the list of queues.
    Announce(Vec<String>),
    /// Put the jobs of dead workers back to their queues, those in lists that are on no index, too.
    PutBack { workers: Vec<String>, unindexed: Vec<Unindexed> },
    /// Write the times and arguments of damaged jobs as Sidekiq writes them.
    Rewrite(Place),
}

impl Fix {
    /// What it would do.
    pub(super) fn plan(&self) -> String {
        match self {
            Self::ForgetGhosts(ghosts) => format!("take {} off the list of processes", some_of(ghosts)),
            Self::Announce(queues) => format!("add {} to the list of queues", some_of(queues)),
            Self::PutBack { workers, .. } => format!("put the jobs of {} back to their queues", some_of(workers)),
            Self::Rewrite(place) => {
                format!("write times in {} as seconds with a point, and arguments that are missing as []", place.key())
            }
        }
    }
}

/// One fault.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Finding {
    /// The name of the check; scripts go by it.
    pub(super) check: &'static str,
    pub(super) severity: Severity,
    /// What is wrong.
    pub(super) what: String,
    /// What to do.
    pub(super) advice: String,
    /// How often, for what can be counted.
    pub(super) count: usize,
    pub(super) fix: Option<Fix>,
}

impl Finding {
    pub(super) fn error(check: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        debug_assert!(CHECKS.iter().any(|(name, _)| *name == check), "{check} is not told in the help");
        Self { check, severity: Severity::Error, what: what.into(), advice: advice.into(), count: 1, fix: None }
    }

    pub(super) fn warning(check: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(check, what, advice) }
    }

    pub(super) fn note(check: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { severity: Severity::Note, ..Self::error(check, what, advice) }
    }

    pub(super) fn times(self, count: usize) -> Self {
        Self { count, ..self }
    }

    pub(super) fn fixed_by(self, fix: Fix) -> Self {
        Self { fix: Some(fix), ..self }
    }

    /// One line for people.
    pub(super) fn line(&self) -> String {
        let fix = if self.fix.is_some() { " (--fix does)" } else { "" };
        format!("{:<8} {}: {}; {}{fix}", self.severity.name(), self.check, self.what, self.advice)
    }

    /// One line for scripts.
    pub(super) fn json(&self) -> Value {
        json!({
            "check": self.check, "severity": self.severity.name(), "what": self.what, "advice": self.advice,
            "count": self.count, "fixable": self.fix.is_some(),
        })
    }
}

/// The first of some names, and how many more there are.
pub(super) fn some_of(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// `1 job`, `2 jobs`.
pub(super) fn many(count: usize, what: &str) -> String {
    let plural = match (count, what.ends_with('s')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{count} {what}{plural}")
}

//! What is shown, asked for and done: tabs, rows, questions to Redis and their answers.

use std::time::Instant;

use ferrokiq::api::{Metrics, Process, QueueSummary, ServerInfo, SortedEntry, Stats, Work};

/// Rows of a page of jobs.
pub(super) const PAGE: usize = 25;

/// In the order of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tab {
    Home,
    Busy,
    Queues,
    Scheduled,
    Retries,
    Dead,
    Metrics,
}

impl Tab {
    pub(super) const ALL: [Self; 7] =
        [Self::Home, Self::Busy, Self::Queues, Self::Scheduled, Self::Retries, Self::Dead, Self::Metrics];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Home => "Home",
            Self::Busy => "Busy",
            Self::Queues => "Queues",
            Self::Scheduled => "Scheduled",
            Self::Retries => "Retries",
            Self::Dead => "Dead",
            Self::Metrics => "Metrics",
        }
    }

    pub(super) fn has_rows(self) -> bool {
        !matches!(self, Self::Home | Self::Metrics)
    }

    pub(super) fn is_paged(self) -> bool {
        matches!(self, Self::Scheduled | Self::Retries | Self::Dead)
    }

    pub(super) fn is_filtered(self) -> bool {
        self.is_paged() || self == Self::Metrics
    }

    pub(super) fn at(index: usize) -> Self {
        Self::ALL[index % Self::ALL.len()]
    }
}

/// What is done to rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Quiet,
    Terminate,
    /// Or unpause.
    Pause,
    Clear,
    Retry,
    Enqueue,
    Kill,
    Delete,
}

impl Verb {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Quiet => "Quiet",
            Self::Terminate => "Terminate",
            Self::Pause => "Pause/Unpause",
            Self::Clear => "Delete",
            Self::Retry => "Retry",
            Self::Enqueue => "Enqueue",
            Self::Kill => "Kill",
            Self::Delete => "Delete",
        }
    }

    /// Whether to ask first.
    pub(super) fn is_grave(self) -> bool {
        !matches!(self, Self::Pause | Self::Retry | Self::Enqueue)
    }

    /// Those of a tab, by key.
    pub(super) fn of(tab: Tab) -> &'static [(char, Self)] {
        match tab {
            Tab::Home | Tab::Metrics => &[],
            Tab::Busy => &[('T', Self::Terminate), ('Q', Self::Quiet)],
            Tab::Queues => &[('D', Self::Clear), ('p', Self::Pause)],
            Tab::Scheduled | Tab::Retries => {
                &[('D', Self::Delete), ('R', Self::Retry), ('E', Self::Enqueue), ('K', Self::Kill)]
            }
            Tab::Dead => &[('D', Self::Delete), ('R', Self::Retry), ('E', Self::Enqueue)],
        }
    }
}

/// A row that something can be done to.
#[derive(Clone, Debug)]
pub(super) enum Row {
    Process(Process),
    Queue(QueueSummary),
    Job(SortedEntry),
}

impl Row {
    /// By which it is known again.
    pub(super) fn id(&self) -> &[u8] {
        match self {
            Self::Process(process) => process.identity.as_bytes(),
            Self::Queue(queue) => queue.name.as_bytes(),
            Self::Job(entry) => entry.record.bytes(),
        }
    }

    /// What to call it in a question.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Process(process) => process.identity.clone(),
            Self::Queue(queue) => format!("{} and its {} jobs", queue.name, queue.size),
            Self::Job(entry) => format!("{} {}", entry.record.display_class(), entry.record.jid()),
        }
    }
}

/// What to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) tab: Tab,
    /// From 0.
    pub(super) page: usize,
    /// A text that jobs must hold; for tabs with jobs alone.
    pub(super) filter: Option<String>,
}

/// What was read.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) of: Request,
    pub(super) at: Instant,
    pub(super) stats: Stats,
    pub(super) rows: Vec<Row>,
    /// All there are, where a page shows some of them.
    pub(super) total: usize,
    /// How many were searched, where not all could be.
    pub(super) searched: Option<usize>,
    /// Of Home.
    pub(super) server: Option<ServerInfo>,
    /// Of Busy.
    pub(super) work: Vec<Work>,
    /// Of Metrics.
    pub(super) metrics: Option<Metrics>,
}

/// Something to be done to rows.
#[derive(Clone, Debug)]
pub(super) struct Command {
    pub(super) verb: Verb,
    pub(super) tab: Tab,
    pub(super) rows: Vec<Row>,
}

impl Command {
    /// Asks whether it is meant.
    pub(super) fn question(&self) -> String {
        match &*self.rows {
            [one] => format!("{} {}?", self.verb.name(), one.name()),
            rows => format!("{} {} rows?", self.verb.name(), rows.len()),
        }
    }
}

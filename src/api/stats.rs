use std::time::Duration;

use super::JobRecord;
use crate::error::Result;
use crate::store::Store;
use crate::store::inspect::QueueState;
use crate::time::{EpochSecs, Utc};

/// Counters and sizes, as `Sidekiq::Stats`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Jobs run since ever.
    pub processed: u64,
    /// Of them, those that failed.
    pub failed: u64,
    /// Jobs in the schedule.
    pub scheduled: usize,
    /// Jobs in the retry set.
    pub retries: usize,
    /// Jobs in the dead set.
    pub dead: usize,
    /// Live processes.
    pub processes: usize,
    /// Jobs that run, as of the last beats.
    pub busy: usize,
    /// Jobs in all queues.
    pub enqueued: usize,
    /// How long the next job of the queue `default` has waited.
    pub default_queue_latency: Duration,
}

impl Stats {
    /// Counters and nothing else, for tests of what shows them.
    pub fn of(processed: u64, failed: u64) -> Self {
        Self {
            processed,
            failed,
            scheduled: 0,
            retries: 0,
            dead: 0,
            processes: 0,
            busy: 0,
            enqueued: 0,
            default_queue_latency: Duration::ZERO,
        }
    }
}

/// A queue at a glance.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct QueueSummary {
    /// Its name, without prefix.
    pub name: String,
    /// Jobs in it.
    pub size: usize,
    /// How long its next job has waited.
    pub latency: Duration,
    /// Whether Sidekiq Pro paused it.
    pub paused: bool,
}

impl QueueSummary {
    /// For tests of what shows it.
    pub fn of(name: &str, size: usize) -> Self {
        Self { name: name.to_owned(), size, latency: Duration::ZERO, paused: false }
    }
}

/// What a day brought.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Day {
    /// `YYYY-MM-DD`, UTC.
    pub date: String,
    /// Jobs run.
    pub processed: u64,
    /// Of them, those that failed.
    pub failed: u64,
}

pub(super) async fn read(store: &Store) -> Result<Stats> {
    let totals = store.totals().await?;
    let queues = queues(store).await?;
    let hashes = store.process_hashes(&store.processes().await?).await?;
    let busy = hashes.iter().filter_map(|hash| hash.get("busy")?.parse().ok()).fold(0, usize::saturating_add);
    let default = queues.iter().find(|queue| queue.name == "default");
    Ok(Stats {
        processed: totals.processed,
        failed: totals.failed,
        scheduled: totals.scheduled,
        retries: totals.retry,
        dead: totals.dead,
        processes: totals.processes,
        busy,
        enqueued: queues.iter().map(|queue| queue.size).sum(),
        default_queue_latency: default.map_or(Duration::ZERO, |queue| queue.latency),
    })
}

pub(super) async fn queues(store: &Store) -> Result<Vec<QueueSummary>> {
    Ok(summaries(store.queues().await?))
}

pub(super) fn summaries(states: Vec<QueueState>) -> Vec<QueueSummary> {
    let mut queues: Vec<QueueSummary> = states
        .into_iter()
        .map(|state| QueueSummary {
            latency: state.oldest.map_or(Duration::ZERO, |bytes| JobRecord::new(bytes).latency()),
            name: state.name,
            size: state.size,
            paused: state.paused,
        })
        .collect();
    queues.sort_by(|one, other| other.size.cmp(&one.size).then_with(|| one.name.cmp(&other.name)));
    queues
}

pub(super) async fn history(store: &Store, days: u32) -> Result<Vec<Day>> {
    let now = EpochSecs::now();
    let dates: Vec<String> = (0..days)
        .map(|ago| {
            let Utc { year, month, day, .. } = Utc::from(EpochSecs(now.0 - 86_400.0 * f64::from(ago)));
            format!("{year:04}-{month:02}-{day:02}")
        })
        .collect();
    let counts = store.history(&dates).await?;
    Ok(dates.into_iter().zip(counts).map(|(date, (processed, failed))| Day { date, processed, failed }).collect())
}

//! How long jobs take, by class, as Sidekiq's Metrics page reads it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use crate::server::stats::counter::Counter;
#[cfg(feature = "metrics")]
use crate::server::stats::facade::Durations;
use crate::store::metrics::{BOUNDS_MS, ClassMetrics};

/// What classes that are not registered are called together, to whoever collects metrics.
pub(crate) const OTHER: &str = "other";

/// Counters of one class.
#[derive(Debug, Default)]
pub(crate) struct ClassCounters {
    processed: AtomicU64,
    failed: AtomicU64,
    ms: AtomicU64,
    histogram: [AtomicU64; 26],
    /// Whether others see it by its own name.
    pub(crate) is_registered: bool,
    pub(crate) retried: Counter,
    pub(crate) dead: Counter,
    pub(crate) discarded: Counter,
    /// The same for whoever collects metrics by the facade.
    #[cfg(feature = "metrics")]
    durations: Durations,
    /// What was flushed of them.
    flushed: Mutex<ClassMetrics>,
}

impl ClassCounters {
    pub(crate) fn succeeded(&self, elapsed: Duration) {
        let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MS.iter().position(|bound| ms < *bound).unwrap_or(BOUNDS_MS.len());
        self.processed.fetch_add(1, Ordering::Relaxed);
        self.ms.fetch_add(ms, Ordering::Relaxed);
        self.histogram[bucket].fetch_add(1, Ordering::Relaxed);
        #[cfg(feature = "metrics")]
        self.durations.record(elapsed);
    }

    pub(crate) fn failed(&self) {
        self.processed.fetch_add(1, Ordering::Relaxed);
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Everything since the process began.
    pub(crate) fn total(&self) -> ClassMetrics {
        let total = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ClassMetrics {
            processed: total(&self.processed),
            failed: total(&self.failed),
            ms: total(&self.ms),
            histogram: std::array::from_fn(|bucket| total(&self.histogram[bucket])),
        }
    }

    fn take(&self) -> ClassMetrics {
        let now = self.total();
        let mut flushed = self.flushed.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *flushed, now.clone());
        ClassMetrics {
            processed: now.processed - before.processed,
            failed: now.failed - before.failed,
            ms: now.ms.wrapping_sub(before.ms),
            histogram: std::array::from_fn(|bucket| now.histogram[bucket] - before.histogram[bucket]),
        }
    }
}

/// The counters of all classes that ran.
#[derive(Debug, Default)]
pub(crate) struct Metrics(RwLock<HashMap<String, Arc<ClassCounters>>>);

impl Metrics {
    /// The counters of a class. A name with `|` would be read wrongly, so it is counted as part of what precedes it.
    pub(crate) fn of(&self, class: &str) -> Arc<ClassCounters> {
        let class = class.split('|').next().unwrap_or(class);
        self.labelled(class, OTHER)
    }

    /// The counters of a class that is registered.
    pub(crate) fn register(&self, class: &str) -> Arc<ClassCounters> {
        self.labelled(class, class)
    }

    /// Made, if they are not there, for a name under which others see them.
    fn labelled(&self, class: &str, label: &str) -> Arc<ClassCounters> {
        if let Some(known) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(class) {
            return Arc::clone(known);
        }
        let mut classes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let made = || ClassCounters {
            is_registered: label != OTHER,
            #[cfg(feature = "metrics")]
            durations: Durations::of(label),
            ..ClassCounters::default()
        };
        Arc::clone(classes.entry(class.to_owned()).or_insert_with(|| Arc::new(made())))
    }

    /// The counters of every class that ran or is registered.
    pub(crate) fn all(&self) -> Vec<(String, Arc<ClassCounters>)> {
        let classes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = classes.iter().map(|(class, counters)| (class.clone(), Arc::clone(counters))).collect();
        all.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        all
    }

    /// What ran since the last time, by class.
    pub(crate) fn take(&self) -> Vec<(String, ClassMetrics)> {
        let classes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        classes
            .iter()
            .map(|(class, counters)| (class.clone(), counters.take()))
            .filter(|(_, taken)| taken.processed > 0)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_durations_into_sidekiqs_buckets() {
        let metrics = Metrics::default();
        let of = |ms| {
            let counters = metrics.of("A");
            counters.succeeded(Duration::from_millis(ms));
            metrics.take()[0].1.histogram.iter().position(|n| *n == 1).unwrap()
        };
        for recorded in [
            include_str!("../../../ruby-fixtures/sidekiq-7/histogram.json"),
            include_str!("../../../ruby-fixtures/sidekiq-8/histogram.json"),
        ] {
            let rows: Vec<(u64, usize)> = serde_json::from_str(recorded).unwrap();
            assert!(rows.len() > 75);
            for (ms, bucket) in rows {
                assert_eq!(of(ms), bucket, "{ms} ms");
            }
        }
    }

    #[test]
    fn counts_time_of_successes_only() {
        let metrics = Metrics::default();
        metrics.of("A").succeeded(Duration::from_millis(51));
        metrics.of("A").failed();
        let taken = metrics.take();
        assert_eq!((taken[0].1.processed, taken[0].1.failed, taken[0].1.ms), (2, 1, 51));
        assert!(metrics.take().is_empty());
    }
}

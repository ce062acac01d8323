//! How long jobs take, by class, as Sidekiq's Metrics page reads it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::store::metrics::{BOUNDS_MS, ClassMetrics};

/// Counters of one class since the last flush.
#[derive(Debug, Default)]
pub(crate) struct ClassCounters {
    processed: AtomicU64,
    failed: AtomicU64,
    ms: AtomicU64,
    histogram: [AtomicU64; 26],
}

impl ClassCounters {
    pub(crate) fn succeeded(&self, elapsed: Duration) {
        let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MS.iter().position(|bound| ms < *bound).unwrap_or(BOUNDS_MS.len());
        self.processed.fetch_add(1, Ordering::Relaxed);
        self.ms.fetch_add(ms, Ordering::Relaxed);
        self.histogram[bucket].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self) {
        self.processed.fetch_add(1, Ordering::Relaxed);
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    fn take(&self) -> ClassMetrics {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        ClassMetrics {
            processed: take(&self.processed),
            failed: take(&self.failed),
            ms: take(&self.ms),
            histogram: std::array::from_fn(|bucket| take(&self.histogram[bucket])),
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
        if let Some(known) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(class) {
            return Arc::clone(known);
        }
        let mut classes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(classes.entry(class.to_owned()).or_default())
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
            include_str!("../../ruby-fixtures/sidekiq-7/histogram.json"),
            include_str!("../../ruby-fixtures/sidekiq-8/histogram.json"),
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

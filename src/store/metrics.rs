//! How long jobs took, by class and minute: written with the beat, read for whoever asks.

use std::collections::HashMap;

use redis::Pipeline;

use super::{Store, keys};
use crate::error::Result;
use crate::time::Utc;

/// Successful runs by duration, in Sidekiq's buckets.
pub(crate) type Histogram = [u64; BOUNDS_MS.len() + 1];

/// Upper bounds of those buckets in milliseconds; the last has none.
pub(crate) const BOUNDS_MS: [u64; 25] = [
    20, 30, 45, 65, 100, 150, 225, 335, 500, 750, 1_100, 1_700, 2_500, 3_800, 5_750, 8_500, 13_000, 20_000, 30_000,
    45_000, 65_000, 100_000, 150_000, 225_000, 335_000,
];

/// What a class's jobs took since the last flush.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClassMetrics {
    pub(crate) processed: u64,
    pub(crate) failed: u64,
    pub(crate) ms: u64,
    /// Successful runs by duration.
    pub(crate) histogram: [u64; 26],
}

/// How a major version of Sidekiq keys its metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetricsForm {
    /// By the minute.
    Seven,
    /// By the minute and by ten minutes.
    Eight,
}

impl MetricsForm {
    pub(crate) fn histogram(self, class: &str, Utc { day, hour, minute, .. }: Utc) -> String {
        match self {
            Self::Seven => format!("{class}-{day:02}-{hour:02}:{minute}"),
            Self::Eight => format!("h|{class}-{day}-{hour}:{minute}"),
        }
    }

    /// Keys of the totals and how many seconds they are kept: of the minute last.
    pub(crate) fn totals(self, Utc { year, month, day, hour, minute }: Utc) -> Vec<(String, u64)> {
        match self {
            Self::Seven => vec![(format!("j|{year:04}{month:02}{day:02}|{hour}:{minute}"), keys::MINUTE_TTL)],
            Self::Eight => {
                let minute = format!("j|{:02}{month:02}{day:02}|{hour}:{minute:02}", year % 100);
                vec![(minute[..minute.len() - 1].to_owned(), keys::TEN_MINUTES_TTL), (minute, keys::MINUTE_TTL)]
            }
        }
    }
}

/// Classes whose metrics go in one transaction: some 800 commands, less than a millisecond of Redis.
const CLASSES: usize = 100;

impl Store {
    /// Adds to the metrics of this minute, in the forms that are read: once, and all of them unless one holds another type
    /// ([`ErrorKind::Partial`](crate::ErrorKind::Partial)).
    ///
    /// After an error the metrics of some hundred classes may be written and the others not.
    pub(crate) async fn write_metrics(
        &self,
        metrics: &[(&str, ClassMetrics)],
        forms: &[MetricsForm],
        now: Utc,
    ) -> Result<()> {
        for some in metrics.chunks(CLASSES) {
            self.write_metrics_of(some, forms, now).await?;
        }
        Ok(())
    }

    async fn write_metrics_of(&self, metrics: &[(&str, ClassMetrics)], forms: &[MetricsForm], now: Utc) -> Result<()> {
        let mut pipeline = Pipeline::new();
        pipeline.atomic();
        for form in forms {
            for (class, of_class) in metrics.iter().filter(|(_, of_class)| of_class.histogram.iter().any(|n| *n > 0)) {
                let key = form.histogram(class, now);
                let bitfield = pipeline.cmd("BITFIELD").arg(&key).arg("OVERFLOW").arg("SAT");
                for (bucket, runs) in of_class.histogram.iter().enumerate().filter(|(_, runs)| **runs > 0) {
                    bitfield.arg("INCRBY").arg("u16").arg(format!("#{bucket}")).arg(*runs);
                }
                pipeline.ignore();
                pipeline.cmd("EXPIRE").arg(&key).arg(keys::MINUTE_TTL).ignore();
            }
            for (key, ttl) in form.totals(now) {
                for (class, of_class) in metrics {
                    for (field, value) in [("ms", of_class.ms), ("p", of_class.processed), ("f", of_class.failed)] {
                        // Ruby writes `ms` with a success even when it is 0, and leaves out what never happened.
                        let happened = if field == "ms" { of_class.processed > of_class.failed } else { value > 0 };
                        if happened {
                            pipeline.cmd("HINCRBY").arg(&key).arg(format!("{class}|{field}")).arg(value).ignore();
                        }
                    }
                }
                pipeline.cmd("EXPIRE").arg(&key).arg(ttl).ignore();
            }
        }
        self.link.pipe("write metrics", &pipeline).await
    }

    /// The totals of many keys, field by field.
    pub(crate) async fn metrics_totals(&self, keys: &[String]) -> Result<Vec<HashMap<String, u64>>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = Pipeline::with_capacity(keys.len());
        for key in keys {
            pipeline.cmd("HGETALL").arg(key);
        }
        self.link.read("read metrics", &pipeline).await
    }

    /// The `fields` of many keys.
    pub(crate) async fn metrics_of(&self, keys: &[String], fields: &[String]) -> Result<Vec<Vec<Option<u64>>>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = Pipeline::with_capacity(keys.len());
        for key in keys {
            pipeline.cmd("HMGET").arg(key).arg(fields);
        }
        self.link.read("read metrics", &pipeline).await
    }

    /// Histograms.
    pub(crate) async fn histograms(&self, keys: &[String]) -> Result<Vec<Histogram>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = Pipeline::with_capacity(keys.len());
        for key in keys {
            let bitfield = pipeline.cmd("BITFIELD_RO").arg(key);
            for bucket in 0..=BOUNDS_MS.len() {
                bitfield.arg("GET").arg("u16").arg(format!("#{bucket}"));
            }
        }
        self.link.read("read histograms", &pipeline).await
    }

    /// Marks of deploys of days, each `20261123`: pairs of minute and label.
    pub(crate) async fn marks(&self, days: &[String]) -> Result<Vec<HashMap<String, String>>> {
        if days.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = Pipeline::with_capacity(days.len());
        for day in days {
            pipeline.cmd("HGETALL").arg(keys::marks(day));
        }
        self.link.read("read marks", &pipeline).await
    }
}

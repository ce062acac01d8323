use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use crate::error::Result;
use crate::store::Store;
use crate::store::metrics::MetricsForm;
use crate::time::{EpochSecs, Utc};

/// How far back metrics go, and how fine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Span {
    /// Minute by minute; at most 480, or it is 60.
    Minutes(u32),
    /// By ten minutes; at most 72 hours, or it is 72. Sidekiq 8 alone keeps them.
    Hours(u32),
}

/// `60 minutes`, `72 hours`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Minutes(minutes) => write!(f, "{minutes} minutes"),
            Self::Hours(hours) => write!(f, "{hours} hours"),
        }
    }
}

/// What jobs took in the last minutes or hours, as `Sidekiq::Metrics::Query` answers. All times are UTC.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Metrics {
    /// The oldest moment that counts.
    pub starts_at: EpochSecs,
    /// The moment of the question.
    pub ends_at: EpochSecs,
    /// By class.
    pub jobs: BTreeMap<String, JobMetrics>,
    /// Deploys, see [`Client::mark_deploy`](crate::Client::mark_deploy).
    pub marks: Vec<Mark>,
}

/// What the jobs of one class took.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct JobMetrics {
    /// Over the whole time.
    pub totals: Totals,
    /// By the beginning of the minute or of the ten minutes, in epoch seconds.
    pub series: BTreeMap<i64, Totals>,
    /// Successful runs by duration, the shortest first, minute by minute; only where one class was asked for, in minutes. Upper
    /// bounds are [`JobMetrics::BOUNDS_MS`]; the last has none.
    pub histogram: BTreeMap<i64, [u64; 26]>,
}

/// Jobs and their time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Jobs run.
    pub processed: u64,
    /// Of them, those that failed.
    pub failed: u64,
    /// Milliseconds of those that succeeded.
    pub ms: u64,
}

/// A deploy.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Mark {
    /// When.
    pub at: EpochSecs,
    /// What was deployed.
    pub label: String,
    /// The minute, or ten minutes, of the series it belongs to.
    pub bucket: i64,
}

impl Totals {
    /// What a job that succeeded took on average.
    pub fn average(&self) -> Duration {
        let succeeded = self.processed.saturating_sub(self.failed);
        if succeeded == 0 { Duration::ZERO } else { Duration::from_secs_f64(self.ms as f64 / succeeded as f64 / 1e3) }
    }

    fn add(&mut self, metric: &str, value: u64) {
        match metric {
            "p" => self.processed = self.processed.saturating_add(value),
            "f" => self.failed = self.failed.saturating_add(value),
            "ms" => self.ms = self.ms.saturating_add(value),
            _ => {}
        }
    }
}

impl JobMetrics {
    /// Upper bounds of the buckets of a histogram in milliseconds.
    pub const BOUNDS_MS: [u64; 25] = crate::store::metrics::BOUNDS_MS;

    fn add(&mut self, bucket: i64, metric: &str, value: u64) {
        self.totals.add(metric, value);
        self.series.entry(bucket).or_default().add(metric, value);
    }
}

impl Span {
    /// Seconds of one point, and how many points.
    fn points(self) -> (u32, u32) {
        match self {
            Self::Minutes(minutes) => (60, if minutes > 480 { 60 } else { minutes }),
            Self::Hours(hours) => (600, if hours > 72 { 72 } else { hours } * 6),
        }
    }
}

/// A point of time whose metrics stand under one key, or two.
struct Point {
    bucket: i64,
    /// As Sidekiq 8 names them, then, of minutes, as 7 does.
    totals: Vec<String>,
    at: Utc,
}

/// From now back.
fn points(span: Span, now: EpochSecs) -> Vec<Point> {
    let (seconds, count) = span.points();
    let key = |form: MetricsForm, at: Utc| form.totals(at).into_iter().map(|(key, _ttl)| key);
    (0..count)
        .map(|n| {
            let moment = EpochSecs(now.0 - f64::from(n * seconds));
            let at = Utc::from(moment);
            let totals = match span {
                Span::Minutes(_) => [MetricsForm::Eight, MetricsForm::Seven]
                    .into_iter()
                    .filter_map(|form| key(form, at).next_back())
                    .collect(),
                Span::Hours(_) => key(MetricsForm::Eight, at).take(1).collect(),
            };
            let width = i64::from(seconds);
            Point { bucket: moment.secs().div_euclid(width) * width, totals, at }
        })
        .collect()
}

fn empty(span: Span, now: EpochSecs) -> Metrics {
    let (seconds, count) = span.points();
    let starts_at = EpochSecs(now.0 - f64::from(seconds * count));
    Metrics { starts_at, ends_at: now, jobs: BTreeMap::new(), marks: Vec::new() }
}

/// Each class that ran.
pub(super) async fn top_jobs(store: &Store, span: Span) -> Result<Metrics> {
    let now = EpochSecs::now();
    let (points, mut metrics) = (points(span, now), empty(span, now));
    let keys: Vec<String> = points.iter().flat_map(|point| point.totals.clone()).collect();
    let mut found = store.metrics_totals(&keys).await?.into_iter();
    for point in &points {
        // Where Sidekiq 8 counted, 7's form of the same minute says the same again.
        let mut forms = found.by_ref().take(point.totals.len());
        let counted = forms.by_ref().find(|fields| !fields.is_empty()).unwrap_or_default();
        forms.for_each(drop);
        for (field, value) in counted {
            if let Some((class, metric)) = field.rsplit_once('|') {
                metrics.jobs.entry(class.to_owned()).or_default().add(point.bucket, metric, value);
            }
        }
    }
    metrics.marks = marks(store, span, &metrics).await?;
    Ok(metrics)
}

/// One class, with its histograms.
pub(super) async fn of_job(store: &Store, class: &str, span: Span) -> Result<Metrics> {
    let now = EpochSecs::now();
    let (points, mut metrics) = (points(span, now), empty(span, now));
    let fields = ["p", "f", "ms"];
    let keys: Vec<String> = points.iter().flat_map(|point| point.totals.clone()).collect();
    let names: Vec<String> = fields.iter().map(|field| format!("{class}|{field}")).collect();
    let mut found = store.metrics_of(&keys, &names).await?.into_iter();
    let mut job = JobMetrics::default();
    for point in &points {
        let mut forms = found.by_ref().take(point.totals.len());
        let counted = forms.by_ref().find(|values| values.iter().any(Option::is_some)).unwrap_or_default();
        forms.for_each(drop);
        for (field, value) in fields.iter().zip(counted) {
            if let Some(value) = value {
                job.add(point.bucket, field, value);
            }
        }
    }
    if let Span::Minutes(_) = span {
        let keys: Vec<String> = points
            .iter()
            .flat_map(|point| [MetricsForm::Eight, MetricsForm::Seven].map(|form| form.histogram(class, point.at)))
            .collect();
        let found = store.histograms(&keys).await?;
        for (point, forms) in points.iter().zip(found.chunks_exact(2)) {
            let counted = forms.iter().find(|form| form.iter().any(|runs| *runs > 0)).unwrap_or(&forms[0]);
            job.histogram.insert(point.bucket, *counted);
        }
    }
    metrics.jobs.insert(class.to_owned(), job);
    metrics.marks = marks(store, span, &metrics).await?;
    Ok(metrics)
}

async fn marks(store: &Store, span: Span, metrics: &Metrics) -> Result<Vec<Mark>> {
    const DAY: f64 = 86_400.0;
    let (first, last) = ((metrics.starts_at.0 / DAY).floor(), (metrics.ends_at.0 / DAY).floor());
    let days: Vec<String> = (first as i64..=last as i64)
        .map(|day| {
            let Utc { year, month, day, .. } = Utc::from(EpochSecs(day as f64 * DAY));
            format!("{year:04}{month:02}{day:02}")
        })
        .collect();
    let width = i64::from(span.points().0);
    let found: Vec<HashMap<String, String>> = store.marks(&days).await?;
    let mut marks: Vec<Mark> = found
        .into_iter()
        .flatten()
        .filter_map(|(minute, label)| {
            let at = EpochSecs::from_utc(&minute)?;
            let covered = (metrics.starts_at.0..=metrics.ends_at.0).contains(&at.0);
            covered.then(|| Mark { bucket: at.secs().div_euclid(width) * width, at, label })
        })
        .collect();
    marks.sort_by(|one, other| one.at.0.total_cmp(&other.at.0));
    Ok(marks)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: EpochSecs = EpochSecs(1_795_408_513.9);

    #[test]
    fn looks_at_the_keys_of_every_minute_or_ten_minutes() {
        let minutes = points(Span::Minutes(2), NOW);
        let names: Vec<_> = minutes.iter().map(|point| point.totals.join(" ")).collect();
        assert_eq!(names, ["j|261123|4:35 j|20261123|4:35", "j|261123|4:34 j|20261123|4:34"]);
        assert_eq!(minutes[0].bucket, 1_795_408_500);

        let hours = points(Span::Hours(1), NOW);
        assert_eq!(hours.len(), 6);
        assert_eq!(hours[0].totals, ["j|261123|4:3"]);
        assert_eq!((hours[0].bucket, hours[5].bucket), (1_795_408_200, 1_795_405_200));
    }

    #[test]
    fn asks_for_no_more_than_is_kept() {
        assert_eq!(points(Span::Minutes(100_000), NOW).len(), 60);
        assert_eq!(points(Span::Hours(100_000), NOW).len(), 432);
    }

    #[test]
    fn averages_over_what_succeeded() {
        assert_eq!(Totals { processed: 5, failed: 1, ms: 10 }.average(), Duration::from_micros(2_500));
        assert_eq!(Totals::default().average(), Duration::ZERO);
    }
}

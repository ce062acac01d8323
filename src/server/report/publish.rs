//! Tells the recorder of the `metrics` facade, on each beat, what was counted. Durations are recorded with each job.

use metrics::Unit;

use crate::server::report::Process;
use crate::server::report::sample::{Value, sample};
use crate::server::stats::catalog::{ALL, Kind, Metric};
use crate::server::stats::facade::{METADATA, key};

/// Everything but durations.
pub(crate) fn publish(process: &Process) {
    metrics::with_recorder(|recorder| {
        sample(process, &mut |metric, label, value| {
            let key = key(metric.name, metric.label.zip(label));
            match value {
                Value::Count(count) => recorder.register_counter(&key, &METADATA).absolute(count),
                Value::Level(level) => recorder.register_gauge(&key, &METADATA).set(level),
                Value::Runs(_) => {}
            }
        });
    });
}

/// Says once what each metric is.
pub(crate) fn describe() {
    metrics::with_recorder(|recorder| {
        for Metric { name, kind, help, .. } in ALL {
            let (unit, name, help) = (unit(name), (*name).into(), (*help).into());
            match kind {
                Kind::Counter => recorder.describe_counter(name, unit, help),
                Kind::Gauge => recorder.describe_gauge(name, unit, help),
                Kind::Histogram => recorder.describe_histogram(name, unit, help),
            }
        }
    });
}

/// The unit that a name ends in.
fn unit(name: &str) -> Option<Unit> {
    match name.trim_end_matches("_total").rsplit('_').next() {
        Some("seconds") => Some(Unit::Seconds),
        Some("bytes") => Some(Unit::Bytes),
        _ => Some(Unit::Count),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use metrics::{
        Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString,
    };

    use super::*;
    use crate::{Context, JobResult, Server};

    /// What was told last, by metric and label; durations add up.
    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<BTreeMap<String, f64>>>);

    impl Heard {
        fn put(&self, key: String, change: impl FnOnce(f64) -> f64) {
            let mut heard = self.0.lock().unwrap();
            let value = heard.entry(key).or_default();
            *value = change(*value);
        }

        fn under(&self, key: &Key) -> Arc<Ear> {
            let labels: Vec<String> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            Arc::new(Ear { heard: self.clone(), key: format!("{} {}", key.name(), labels.join(",")).trim().to_owned() })
        }
    }

    struct Ear {
        heard: Heard,
        key: String,
    }

    impl CounterFn for Ear {
        fn increment(&self, by: u64) {
            self.heard.put(self.key.clone(), |value| value + by as f64);
        }
        fn absolute(&self, to: u64) {
            self.heard.put(self.key.clone(), |_| to as f64);
        }
    }

    impl GaugeFn for Ear {
        fn increment(&self, by: f64) {
            self.heard.put(self.key.clone(), |value| value + by);
        }
        fn decrement(&self, by: f64) {
            self.heard.put(self.key.clone(), |value| value - by);
        }
        fn set(&self, to: f64) {
            self.heard.put(self.key.clone(), |_| to);
        }
    }

    impl HistogramFn for Ear {
        fn record(&self, value: f64) {
            self.heard.put(self.key.clone(), |sum| sum + value);
        }
    }

    impl Recorder for Heard {
        fn describe_counter(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
            self.put(format!("described {}", name.as_str()), |times| times + 1.0);
        }
        fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
            self.describe_counter(name, unit, help);
        }
        fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
            self.describe_counter(name, unit, help);
        }
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(self.under(key))
        }
        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(self.under(key))
        }
        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::from_arc(self.under(key))
        }
    }

    #[test]
    fn tells_every_metric_of_the_list_to_whatever_recorder_there_is() {
        let heard = Heard::default();
        metrics::with_local_recorder(&heard, || {
            let nothing = async |_: Context, (): ()| -> JobResult { Ok(()) };
            let redis = "redis://127.0.0.1:1".parse().unwrap();
            let server = Server::builder().register_fn("Job", nothing).queues(["low"]).redis(redis).build().unwrap();
            let process = &server.process;
            describe();
            process.shared.stats.metrics.register("Job").succeeded(Duration::from_millis(1_500));
            process.shared.stats.metrics.register("Job").failed();
            process.shared.stats.metrics.of("Wrapped|x").succeeded(Duration::from_millis(250));
            process.shared.stats.telemetry.fetched("low", 3);
            process.shared.stats.telemetry.recovered.add(2);
            publish(process);
            publish(process);
        });
        let heard = heard.0.lock().unwrap();
        for Metric { name, .. } in ALL {
            assert_eq!(heard.get(&format!("described {name}")), Some(&1.0), "{name}");
            assert!(heard.keys().any(|key| key.split(' ').next() == Some(name)), "{name}: {heard:?}");
        }
        for (key, value) in [
            ("ferrokiq_jobs_fetched_total queue=low", 3.0),
            ("ferrokiq_jobs_done_total class=Job", 1.0),
            ("ferrokiq_jobs_failed_total class=Job", 1.0),
            ("ferrokiq_jobs_done_total class=other", 1.0),
            ("ferrokiq_job_duration_seconds class=Job", 1.5),
            ("ferrokiq_job_duration_seconds class=other", 0.25),
            ("ferrokiq_jobs_recovered_total", 2.0),
            ("ferrokiq_concurrency", 5.0),
        ] {
            assert_eq!(heard.get(key), Some(&value), "{key}: {heard:?}");
        }
    }
}

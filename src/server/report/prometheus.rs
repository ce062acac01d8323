//! The text that Prometheus reads.

use std::fmt::Write;

use crate::server::report::Process;
use crate::server::report::sample::{Value, sample};
use crate::server::stats::catalog::Metric;
use crate::store::metrics::{BOUNDS_MS, ClassMetrics};

/// What `/metrics` says it is.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Every metric. Writing to a string cannot fail.
pub(crate) fn text(process: &Process) -> String {
    let mut text = String::with_capacity(16 * 1_024);
    let mut described = "";
    sample(process, &mut |metric, label, value| {
        if described != metric.name {
            described = metric.name;
            let _ = writeln!(text, "# HELP {0} {1}\n# TYPE {0} {2}", metric.name, metric.help, metric.kind.as_str());
        }
        write(&mut text, metric, label, &value);
    });
    text
}

fn write(text: &mut String, metric: &Metric, label: Option<&str>, value: &Value<'_>) {
    let name = metric.name;
    let label = match (metric.label, label) {
        (Some(key), Some(label)) => format!("{key}=\"{}\"", escaped(label)),
        _ => String::new(),
    };
    let braced = if label.is_empty() { String::new() } else { format!("{{{label}}}") };
    let _ = match value {
        Value::Count(count) => writeln!(text, "{name}{braced} {count}"),
        Value::Level(level) => writeln!(text, "{name}{braced} {level}"),
        Value::Runs(runs) => {
            write_runs(text, name, &label, runs);
            Ok(())
        }
    };
}

fn write_runs(text: &mut String, name: &str, label: &str, runs: &ClassMetrics) {
    let comma = if label.is_empty() { "" } else { "," };
    let mut below = 0;
    for (runs, bound) in runs.histogram.iter().zip(BOUNDS_MS) {
        below += runs;
        let secs = bound as f64 / 1_000.0;
        let _ = writeln!(text, "{name}_bucket{{{label}{comma}le=\"{secs}\"}} {below}");
    }
    below += runs.histogram.last().unwrap_or(&0);
    let secs = runs.ms as f64 / 1_000.0;
    let _ = writeln!(text, "{name}_bucket{{{label}{comma}le=\"+Inf\"}} {below}");
    let _ = writeln!(text, "{name}_sum{{{label}}} {secs}\n{name}_count{{{label}}} {below}");
}

/// The value of a label that ends where it should.
fn escaped(label: &str) -> String {
    label.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::stats::catalog::{DURATION, FETCHED};

    #[test]
    fn lets_no_name_forge_a_line() {
        let mut text = String::new();
        write(&mut text, &FETCHED, Some("a\"} 9\nforged{x=\"\\"), &Value::Count(1));
        assert_eq!(text, "ferrokiq_jobs_fetched_total{queue=\"a\\\"} 9\\nforged{x=\\\"\\\\\"} 1\n");
    }

    #[test]
    fn adds_up_buckets() {
        let mut runs = ClassMetrics { processed: 4, ms: 2_025, ..ClassMetrics::default() };
        (runs.histogram[0], runs.histogram[1], runs.histogram[25]) = (2, 1, 1);
        let mut text = String::new();
        write(&mut text, &DURATION, Some("A"), &Value::Runs(&runs));
        for line in [
            "ferrokiq_job_duration_seconds_bucket{class=\"A\",le=\"0.02\"} 2\n",
            "ferrokiq_job_duration_seconds_bucket{class=\"A\",le=\"0.03\"} 3\n",
            "ferrokiq_job_duration_seconds_bucket{class=\"A\",le=\"335\"} 3\n",
            "ferrokiq_job_duration_seconds_bucket{class=\"A\",le=\"+Inf\"} 4\n",
            "ferrokiq_job_duration_seconds_sum{class=\"A\"} 2.025\nferrokiq_job_duration_seconds_count{class=\"A\"} 4\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}

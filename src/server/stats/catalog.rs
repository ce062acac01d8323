//! Every metric there is, by name. `docs/guide/metrics.md` shows this list; a test holds the two together.

/// How a metric moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only up, from 0 when the process starts.
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    /// As Prometheus spells it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What a metric is.
#[derive(Debug)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// The one label it has, if it has any.
    pub(crate) label: Option<&'static str>,
    pub(crate) help: &'static str,
}

macro_rules! catalog {
    ($($id:ident = $name:literal $kind:ident $([$label:literal])? $help:literal;)+) => {
        $(
            pub(crate) static $id: Metric =
                Metric { name: $name, kind: Kind::$kind, label: catalog!(@label $($label)?), help: $help };
        )+

        /// All of them, in the order they are shown.
        #[cfg_attr(not(any(test, feature = "metrics")), expect(dead_code, reason = "Prometheus's form describes each where it stands"))]
        pub(crate) static ALL: &[&Metric] = &[$(&$id),+];
    };
    (@label) => { None };
    (@label $label:literal) => { Some($label) };
}

catalog! {
    FETCHED = "ferrokiq_jobs_fetched_total" Counter ["queue"] "Jobs that left a queue for this process";
    DONE = "ferrokiq_jobs_done_total" Counter ["class"] "Jobs that succeeded";
    FAILED = "ferrokiq_jobs_failed_total" Counter ["class"] "Runs that failed, whatever became of the job";
    RETRIED = "ferrokiq_jobs_retried_total" Counter ["class"] "Failed jobs that went to the retry set";
    DEAD = "ferrokiq_jobs_dead_total" Counter ["class"] "Failed jobs that went to the dead set";
    DISCARDED = "ferrokiq_jobs_discarded_total" Counter ["class"] "Failed jobs that were dropped, as they or their class wanted";
    DURATION = "ferrokiq_job_duration_seconds" Histogram ["class"] "How long successful jobs took";
    REQUEUED = "ferrokiq_jobs_requeued_total" Counter "Jobs put back to their queue: cut off by a stop, fetched for nobody, interrupted between two items, or requeued by themselves";
    SNOOZED = "ferrokiq_jobs_snoozed_total" Counter "Runs that ended with a snooze: the job waits in the schedule";
    LEFT = "ferrokiq_jobs_left_for_others_total" Counter "Jobs of classes that are unknown here, put back or diverted to another queue";
    FOREIGN = "ferrokiq_jobs_foreign_total" Counter ["gem"] "Jobs that belong to a Ruby gem and did not run here: requeued, diverted or failed, by the setting foreign_jobs; one that is requeued counts each time";
    UNREADABLE = "ferrokiq_jobs_unreadable_total" Counter "Payloads that are no job; they went to the dead set as they are";
    RECOVERED = "ferrokiq_jobs_recovered_total" Counter "Jobs of processes that died, put back by this one";
    CONVICTED = "ferrokiq_jobs_convicted_total" Counter "Jobs that processes died with so often that they went to the dead set";
    PROMOTED = "ferrokiq_jobs_promoted_total" Counter ["set"] "Due jobs moved to their queues";
    LATENESS = "ferrokiq_schedule_lateness_seconds" Gauge ["set"] "How overdue the oldest due job was when the set was last looked at";
    QUEUE_SIZE = "ferrokiq_queue_size" Gauge ["queue"] "Jobs in a queue, at the last beat";
    QUEUE_LATENCY = "ferrokiq_queue_latency_seconds" Gauge ["queue"] "How long the next job of a queue has waited, at the last beat";
    BUSY = "ferrokiq_busy" Gauge "Jobs that run now";
    CONCURRENCY = "ferrokiq_concurrency" Gauge "Jobs that may run at the same time";
    QUIET = "ferrokiq_quiet" Gauge "1 once nothing more is fetched";
    RSS = "ferrokiq_memory_bytes" Gauge "Memory of the process";
    RESTARTS = "ferrokiq_task_restarts_total" Counter "Loops of the server that panicked or ended too early and were started again";
    THREADS = "ferrokiq_blocking_threads" Gauge "Threads for blocking jobs";
    ABANDONED = "ferrokiq_blocking_threads_abandoned" Gauge "Threads that still run a job that timed out or was aborted";
    REDIS_UP = "ferrokiq_redis_up" Gauge "1 while Redis answers";
    REDIS_RTT = "ferrokiq_redis_rtt_seconds" Gauge "Round trip to Redis, at the last beat";
    REDIS_OUTAGES = "ferrokiq_redis_outages_total" Counter "Times that Redis was away";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_list_of_metrics_is_current() {
        let mut made = "\n| name | kind | label | what |\n|---|---|---|---|\n".to_owned();
        for Metric { name, kind, label, help } in ALL {
            let label = label.map(|label| format!("`{label}`")).unwrap_or_default();
            made.push_str(&format!("| `{name}` | {} | {label} | {help} |\n", kind.as_str()));
        }
        crate::generated::assert_current("metrics.md", "metrics", &(made + "\n"));
    }

    #[test]
    fn names_end_as_prometheus_wants_it() {
        for metric in ALL {
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
            assert!(metric.name.starts_with("ferrokiq_"), "{}", metric.name);
        }
    }
}

use crate::server::report::Process;
use crate::server::settings::os::rss_kb;
use crate::server::stats::catalog;
use crate::server::stats::catalog::Metric;
use crate::server::stats::counter::Counter;
use crate::server::stats::metrics::{ClassCounters, OTHER};
use crate::server::stats::telemetry::{OfQueue, OfSet};
use crate::store::metrics::ClassMetrics;

/// The value of a metric under one label.
#[derive(Debug)]
pub(crate) enum Value<'a> {
    Count(u64),
    Level(f64),
    /// Successful runs by duration.
    Runs(&'a ClassMetrics),
}

/// Of one class.
#[derive(Debug, Default)]
struct OfClass {
    name: String,
    ran: ClassMetrics,
    retried: u64,
    dead: u64,
    discarded: u64,
}

impl OfClass {
    fn add(&mut self, counters: &ClassCounters) {
        let ran = counters.total();
        self.ran.processed += ran.processed;
        self.ran.failed += ran.failed;
        self.ran.ms = self.ran.ms.saturating_add(ran.ms);
        for (sum, runs) in self.ran.histogram.iter_mut().zip(ran.histogram) {
            *sum += runs;
        }
        self.retried += counters.retried.total();
        self.dead += counters.dead.total();
        self.discarded += counters.discarded.total();
    }
}

/// Shows every metric under every label: all of one metric before the next. The label sets are bounded: classes are those that
/// are registered and `other`, queues those of the capsules, gems those that are known.
pub(crate) fn sample(process: &Process, show: &mut dyn FnMut(&'static Metric, Option<&str>, Value<'_>)) {
    let telemetry = &process.shared.stats.telemetry;
    for (name, queue) in &telemetry.queues {
        show(&catalog::FETCHED, Some(name), Value::Count(queue.fetched.total()));
    }
    let classes = classes(process);
    let mut by_class = |metric: &'static Metric, value: fn(&OfClass) -> Value<'_>| {
        for class in &classes {
            show(metric, Some(&class.name), value(class));
        }
    };
    by_class(&catalog::DONE, |class| Value::Count(class.ran.processed.saturating_sub(class.ran.failed)));
    by_class(&catalog::FAILED, |class| Value::Count(class.ran.failed));
    by_class(&catalog::RETRIED, |class| Value::Count(class.retried));
    by_class(&catalog::DEAD, |class| Value::Count(class.dead));
    by_class(&catalog::DISCARDED, |class| Value::Count(class.discarded));
    by_class(&catalog::DURATION, |class| Value::Runs(&class.ran));

    let mut count = |metric: &'static Metric, counter: &Counter| show(metric, None, Value::Count(counter.total()));
    count(&catalog::REQUEUED, &telemetry.requeued);
    count(&catalog::SNOOZED, &telemetry.snoozed);
    count(&catalog::LEFT, &telemetry.left_for_others);
    for (gem, left) in process.runner.foreign.counts() {
        show(&catalog::FOREIGN, Some(gem), Value::Count(left));
    }
    let mut count = |metric: &'static Metric, counter: &Counter| show(metric, None, Value::Count(counter.total()));
    count(&catalog::UNREADABLE, &telemetry.unreadable);
    count(&catalog::RECOVERED, &telemetry.recovered);
    count(&catalog::CONVICTED, &telemetry.convicted);
    count(&catalog::RESTARTS, process.shared.supervisor.restarts());

    let sets = [("retry", &telemetry.retry), ("schedule", &telemetry.schedule)];
    let mut by_set = |metric: &'static Metric, value: fn(&OfSet) -> Value<'_>| {
        for (name, set) in sets {
            show(metric, Some(name), value(set));
        }
    };
    by_set(&catalog::PROMOTED, |set| Value::Count(set.promoted.total()));
    by_set(&catalog::LATENESS, |set| Value::Level(set.lateness.value()));

    let mut by_queue = |metric: &'static Metric, value: fn(&OfQueue) -> f64| {
        for (name, queue) in &telemetry.queues {
            show(metric, Some(name), Value::Level(value(queue)));
        }
    };
    by_queue(&catalog::QUEUE_SIZE, |queue| queue.size.value());
    by_queue(&catalog::QUEUE_LATENCY, |queue| queue.latency.value());

    let mut level = |metric: &'static Metric, value: f64| show(metric, None, Value::Level(value));
    level(&catalog::BUSY, process.shared.stats.work.busy() as f64);
    level(&catalog::CONCURRENCY, telemetry.concurrency as f64);
    level(&catalog::QUIET, f64::from(u8::from(process.shared.handle.is_quiet())));
    level(&catalog::RSS, rss_kb() as f64 * 1_024.0);
    let (threads, abandoned) = process.runner.blocking.threads();
    level(&catalog::THREADS, threads as f64);
    level(&catalog::ABANDONED, abandoned as f64);
    level(&catalog::REDIS_UP, f64::from(u8::from(process.shared.stats.outages.is_online())));
    level(&catalog::REDIS_RTT, telemetry.redis_rtt.value());
    show(&catalog::REDIS_OUTAGES, None, Value::Count(process.shared.stats.outages.count()));
}

/// The registered classes by name, and all others as one.
fn classes(process: &Process) -> Vec<OfClass> {
    let mut classes = Vec::new();
    let mut other = OfClass { name: OTHER.to_owned(), ..OfClass::default() };
    other.add(&process.shared.stats.telemetry.unknown);
    for (name, counters) in process.shared.stats.metrics.all() {
        if counters.is_registered {
            let mut class = OfClass { name, ..OfClass::default() };
            class.add(&counters);
            classes.push(class);
        } else {
            other.add(&counters);
        }
    }
    classes.push(other);
    classes
}

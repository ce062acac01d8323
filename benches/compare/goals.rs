//! What the figures should be to each other.

/// A goal: one figure over another, or a figure alone, on one side of a number.
pub(crate) struct Goal {
    pub(crate) what: &'static str,
    pub(crate) figure: &'static str,
    pub(crate) over: &'static str,
    pub(crate) bound: Bound,
}

pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

const fn at_least(what: &'static str, figure: &'static str, over: &'static str, least: f64) -> Goal {
    Goal { what, figure, over, bound: Bound::AtLeast(least) }
}

const fn at_most(what: &'static str, figure: &'static str, over: &'static str, most: f64) -> Goal {
    Goal { what, figure, over, bound: Bound::AtMost(most) }
}

/// Stands for one where a figure is not compared.
pub(crate) const ALONE: &str = "";

pub(crate) const GOALS: [Goal; 35] = [
    at_least(
        "no-op drain, reliable, 10 slots, to Sidekiq at 10 threads",
        "drain_noop.ferrokiq_reliable.10",
        "drain_noop.sidekiq.10",
        15.0,
    ),
    at_least(
        "the same to rusty-sidekiq at its best",
        "drain_noop.ferrokiq_reliable.10",
        "drain_noop.rusty_sidekiq.best",
        10.0,
    ),
    at_least(
        "no-op drain, reliable, 50 slots, to Sidekiq at 10 threads",
        "drain_noop.ferrokiq_reliable.50",
        "drain_noop.sidekiq.10",
        25.0,
    ),
    at_least(
        "the same to two processes of Sidekiq at 10 threads, on the same two cores",
        "drain_noop.ferrokiq_reliable.50",
        "drain_noop.sidekiq.2x10",
        15.0,
    ),
    at_least(
        "the same to rusty-sidekiq at its best",
        "drain_noop.ferrokiq_reliable.50",
        "drain_noop.rusty_sidekiq.best",
        15.0,
    ),
    at_least(
        "the same to our own basic fetcher",
        "drain_noop.ferrokiq_reliable.50",
        "drain_noop.ferrokiq_basic.50",
        0.9,
    ),
    at_least(
        "no-op drain, basic, 50 slots, to bare batch pops",
        "drain_noop.ferrokiq_basic.50",
        "drain_noop.redis_ceiling.50",
        0.5,
    ),
    at_least(
        "no-op drain, reliable, 10 slots, to two processes of Sidekiq at 10 threads",
        "drain_noop.ferrokiq_reliable.10",
        "drain_noop.sidekiq.2x10",
        10.0,
    ),
    at_most(
        "CPU of a job that reads 100 KB of JSON, to Ruby",
        "read_json_cpu_us.ferrokiq_reliable.10",
        "read_json_cpu_us.sidekiq.10",
        1.0,
    ),
    at_least(
        "with start and done lines, to Sidekiq with its own",
        "drain_logged.ferrokiq_reliable.50",
        "drain_logged.sidekiq.10",
        25.0,
    ),
    at_least(
        "with start and done lines, to none",
        "drain_logged.ferrokiq_reliable.50",
        "drain_noop.ferrokiq_reliable.50",
        0.6,
    ),
    at_most("Redis's CPU per job, reliable, 50 slots, µs", "redis_cpu_us.ferrokiq_reliable.50", ALONE, 2.0),
    at_least("10 weighted queues to 1", "drain_queues.ferrokiq_reliable.10", "drain_queues.ferrokiq_reliable.1", 0.85),
    at_least(
        "100 weighted queues to 1",
        "drain_queues.ferrokiq_reliable.100",
        "drain_queues.ferrokiq_reliable.1",
        0.85,
    ),
    at_least(
        "backlog of 1,000,000 to 10,000",
        "drain_backlog.ferrokiq_reliable.1000000",
        "drain_backlog.ferrokiq_reliable.10000",
        0.85,
    ),
    at_least("1 ms to Redis, to none", "drain_1ms.ferrokiq_reliable.50", "drain_noop.ferrokiq_reliable.50", 0.7),
    at_least("promotion of due jobs a second", "promote.ferrokiq_reliable.1", ALONE, 100_000.0),
    at_least("the same to Sidekiq's poller", "promote.ferrokiq_reliable.1", "promote.sidekiq.1", 30.0),
    at_least("retry storm, to Sidekiq", "retry_storm.ferrokiq_reliable.50", "retry_storm.sidekiq.10", 15.0),
    at_least("bulk push, to Ruby", "push_bulk.ferrokiq_reliable.1", "push_bulk.sidekiq.1", 5.0),
    at_least(
        "single push with 10 tasks, to Ruby with 10 threads",
        "push_single.ferrokiq_reliable.10",
        "push_single.sidekiq.10",
        8.0,
    ),
    at_most("push to start, idle, median, µs", "latency_idle_p50_us.ferrokiq_reliable.10", ALONE, 250.0),
    at_most("push to start, idle, 99th percentile, µs", "latency_idle_p99_us.ferrokiq_reliable.10", ALONE, 1_000.0),
    at_most(
        "push to start, idle, median, to Ruby",
        "latency_idle_p50_us.ferrokiq_reliable.10",
        "latency_idle_p50_us.sidekiq.10",
        1.0,
    ),
    at_most(
        "push to start, idle, 99th percentile, to Ruby",
        "latency_idle_p99_us.ferrokiq_reliable.10",
        "latency_idle_p99_us.sidekiq.10",
        1.0,
    ),
    at_most(
        "push to start, idle, 1,000 queues, median, µs",
        "latency_queues_p50_us.ferrokiq_reliable.1000",
        ALONE,
        2_000.0,
    ),
    at_most(
        "push to start, 5,000 jobs a second, median, to Ruby",
        "latency_half_p50_us.ferrokiq_reliable.10",
        "latency_half_p50_us.sidekiq.10",
        1.0,
    ),
    at_most(
        "1,000 jobs of 100 ms, 500 slots, to the ideal 0.2 s",
        "sleep_100ms_s.ferrokiq_reliable.500",
        "ideal.0.2",
        1.05,
    ),
    at_most("1,000 jobs of 100 ms, 50 slots, to the ideal 2 s", "sleep_100ms_s.ferrokiq_reliable.50", "ideal.2", 1.05),
    at_most("memory, idle, KB", "rss_idle_kb.ferrokiq_reliable.10", ALONE, 8_192.0),
    at_most("memory, 10,000 sleeping jobs, KB", "rss_sleeping_kb.ferrokiq_reliable.10000", ALONE, 40_960.0),
    at_most("Redis commands a second, idle, 8 queues", "idle_commands_per_s.ferrokiq_reliable.8_queues", ALONE, 15.0),
    at_most("the same of each of 10 idle processes", "fleet_10_commands_per_s.ferrokiq_reliable.8_queues", ALONE, 15.0),
    at_most(
        "the same of each of 200 idle processes, to each of 10",
        "fleet_200_commands_per_s.ferrokiq_reliable.8_queues",
        "fleet_10_commands_per_s.ferrokiq_reliable.8_queues",
        1.1,
    ),
    at_most(
        "share of one core that Redis takes for 200 idle processes, % (1,000 of them take five times as much)",
        "fleet_200_redis_core_percent.ferrokiq_reliable.8_queues",
        ALONE,
        1.0,
    ),
];

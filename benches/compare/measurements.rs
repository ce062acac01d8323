//! What is measured, with whom, in which setting.

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    Reliable,
    Basic,
    Sidekiq,
    Rusty,
    Ceiling,
}

impl System {
    fn name(self) -> &'static str {
        match self {
            Self::Reliable => "ferrokiq_reliable",
            Self::Basic => "ferrokiq_basic",
            Self::Sidekiq => "sidekiq",
            Self::Rusty => "rusty_sidekiq",
            Self::Ceiling => "redis_ceiling",
        }
    }
}

/// One run of one system.
#[derive(Clone, Debug)]
pub(crate) struct Measurement {
    pub(crate) system: System,
    /// The last part of its keys: slots, threads, queues.
    setting: String,
    /// What the program is told.
    pub(crate) arguments: Vec<String>,
    /// Figures the program tells, and the workload each is published under.
    figures: Vec<(&'static str, &'static str)>,
    /// Jobs a second that another process pushes meanwhile.
    pub(crate) pushed: Option<u64>,
    /// Milliseconds a round trip to Redis takes longer.
    pub(crate) delay_ms: Option<u64>,
    /// Measured in the first round only: it takes long and hardly varies.
    pub(crate) once: bool,
}

impl Measurement {
    fn new(
        system: System,
        setting: impl ToString,
        workload: &str,
        jobs: usize,
        figures: &[(&'static str, &'static str)],
    ) -> Self {
        Self {
            system,
            setting: setting.to_string(),
            arguments: [workload, "--jobs", &jobs.to_string()].map(str::to_owned).to_vec(),
            figures: figures.to_vec(),
            pushed: None,
            delay_ms: None,
            once: false,
        }
    }

    fn with(mut self, flag: &str, value: impl ToString) -> Self {
        self.arguments.extend([flag.to_owned(), value.to_string()]);
        self
    }

    fn logged(mut self) -> Self {
        self.arguments.push("--log".to_owned());
        self
    }

    fn pushed(mut self, rate: u64) -> Self {
        self.pushed = Some(rate);
        self.with("--rate", rate)
    }

    fn delayed(mut self, ms: u64) -> Self {
        self.delay_ms = Some(ms);
        self
    }

    fn once(mut self) -> Self {
        self.once = true;
        self
    }

    pub(crate) fn jobs(&self) -> &str {
        &self.arguments[2]
    }

    /// Queues of the worker.
    pub(crate) fn queues(&self) -> &str {
        let flag = self.arguments.iter().position(|argument| argument == "--queues");
        flag.map_or("1", |at| &self.arguments[at + 1])
    }

    /// The name of its first figure.
    pub(crate) fn title(&self) -> String {
        self.figures.first().map_or_else(String::new, |(_, workload)| self.key(workload))
    }

    fn key(&self, workload: &str) -> String {
        format!("{workload}.{}.{}", self.system.name(), self.setting)
    }

    /// Names what a program told.
    pub(crate) fn keyed(&self, told: &[(String, f64)]) -> Result<Vec<(String, f64)>, String> {
        self.figures
            .iter()
            .map(|(figure, workload)| {
                let value = told.iter().find(|(name, _)| name == figure).map(|(_, value)| *value);
                let value = value.ok_or_else(|| format!("{}: it told no {figure}", self.title()))?;
                Ok((self.key(workload), value))
            })
            .collect()
    }
}

const LATENCY: [(&str, &str); 2] = [("p50_us", "latency_idle_p50_us"), ("p99_us", "latency_idle_p99_us")];
const BUSY_LATENCY: [(&str, &str); 2] = [("p50_us", "latency_half_p50_us"), ("p99_us", "latency_half_p99_us")];
const QUEUES_LATENCY: [(&str, &str); 2] = [("p50_us", "latency_queues_p50_us"), ("p99_us", "latency_queues_p99_us")];
const READ_JSON: [(&str, &str); 2] = [("per_s", "read_json"), ("own_cpu_us", "read_json_cpu_us")];
const IDLE: [(&str, &str); 2] = [("rss_kb", "rss_idle_kb"), ("commands_per_s", "idle_commands_per_s")];

const FLEET: [(&str, &str); 6] = [
    ("10_commands_per_s", "fleet_10_commands_per_s"),
    ("50_commands_per_s", "fleet_50_commands_per_s"),
    ("200_commands_per_s", "fleet_200_commands_per_s"),
    ("10_redis_core_percent", "fleet_10_redis_core_percent"),
    ("50_redis_core_percent", "fleet_50_redis_core_percent"),
    ("200_redis_core_percent", "fleet_200_redis_core_percent"),
];

/// All of them in the order of a round: who is compared stands together. The quick ones are those of the README.
pub(crate) fn measurements(quick: bool) -> Vec<Measurement> {
    use System::{Basic, Ceiling, Reliable, Rusty, Sidekiq};
    let (ours, theirs) = if quick { (200_000, 20_000) } else { (500_000, 60_000) };
    let slots = |system, slots: usize, workload, jobs, figures: &[(&'static str, &'static str)]| {
        Measurement::new(system, slots, workload, jobs, figures).with("--concurrency", slots)
    };
    let fetching = |system| if system == Basic { "basic" } else { "reliable" };
    let drain = |system, n: usize| {
        let jobs = if matches!(system, Sidekiq | Rusty) { theirs } else { ours };
        let one = slots(system, n, "drain", jobs, &[("per_s", "drain_noop"), ("redis_cpu_us", "redis_cpu_us")]);
        if matches!(system, Sidekiq | Rusty) { one } else { one.with("--fetch", fetching(system)) }
    };
    let mut all = vec![
        drain(Reliable, 10),
        drain(Sidekiq, 10),
        drain(Reliable, 50),
        drain(Basic, 50),
        Measurement::new(Ceiling, 50, "ceiling", ours, &[("per_s", "drain_noop")]),
        drain(Rusty, 10),
        drain(Rusty, 50),
        slots(Reliable, 10, "latency", if quick { 600 } else { 2_000 }, &LATENCY).pushed(200),
        slots(Sidekiq, 10, "latency", if quick { 600 } else { 2_000 }, &LATENCY).pushed(200),
        slots(Reliable, 1, "promote", 100_000, &[("per_s", "promote")]),
        slots(Sidekiq, 1, "promote", if quick { 5_000 } else { 20_000 }, &[("per_s", "promote")]),
    ];
    if quick {
        return all;
    }
    all.extend([
        drain(Basic, 10),
        drain(Sidekiq, 5),
        Measurement::new(Sidekiq, "2x10", "drain", theirs, &[("per_s", "drain_noop")])
            .with("--concurrency", 10)
            .with("--processes", 2),
        slots(Reliable, 50, "drain", ours, &[("per_s", "drain_logged")]).logged(),
        slots(Sidekiq, 10, "drain", 30_000, &[("per_s", "drain_logged")]).logged(),
        slots(Reliable, 50, "drain", ours, &[("per_s", "drain_1ms")]).delayed(1),
    ]);
    for queues in [1, 10, 100] {
        let one = Measurement::new(Reliable, queues, "drain", ours, &[("per_s", "drain_queues")]);
        all.push(one.with("--concurrency", 50).with("--queues", queues));
    }
    for jobs in [10_000, 100_000, 1_000_000] {
        let one = Measurement::new(Reliable, jobs, "drain", jobs, &[("per_s", "drain_backlog")]);
        all.push(one.with("--concurrency", 50));
    }
    for (system, n) in [(Reliable, 50), (Sidekiq, 50), (Rusty, 50), (Reliable, 500), (Rusty, 500)] {
        all.push(slots(system, n, "sleep", 1_000, &[("seconds", "sleep_100ms_s")]));
    }
    all.extend([
        slots(Reliable, 10, "cpu", 2_000, &READ_JSON),
        slots(Sidekiq, 10, "cpu", 200, &READ_JSON),
        slots(Reliable, 10, "large", 300, &[("mb_per_s", "large_jobs_mb_per_s")]),
        slots(Sidekiq, 10, "large", 300, &[("mb_per_s", "large_jobs_mb_per_s")]),
        slots(Reliable, 10, "push", 100_000, &[("per_s", "push_single")]),
        slots(Sidekiq, 10, "push", 20_000, &[("per_s", "push_single")]),
        slots(Reliable, 1, "bulk", ours, &[("per_s", "push_bulk")]),
        slots(Sidekiq, 1, "bulk", 100_000, &[("per_s", "push_bulk")]),
        slots(Reliable, 50, "fail", 100_000, &[("per_s", "retry_storm")]),
        slots(Sidekiq, 10, "fail", 20_000, &[("per_s", "retry_storm")]),
        slots(Rusty, 10, "latency", 2_000, &LATENCY).pushed(200),
        Measurement::new(Reliable, 1_000, "latency", 200, &QUEUES_LATENCY).with("--queues", 1_000).pushed(20),
        Measurement::new(Sidekiq, 1_000, "latency", 200, &QUEUES_LATENCY).with("--queues", 1_000).pushed(20),
        slots(Reliable, 10, "latency", 25_000, &BUSY_LATENCY).pushed(5_000),
        slots(Sidekiq, 10, "latency", 25_000, &BUSY_LATENCY).pushed(5_000),
        slots(Reliable, 10, "idle", 0, &IDLE).once(),
        slots(Sidekiq, 10, "idle", 0, &IDLE).once(),
        slots(Rusty, 10, "idle", 0, &IDLE).once(),
        Measurement::new(Reliable, "8_queues", "idle", 0, &[("commands_per_s", "idle_commands_per_s")])
            .with("--queues", 8)
            .once(),
        Measurement::new(Reliable, "8_queues", "fleet", 0, &FLEET).with("--queues", 8).once(),
        Measurement::new(Reliable, "1000_queues", "idle", 0, &IDLE[1..]).with("--queues", 1_000).once(),
        slots(Reliable, 100, "sleepers", 100, &[("rss_kb", "rss_sleeping_kb")]),
        slots(Reliable, 10_000, "sleepers", 10_000, &[("rss_kb", "rss_sleeping_kb")]),
    ]);
    all
}

use std::time::Duration;

use crate::error::Result;
use crate::server::Server;
use crate::server::capsule::CapsuleBuilder;
use crate::server::config::{Config, DEFAULT_CAPSULE, FetchMode, RemoteSignals, UnknownClasses, WireVersion};
use crate::server::handle::Handle;
use crate::store::RedisOptions;

/// Describes a [`Server`]: its jobs, capsules, hooks and settings. [`build`](Self::build) checks everything.
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until `build`"]
pub struct ServerBuilder {
    pub(crate) config: Config,
}

impl ServerBuilder {
    /// Where Redis is; `REDIS_PROVIDER` / `REDIS_URL` unless said.
    pub fn redis(mut self, options: RedisOptions) -> Self {
        self.config.redis = Some(options);
        self
    }

    /// A capsule: changed by `describe` if it exists, made if not. `default` always exists.
    pub fn capsule(mut self, name: &str, describe: impl FnOnce(CapsuleBuilder) -> CapsuleBuilder) -> Self {
        let capsule = self.config.capsule(name);
        *capsule = describe(std::mem::take(capsule));
        self
    }

    /// Jobs the default capsule runs at the same time; 5 unless said.
    pub fn concurrency(self, jobs: usize) -> Self {
        self.capsule(DEFAULT_CAPSULE, |capsule| capsule.concurrency(jobs))
    }

    /// The queues of the default capsule, each `"name"` or `"name,weight"`; `["default"]` unless said.
    pub fn queues<Q: Into<String>>(self, queues: impl IntoIterator<Item = Q>) -> Self {
        self.capsule(DEFAULT_CAPSULE, |capsule| capsule.queues(queues))
    }

    /// How long running jobs may take to end when the server stops; 25 s unless said.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.config.timeout = timeout;
        self
    }

    /// The environment's name; `development` unless said.
    pub fn environment(mut self, name: impl Into<String>) -> Self {
        self.config.environment = name.into();
        self
    }

    /// What the Busy page shows behind the process's name.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.config.tag = tag.into();
        self
    }

    /// Labels of the process on the Busy page.
    pub fn labels<L: Into<String>>(mut self, labels: impl IntoIterator<Item = L>) -> Self {
        self.config.labels = labels.into_iter().map(Into::into).collect();
        self
    }

    /// Retries of a job that does not say itself; 25 unless said.
    pub fn max_retries(mut self, times: u64) -> Self {
        self.config.max_retries = times;
        self
    }

    /// Entries the dead set is trimmed to; 10,000 unless said.
    pub fn dead_max_jobs(mut self, jobs: u64) -> Self {
        self.config.dead_max_jobs = jobs;
        self
    }

    /// Age at which entries leave the dead set; 180 days unless said.
    pub fn dead_timeout(mut self, age: Duration) -> Self {
        self.config.dead_timeout = age;
        self
    }

    /// Mean time between two looks of **this process** at the scheduled and retry sets. Unless said, it grows with the
    /// number of processes so that together they look every
    /// [`average_scheduled_poll_interval`](Self::average_scheduled_poll_interval).
    pub fn poll_interval_average(mut self, interval: Duration) -> Self {
        self.config.poll_interval_average = Some(interval);
        self
    }

    /// Mean time between two looks of all processes together; 5 s unless said.
    pub fn average_scheduled_poll_interval(mut self, interval: Duration) -> Self {
        self.config.average_scheduled_poll_interval = interval;
        self
    }

    /// How jobs leave a queue; [`FetchMode::Reliable`] unless said.
    pub fn fetch(mut self, mode: FetchMode) -> Self {
        self.config.fetch = mode;
        self
    }

    /// Which Sidekiq reads what this process writes; [`WireVersion::Auto`] unless said.
    pub fn wire_version(mut self, version: WireVersion) -> Self {
        self.config.wire_version = version;
        self
    }

    /// What happens to jobs of classes that are not registered; [`UnknownClasses::Fail`] unless said.
    pub fn unknown_classes(mut self, policy: UnknownClasses) -> Self {
        self.config.unknown_classes = policy;
        self
    }

    /// Which signals are taken from the Web UI; [`RemoteSignals::All`] unless said.
    pub fn remote_signals(mut self, policy: RemoteSignals) -> Self {
        self.config.remote_signals = policy;
        self
    }

    /// Bytes a payload may have, 16 MiB unless said. A larger one goes to the dead set unread.
    pub fn max_payload(mut self, bytes: usize) -> Self {
        self.config.max_payload = bytes;
        self
    }

    /// Checks everything; nothing changes afterwards.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), naming the culprit.
    pub fn build(self) -> Result<Server> {
        self.config.build_capsules()?;
        Ok(Server { handle: Handle::new() })
    }
}

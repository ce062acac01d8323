use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::client::{Chain, Client, ClientMiddleware};
use crate::error::Result;
use crate::job::{Args, BlockingJob, Context, IterableJob, Job, JobOptions, JobResult, StopSignal};
use crate::payload::Payload;
use crate::server::control::blocking::BlockingPool;
use crate::server::control::events::{Event, LifecycleHook, LifecycleHooks};
use crate::server::control::handle::Handle;
use crate::server::control::supervisor::Supervisor;
use crate::server::fetch::FetchState;
use crate::server::fetch::limits::Limits;
use crate::server::fetch::paused::Paused;
use crate::server::fetch::progress::Progress;
use crate::server::report::pulse::Pulse;
use crate::server::report::{Awaited, Process};
use crate::server::run::foreign::Foreign;
use crate::server::run::hooks::{EndedJob, JobHooks, job_hook};
use crate::server::run::iterating::Iterating;
use crate::server::run::middleware::{AnyServerMiddleware, ServerMiddleware};
#[cfg(feature = "contract")]
use crate::server::run::registry::Registry;
use crate::server::run::registry::{Async, Blocking, Function, Registrations, Wrapping};
use crate::server::run::{ErrorHandler, ErrorReport, Runner};
use crate::server::schedule::tick::{TickContext, TickOptions};
use crate::server::schedule::ticks::Ticks;
use crate::server::settings::capsule::CapsuleBuilder;
#[cfg(feature = "cli")]
use crate::server::settings::config::BOOT_TIMEOUT;
use crate::server::settings::config::{
    Config, DEFAULT_CAPSULE, FetchMode, ForeignJobs, MaxRss, Promote, RemoteSignals, UnknownClasses, WireVersion,
};
use crate::server::settings::dialect::Dialect;
use crate::server::settings::identity::identity;
use crate::server::settle::riding::{Ending, Riding};
use crate::server::settle::withheld::Withheld;
use crate::server::settle::{Settlement, Settler};
use crate::server::shared::Shared;
use crate::server::stats::Stats;
use crate::server::stats::liveness::Liveness;
use crate::server::stats::metrics::Metrics;
use crate::server::stats::outage::Outages;
use crate::server::stats::telemetry::Telemetry;
use crate::server::stats::work::{Counters, WorkState};
use crate::server::unit::{Holdings, MemoryLimit};
use crate::server::worker::Server;
use crate::store::registration::Registration;
use crate::store::{RedisOptions, Rider, Store};
use crate::time::Stamps;

/// Describes a [`Server`]: its jobs, capsules, hooks and settings. [`build`](Self::build) checks everything.
#[derive(Default)]
#[must_use = "a builder does nothing until `build`"]
pub struct ServerBuilder {
    pub(crate) config: Config,
    registrations: Registrations,
    blocking: BlockingPool,
    client_chain: Chain,
    server_chain: Vec<Arc<dyn AnyServerMiddleware>>,
    hooks: LifecycleHooks,
    job_hooks: JobHooks,
    riding: Riding,
    error_handlers: Vec<ErrorHandler>,
    ticks: Ticks,
}

impl ServerBuilder {
    /// Runs payloads of class [`Job::CLASS`] by this job.
    pub fn register<J: Job>(mut self, job: J) -> Self {
        self.registrations.add(J::CLASS, Arc::new(Async { job }));
        self
    }

    /// Runs payloads of class [`BlockingJob::CLASS`] by this job, on threads of the server's own.
    pub fn register_blocking<J: BlockingJob>(mut self, job: J) -> Self {
        self.registrations.add(J::CLASS, Arc::new(Blocking { job, pool: self.blocking.clone() }));
        self
    }

    /// Runs payloads of class [`IterableJob::CLASS`] by this job, item by item.
    pub fn register_iterable<J: IterableJob>(mut self, job: J) -> Self {
        self.registrations.add(J::CLASS, Arc::new(Async { job: Iterating(job) }));
        self
    }

    /// Runs payloads of a class by an async function. The argument's type is a tuple, as of [`Job::Args`].
    ///
    /// ```
    /// use ferrokiq::{Context, JobResult, Server};
    ///
    /// let server = Server::builder().register_fn("PingJob", async |_cx: Context, (host,): (String,)| -> JobResult {
    ///     println!("ping {host}");
    ///     Ok(())
    /// });
    /// # drop(server);
    /// ```
    pub fn register_fn<A, F, Fut>(mut self, class: &str, function: F) -> Self
    where
        A: Args,
        F: Fn(Context, A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = JobResult> + Send + 'static,
    {
        self.registrations.add(class, Arc::new(Function::new(function, JobOptions::new())));
        self
    }

    /// Runs jobs of class [`Job::CLASS`] that come inside payloads of another class. The job's arguments are those of the payload.
    ///
    /// ```
    /// # struct Inside;
    /// # impl ferrokiq::Job for Inside {
    /// #     const CLASS: &'static str = "InsideJob";
    /// #     type Args = ferrokiq::job::RawArgs;
    /// #     async fn perform(&self, _: ferrokiq::Context, _: Self::Args) -> ferrokiq::JobResult { Ok(()) }
    /// # }
    /// use ferrokiq::{JobError, Payload, Server, server::Wrapping};
    ///
    /// static DELAYED: Wrapping = Wrapping {
    ///     wrappers: &["Delayed::Wrapper"],
    ///     inner: |payload| Some(payload.display_class().to_owned()),
    ///     unknown: |payload| JobError::new("NameError", format!("nobody knows {}", payload.display_class())),
    /// };
    /// let server = Server::builder().register_wrapped(&DELAYED, Inside);
    /// # drop(server);
    /// ```
    pub fn register_wrapped<J: Job>(mut self, wrapping: &'static Wrapping, job: J) -> Self {
        self.registrations.add_wrapped(wrapping, J::CLASS, Arc::new(Async { job }));
        self
    }

    /// Code around every push of this process, and around every due job that this process moves to its queue; the first added is the outermost.
    pub fn client_middleware(mut self, middleware: impl ClientMiddleware) -> Self {
        self.client_chain.add(middleware);
        self
    }

    /// Code around every job; the first added is the outermost.
    pub fn server_middleware(mut self, middleware: impl ServerMiddleware) -> Self {
        self.server_chain.push(Arc::new(middleware));
        self
    }

    /// Runs an async function at a moment in the server's life; several for one moment run in order, in reverse order when going
    /// down. It takes nothing, or a [`ServerContext`](crate::server::ServerContext) with a client. How long it may take: see [`Event`].
    ///
    /// ```
    /// use ferrokiq::server::ServerContext;
    /// use ferrokiq::{Event, Payload, Server};
    ///
    /// let server = Server::builder()
    ///     .on(Event::Startup, async |server: ServerContext| {
    ///         if let Err(error) = server.client().push(Payload::new("WarmUpJob", [])).await {
    ///             tracing::error!(%error, process = server.identity(), "cannot enqueue the warm-up");
    ///         }
    ///     })
    ///     .on(Event::Exit, async || tracing::info!("that was it"));
    /// # drop(server);
    /// ```
    pub fn on<Takes>(mut self, event: Event, hook: impl LifecycleHook<Takes>) -> Self {
        self.hooks.add(event, hook);
        self
    }

    /// Calls an async function for every job that succeeded, **before** the job is acknowledged.
    ///
    /// The job hooks, this one, [`on_retry`](Self::on_retry) and [`on_death`](Self::on_death), share these rules:
    ///
    /// - A hook is called at least once. If the process dies between the call and the settlement, the job runs again and the hook is called
    ///   again: make it idempotent, as the job.
    /// - Hooks of one kind run one after the other, in the order they were added, and the job keeps its slot meanwhile. Each has the
    ///   [`hook_timeout`](Self::hook_timeout), 10 s by default. A hook that takes longer is logged and aborted at its next `await`, one that
    ///   panics is logged, and the job is settled all the same.
    /// - No hook is called for a job that snoozes or is requeued, that is no payload, or that a recovery moves to the dead set.
    ///
    /// ```
    /// use ferrokiq::{Payload, Server, server::EndedJob};
    ///
    /// /// Pushes the job that a payload names as its successor.
    /// async fn next_step(job: EndedJob) {
    ///     let Some(class) = job.payload().decode::<String>("next") else { return };
    ///     if let Err(error) = job.client().push(Payload::new(&class, [job.jid().into()])).await {
    ///         tracing::error!(%error, jid = job.jid(), "the successor is not enqueued");
    ///     }
    /// }
    ///
    /// let server = Server::builder().on_success(next_step);
    /// # drop(server);
    /// ```
    pub fn on_success<Fut>(mut self, hook: impl Fn(EndedJob) -> Fut + Send + Sync + 'static) -> Self
    where
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.job_hooks.success.push(job_hook(hook));
        self
    }

    /// Calls an async function for every job that failed and is retried, before it is stored in the retry set. The rules are those of
    /// [`on_success`](Self::on_success).
    pub fn on_retry<Fut>(mut self, hook: impl Fn(EndedJob) -> Fut + Send + Sync + 'static) -> Self
    where
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.job_hooks.retry.push(job_hook(hook));
        self
    }

    /// Calls an async function for every job that is given up, before it is buried in the dead set or, because of `retry: false`, `dead: false`
    /// or [`JobError::discard`](crate::JobError::discard), dropped. Sidekiq's death handlers; the rules are those of
    /// [`on_success`](Self::on_success).
    ///
    /// ```
    /// use ferrokiq::{Server, server::EndedJob};
    ///
    /// let server = Server::builder().on_death(async |job: EndedJob| {
    ///     tracing::error!(jid = job.jid(), class = job.class(), error = ?job.error(), "given up");
    /// });
    /// # drop(server);
    /// ```
    pub fn on_death<Fut>(mut self, hook: impl Fn(EndedJob) -> Fut + Send + Sync + 'static) -> Self
    where
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.job_hooks.death.push(job_hook(hook));
        self
    }

    /// How long one job hook may take, [`on_success`](Self::on_success), [`on_retry`](Self::on_retry) or [`on_death`](Self::on_death), and the
    /// [client middleware](ClientMiddleware) for one due job; 10 s by default.
    pub fn hook_timeout(mut self, timeout: Duration) -> Self {
        self.config.hook_timeout = timeout;
        self
    }

    /// Adds a function that returns the [`Rider`] of a job, if it has one: an effect in Redis that takes place together with the settlement of the
    /// job, once. It is called for each attempt that ends, with the payload as it was fetched, or, of a job that failed, as it is stored, and
    /// with what becomes of it. Several functions give a job several riders, applied in the order in which the functions were added.
    ///
    /// A job without a rider costs nothing more. One that is done waits in its slot for the answer of Redis; the riders of jobs that are done at
    /// the same time leave with one script. A job that is put back to its queue is not settled and has no rider, nor has one that cannot be read
    /// or that the recovery moves to the dead set since processes died with it. A function must not block; if it panics, the log has the panic
    /// and the job no rider of it.
    ///
    /// ```
    /// use ferrokiq::{Ending, KeyType, Rider, Server};
    ///
    /// // Counts the jobs of each class that succeeded or died, exactly once each.
    /// let server = Server::builder().rider(|payload, ending| {
    ///     let key = match ending {
    ///         Ending::Done => "app:done",
    ///         Ending::Died => "app:died",
    ///         _ => return None,
    ///     };
    ///     Some(Rider::new("redis.call('HINCRBY', KEYS[1], ARGV[1], 1)").key(KeyType::Hash, key).arg(payload.class()))
    /// });
    /// # drop(server);
    /// ```
    ///
    /// The user of the worker needs the rights to the keys and commands of its riders.
    pub fn rider(mut self, rider: impl Fn(&Payload, Ending) -> Option<Rider> + Send + Sync + 'static) -> Self {
        self.riding.add(rider);
        self
    }

    /// Learns of every failure. Sidekiq's error handlers; what they get is logged already.
    pub fn on_error(mut self, handler: impl Fn(&ErrorReport<'_>) + Send + Sync + 'static) -> Self {
        self.error_handlers.push(Arc::new(handler));
        self
    }

    /// Calls an async function at an interval while the server runs: in every process, or only in the one that leads.
    ///
    /// The first run begins when the server has started; that of a [leader-only](TickOptions::leader_only) tick begins as soon as the process
    /// leads, which may be sooner than an interval after the last run of the leader before. A tick never runs twice at a time in a process.
    /// Runs that were missed are left out: the next one begins a whole number of intervals after the one before. A run that fails or panics is
    /// logged; one that takes longer than the [limit](TickOptions::timeout), or whose process does not lead any more, is cancelled at its next
    /// `await`. Ticks go on while the server is quiet. In a stop a run gets what is left of the [timeout](Self::timeout).
    ///
    /// One process of a [group](Self::leader_group) leads: the one that holds a lease in Redis. With the default
    /// [`liveness`](Self::liveness) of 30 s a lease lasts 15 s, and the leader renews it every 5 s. After a stop another process leads within
    /// a second, after `kill -9` within 16 s; within 20 s if other candidates died with the leader. Together the candidates ask
    /// Redis twice a second, or each of them every 5 s if they are more than ten. A server without a leader-only tick and without a hook for
    /// [`Event::Leader`] takes no part and sends nothing.
    ///
    /// A paused machine can wake up and take itself for the leader when another process leads. A write that only a leader may do therefore goes
    /// through [`TickContext::run_fenced`]. Jobs that a tick pushes are not fenced: give them a fixed id, and push them
    /// [idempotently](crate::Client::idempotent).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use ferrokiq::Server;
    /// use ferrokiq::server::{FencedScript, TickContext, TickOptions};
    ///
    /// let count = FencedScript::new("return redis.call('INCR', KEYS[1])");
    /// let server = Server::builder().on_tick(
    ///     TickOptions::every(Duration::from_secs(60)).leader_only().name("minutes"),
    ///     move |cx: TickContext| {
    ///         let count = count.clone();
    ///         async move {
    ///             cx.run_fenced(&count, &["app:minutes"], &[""; 0]).await?;
    ///             Ok(())
    ///         }
    ///     },
    /// );
    /// # drop(server);
    /// ```
    pub fn on_tick<Fut>(
        mut self,
        options: TickOptions,
        tick: impl Fn(TickContext) -> Fut + Send + Sync + 'static,
    ) -> Self
    where
        Fut: Future<Output = JobResult> + Send + 'static,
    {
        self.ticks.add(options, tick);
        self
    }

    /// The processes among which one leads: those that give the same name, and use the same Redis and database. `default` by default. Give
    /// each app a group of its own: the leader runs the ticks that it knows, not those of others. 1 to 100 bytes without spaces.
    pub fn leader_group(mut self, name: impl Into<String>) -> Self {
        self.ticks.group = name.into();
        self
    }

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

    /// Whether the server is a guest in a process that does other work, a web server's say. As Sidekiq's embedded mode: the
    /// Busy page offers no buttons for it, and signals sent through Redis are not obeyed. `false` unless said.
    pub fn embedded(mut self, embedded: bool) -> Self {
        self.config.embedded = embedded;
        self
    }

    /// As the command line runs it: the process's name shows how busy it is, and without a tag it has that of its directory.
    #[cfg(feature = "cli")]
    pub(crate) fn of_command_line(mut self, tag: impl FnOnce() -> String) -> Self {
        self.config.procline = true;
        self.config.boot_timeout.get_or_insert(BOOT_TIMEOUT);
        if self.config.tag.is_empty() {
            self.config.tag = tag();
        }
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
    /// [`average_scheduled_poll_interval`](Self::average_scheduled_poll_interval). At least 10 ms lie between two looks.
    pub fn poll_interval_average(mut self, interval: Duration) -> Self {
        self.config.poll_interval_average = Some(interval);
        self
    }

    /// Mean time between two looks of all processes together; 5 s unless said.
    pub fn average_scheduled_poll_interval(mut self, interval: Duration) -> Self {
        self.config.average_scheduled_poll_interval = interval;
        self
    }

    /// Which due jobs this process moves to their queues; [`Promote::Own`] by default.
    ///
    /// ```
    /// use ferrokiq::Server;
    /// use ferrokiq::server::Promote;
    ///
    /// let server = Server::builder().promote(Promote::All);
    /// # drop(server);
    /// ```
    pub fn promote(mut self, which: Promote) -> Self {
        self.config.promote = Some(which);
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

    /// What happens to jobs of classes that are not registered; [`UnknownClasses::Fail`] unless said. For a queue that Ruby and Rust
    /// processes both serve:
    ///
    /// ```
    /// use ferrokiq::Server;
    /// use ferrokiq::server::UnknownClasses;
    ///
    /// let server = Server::builder().unknown_classes(UnknownClasses::Divert("ruby".into()));
    /// # drop(server);
    /// ```
    pub fn unknown_classes(mut self, policy: UnknownClasses) -> Self {
        self.config.unknown_classes = policy;
        self
    }

    /// What happens to jobs that hold something of a Ruby gem, such as a lock or a place in a batch; [`ForeignJobs::Requeue`]
    /// by default: they are left to Ruby.
    pub fn foreign_jobs(mut self, policy: ForeignJobs) -> Self {
        self.config.foreign_jobs = policy;
        self
    }

    /// Classes whose jobs belong to a Ruby gem though their payloads do not show it: those tracked by sidekiq-status, limited by
    /// sidekiq-throttled, or made unique by activejob-uniqueness. For an ActiveJob, the class of the job, not of its wrapper. None by
    /// default. [`foreign_jobs`](Self::foreign_jobs) decides what becomes of them.
    pub fn foreign_classes(mut self, classes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.config.foreign_classes = classes.into_iter().map(Into::into).collect();
        self
    }

    /// How long the server waits for Redis when it starts: while nobody is there, or Redis loads its data or follows a primary that it cannot
    /// reach. Zero, the default, ends [`run`](crate::Server::run) with the first error, as Sidekiq does; a worker of
    /// [`cli::run`](crate::cli::run) waits for 60 s. A wrong password or an old Redis is an error at once.
    ///
    /// While it waits it logs the cause every ten seconds, answers `/live` with 200 and `/ready` with 503, and can be stopped.
    pub fn boot_timeout(mut self, timeout: Duration) -> Self {
        self.config.boot_timeout = Some(timeout);
        self
    }

    /// Which signals are taken from the Web UI; [`RemoteSignals::All`] unless said.
    pub fn remote_signals(mut self, policy: RemoteSignals) -> Self {
        self.config.remote_signals = policy;
        self
    }

    /// Bytes a payload may have: 16 MiB by default, 0 for no limit. A larger one goes to the dead set unread. Ruby has no such limit.
    ///
    /// The client of this server refuses to push what would exceed it; give other clients the same value
    /// ([`ClientBuilder::max_payload`](crate::client::ClientBuilder::max_payload)). A job of this size occupies its worker and Redis once it
    /// is fetched, and once more each time it fails.
    pub fn max_payload(mut self, bytes: usize) -> Self {
        self.config.max_payload = if bytes == 0 { usize::MAX } else { bytes };
        self
    }

    /// How long a process counts as alive without a sign of life, 30 s unless said; a second at least, a day at most.
    ///
    /// A sign goes out every sixth of it. A process that could not give one for two thirds of it fetches nothing more, and the jobs of one
    /// that died are back in their queues after 52/30 of it, 59/30 if a second one dies just before it puts them back. All processes of a
    /// Redis should say the same. Shorter finds dead processes sooner and takes more live ones for dead when the network or the machine
    /// falters; their jobs run twice then.
    pub fn liveness(mut self, span: Duration) -> Self {
        self.config.liveness = span;
        self
    }

    /// How long an [iterable job](IterableJob) may run before it makes way for others; until it is through unless said.
    pub fn max_iteration_runtime(mut self, span: Duration) -> Self {
        self.config.max_iteration_runtime = Some(span);
        self
    }

    /// Answers `GET /live`, `/ready` and `/metrics` at this address while the server runs; off unless said. The answers are plain, without
    /// secrets and for everybody who can reach the address: [`DEFAULT_HEALTH`](crate::server::DEFAULT_HEALTH), say, is for this machine only.
    ///
    /// - `/live`: 200 while the process works, 503 with the reason on a line once a new process is needed: the runtimes have not moved for 20 s;
    ///   loops of the server panicked five times within a minute; blocking jobs that were given up hold more threads than there are slots, or
    ///   256; or jobs wait and slots are free, but none was taken for a minute. Redis has no part in it: to start a process anew would not
    ///   bring Redis back.
    /// - `/ready`: 200 while the server takes work, 503 with the reason on a line before its first beat, while Redis does not answer, and
    ///   once it was told to quiet or stop. It answers until the server has ended.
    /// - `/metrics`: the [metrics](crate::guide::metrics), for Prometheus.
    pub fn health(mut self, address: SocketAddr) -> Self {
        self.config.health = Some(address);
        self
    }

    /// Bytes of memory above which the server stops, so that its supervisor starts it again; no limit by default.
    ///
    /// The process measures its resident memory every 250 ms, whether Redis answers or not. Above the limit it stops in good order: it fetches
    /// nothing more, running jobs get the [timeout](Self::timeout), and [`Stopped::over_memory`](crate::server::Stopped::over_memory) is true;
    /// [`cli::run`](crate::cli::run) then exits with 75. Near the limit it claims no job until others have ended: it expects each job to take
    /// four times its payload. A process that holds no job always claims.
    ///
    /// [`build`](Self::build) fails where the system does not report the memory of a process: on Linux without `/proc`, on OpenBSD and NetBSD.
    pub fn max_rss(mut self, bytes: u64) -> Self {
        self.config.max_rss = Some(MaxRss::Bytes(bytes));
        self
    }

    /// As [`max_rss`](Self::max_rss), at four fifths of the memory limit of the control group that the process is in: of Linux, versions 1 and 2,
    /// so of a container, a pod or a systemd unit. Without such a limit the process has none, and logs a warning.
    ///
    /// [`build`](Self::build) fails where the limit cannot be read.
    pub fn max_rss_auto(mut self) -> Self {
        self.config.max_rss = Some(MaxRss::Auto);
        self
    }

    /// Where Redis is and how large a payload may be, and every class, for a look at what waits.
    #[cfg(feature = "contract")]
    pub(crate) fn into_registry(self) -> Result<(Config, Registry)> {
        Ok((self.config, self.registrations.build(&Metrics::default())?))
    }

    /// Checks everything; nothing changes afterwards.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), naming the culprit.
    pub fn build(self) -> Result<Server> {
        let capsules = self.config.build_capsules()?;
        self.ticks.check()?;
        let options = self.config.redis.clone().map_or_else(RedisOptions::from_env, Ok)?;
        let store = Store::new(options);
        let metrics = Metrics::default();
        let registry = self.registrations.build(&metrics)?;
        let stamps = Stamps::default();
        let (acknowledger, acknowledgements) = mpsc::unbounded_channel();
        let (identity, work) = (identity(), WorkState::default());
        let (registration, supervisor) = (Arc::new(Registration::of(&identity)), Supervisor::default());
        let holdings = Holdings::default();
        let limits = Limits::new(&identity, holdings.clone());
        let settler =
            Settler::new(store.clone(), Arc::clone(&registration), acknowledger, supervisor.clone(), limits.clone());
        let shared = Arc::new(Shared {
            identity,
            registration,
            handle: Handle::new(work.clone()),
            supervisor,
            dialect: Dialect::new(self.config.wire_version, stamps.clone()),
            stats: Stats {
                counters: Counters::default(),
                metrics,
                telemetry: Telemetry::new(&capsules),
                work,
                liveness: Arc::new(Liveness::new(self.config.liveness)),
                outages: Outages::default(),
            },
            store: store.clone(),
            config: self.config,
        });
        let fetch = Arc::new(FetchState {
            shared: Arc::clone(&shared),
            holdings,
            isolation: Arc::default(),
            paused: Paused::default(),
            limits,
            progress: Progress::default(),
            memory_limit: MemoryLimit::of(shared.config.max_rss)?,
        });
        let settle = Arc::new(Settlement {
            shared: Arc::clone(&shared),
            settler,
            withheld: Withheld::default(),
            riding: self.riding,
        });
        let runner = Arc::new(Runner {
            shared: Arc::clone(&shared),
            fetch,
            settle,
            registry,
            foreign: Foreign::new(&shared.config),
            middleware: self.server_chain.into(),
            hooks: self.job_hooks,
            error_handlers: self.error_handlers,
            client: Client::over(store, self.client_chain, stamps, shared.config.max_payload),
            blocking: self.blocking,
            stop: StopSignal::default(),
        });
        let process = Process {
            shared,
            runner,
            hooks: self.hooks,
            pulse: Pulse::default(),
            evicts: AtomicBool::default(),
            boot: Awaited::default(),
        };
        Ok(Server { process: Arc::new(process), capsules, acknowledgements, ticks: self.ticks })
    }
}

impl Server {
    /// Starts describing a server.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }
}

impl std::fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerBuilder")
            .field("config", &self.config)
            .field("classes", &self.registrations)
            .finish_non_exhaustive()
    }
}

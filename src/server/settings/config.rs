use std::net::SocketAddr;
use std::time::Duration;

pub use crate::probe::DEFAULT_HEALTH;

use crate::error::{Error, Result};
use crate::payload::{MAX_PAYLOAD, is_routable_queue};
use crate::server::settings::capsule::{Capsule, CapsuleBuilder};
use crate::store::RedisOptions;

/// How jobs leave a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchMode {
    /// A job moves into a private list and leaves it only when it is done, retried, dead or requeued: a crash loses
    /// nothing, any live ferrokiq process puts the jobs of a dead one back. The default.
    #[default]
    Reliable,
    /// A job leaves Redis when it is fetched, as in Sidekiq's open-source version: a crash loses the jobs that ran.
    /// For queues where the last bit of speed beats safety.
    Basic,
}

/// Which Sidekiq the stamps of **new** payloads and the process info are written for. Payloads that exist keep the form
/// of their own `created_at`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireVersion {
    /// The oldest major version among the live processes, looked up at boot and on every beat; 8 if there are none.
    #[default]
    Auto,
    /// Sidekiq 6.4: float seconds.
    V6,
    /// Sidekiq 7: float seconds.
    V7,
    /// Sidekiq 8: integer milliseconds.
    V8,
}

/// What happens to a job of a class that is not registered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnknownClasses {
    /// It fails with `NameError` and is retried, as in Ruby. The default.
    #[default]
    Fail,
    /// It goes back to its queue for a Ruby process, as it is and without burning a retry. This process then leaves that queue alone for
    /// 20 ms, for twice as long after each further job it does not know, up to a second, and for half as long after each one it does.
    /// While nobody who knows it is there, it stands before those behind it.
    Requeue,
    /// It goes to the end of this queue, which a Ruby process serves and this one does not, as it is and without burning a retry.
    ///
    /// Its `queue` still names the queue it was pushed to; Ruby, as this process, retries a job where it was fetched, so its retries come
    /// to this queue by themselves. A job whose `queue` is this one already was sent here by others who do not know it either: it fails, so
    /// that nothing goes round in circles.
    Divert(String),
}

/// What happens to a job that belongs to a Ruby gem: a lock of sidekiq-unique-jobs or Sidekiq Enterprise, a place in a batch
/// ([`Payload::gem`](crate::Payload::gem)), or a class that [`foreign_classes`](crate::ServerBuilder::foreign_classes) lists.
///
/// Only the gem's Ruby middleware releases what such a job holds. A Rust worker that ran it would leave the lock for ever, or a batch
/// that never completes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForeignJobs {
    /// It goes back to its queue for a Ruby process, as [`UnknownClasses::Requeue`] does it. The default. Where no Ruby process serves
    /// that queue, the job waits there, and before those behind it; this process looks at the queue once a second then.
    #[default]
    Requeue,
    /// It goes to the end of this queue, which a Ruby process serves and this one does not, as [`UnknownClasses::Divert`] does it.
    Divert(String),
    /// It fails with `Ferrokiq::ForeignJob` and is retried as any other failure. What it holds stays held.
    Fail,
    /// It runs. What it holds stays held, unless the job or a middleware of this process releases it.
    Run,
}

/// Whether a process with these capsules can divert jobs to this queue.
fn check_divert(setting: &str, queue: &str, capsules: &[Capsule]) -> Result<()> {
    if !is_routable_queue(queue) {
        return Err(Error::config(format!("{setting}: divert: {queue:?} is no queue name")));
    }
    if capsules.iter().flat_map(Capsule::weights).any(|(served, _)| served == queue) {
        return Err(Error::config(format!("{setting}: divert: this process serves the queue {queue} itself")));
    }
    Ok(())
}

/// Which due jobs of `schedule` and `retry` this process moves to their queues.
///
/// Ruby's poller pushes a due job through the client middleware of Ruby. A process of ferrokiq moves it with a script, which no middleware of
/// Ruby sees. So each side should promote the jobs that it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Promote {
    /// While a Ruby process polls: jobs whose class is registered here, and jobs of queues that no Ruby process serves. All other jobs are left
    /// to Ruby's poller, and promoted here once they are overdue by 60 s. While no Ruby process polls: all due jobs. The default.
    ///
    /// A Ruby process polls if its hash in Redis was written within the last 30 s and its field `quiet` is not `true`.
    #[default]
    Own,
    /// All due jobs, always. Where Ruby's own poller is switched off, or no client middleware of Ruby matters.
    All,
    /// None: the poller does not read the two sets. Another process has to promote.
    Off,
}

/// Which signals the Web UI and `Sidekiq::ProcessSet` may send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemoteSignals {
    /// Quiet, stop and dump.
    #[default]
    All,
    /// Quiet and dump.
    Quiet,
    /// None: they are taken off the list and logged.
    None,
}

/// How much memory the process may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MaxRss {
    Bytes(u64),
    /// By the limit of the control group.
    Auto,
}

/// Every setting of a server but its jobs and hooks. Filled by [`ServerBuilder`](crate::server::ServerBuilder), frozen
/// by `build`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Where Redis is; `None` asks the environment.
    pub(crate) redis: Option<RedisOptions>,
    pub(crate) capsules: Vec<(String, CapsuleBuilder)>,
    pub(crate) timeout: Duration,
    pub(crate) environment: String,
    pub(crate) tag: String,
    pub(crate) labels: Vec<String>,
    pub(crate) embedded: bool,
    pub(crate) procline: bool,
    pub(crate) max_retries: u64,
    pub(crate) dead_max_jobs: u64,
    pub(crate) dead_timeout: Duration,
    pub(crate) poll_interval_average: Option<Duration>,
    pub(crate) average_scheduled_poll_interval: Duration,
    /// `None` where neither the program nor the command line sets it: the environment variable may.
    pub(crate) promote: Option<Promote>,
    pub(crate) fetch: FetchMode,
    pub(crate) wire_version: WireVersion,
    pub(crate) unknown_classes: UnknownClasses,
    pub(crate) foreign_jobs: ForeignJobs,
    /// Classes whose jobs belong to a Ruby gem, besides those that payloads name.
    pub(crate) foreign_classes: Vec<String>,
    pub(crate) remote_signals: RemoteSignals,
    pub(crate) max_payload: usize,
    pub(crate) liveness: Duration,
    pub(crate) max_iteration_runtime: Option<Duration>,
    /// How long one hook may take that sees what a job ended with.
    pub(crate) hook_timeout: Duration,
    pub(crate) health: Option<SocketAddr>,
    pub(crate) max_rss: Option<MaxRss>,
    /// How long it waits for Redis when it starts; `None` where the program does not set it: not at all, but the command line has its own.
    pub(crate) boot_timeout: Option<Duration>,
}

/// How long a worker that is run by the command line waits for Redis when it starts.
#[cfg(feature = "cli")]
pub(crate) const BOOT_TIMEOUT: Duration = Duration::from_secs(60);

/// For longer nobody is to miss a process that died.
const LONGEST_LIVENESS: Duration = Duration::from_secs(24 * 60 * 60);

/// The capsule every server has.
pub(crate) const DEFAULT_CAPSULE: &str = "default";

impl Default for Config {
    fn default() -> Self {
        Self {
            redis: None,
            capsules: vec![(DEFAULT_CAPSULE.to_owned(), CapsuleBuilder::default())],
            timeout: Duration::from_secs(25),
            environment: "development".to_owned(),
            tag: String::new(),
            labels: Vec::new(),
            embedded: false,
            procline: false,
            max_retries: 25,
            dead_max_jobs: 10_000,
            dead_timeout: Duration::from_secs(180 * 24 * 60 * 60),
            poll_interval_average: None,
            average_scheduled_poll_interval: Duration::from_secs(5),
            promote: None,
            fetch: FetchMode::Reliable,
            wire_version: WireVersion::Auto,
            unknown_classes: UnknownClasses::Fail,
            foreign_jobs: ForeignJobs::Requeue,
            foreign_classes: Vec::new(),
            remote_signals: RemoteSignals::All,
            max_payload: MAX_PAYLOAD,
            liveness: Duration::from_secs(30),
            max_iteration_runtime: None,
            hook_timeout: Duration::from_secs(10),
            health: None,
            max_rss: None,
            boot_timeout: None,
        }
    }
}

impl Config {
    pub(crate) fn capsule(&mut self, name: &str) -> &mut CapsuleBuilder {
        let at = self.capsules.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            self.capsules.push((name.to_owned(), CapsuleBuilder::default()));
            self.capsules.len() - 1
        });
        &mut self.capsules[at].1
    }

    /// The capsules, checked. The default one serves the queue `default` unless it was given queues.
    pub(crate) fn build_capsules(&self) -> Result<Vec<Capsule>> {
        if self.timeout.is_zero() {
            return Err(Error::config("timeout: 0 is not a valid value"));
        }
        if self.liveness < Duration::from_secs(1) {
            return Err(Error::config(format!(
                "liveness: {:?} is too short: a second at least, or processes that live are taken for dead",
                self.liveness
            )));
        }
        if self.liveness > LONGEST_LIVENESS {
            return Err(Error::config(format!("liveness: {:?} is too long: a day at most", self.liveness)));
        }
        let capsules: Vec<Capsule> = self
            .capsules
            .iter()
            .map(|(name, builder)| {
                let mut builder = builder.clone();
                if name == DEFAULT_CAPSULE && builder.queues.is_empty() {
                    builder.queues.push("default".to_owned());
                }
                Capsule::build(name, &builder)
            })
            .collect::<Result<_>>()?;
        if let UnknownClasses::Divert(queue) = &self.unknown_classes {
            check_divert("unknown_classes", queue, &capsules)?;
        }
        if let ForeignJobs::Divert(queue) = &self.foreign_jobs {
            check_divert("foreign_jobs", queue, &capsules)?;
        }
        Ok(capsules)
    }
}

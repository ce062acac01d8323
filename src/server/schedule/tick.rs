//! One tick: an async function that a server calls at an interval, in every process or in the one that leads.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, sleep, sleep_until};

use crate::boxed::BoxFuture;
use crate::client::Client;
use crate::contain::Contained;
use crate::error::{Error, ErrorKind, Result};
use crate::job::{JobResult, StopSignal};
use crate::server::control::supervisor::{Part, spawn};
use crate::server::run::Runner;
use crate::server::schedule::leader::Leadership;
use crate::store::lease::FencedScript;

/// How often a tick runs, and where. Passed to [`ServerBuilder::on_tick`](crate::ServerBuilder::on_tick).
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `on_tick`"]
pub struct TickOptions {
    pub(super) name: String,
    pub(super) every: Duration,
    pub(super) timeout: Option<Duration>,
    pub(super) leader_only: bool,
}

/// The default time limit of a tick, if its interval is not longer.
const TIMEOUT: Duration = Duration::from_secs(60);
/// When a cancelled tick that does not end is worth a log line.
const STUBBORN: Duration = Duration::from_secs(10);

impl TickOptions {
    /// A tick that every process runs at this interval, 1 ms or more.
    pub fn every(interval: Duration) -> Self {
        Self { name: "tick".to_owned(), every: interval, timeout: None, leader_only: false }
    }

    /// Runs the tick in the process that leads the [group](crate::ServerBuilder::leader_group), and in no other.
    pub fn leader_only(mut self) -> Self {
        self.leader_only = true;
        self
    }

    /// What log lines call the tick; `tick` by default.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How long a run may take; by default the interval, but at least 60 s. A run that takes longer is cancelled at its next `await`.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    fn limit(&self) -> Duration {
        self.timeout.unwrap_or(self.every.max(TIMEOUT))
    }
}

/// What a tick may use. Cheap to clone.
#[derive(Clone)]
pub struct TickContext {
    runner: Arc<Runner>,
    leadership: Arc<Leadership>,
    group: Arc<str>,
    /// The token under which the process led when this run began.
    token: Option<u64>,
}

impl TickContext {
    /// A client for the server's Redis, with its middleware.
    pub fn client(&self) -> &Client {
        &self.runner.client
    }

    /// The identity of this process, `HOST:PID:NONCE`, as the Busy page shows it.
    pub fn identity(&self) -> &str {
        &self.runner.shared.identity
    }

    /// Whether this process still leads under the lease that it had when this run began. Decided by the local clock, without Redis: `true` is
    /// no guarantee after a pause of the machine; [`run_fenced`](Self::run_fenced) is. Always `false` on a server that does not
    /// [take part](crate::ServerBuilder::on_tick).
    pub fn is_leader(&self) -> bool {
        self.token.is_some() && self.leadership.token() == self.token
    }

    /// The fencing token of the lease that this process had when this run began; `None` if it did not lead. Always `Some` in a
    /// [leader-only](TickOptions::leader_only) tick.
    ///
    /// A later lease of the group has a greater token. A store other than Redis can keep the greatest token it has seen, and refuse writes
    /// that come with a smaller one.
    pub fn token(&self) -> Option<u64> {
        self.token
    }

    /// Runs a script in Redis if the lease that this process had when this run began is the current one. Returns the string or integer that
    /// the script returned, an integer as digits; `None` if it returned nothing.
    ///
    /// Redis compares the token and runs the script in one step: once a later leader has written, no earlier one can. `keys` and `args` are
    /// the script's `KEYS` and `ARGV`. The access lists in `docs/acl` allow no keys but Sidekiq's and `ferrokiq:*`: allow the worker those of
    /// your scripts.
    ///
    /// ```
    /// use ferrokiq::server::{FencedScript, TickContext};
    ///
    /// async fn note(cx: &TickContext, line: &str) -> ferrokiq::Result<()> {
    ///     let append = FencedScript::new("redis.call('RPUSH', KEYS[1], ARGV[1])");
    ///     cx.run_fenced(&append, &["app:log"], &[line]).await?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// - [`ErrorKind::NotLeader`]: another process leads, or Redis lost the lease, or this process did not lead when this run began. The
    ///   script did not run.
    /// - [`ErrorKind::Redis`]: Redis is unreachable or refused the script. What the script wrote before a refused command stays.
    /// - [`ErrorKind::Ambiguous`]: no answer came; the script may have run.
    ///
    /// # Cancel safety
    ///
    /// As if no answer came.
    pub async fn run_fenced(
        &self,
        script: &FencedScript,
        keys: &[&str],
        args: &[impl AsRef<[u8]>],
    ) -> Result<Option<Vec<u8>>> {
        let Some(token) = self.token else {
            return Err(Error::new(ErrorKind::NotLeader, "this process did not lead when the tick began"));
        };
        let args: Vec<&[u8]> = args.iter().map(AsRef::as_ref).collect();
        let ran = self.runner.shared.store.run_fenced((&self.group, token), script, keys, &args).await;
        if ran.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotLeader) {
            self.leadership.refused(token);
        }
        ran
    }

    /// Whether the server stops. A run may go on until the [shutdown timeout](crate::ServerBuilder::timeout) is over; a leader gives its lease
    /// back once its runs have ended.
    pub fn is_stopping(&self) -> bool {
        self.runner.stop.is_set()
    }

    /// Resolves once the server stops. Cancel safe.
    pub async fn stopping(&self) {
        self.runner.stop.wait().await;
    }
}

impl fmt::Debug for TickContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TickContext").field("group", &self.group).field("token", &self.token).finish_non_exhaustive()
    }
}

/// The function of a tick.
pub(super) type Body = Arc<dyn Fn(TickContext) -> BoxFuture<'static, JobResult> + Send + Sync>;

type Ended = std::result::Result<std::result::Result<JobResult, String>, JoinError>;

/// Runs one tick of a server at its interval.
pub(super) struct Tick {
    options: TickOptions,
    body: Body,
    runner: Arc<Runner>,
    leadership: Arc<Leadership>,
    group: Arc<str>,
    due: Instant,
    /// The token of the lease that `due` belongs to; of a leader-only tick.
    lease: Option<u64>,
    /// The run that is going on. Kept here so that a panic of this part does not let a second one begin beside it.
    running: Option<JoinHandle<std::result::Result<JobResult, String>>>,
}

impl Part for Tick {
    fn name(&self) -> &'static str {
        "tick"
    }

    /// Until the server stops and no run is going on.
    async fn run(&mut self) {
        if self.running.is_some() {
            self.cancel("this part of the server panicked").await;
        }
        while let Some(token) = self.wait_until_due().await {
            self.run_once(token).await;
            self.due = next(self.due, self.options.every, Instant::now());
        }
    }

    fn may_end(&self) -> bool {
        self.stop().is_set() && self.running.is_none()
    }
}

impl Tick {
    pub(super) fn new(
        (options, body): (TickOptions, Body),
        runner: Arc<Runner>,
        leadership: Arc<Leadership>,
        group: Arc<str>,
    ) -> Self {
        Self { options, body, runner, leadership, group, due: Instant::now(), lease: None, running: None }
    }

    fn stop(&self) -> &StopSignal {
        &self.runner.stop
    }

    /// Waits until a run is due. Returns the token under which the process leads, if it does; `None` once the server stops.
    async fn wait_until_due(&mut self) -> Option<Option<u64>> {
        let stop = self.stop().clone();
        if !self.options.leader_only {
            tokio::select! {
                biased;
                () = stop.wait() => return None,
                () = sleep_until(self.due) => return Some(self.leadership.token()),
            }
        }
        loop {
            let token = tokio::select! {
                biased;
                () = stop.wait() => return None,
                token = self.leadership.gained() => token,
            };
            if self.lease.replace(token) != Some(token) {
                self.due = Instant::now();
            }
            tokio::select! {
                biased;
                () = stop.wait() => return None,
                () = self.leadership.lost(token) => {}
                () = sleep_until(self.due) => return Some(Some(token)),
            }
        }
    }

    /// Runs the tick once, until it has ended.
    async fn run_once(&mut self, token: Option<u64>) {
        let context = TickContext {
            runner: Arc::clone(&self.runner),
            leadership: Arc::clone(&self.leadership),
            group: Arc::clone(&self.group),
            token,
        };
        let body = Arc::clone(&self.body);
        // In a task of its own: it may block its thread.
        let run = self.running.insert(spawn(Contained::new(Box::pin(async move { body(context).await }))));
        let (every, limit, name) = (self.options.every, self.options.limit(), &*self.options.name);
        let (mut slow, mut too_slow) = (std::pin::pin!(sleep(every)), std::pin::pin!(sleep(limit)));
        let mut is_slow = every >= limit;
        let leadership = Arc::clone(&self.leadership);
        let lease = token.filter(|_| self.options.leader_only);
        let mut lost = std::pin::pin!(async move {
            match lease {
                Some(token) => leadership.lost(token).await,
                None => std::future::pending().await,
            }
        });
        let why = loop {
            tokio::select! {
                biased;
                ended = &mut *run => {
                    self.running = None;
                    return report(name, ended);
                }
                () = &mut lost => break "this process does not lead any more",
                () = &mut too_slow => break "it took too long",
                () = &mut slow, if !is_slow => {
                    is_slow = true;
                    tracing::warn!(tick = name, ?every, "a tick takes longer than its interval; the next one waits for it");
                }
            }
        };
        self.cancel(why).await;
    }

    /// Cancels the run that is going on and waits until it has ended.
    async fn cancel(&mut self, why: &str) {
        let Some(run) = &mut self.running else { return };
        let name = &*self.options.name;
        tracing::error!(tick = name, why, "a tick is cancelled");
        run.abort();
        let ended = match tokio::time::timeout(STUBBORN, &mut *run).await {
            Ok(ended) => ended,
            Err(_) => {
                tracing::error!(
                    tick = name,
                    "a cancelled tick does not end: it blocks its thread; the next one waits for it"
                );
                run.await
            }
        };
        self.running = None;
        if !ended.as_ref().is_err_and(JoinError::is_cancelled) {
            report(name, ended);
        }
    }
}

impl Drop for Tick {
    fn drop(&mut self) {
        if let Some(run) = &self.running {
            run.abort();
        }
    }
}

/// Logs how a run ended, unless it ended well.
fn report(name: &str, ended: Ended) {
    match ended {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(error))) => {
            tracing::error!(tick = name, class = error.class(), error = error.message(), "a tick failed");
        }
        Ok(Err(panic)) => tracing::error!(tick = name, panic, "a tick panicked"),
        Err(error) => tracing::error!(tick = name, %error, "a tick did not end"),
    }
}

/// The first time after `now` that lies a multiple of the interval after `due`: runs that were missed are left out.
fn next(due: Instant, every: Duration, now: Instant) -> Instant {
    let late = now.saturating_duration_since(due).as_nanos() % every.as_nanos().max(1);
    let pause = every.saturating_sub(Duration::from_nanos(u64::try_from(late).unwrap_or(0)));
    now.checked_add(pause).unwrap_or_else(|| now + Duration::from_secs(10 * 365 * 24 * 60 * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_ticks_are_left_out() {
        let (due, secs) = (Instant::now(), Duration::from_secs);
        assert_eq!(next(due, secs(10), due), due + secs(10));
        assert_eq!(next(due, secs(10), due + secs(3)), due + secs(10), "a run of three seconds");
        assert_eq!(next(due, secs(10), due + secs(10)), due + secs(20), "a run as long as the interval");
        assert_eq!(next(due, secs(10), due + secs(35)), due + secs(40));
        assert!(next(due, Duration::MAX, due) > due + secs(1 << 28), "in practice never");
    }

    #[test]
    fn a_run_gets_its_interval_or_a_minute() {
        let options = |secs| TickOptions::every(Duration::from_secs(secs));
        assert_eq!(options(1).limit(), Duration::from_secs(60));
        assert_eq!(options(90).limit(), Duration::from_secs(90));
        assert_eq!(options(90).timeout(Duration::from_secs(2)).limit(), Duration::from_secs(2));
    }
}

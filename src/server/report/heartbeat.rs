//! Shows the process to the world every ten seconds, on a thread of its own that no job can starve.

use std::collections::{HashMap, HashSet};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle as RuntimeHandle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::error::{Error, ErrorKind, Result};
use crate::limits::start_thread;
use crate::server::control::events::Event;
use crate::server::control::memory_watch::MemoryWatch;
use crate::server::control::supervisor::Part;
use crate::server::recovery::reconcile;
use crate::server::report::Process;
use crate::server::report::info::info;
#[cfg(feature = "metrics")]
use crate::server::report::publish;
use crate::server::report::vitals::Vitals;
use crate::server::report::{health, vitals};
use crate::server::settings::capsule::Capsule;
use crate::server::settings::config::{Config, RemoteSignals, WireVersion};
use crate::server::settings::os::{procline_of, rss_kb, set_procline};
use crate::server::stats::outage::Outage;
use crate::store::Store;
use crate::store::beat::Beat;
use crate::store::fleet::{FENCED_FOR, Sign};
use crate::time::{EpochSecs, Utc};

/// Between two beats.
const PERIOD: Duration = Duration::from_secs(10);
/// After a sign of life that did not reach Redis the next one follows this soon, and later each time: while Redis lacks the private lists of
/// this process, its jobs would be lost with it.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Redis is asked this often whether it may evict jobs: every 50 s.
const BEATS_TO_EVICTION: u32 = 5;
/// A round trip longer than this, five times in a row, is worth a warning: 50 ms.
const SLOW: Duration = Duration::from_millis(50);

/// The thread that beats.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    begin: Option<oneshot::Sender<()>>,
    asks: mpsc::Sender<oneshot::Sender<Result<()>>>,
    stop: oneshot::Sender<()>,
    /// Closed when the thread has ended.
    ended: oneshot::Receiver<()>,
}

/// Names of queues, if they could be read.
type Read = Result<HashSet<String>>;

/// How long the last beat may take.
const LAST: Duration = Duration::from_secs(5);
/// How long the thread may take to end after the last beat.
const MARGIN: Duration = Duration::from_secs(2);

impl Heartbeat {
    /// Starts the thread. It answers probes at once, and beats after [`begin`](Self::begin).
    pub(crate) fn start(process: Arc<Process>, capsules: &[Capsule], listener: Option<TcpListener>) -> Result<Self> {
        let (begin, begins) = oneshot::channel();
        let (asks, asked) = mpsc::channel(1);
        let (stop, stopped) = oneshot::channel();
        let (ends, ended) = oneshot::channel();
        let beater = Beater::new(process, capsules, Begins { begins, asked }, stopped);
        start_thread("ferrokiq-heartbeat", move |runtime| {
            runtime.block_on(beater.beat_until_stopped(listener));
            drop(ends);
        })?;
        Ok(Self { begin: Some(begin), asks, stop, ended })
    }

    /// Makes the connection of the heartbeat.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached from its thread.
    pub(crate) async fn connect(&self) -> Result<()> {
        let (answer, answered) = oneshot::channel();
        let gone = || Error::new(ErrorKind::Config, "the heartbeat's thread has ended");
        self.asks.send(answer).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// Beats from now on.
    pub(crate) fn begin(mut self) -> Self {
        if let Some(begin) = self.begin.take() {
            let _ = begin.send(());
        }
        self
    }

    /// Flushes what was counted, takes the process off the Busy page and ends the thread. Leaves the thread behind if Redis does not answer
    /// within `patience`.
    pub(crate) async fn stop(self, patience: Duration) {
        let _ = self.stop.send(());
        // Without Redis it is known already that the last beat fails.
        let margin = if patience < LAST { Duration::ZERO } else { MARGIN };
        if tokio::time::timeout(patience + margin, self.ended).await.is_err() && !margin.is_zero() {
            tracing::error!("the heartbeat's thread does not end; it is left behind");
        }
    }
}

/// What comes before the first beat.
struct Begins {
    begins: oneshot::Receiver<()>,
    asked: mpsc::Receiver<oneshot::Sender<Result<()>>>,
}

struct Beater {
    process: Arc<Process>,
    store: Store,
    /// The runtime of the user's code: lifecycle hooks run there.
    app: RuntimeHandle,
    info: String,
    /// Beats so far.
    beats: u32,
    /// Slow round trips in a row.
    slow: u32,
    outage: Outage,
    alive_outage: Outage,
    /// The last sign of life that Redis took.
    signed: Option<Sign>,
    /// How many connections there had been by then.
    connections: u64,
    /// Whether Redis ever refused part of the statistics: it is logged once.
    partial: bool,
    /// Whether the private lists were compared with the holdings since Redis may last have come back with older data.
    restored: bool,
    /// `None` after [`Heartbeat::begin`].
    begins: Option<Begins>,
    stopped: oneshot::Receiver<()>,
    /// The hooks called last at each moment.
    fired: HashMap<Event, JoinHandle<()>>,
}

impl Part for Beater {
    fn name(&self) -> &'static str {
        "heartbeat"
    }

    /// Until it is stopped.
    async fn run(&mut self) {
        if self.stopped.is_terminated() {
            // Its last beat panicked.
            return;
        }
        if let Some(Begins { begins, asked }) = &mut self.begins {
            loop {
                tokio::select! {
                    biased;
                    // The server did not start.
                    _ = &mut self.stopped => return,
                    Some(answer) = asked.recv() => drop(answer.send(self.store.ping().await.map(drop))),
                    begun = &mut *begins => match begun {
                        Ok(()) => break,
                        // The server did not start: a beat would register it.
                        Err(_) => {
                            let _ = (&mut self.stopped).await;
                            return;
                        }
                    },
                }
            }
            self.begins = None;
        }
        let mut beats = tokio::time::interval(PERIOD);
        let mut alive = tokio::time::interval(self.process.shared.stats.liveness.period());
        let (mut well, mut pause) = (true, FIRST_PAUSE);
        beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        alive.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = alive.tick() => {
                    well = self.stay_alive().await;
                    pause = if well { FIRST_PAUSE } else { (pause * 2).min(self.process.shared.stats.liveness.period()) };
                    if !well {
                        alive.reset_after(pause);
                    }
                }
                () = self.store.connection_ended(), if well => alive.reset_immediately(),
                () = self.process.shared.stats.liveness.doubted(), if well => alive.reset_immediately(),
                _ = beats.tick() => match self.beat().await {
                    Ok(()) => {
                        self.process.pulse.beaten();
                        self.outage.over();
                    }
                    Err(error) => self.outage.note("heartbeat", &error),
                },
                _ = &mut self.stopped => break,
            }
        }
        self.last().await;
    }

    fn may_end(&self) -> bool {
        self.stopped.is_terminated()
    }
}

impl Beater {
    fn new(process: Arc<Process>, capsules: &[Capsule], begins: Begins, stopped: oneshot::Receiver<()>) -> Self {
        Self {
            info: info(&process.shared, capsules),
            // Connections belong to the runtime that made them.
            store: process.shared.store.fresh(),
            app: RuntimeHandle::current(),
            beats: 0,
            slow: 0,
            outage: process.shared.stats.outages.part(),
            alive_outage: process.shared.stats.outages.part(),
            signed: None,
            connections: 0,
            partial: false,
            restored: true,
            begins: Some(begins),
            stopped,
            fired: HashMap::new(),
            process,
        }
    }

    /// All of what the thread does.
    async fn beat_until_stopped(self, listener: Option<TcpListener>) {
        let (process, supervisor) = (Arc::clone(&self.process), self.process.shared.supervisor.clone());
        supervisor.spawn(vitals::Ticks::of_heart(Arc::clone(&process)));
        let limit = &process.runner.fetch.memory_limit;
        if limit.bytes().is_some() {
            supervisor.spawn(MemoryWatch { limit: limit.clone(), handle: process.shared.handle.clone() });
        }
        if let Some(listener) = listener {
            supervisor.spawn(health::Listener::new(listener, Vitals::new(process)));
        }
        supervisor.keep(self).await;
    }

    /// Gives a sign of life. Returns whether Redis took it and has the private lists of this process.
    async fn stay_alive(&mut self) -> bool {
        let sent = Instant::now();
        if let Err(error) = self.sign().await {
            self.process.shared.stats.liveness.missed();
            self.alive_outage.note("no sign of life reached Redis", &error);
            return false;
        }
        self.process.shared.stats.liveness.seen(sent);
        self.alive_outage.wrote(sent);
        if let Err(error) = self.process.runner.fetch.limits.show(&self.store).await {
            self.alive_outage.note("no sign of life reached sidekiq-limit_fetch", &error);
        }
        if !self.restored {
            match reconcile::restore_holdings(&self.process.runner.fetch, &self.store).await {
                Ok(()) => self.restored = true,
                Err(error) => self.alive_outage.note("comparing the private lists failed", &error),
            }
        }
        self.restored
    }

    async fn sign(&mut self) -> Result<()> {
        let process = &self.process;
        let sign = self.store.stay_alive(&process.shared.identity, process.shared.stats.liveness.span()).await?;
        if !sign.registered && process.shared.stats.liveness.is_leaving() {
            // It holds nothing any more.
            return Ok(());
        }
        // Redis goes back in time by a restart or a failover, which end the connection, or by a command; then it lacks the last sign.
        let connections = self.store.connections_made();
        let same = self.signed.is_some_and(|last| sign.previous == Some(last.alive_until));
        self.restored &= same && connections == self.connections;
        self.connections = connections;
        let mut alive_until = sign.alive_until;
        if !sign.registered {
            let silent = self.signed.map_or(0, |last| sign.now.saturating_sub(last.now));
            alive_until = self.join_again(u128::from(silent) >= (FENCED_FOR / 2).as_millis()).await?;
        }
        self.signed = Some(Sign { alive_until, ..sign });
        Ok(())
    }

    /// Another process fenced this one, or Redis lost it with everything else. Claims were refused since.
    async fn join_again(&self, long_silent: bool) -> Result<u64> {
        let process = &self.process;
        let joined = self
            .store
            .register(&process.shared.registration, process.shared.stats.liveness.span(), long_silent)
            .await?;
        if process.shared.stats.liveness.is_leaving() {
            // It left between the sign of life and the registration. Stays registered only while it holds jobs.
            self.store.bye(&process.shared.identity).await?;
            return Ok(joined.alive_until);
        }
        if joined.fenced {
            tracing::warn!(
                "others took this process for dead and may have put its jobs back; it goes on with what is left to it"
            );
        } else {
            tracing::warn!("Redis had forgotten this process; it is registered again");
        }
        Ok(joined.alive_until)
    }

    async fn beat(&mut self) -> Result<()> {
        let work = self.process.shared.stats.work.as_json();
        self.show_procline(work.len());
        let (paused, limited) = self.exchange(&work).await?;
        self.flush_counters().await?;
        let rtt = self.measure_round_trip().await?;
        self.write_process(work.len(), rtt).await?;
        self.fire(Event::Beat);
        self.write_metrics().await?;
        self.learn_majors().await?;
        self.look_at_queues().await?;
        #[cfg(feature = "metrics")]
        publish::publish(&self.process);
        self.check_eviction().await;
        let fetch = &self.process.runner.fetch;
        fetch.paused.set(paused?);
        fetch.limits.set(limited?);
        Ok(())
    }

    /// Obeys a signal of the Web UI, writes the work set, and returns the paused and the limited queues, in one round trip. Those that cannot be
    /// read are an error of their own: the beat goes on.
    async fn exchange(&mut self, work: &[(String, String)]) -> Result<(Read, Read)> {
        let (shared, fetch) = (&self.process.shared, &self.process.runner.fetch);
        let queues = shared.stats.telemetry.queue_names();
        let (signal, written, paused, limited) = tokio::join!(
            self.store.take_signal(&shared.identity),
            self.store.write_work(&shared.identity, work, shared.dialect.shows_work_to_6()),
            fetch.paused.read(&self.store, &queues),
            fetch.limits.read(&self.store, &queues),
        );
        if let Some(signal) = signal? {
            self.obey(&signal);
        }
        written?;
        Ok((paused, limited))
    }

    /// Adds what was counted since the last beat to the statistics.
    async fn flush_counters(&mut self) -> Result<()> {
        let counted = self.process.shared.stats.counters.flush(&self.store).await;
        self.allow_partial(counted)
    }

    async fn measure_round_trip(&mut self) -> Result<Duration> {
        let rtt = self.store.ping().await?;
        self.process.shared.stats.telemetry.redis_rtt.set(rtt.as_secs_f64());
        self.judge(rtt);
        Ok(rtt)
    }

    /// Writes the hash that the Busy page shows.
    async fn write_process(&mut self, busy: usize, rtt: Duration) -> Result<()> {
        let beat = Beat {
            identity: &self.process.shared.identity,
            info: &self.info,
            concurrency: self.process.shared.stats.telemetry.concurrency,
            busy,
            at: EpochSecs::now().to_string(),
            rtt_us: rtt.as_micros(),
            quiet: self.process.shared.handle.is_quiet(),
            rss_kb: rss_kb(),
        };
        if !self.store.beat(&beat).await? {
            self.fire(Event::Heartbeat);
        }
        Ok(())
    }

    /// Checks from time to time whether Redis may evict jobs.
    async fn check_eviction(&mut self) {
        self.beats += 1;
        if self.beats.is_multiple_of(BEATS_TO_EVICTION) {
            self.process.judge_eviction(&self.store).await;
        }
    }

    /// Passes on the outcome of writing statistics, unless Redis wrote part of them: a key of the wrong type is logged once, and the beat
    /// goes on.
    fn allow_partial(&mut self, written: Result<()>) -> Result<()> {
        let Err(error) = written else { return Ok(()) };
        if error.kind() != ErrorKind::Partial {
            return Err(error);
        }
        if !std::mem::replace(&mut self.partial, true) {
            let why = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            tracing::error!(%error, why, "some statistics are not counted");
        }
        Ok(())
    }

    /// Writes what was counted of each class since the last beat.
    async fn write_metrics(&mut self) -> Result<()> {
        let taken = self.process.shared.stats.metrics.take();
        if taken.is_empty() {
            return Ok(());
        }
        let metrics: Vec<_> = taken.iter().map(|(class, metrics)| (class.as_str(), metrics.clone())).collect();
        let forms: Vec<_> = self.process.shared.dialect.metrics().collect();
        let written = self.store.write_metrics(&metrics, &forms, Utc::from(EpochSecs::now())).await;
        self.allow_partial(written)
    }

    /// Adapts to the oldest Sidekiq that reads what we write.
    async fn learn_majors(&self) -> Result<()> {
        if self.process.shared.config.wire_version != WireVersion::Auto {
            return Ok(());
        }
        if let Some(rubies) = self.store.shared_rubies().await? {
            self.process.shared.dialect.adapt_to(rubies.majors);
        }
        Ok(())
    }

    /// For whoever collects metrics.
    async fn look_at_queues(&self) -> Result<()> {
        let telemetry = &self.process.shared.stats.telemetry;
        if self.process.shared.config.health.is_some() || cfg!(feature = "metrics") {
            let now = EpochSecs::now();
            for queue in self.store.queue_states_in_short(telemetry.queue_names()).await? {
                telemetry.saw(&queue, now);
            }
            Vitals::new(Arc::clone(&self.process)).look_at_progress();
        }
        Ok(())
    }

    fn judge(&mut self, rtt: Duration) {
        self.slow = if rtt > SLOW { self.slow + 1 } else { 0 };
        if self.slow >= 5 {
            tracing::warn!(rtt_us = rtt.as_micros(), "Redis is slow to answer: five round trips over 50 ms in a row");
            self.slow = 0;
        }
    }

    fn show_procline(&self, busy: usize) {
        let Config { procline, embedded, .. } = self.process.shared.config;
        if procline && !embedded {
            set_procline(&procline_of(
                busy,
                self.process.shared.stats.telemetry.concurrency,
                self.process.shared.handle.is_quiet(),
            ));
        }
    }

    fn obey(&self, signal: &str) {
        let (handle, config) = (&self.process.shared.handle, &self.process.shared.config);
        let allowed = if config.embedded { RemoteSignals::None } else { config.remote_signals };
        match order(signal, allowed) {
            Some(Order::Quiet) => {
                tracing::info!("told to quiet by the Web UI");
                handle.quiet();
            }
            Some(Order::Stop) => {
                tracing::info!("told to stop by the Web UI");
                handle.stop();
            }
            Some(Order::Dump) => tracing::warn!("{}", handle.dump()),
            None => {
                // Anybody who can write to Redis can put anything there.
                let signal: String = signal.chars().filter(char::is_ascii_alphanumeric).take(16).collect();
                tracing::warn!(signal, "ignored a signal from Redis");
            }
        }
    }

    /// Calls the hooks of a moment on the runtime of the user's code, unless those of the last time still run.
    #[expect(clippy::disallowed_methods, reason = "hooks contain their panics")]
    fn fire(&mut self, event: Event) {
        if self.process.hooks.is_empty(event) {
            return;
        }
        if self.fired.get(&event).is_some_and(|hooks| !hooks.is_finished()) {
            return tracing::warn!(?event, "a lifecycle hook still runs since the last beat; it is not called again");
        }
        let process = Arc::clone(&self.process);
        self.fired.insert(event, self.app.spawn(async move { process.fire(event, None).await }));
    }

    async fn last(&mut self) {
        let flushed = tokio::time::timeout(LAST, async {
            self.flush_counters().await?;
            self.write_metrics().await?;
            self.store.clear_heartbeat(&self.process.shared.identity).await
        });
        match flushed.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.outage.note("the last beat failed", &error),
            Err(_) => tracing::error!("Redis did not answer the last beat"),
        }
    }
}

/// What a signal in Redis may have this process do; nothing else, whatever stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Quiet,
    Stop,
    Dump,
}

fn order(signal: &str, allowed: RemoteSignals) -> Option<Order> {
    match (signal, allowed) {
        ("TSTP", RemoteSignals::All | RemoteSignals::Quiet) => Some(Order::Quiet),
        ("TERM", RemoteSignals::All) => Some(Order::Stop),
        ("TTIN", RemoteSignals::All | RemoteSignals::Quiet) => Some(Order::Dump),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "testing")]
    fn beater(redis: &crate::testing::Redis) -> (Beater, Heartbeat) {
        let server = crate::Server::builder().redis(redis.options().unwrap()).build().unwrap();
        let (begin, begins) = oneshot::channel();
        let (asks, asked) = mpsc::channel(1);
        let (stop, stopped) = oneshot::channel();
        let (_ends, ended) = oneshot::channel();
        let beater = Beater::new(Arc::clone(&server.process), &[], Begins { begins, asked }, stopped);
        (beater, Heartbeat { begin: Some(begin), asks, stop, ended })
    }

    #[cfg(feature = "testing")]
    async fn is_registered(process: &Process) -> bool {
        let shared = &process.shared;
        shared.store.stay_alive(&shared.identity, shared.stats.liveness.span()).await.unwrap().registered
    }

    #[cfg(feature = "testing")]
    #[tokio::test]
    async fn a_sign_of_life_after_the_leave_does_not_register_the_process_again() {
        let redis = crate::testing::Redis::start().unwrap();
        let (mut beater, _heartbeat) = beater(&redis);
        let process = Arc::clone(&beater.process);
        let shared = &process.shared;
        shared.store.register(&shared.registration, shared.stats.liveness.span(), false).await.unwrap();
        beater.sign().await.unwrap();
        assert!(is_registered(&process).await);
        shared.stats.liveness.set_leaving(true);
        assert_eq!(shared.store.bye(&shared.identity).await.unwrap(), 0);
        beater.sign().await.unwrap();
        // Sent before the leave, it reaches Redis after it.
        beater.join_again(false).await.unwrap();
        assert!(!is_registered(&process).await);
    }

    #[cfg(feature = "testing")]
    #[tokio::test]
    async fn a_server_that_did_not_start_is_not_registered_by_its_heartbeat() {
        let redis = crate::testing::Redis::start().unwrap();
        let (mut beater, Heartbeat { begin, asks, stop, ended: _ended }) = beater(&redis);
        let (run, end) = (beater.run(), async {
            drop(begin);
            // The heartbeat sees one end before the other.
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            drop((asks, stop));
        });
        tokio::join!(run, end);
        assert!(beater.begins.is_some(), "it began to beat");
        assert!(!is_registered(&beater.process).await);
    }

    #[test]
    fn obeys_three_signals_and_only_as_far_as_allowed() {
        use RemoteSignals::{All, None as Nothing, Quiet};
        for (signal, all, quiet) in [
            ("TSTP", Some(Order::Quiet), Some(Order::Quiet)),
            ("TERM", Some(Order::Stop), None),
            ("TTIN", Some(Order::Dump), Some(Order::Dump)),
        ] {
            assert_eq!(
                (order(signal, All), order(signal, Quiet), order(signal, Nothing)),
                (all, quiet, None),
                "{signal}"
            );
        }
        let megabyte = "TERM".repeat(1 << 18);
        for signal in [
            "",
            "KILL",
            "INT",
            "QUIT",
            "HUP",
            "USR1",
            "9",
            "SIGTERM",
            "term",
            " TERM",
            "TERM\n",
            "TERM; rm -rf /",
            &megabyte,
        ] {
            assert!([All, Quiet, Nothing].iter().all(|allowed| order(signal, *allowed).is_none()), "{signal:.40}");
        }
    }
}

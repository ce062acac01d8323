//! One job at a time, from bytes to a settled outcome.
//!
//! 1. decode the bytes; what is no payload is buried as it is
//! 2. resolve the class; a job of an unknown class or of a Ruby gem may be for others
//! 3. run the middleware chain and the job, apart from everything else: a panic is a failure
//! 4. judge what did not succeed: retry, dead, neither, or run again as it is
//! 5. call the hooks, then settle: a crash in between repeats the call

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::boxed::BoxFuture;
use crate::contain::{Contained, contained, discard};
use crate::job::{Context, Disposition, JobError, JobResult, Outcome, Run};
use crate::payload::{Malformed, Payload, names};
use crate::server::control::supervisor::Part;
use crate::server::fetch::intake::Intake;
use crate::server::run::Runner;
use crate::server::run::admission::Admitted;
use crate::server::run::failure_log::Failure;
use crate::server::run::foreign;
use crate::server::run::foreign::Owner;
use crate::server::run::hooks::{self, EndedJob, JobHook};
use crate::server::run::job_log::JobLog;
use crate::server::run::middleware::{Next, Performs};
use crate::server::run::registry::Registered;
use crate::server::run::retry::{RetryContext, RetryHooks, Verdict, jitter_at, judge};
use crate::server::settings::config::{ForeignJobs, UnknownClasses};
use crate::server::settle::Destination;
use crate::server::settle::riding::Ending;
use crate::server::stats::metrics::ClassCounters;
use crate::server::stats::work::WorkSlot;
use crate::server::unit::UnitOfWork;
use crate::store::Rider;
use crate::time::EpochSecs;

/// Runs the jobs of one slot of a capsule, one after the other.
pub(crate) struct Processor {
    runner: Arc<Runner>,
    intake: Arc<Intake>,
    slot: Arc<WorkSlot>,
    /// The job it has. One that is left here by a panic of ours has failed.
    unit: Option<UnitOfWork>,
    /// Jobs finished since it last came for one.
    finished: u64,
    /// The message of the last panic.
    panic: String,
}

impl Processor {
    pub(crate) fn new(runner: Arc<Runner>, intake: Arc<Intake>) -> Self {
        let slot = runner.shared.stats.work.add();
        Self { runner, intake, slot, unit: None, finished: 0, panic: String::new() }
    }

    /// Runs the job it has.
    async fn run_unit(&self) {
        let Some(unit) = &self.unit else { return };
        if self.runner.fetch.isolation.is_alert() {
            return Box::pin(self.run_if_admitted(unit)).await;
        }
        if self.begin(unit) {
            self.process(unit).await;
        } else {
            Box::pin(self.runner.put_back_unbegun(unit)).await;
        }
        self.slot.end();
    }

    /// A panic of ours, not of the job's, ended the processor while it had this job: the job fails, so it is retried as any other.
    async fn fail_after_panic(&self, unit: &UnitOfWork) {
        let error = JobError::panicked(&self.panic);
        match self.decode(unit) {
            Ok(payload) => {
                let registered = self.runner.registry.of(&payload).unwrap_or_default();
                self.fail(unit, error, registered).await;
            }
            Err(malformed) => self.bury_unreadable(unit, &malformed).await,
        }
        self.slot.end();
    }

    /// While there are suspects, or one runs alone.
    async fn run_if_admitted(&self, unit: &UnitOfWork) {
        let Some(admitted) = self.runner.admit(unit, self.intake.suspects()).await else { return };
        match admitted {
            _ if !self.begin(unit) => self.runner.put_back_unbegun(unit).await,
            Admitted::Ordinary => self.process(unit).await,
            Admitted::Suspect(suspect) => suspect.run(self.process(unit)).await,
        }
        self.slot.end();
    }

    /// Enters a job into the slot. `false` if this process gave no sign of life for so long that others may run the job.
    fn begin(&self, unit: &UnitOfWork) -> bool {
        let began = self.slot.begin(unit);
        !(unit.lies_in_redis() && self.runner.shared.stats.liveness.was_silent(began))
    }

    /// Whatever does not happen to most jobs is boxed: a slot keeps room for the largest thing it may wait for, all the time.
    async fn process(&self, unit: &UnitOfWork) {
        let payload = match self.decode(unit) {
            Ok(payload) => payload,
            Err(malformed) => return Box::pin(self.bury_unreadable(unit, &malformed)).await,
        };
        self.runner.shared.dialect.learn_from(&payload);
        let registered = match self.runner.registry.of(&payload) {
            Ok(registered) => registered,
            Err(error) => return Box::pin(self.fail(unit, error, None)).await,
        };
        if registered.is_none() {
            match &self.runner.shared.config.unknown_classes {
                UnknownClasses::Requeue => return Box::pin(self.requeue_unknown_class(unit)).await,
                UnknownClasses::Divert(queue) if payload.queue() != queue => {
                    self.runner.shared.stats.telemetry.left_for_others.add(1);
                    return Box::pin(self.divert(unit, &payload, queue)).await;
                }
                UnknownClasses::Divert(_) | UnknownClasses::Fail => {}
            }
        }
        if let Some(owner) = self.runner.foreign.keeps(&payload, &self.runner.registry) {
            return Box::pin(self.leave_to_ruby(unit, &payload, owner, registered)).await;
        }
        self.runner.fetch.paused.ease_off(unit.queue());
        let log = JobLog::start(&payload, self.slot.tid());
        let mut riders = Vec::new();
        let outcome = match registered {
            Some(registered) => self.perform(unit, payload, registered, &mut riders).await,
            None => Err(self.runner.registry.unknown(&payload)),
        };
        log.finish(&outcome);
        match outcome {
            Ok(()) => {
                if !self.runner.hooks.success.is_empty() {
                    Box::pin(self.call_hooks(&self.runner.hooks.success, unit, None, Outcome::Done, None)).await;
                }
                if riders.is_empty() && self.runner.settle.has_no_riders() {
                    self.runner.settle.settler.acknowledge(unit);
                } else {
                    Box::pin(self.runner.settle.finish(unit, Ending::Done, riders)).await;
                }
                self.runner.shared.stats.counters.processed();
            }
            Err(error) => Box::pin(self.fail(unit, error, registered)).await,
        }
    }

    fn decode(&self, unit: &UnitOfWork) -> Result<Payload, Malformed> {
        let limit = self.runner.shared.config.max_payload;
        if unit.bytes().len() > limit {
            return Err(Malformed { bytes: Vec::new(), reason: format!("larger than {limit} bytes") });
        }
        unit.payload()
    }

    /// Runs the job; `riders` gets those that were attached to it.
    async fn perform(
        &self,
        unit: &UnitOfWork,
        payload: Payload,
        registered: &Registered,
        riders: &mut Vec<Rider>,
    ) -> JobResult {
        let class = Metered::class(&payload, registered, &self.runner);
        let outcome = self.run_job(unit, payload, registered, riders).await;
        class.count(&outcome);
        outcome
    }

    async fn run_job(
        &self,
        unit: &UnitOfWork,
        payload: Payload,
        registered: &Registered,
        riders: &mut Vec<Rider>,
    ) -> JobResult {
        let timeout = contained(|| registered.job.timeout()).map_err(|panic| JobError::panicked(&panic))?;
        let _thread =
            if registered.job.blocks() { Some(Box::pin(self.runner.blocking.reserve()).await?) } else { None };
        // One that the clock cannot count to never comes.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let run = Run {
            queue: Arc::clone(unit.queue()),
            client: self.runner.client.clone(),
            stop: self.runner.stop.clone(),
            deadline,
            max_iteration_runtime: self.runner.shared.config.max_iteration_runtime,
        };
        let cx = Context::new(payload, run);
        let attached = cx.clone();
        let job = Arc::clone(&registered.job) as Arc<dyn Performs>;
        let run: BoxFuture<'static, JobResult> = if self.runner.middleware.is_empty() {
            job.perform(cx)
        } else {
            Box::pin(Next::new(Arc::clone(&self.runner.middleware), job).run(cx))
        };
        let run = Contained::new(run);
        let outcome = match timeout {
            None => run.await,
            Some(timeout) => match tokio::time::timeout(timeout, run).await {
                Ok(outcome) => outcome,
                Err(_) => Ok(Err(timed_out(timeout))),
            },
        };
        *riders = attached.take_riders();
        outcome.unwrap_or_else(|panic| Err(JobError::panicked(&panic)))
    }

    /// Judges a job that did not succeed, and settles it.
    async fn fail(&self, unit: &UnitOfWork, error: JobError, registered: Option<&Registered>) {
        self.count_failure(&error);
        // Judged by the original bytes: what middleware did to its copy is not stored.
        let Ok(payload) = unit.payload() else { return };
        let context = RetryContext {
            queue: unit.queue(),
            max_retries: self.runner.shared.config.max_retries,
            now: EpochSecs::now(),
            stamps: self.runner.shared.dialect.stamps(),
        };
        let hooks = registered.map(|registered| &*registered.job as &dyn RetryHooks);
        let jitter = || jitter_at(context.now);
        let judged = contained(|| judge(payload.clone(), &error, hooks, &context, &mut jitter()));
        let verdict = judged.unwrap_or_else(|panic| {
            // Ruby reports a hook that raises and goes on with the default.
            tracing::error!(
                tid = self.slot.tid(),
                jid = payload.jid(),
                class = payload.class(),
                panic,
                "a retry hook panicked; the default applies"
            );
            judge(payload.clone(), &error, hooks.map(|_| &Hookless as &dyn RetryHooks), &context, &mut jitter())
        });
        if error.is_failure() {
            self.report_failure(&payload, &error, &verdict, &context, registered);
        }
        self.settle(unit, verdict, error).await;
    }

    fn count_failure(&self, error: &JobError) {
        let stats = &self.runner.shared.stats;
        stats.counters.processed();
        match error.disposition() {
            Disposition::Snooze(_) => stats.telemetry.snoozed.add(1),
            // Ruby counts an interrupted job as failed.
            Disposition::Requeue => {
                stats.counters.failed();
                stats.telemetry.requeued.add(1);
            }
            Disposition::Fail | Disposition::Kill | Disposition::Discard => stats.counters.failed(),
        }
    }

    /// Logs a failure, counts it by class, and calls the error handlers.
    fn report_failure(
        &self,
        payload: &Payload,
        error: &JobError,
        verdict: &Verdict,
        context: &RetryContext<'_>,
        registered: Option<&Registered>,
    ) {
        if tracing::enabled!(tracing::Level::WARN) {
            let hint = if registered.is_none() { self.runner.registry.hint(payload, error) } else { None };
            Failure { tid: self.slot.tid(), payload, error, verdict, context, hint }.log();
        }
        self.runner.report("Job raised exception", error, Some(payload));
        let counters = registered.map(|registered| counters_of(payload, registered, &self.runner));
        let unknown = &self.runner.shared.stats.telemetry.unknown;
        if counters.is_none() {
            unknown.failed();
        }
        let counters = counters.as_deref().unwrap_or(unknown);
        match verdict {
            Verdict::Retry { .. } => counters.retried.add(1),
            Verdict::Bury { .. } | Verdict::BuryUnchanged { .. } => counters.dead.add(1),
            Verdict::Discard { .. } => counters.discarded.add(1),
            Verdict::Snooze { .. } | Verdict::Requeue { .. } => {}
        }
    }

    async fn settle(&self, unit: &UnitOfWork, verdict: Verdict, error: JobError) {
        let (hooks, retry_in): (&[JobHook], _) = match &verdict {
            Verdict::Retry { delay, .. } => (&self.runner.hooks.retry, Duration::try_from_secs_f64(*delay).ok()),
            Verdict::Bury { .. } | Verdict::BuryUnchanged { .. } | Verdict::Discard { .. } => {
                (&self.runner.hooks.death, None)
            }
            Verdict::Snooze { .. } | Verdict::Requeue { .. } => (&[], None),
        };
        if hooks.is_empty() {
            // What it was made from is a value of the user's.
            discard("a job's error", error);
        } else {
            let outcome = Outcome::from(Err(error));
            Box::pin(self.call_hooks(hooks, unit, verdict.payload(), outcome, retry_in)).await;
        }
        let limits = self.runner.shared.dead_limits();
        let to = match verdict {
            Verdict::Retry { payload, delay } => Destination::Retry { payload, delay },
            Verdict::Snooze { payload, delay } => Destination::Schedule { payload, delay },
            Verdict::Requeue { payload, queue } => Destination::Queue { payload: Some(payload), queue },
            Verdict::Bury { payload } => {
                tracing::info!(
                    tid = self.slot.tid(),
                    jid = payload.jid(),
                    class = payload.display_class(),
                    "Adding dead job"
                );
                Destination::Dead { payload: Some(payload), limits }
            }
            Verdict::Discard { .. } => return self.runner.settle.finish(unit, Ending::Discarded, Vec::new()).await,
            Verdict::BuryUnchanged { key } => {
                let (jid, class) = names(unit.bytes());
                tracing::error!(
                    tid = self.slot.tid(),
                    jid,
                    class,
                    key,
                    "invalid value in a failed job; moved to the dead set unchanged"
                );
                Destination::Dead { payload: None, limits }
            }
        };
        self.runner.settle.settle_until_stored(unit, to).await;
    }

    /// Calls hooks for a job that ended. `payload` is what will be stored; the bytes as fetched without it.
    async fn call_hooks(
        &self,
        hooks: &[JobHook],
        unit: &UnitOfWork,
        payload: Option<&Payload>,
        outcome: Outcome,
        retry_in: Option<Duration>,
    ) {
        let payload = match payload.cloned().map_or_else(|| unit.payload(), Ok) {
            Ok(payload) => payload,
            Err(_) => return discard("a job's error", outcome),
        };
        let server = self.runner.server_context();
        let ended = EndedJob::new(server, payload, Arc::clone(unit.queue()), outcome, retry_in);
        hooks::call(hooks, ended, self.runner.shared.config.hook_timeout).await;
    }

    async fn bury_unreadable(&self, unit: &UnitOfWork, malformed: &Malformed) {
        let error = JobError::new("JSON::ParserError", &malformed.reason);
        self.runner.shared.stats.telemetry.unreadable.add(1);
        let (jid, class) = names(unit.bytes());
        let (tid, queue) = (self.slot.tid(), &**unit.queue());
        let (bytes, reason) = (unit.bytes().len(), &malformed.reason);
        tracing::error!(tid, jid, class, queue, bytes, reason, "job cannot be read; moved to the dead set");
        let to = Destination::Dead { payload: None, limits: self.runner.shared.dead_limits() };
        self.runner.settle.settle_until_stored(unit, to).await;
        self.runner.report("Invalid JSON for job", &error, None);
    }

    /// A class that Ruby knows, perhaps: back where it came from. Whoever knows the class gets a head start; without it this process
    /// would fetch the job again at once.
    async fn requeue_unknown_class(&self, unit: &UnitOfWork) {
        self.runner.shared.stats.telemetry.left_for_others.add(1);
        self.requeue(unit).await;
    }

    async fn requeue(&self, unit: &UnitOfWork) {
        self.runner.fetch.paused.back_off(unit.queue());
        self.runner.settle.put_back(std::slice::from_ref(unit)).await;
    }

    async fn divert(&self, unit: &UnitOfWork, payload: &Payload, queue: &str) {
        tracing::debug!(jid = payload.jid(), class = payload.display_class(), queue, "diverted");
        let to = Destination::Queue { payload: None, queue: queue.to_owned() };
        self.runner.settle.settle_until_stored(unit, to).await;
    }

    /// Applies the setting `foreign_jobs` to a job of a Ruby gem. A job that was diverted to this process fails: it would be diverted again for
    /// ever.
    async fn leave_to_ruby(&self, unit: &UnitOfWork, payload: &Payload, owner: Owner, registered: Option<&Registered>) {
        let foreign = &self.runner.foreign;
        foreign.note(payload, unit.queue(), owner);
        match foreign.policy() {
            ForeignJobs::Divert(queue) if payload.queue() != queue => self.divert(unit, payload, queue).await,
            ForeignJobs::Divert(_) | ForeignJobs::Fail => self.fail(unit, foreign::error(owner), registered).await,
            ForeignJobs::Requeue | ForeignJobs::Run => self.requeue(unit).await,
        }
    }
}

impl Part for Processor {
    fn name(&self) -> &'static str {
        "processor"
    }

    /// Until the intake is closed.
    async fn run(&mut self) {
        if let Some(unit) = self.unit.take() {
            Box::pin(self.fail_after_panic(&unit)).await;
        }
        while let Some(unit) = self.intake.next(std::mem::take(&mut self.finished)).await {
            self.unit = Some(unit);
            self.finished = 1;
            self.run_unit().await;
            self.unit = None;
            tokio::task::consume_budget().await;
        }
    }

    fn may_end(&self) -> bool {
        self.runner.shared.handle.is_quiet()
    }

    fn panicked(&mut self, message: &str) {
        message.clone_into(&mut self.panic);
    }
}

/// Counts a run under the name the Metrics page shows.
struct Metered {
    counters: Arc<ClassCounters>,
    started: Instant,
}

impl Metered {
    fn class(payload: &Payload, registered: &Registered, runner: &Runner) -> Self {
        Self { counters: counters_of(payload, registered, runner), started: Instant::now() }
    }

    fn count(self, outcome: &JobResult) {
        match outcome {
            Err(error) if error.is_failure() => self.counters.failed(),
            _ => self.counters.succeeded(self.started.elapsed()),
        }
    }
}

fn counters_of(payload: &Payload, registered: &Registered, runner: &Runner) -> Arc<ClassCounters> {
    let name = payload.display_class();
    if name == payload.class() { Arc::clone(&registered.metrics) } else { runner.shared.stats.metrics.of(name) }
}

/// What a class whose hooks panic gets.
struct Hookless;

impl RetryHooks for Hookless {
    fn default_retry(&self) -> crate::Retry {
        crate::Retry::Default
    }
    fn retry_in(&self, _: u32, _: &JobError) -> crate::job::RetryIn {
        crate::job::RetryIn::Default
    }
    fn retries_exhausted(&self, _: &Payload, _: &JobError) -> crate::job::OnExhausted {
        crate::job::OnExhausted::Bury
    }
}

fn timed_out(timeout: Duration) -> JobError {
    JobError::new("Timeout::Error", format!("execution expired after {timeout:?}"))
}

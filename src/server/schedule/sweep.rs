//! Moves all due members of one sorted set. An error of a set or of a member concerns only that: the rest is moved.

use crate::server::schedule::beside_ruby::{LEFT_FOR, Recent};
use crate::server::schedule::large;
use crate::server::schedule::plan::{Plan, plan};
use std::collections::BTreeSet;

use crate::error::{Error, RedisFault, Result};
use crate::payload::{Fetched, Payload};
use crate::server::run::Runner;
use crate::server::stats::outage::Outage;
use crate::store::is_refusal;
use crate::store::sets::{Due, Look, Promotion, READ, WaitingSet};
use crate::time::EpochSecs;

/// What the poller does with one set, and what it has logged about it.
pub(super) struct Sweeper {
    set: WaitingSet,
    outage: Outage,
    /// The fault of this set that was logged last; it is not logged again until it changes.
    fault: Option<String>,
    /// Members that stayed because of their queue, as logged last.
    stuck: usize,
    /// Rank at which the next sweep of large members begins: one before it could not be moved.
    large_from: usize,
    /// How far the members were read that Ruby's poller may promote.
    recent: Recent,
}

impl Sweeper {
    pub(super) fn new(runner: &Runner, set: WaitingSet) -> Self {
        Self {
            set,
            outage: runner.shared.stats.outages.part(),
            fault: None,
            stuck: 0,
            large_from: 0,
            recent: Recent::default(),
        }
    }

    /// Moves what is due. Logs what goes wrong: a lost Redis as an outage, a fault of the set or of a queue once.
    ///
    /// `polled`: the queues of the Ruby processes that poll, if there are any. What Ruby's poller promotes is left to it for [`LEFT_FOR`]
    /// seconds.
    pub(super) async fn run(&mut self, runner: &Runner, polled: Option<&BTreeSet<String>>) {
        let before = runner.shared.stats.telemetry.of_set(self.set).promoted.total();
        let moved = match polled {
            None => self.enqueue_due(runner, 0).await,
            Some(polled) => self.enqueue_beside_ruby(runner, polled).await,
        };
        match moved {
            Ok(stuck) => {
                if runner.shared.stats.telemetry.of_set(self.set).promoted.total() > before {
                    self.outage.over();
                } else {
                    self.outage.answered();
                }
                self.fault = None;
                self.note_stuck(stuck);
            }
            Err(error) if is_fault_of_set(&error) => {
                self.outage.answered();
                self.note_fault("enqueueing due jobs failed", &error);
            }
            Err(error) => self.outage.note("enqueueing due jobs failed", &error),
        }
    }

    /// Moves all members that Ruby's poller had time for, and of the others those that it does not promote.
    async fn enqueue_beside_ruby(&mut self, runner: &Runner, polled: &BTreeSet<String>) -> Result<usize> {
        let stuck = self.enqueue_due(runner, LEFT_FOR).await?;
        let found = self.recent.enqueue(runner, self.set, polled).await?;
        if let Some(error) = found.large_fault {
            self.note_fault("a large due job could not be read", &error);
        }
        let lateness = &runner.shared.stats.telemetry.of_set(self.set).lateness;
        lateness.set(lateness.value().max(found.first));
        Ok(stuck + found.stuck)
    }

    /// Moves all members that are overdue by so many seconds. Small members first, then large ones one by one: a connection that is too slow for one of those still moves all others. Returns how
    /// many members stay because of their queue.
    async fn enqueue_due(&mut self, runner: &Runner, overdue: u64) -> Result<usize> {
        let max_payload = runner.shared.config.max_payload;
        let mut small = Look { from: 0, sizes: 0..=READ.min(max_payload), max_payload, overdue };
        let Swept { passed, stuck, first } = sweep(runner, self.set, &mut small).await?;
        runner.shared.stats.telemetry.of_set(self.set).lateness.set(first);
        if passed == 0 {
            return Ok(stuck);
        }
        let mut large = Look { from: self.large_from, sizes: READ + 1..=max_payload, max_payload, overdue };
        match sweep_large(runner, self.set, &mut large).await {
            Ok(swept) => {
                self.large_from = 0;
                Ok(stuck + swept.stuck)
            }
            Err(error) => {
                // The next sweep goes on behind it.
                self.large_from = large.from + 1;
                self.note_fault("a large due job could not be moved", &error);
                Ok(stuck)
            }
        }
    }

    fn note_fault(&mut self, what: &str, error: &Error) {
        let why = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        let fault = format!("{what}: {error}: {why}");
        if self.fault.as_ref() != Some(&fault) {
            tracing::error!(set = self.set.key(), %error, why, "{what}");
            self.fault = Some(fault);
        }
    }

    fn note_stuck(&mut self, stuck: usize) {
        if stuck > 0 && stuck != self.stuck {
            tracing::error!(
                set = self.set.key(),
                jobs = stuck,
                "due jobs stay where they are: their queues are no lists, or may not be written"
            );
        }
        self.stuck = stuck;
    }
}

/// Whether Redis works, and refuses what is done with this set: its key has another type, say.
fn is_fault_of_set(error: &Error) -> bool {
    is_refusal(error) && error.redis_fault() != Some(RedisFault::Unwilling)
}

/// What a sweep found.
#[derive(Default)]
struct Swept {
    /// Members of another size.
    passed: usize,
    /// Members that stay because of their queue.
    stuck: usize,
    /// How late the first member was, in seconds.
    first: f64,
}

/// Moves the due members of some sizes, batch by batch, from the rank `look.from` on. That advances over what stays; after an error it is the
/// rank of what could not be read or moved.
async fn sweep(runner: &Runner, set: WaitingSet, look: &mut Look) -> Result<Swept> {
    let mut due = read(runner, set, look).await?;
    let mut swept = Swept { first: due.first.map_or(0.0, |first| (due.now - first).max(0.0)), ..Swept::default() };
    let limits = runner.shared.dead_limits();
    // When the first of those is due that a middleware delayed. It is left to the next sweep: this one would never end.
    let mut due_again = f64::INFINITY;
    while !runner.shared.handle.is_quiet() && due.now < due_again {
        swept.passed += due.passed;
        look.from += due.passed;
        let moment = EpochSecs(due.now);
        let mut plans = Vec::with_capacity(due.members.len());
        for member in &due.members {
            let payload = Payload::from_bytes(member.clone());
            let plan = plan(runner, member, payload, moment).await.written();
            due_again = plan.due_again().min(due_again);
            plans.push(plan);
        }
        let promotions: Vec<(&[u8], Promotion<'_>)> =
            due.members.iter().zip(&plans).map(|(member, plan)| (member.as_slice(), Plan::promotion(plan))).collect();
        let promote = runner.shared.store.promote(set, &promotions, Some(limits));
        // The next members are asked for behind the promotion of these, on the same connection and so after it.
        let (promoted, next) = if due.more {
            let (promoted, next) = tokio::join!(promote, read(runner, set, look));
            (promoted?, Some(next))
        } else {
            (promote.await?, None)
        };
        let (moved, stuck) = promoted;
        tracing::debug!(jobs = moved, "enqueued due jobs");
        runner.shared.stats.telemetry.of_set(set).promoted.add(moved);
        swept.stuck += stuck;
        look.from += stuck;
        due = match next {
            None => break,
            Some(_) if stuck > 0 => read(runner, set, look).await?,
            Some(next) => next?,
        };
    }
    Ok(swept)
}

/// The same for large members, one by one, so that a single one is held at a time.
async fn sweep_large(runner: &Runner, set: WaitingSet, look: &mut Look) -> Result<Swept> {
    let (mut swept, mut due_again) = (Swept::default(), f64::INFINITY);
    while !runner.shared.handle.is_quiet() {
        let due = read(runner, set, look).await?;
        if due.now >= due_again {
            break;
        }
        look.from += due.passed;
        for member in due.members {
            let member = Fetched::new(member);
            let plan = plan(runner, member.bytes(), member.payload(), EpochSecs(due.now)).await;
            due_again = plan.due_again().min(due_again);
            let (moved, stuck) = large::promote(runner, set, &due.score, &member, plan).await?;
            swept.stuck += stuck;
            // One that another poller moved counts as one that stays: the next sweep reads what is at its rank.
            look.from += usize::from(moved == 0);
        }
        if !due.more {
            break;
        }
    }
    Ok(swept)
}

/// Reads the next members, once those that are too large for a payload are in the dead set.
async fn read(runner: &Runner, set: WaitingSet, look: &Look) -> Result<Due> {
    loop {
        let due = runner.shared.store.due(set, look).await?;
        if due.oversized == 0 {
            return Ok(due);
        }
        let (covered, limits) = (due.passed + due.members.len(), runner.shared.dead_limits());
        let buried = runner.shared.store.bury_larger(set, look, covered, limits).await?;
        if buried == 0 {
            return Ok(due);
        }
        tracing::warn!(
            set = set.key(),
            jobs = buried,
            bytes = look.max_payload,
            "due entries are larger than a payload may be; they go to the dead set as they are"
        );
    }
}

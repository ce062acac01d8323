//! Leaves due jobs to the pollers of Ruby processes: Ruby pushes them through its client middleware, a script of ours does not.

use std::collections::BTreeSet;

use crate::error::{Error, Result};
use crate::payload::{Fetched, Payload};
use crate::server::run::Runner;
use crate::server::schedule::large;
use crate::server::schedule::plan::plan_payload;
use crate::store::census::Rubies;
use crate::store::sets::{BUDGET, JustDue, JustLook, Place, Promotion, READ, WaitingSet};
use crate::time::EpochSecs;

/// Seconds that a due job is left to Ruby's poller. After that time it is promoted here, whatever it is.
pub(super) const LEFT_FOR: u64 = 60;

/// Pages that one poll reads of members it has not read before: 16,000 members and 4 MB at most.
const PAGES: usize = 16;

/// Bytes of large members that one poll reads. The member that exceeds them is the last one.
const LARGE_BYTES: usize = 4 * BUDGET;

/// What is known of the Ruby processes on this Redis.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    /// `None` before the first answer.
    known: Option<Rubies>,
}

impl Neighbours {
    /// Reads what one process found for all within the last five seconds. After an error the last answer holds.
    pub(super) async fn look(&mut self, runner: &Runner) {
        let rubies = match runner.shared.store.shared_rubies().await {
            // Another process is reading them just now.
            Ok(None) if self.known.is_none() => runner.shared.store.rubies().await.map(Some),
            answer => answer,
        };
        match rubies {
            Ok(Some(rubies)) => {
                match (self.polled().is_some(), rubies.polled.is_some()) {
                    (false, true) => tracing::info!("a Ruby process polls: its due jobs are left to it"),
                    (true, false) => tracing::info!("no Ruby process polls any more: all due jobs are promoted here"),
                    _ => {}
                }
                self.known = Some(rubies);
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "cannot read what the Ruby processes are"),
        }
    }

    /// The queues of the Ruby processes that poll, if there is any such process.
    pub(super) fn polled(&self) -> Option<&BTreeSet<String>> {
        self.known.as_ref()?.polled.as_ref()
    }
}

/// The payload of a member that is promoted here; `None` for one that Ruby's poller promotes.
fn ours(runner: &Runner, polled: &BTreeSet<String>, payload: Payload) -> Option<Payload> {
    if !payload.get("class").is_some_and(|class| class.starts_with('"')) {
        return None;
    }
    // A registered class is ours, unless the job belongs to a Ruby gem: its client middleware is in Ruby.
    let is_registered = matches!(runner.registry.of(&payload), Ok(Some(_)));
    if is_registered && runner.foreign.keeps(&payload, &runner.registry).is_none() {
        return Some(payload);
    }
    let queue = if payload.queue().is_empty() { "default" } else { payload.queue() };
    (!polled.contains(queue)).then_some(payload)
}

/// How far the poller has read the members that are due, but not for [`LEFT_FOR`] seconds.
///
/// Members for Ruby stay where they are, so each is read once. After that only one page of them is read again in each poll, from where the
/// last poll stopped: a client whose clock is behind adds members before the place that was read.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// The queues of Ruby's that decided which members stay.
    polled: BTreeSet<String>,
    /// All small members up to here were read.
    read: Place,
    /// The page to read again begins here.
    again: Place,
    /// All large members up to here were read.
    large: Place,
    /// Whether the last poll stopped before the last large member.
    is_large_left: bool,
}

/// What one poll found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Members that stay because of their queue.
    pub(super) stuck: usize,
    /// How late the first member was, in seconds.
    pub(super) first: f64,
    /// Why large members could not be read. They stay until they are overdue by [`LEFT_FOR`] seconds.
    pub(super) large_fault: Option<Error>,
    /// The time of Redis at the last look, in epoch seconds.
    now: String,
    /// Members that are larger than the small ones.
    larger: usize,
}

impl Recent {
    /// Moves those that Ruby's poller does not promote: a bounded number of pages of new members, and one page of those that were read before.
    pub(super) async fn enqueue(
        &mut self,
        runner: &Runner,
        set: WaitingSet,
        polled: &BTreeSet<String>,
    ) -> Result<Found> {
        if self.polled != *polled {
            *self = Self { polled: polled.clone(), ..Self::default() };
        }
        let max_payload = runner.shared.config.max_payload;
        let mut found = Found::default();
        let small = 0..=READ.min(max_payload);
        if !self.read.score.is_empty() {
            let until = Some(self.read.score.as_str());
            let look = JustLook { overdue: LEFT_FOR, from: &self.again, until, sizes: small.clone() };
            let page = runner.shared.store.just_due(set, &look).await?;
            let next = promote(runner, set, polled, &page, &mut found).await?;
            self.again = if page.more { next } else { Place::default() };
        }
        for _ in 0..PAGES {
            let look = JustLook { overdue: LEFT_FOR, from: &self.read, until: None, sizes: small.clone() };
            let page = runner.shared.store.just_due(set, &look).await?;
            self.read = promote(runner, set, polled, &page, &mut found).await?;
            if !page.more || runner.shared.handle.is_quiet() {
                break;
            }
        }
        if (found.larger > 0 || self.is_large_left)
            && let Err(error) = self.enqueue_large(runner, set, &mut found).await
        {
            // One that cannot be read would be in the way of the next poll again.
            self.large = Place { score: std::mem::take(&mut found.now), skip: 0 };
            self.is_large_left = false;
            found.large_fault = Some(error);
        }
        Ok(found)
    }

    async fn enqueue_large(&mut self, runner: &Runner, set: WaitingSet, found: &mut Found) -> Result<()> {
        let mut bytes = 0;
        for _ in 0..PAGES {
            let sizes = READ + 1..=runner.shared.config.max_payload;
            let look = JustLook { overdue: LEFT_FOR, from: &self.large, until: None, sizes };
            let page = runner.shared.store.just_due(set, &look).await?;
            bytes += page.members.iter().map(Vec::len).sum::<usize>();
            let more = page.more;
            self.large = promote_large(runner, set, &self.polled, page, found).await?;
            self.is_large_left = more;
            if !more || bytes >= LARGE_BYTES || runner.shared.handle.is_quiet() {
                break;
            }
        }
        Ok(())
    }
}

/// Moves the members of a page that are not for Ruby. Returns the place behind the page.
async fn promote(
    runner: &Runner,
    set: WaitingSet,
    polled: &BTreeSet<String>,
    page: &JustDue,
    found: &mut Found,
) -> Result<Place> {
    let now = note(page, found);
    let first_tied = page.members.len().saturating_sub(page.tied);
    let (mut plans, mut tied) = (Vec::new(), 0);
    for (at, member) in page.members.iter().enumerate() {
        let payload = Payload::from_bytes(member.clone()).ok();
        if let Some(payload) = payload.and_then(|payload| ours(runner, polled, payload)) {
            plans.push((member.as_slice(), plan_payload(runner, payload, EpochSecs(now)).await.written()));
            tied += usize::from(at >= first_tied);
        }
    }
    let promotions: Vec<(&[u8], Promotion<'_>)> =
        plans.iter().map(|(member, plan)| (*member, plan.promotion())).collect();
    let (moved, stuck) = runner.shared.store.promote(set, &promotions, Some(runner.shared.dead_limits())).await?;
    tracing::debug!(jobs = moved, "enqueued due jobs");
    runner.shared.stats.telemetry.of_set(set).promoted.add(moved);
    found.stuck += stuck;
    Ok(behind(page.next.clone(), if stuck == 0 { tied } else { 0 }))
}

/// The same for a page of large members, which has one.
async fn promote_large(
    runner: &Runner,
    set: WaitingSet,
    polled: &BTreeSet<String>,
    page: JustDue,
    found: &mut Found,
) -> Result<Place> {
    let now = note(&page, found);
    let mut gone = 0;
    for member in page.members {
        let member = Fetched::new(member);
        let payload = member.payload().ok();
        let Some(payload) = payload.and_then(|payload| ours(runner, polled, payload)) else { continue };
        let plan = plan_payload(runner, payload, EpochSecs(now)).await;
        let (_moved, stuck) = large::promote(runner, set, &page.score, &member, plan).await?;
        found.stuck += stuck;
        gone += usize::from(stuck == 0);
    }
    Ok(behind(page.next, gone.min(page.tied)))
}

/// Notes what a page shows of its set. Returns the time of Redis, in epoch seconds.
fn note(page: &JustDue, found: &mut Found) -> f64 {
    let now: f64 = page.now.parse().unwrap_or_default();
    found.now.clone_from(&page.now);
    found.larger += page.larger;
    found.first = page.first.map_or(0.0, |first| now - first).max(found.first);
    now
}

/// The place once so many members of its score have left, so fewer lie before it.
fn behind(mut next: Place, left: usize) -> Place {
    next.skip = next.skip.saturating_sub(left);
    next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::RawArgs;
    use crate::server::Wrapping;
    use crate::{Context, Job, JobError, JobResult, Server};

    #[test]
    fn a_job_is_rubys_if_ruby_serves_its_queue_and_it_is_not_registered_here() {
        static WRAPPING: Wrapping = Wrapping {
            wrappers: &["Wrapper"],
            inner: |payload| Some(payload.display_class().to_owned()),
            unknown: |_| JobError::new("NameError", ""),
        };
        struct Inside;
        impl Job for Inside {
            const CLASS: &'static str = "Inside";
            type Args = RawArgs;
            async fn perform(&self, _: Context, _: RawArgs) -> JobResult {
                Ok(())
            }
        }
        let server = Server::builder().register_fn("Ours", async |_, _: RawArgs| Ok(()));
        let server = server.register_wrapped(&WRAPPING, Inside).build().unwrap();
        let polled = ["ruby".to_owned(), "default".to_owned()].into();
        for (raw, expected) in [
            (r#"{"class":"Ours","args":[],"queue":"ruby"}"#, false),
            (r#"{"class":"::Ours","args":[],"queue":"ruby"}"#, false),
            (r#"{"class":"Ours","args":[],"queue":"ruby","lock_digest":"a lock that Ruby releases"}"#, true),
            (r#"{"class":"Ours","args":[],"queue":"rust","lock_digest":"no Ruby process serves the queue"}"#, false),
            (r#"{"class":"Theirs","args":[],"queue":"ruby"}"#, true),
            (r#"{"class":"Theirs","args":[],"queue":"rust"}"#, false),
            (r#"{"class":"Theirs","args":[]}"#, true),
            (r#"{"class":"Wrapper","wrapped":"Inside","args":[],"queue":"ruby"}"#, false),
            (r#"{"class":"Wrapper","wrapped":"Ours","args":[],"queue":"ruby"}"#, true),
            (r#"{"class":"Inside","args":[],"queue":"ruby"}"#, true),
            (r#"{"class":7,"args":[],"queue":"rust"}"#, true),
            (r#"{"args":[],"queue":"rust"}"#, true),
            ("no payload", true),
            ("\u{0}", true),
        ] {
            let payload = Payload::from_bytes(raw.as_bytes().to_vec()).ok();
            let ours = payload.and_then(|payload| ours(&server.process.runner, &polled, payload));
            assert_eq!(ours.is_none(), expected, "{raw}");
        }
    }
}

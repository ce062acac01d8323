//! Puts back the jobs of processes that died. In each period one process looks for all: whoever takes the turn first.

use std::sync::Arc;

use rand::seq::SliceRandom;

use crate::error::Result;
use crate::payload::{Fetched, Jid, Payload, names};
use crate::server::control::supervisor::Part;
use crate::server::recovery::named::Named;
use crate::server::recovery::stuck::Stuck;
use crate::server::shared::Shared;
use crate::store::Store;
use crate::store::claims::Moved;
use crate::store::sets::DeadLimits;
use crate::time::{EpochSecs, StampForm};

/// A payload that so many processes died with within 72 h is dead if the last one had nothing else to do.
const POISON: u64 = 3;

/// Looks for dead processes until the server is quieted.
pub(crate) struct Recovery(pub(crate) Arc<Shared>);

impl Part for Recovery {
    fn name(&self) -> &'static str {
        "recovery"
    }

    async fn run(&mut self) {
        run(&self.0).await;
    }

    fn may_end(&self) -> bool {
        self.0.handle.is_quiet()
    }
}

async fn run(shared: &Shared) {
    let (mut outage, mut stuck) = (shared.stats.outages.part(), Stuck::default());
    loop {
        // A process that is not steady may not judge others: it leaves the turn to another.
        if shared.stats.liveness.is_steady() {
            match recover(shared, &mut stuck).await {
                Ok(()) => outage.over(),
                Err(error) => outage.note("looking for dead processes failed", &error),
            }
        }
        tokio::select! {
            () = tokio::time::sleep(shared.stats.liveness.period().mul_f64(0.9 + rand::random::<f64>() / 5.0)) => {}
            () = shared.handle.quieted() => return,
        }
    }
}

/// Jobs that were put back, and jobs that were buried.
#[derive(Debug)]
struct Sum {
    recovered: usize,
    convicted: usize,
    named: Named,
}

impl Sum {
    fn new() -> Self {
        Self {
            recovered: 0,
            convicted: 0,
            named: Named::new("recovered from a process that died, goes back to its queue"),
        }
    }
}

async fn recover(shared: &Shared, stuck: &mut Stuck) -> Result<()> {
    if !shared.store.take_lookout(&shared.identity, shared.stats.liveness.turn()).await? {
        return Ok(());
    }
    let mut dead = shared.store.dead_processes(&shared.identity, shared.stats.liveness.grace()).await?;
    // Whatever keeps this pass from its end, every process and every list comes first some time.
    dead.shuffle(&mut rand::rng());
    for identity in dead {
        let mut sum = Sum::new();
        let outcome = recover_process(shared, &identity, stuck, &mut sum).await;
        let Sum { recovered, convicted, named } = sum;
        named.end();
        shared.stats.telemetry.recovered.add(recovered);
        if recovered + convicted > 0 {
            tracing::warn!(identity, recovered, convicted, "put back the jobs of a process that died");
        }
        match outcome {
            Ok(()) => stuck.works(&identity),
            Err(error) => stuck.note(&identity, error)?,
        }
    }
    Ok(())
}

async fn recover_process(shared: &Shared, identity: &str, stuck: &mut Stuck, sum: &mut Sum) -> Result<()> {
    let mut lists = shared.store.private_lists(identity).await?;
    lists.shuffle(&mut rand::rng());
    for (list, queue) in &lists {
        match recover_list(shared, identity, (list, queue), sum).await {
            Ok(()) => stuck.works(list),
            Err(error) => stuck.note(list, error)?,
        }
    }
    if !lists.is_empty() {
        let looked_at: Vec<String> = lists.into_iter().map(|(list, _)| list).collect();
        shared.store.forget_lists(identity, &looked_at).await?;
    }
    Ok(())
}

async fn recover_list(shared: &Shared, identity: &str, (list, queue): (&str, &str), sum: &mut Sum) -> Result<()> {
    let convicts = Store::convicts(identity, queue);
    if list != convicts {
        // The next to run, which are the most likely to have begun.
        let jobs = jobs_to_name(shared, list, sum.named.room()).await;
        let (mut back, mut convicted) = (0, 0);
        loop {
            let step = shared.store.recover(identity, (list, queue), POISON).await?;
            sum.recovered += step.back;
            back += step.back;
            convicted += step.convicted;
            if step.left == 0 || step.back + step.convicted == 0 {
                break;
            }
        }
        let condemned = jobs_to_name(shared, &convicts, convicted).await;
        let recovered: Vec<&Vec<u8>> = jobs.iter().filter(|job| !condemned.contains(job)).take(back).collect();
        recovered.iter().for_each(|job| sum.named.job(None, job, queue));
        sum.named.more(back - recovered.len());
    }
    sum.convicted += bury_convicts(shared, &shared.store, identity, &convicts).await?;
    Ok(())
}

/// Up to `n` jobs of a list, for the log alone: a list that cannot be read is recovered all the same.
async fn jobs_to_name(shared: &Shared, list: &str, n: usize) -> Vec<Vec<u8>> {
    if n == 0 { Vec::new() } else { shared.store.private_jobs(list, n).await.unwrap_or_default() }
}

/// Moves the convicted jobs of a process to the dead set.
pub(crate) async fn bury_convicts(shared: &Shared, store: &Store, identity: &str, convicts: &str) -> Result<usize> {
    let mut buried = 0;
    loop {
        let jobs = store.private_jobs(convicts, 1).await?;
        let Some(job) = jobs.into_iter().next().map(Fetched::new) else { return Ok(buried) };
        let payload = convicted(&job, shared.dialect.stamps(), EpochSecs::now());
        if bury(store, identity, convicts, &job, payload.as_ref(), shared.dead_limits()).await? != Moved::Yes {
            // Another process buried it.
            return Ok(buried);
        }
        buried += 1;
        let (jid, class) = names(job.bytes());
        tracing::warn!(jid, class, "{POISON} processes died while they had this job; moved to the dead set");
        shared.stats.telemetry.convicted.add(1);
    }
}

async fn bury(
    store: &Store,
    identity: &str,
    convicts: &str,
    job: &Fetched,
    payload: Option<&Payload>,
    limits: DeadLimits,
) -> Result<Moved> {
    let raw = job.bytes();
    if let Some(edits) = job.edits(payload) {
        return store.bury_in_place(identity, convicts, raw, edits.pieces(), limits).await;
    }
    let text = payload.map(Payload::as_str);
    store.bury(identity, convicts, raw, text.as_deref().map_or(raw, str::as_bytes), limits).await
}

/// The payload with the reason for its death, where it can be read. Two jobs of the same bytes stay two entries of the dead set: one that has
/// no jid gets one, and each has the time of its conviction.
fn convicted(job: &Fetched, stamps: StampForm, now: EpochSecs) -> Option<Payload> {
    let mut payload = job.payload().ok()?;
    payload.insert("error_message", format!("the process died {POISON} times while it had this job"));
    payload.insert("error_class", "Ferrokiq::PoisonPill");
    let failed_before = payload.contains_key("failed_at");
    let stamp = payload.stamp_form().unwrap_or(stamps).stamp(now);
    payload.insert_raw(if failed_before { "retried_at" } else { "failed_at" }, stamp);
    if !payload.contains_key("retry_count") {
        payload.insert("retry_count", 0);
    }
    if payload.jid().is_empty() {
        payload.insert("jid", Jid::generate());
    }
    Some(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_convicted_jobs_of_the_same_bytes_apart() {
        let bury = |job: &str, at: f64| convicted(&Fetched::new(job.into()), StampForm::Millis, EpochSecs(at)).unwrap();
        let nameless = r#"{"class":"A","args":[]}"#;
        let (one, other) = (bury(nameless, 1.0), bury(nameless, 1.0));
        assert!(one.jid().len() == 24 && one.jid() != other.jid());
        for job in [r#"{"class":"A","args":[],"jid":"x"}"#, r#"{"class":"A","args":[],"jid":"x","failed_at":500}"#] {
            assert_ne!(bury(job, 1.0).as_str(), bury(job, 1.5).as_str());
            assert_eq!(bury(job, 1.0).jid(), "x");
        }
        assert_eq!(convicted(&Fetched::new(b"no JSON".into()), StampForm::Millis, EpochSecs(1.0)), None);
    }
}

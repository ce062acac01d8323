//! Puts back the jobs of processes that died. In each period one process looks for all: whoever takes the turn first.

use std::sync::Arc;

use crate::error::Result;
use crate::server::core::Core;
use crate::server::supervisor::Part;
use crate::store::Store;
use crate::store::claims::Moved;
use crate::time::EpochSecs;

/// Jobs one look at a private list takes.
const BATCH: usize = 100;
/// A payload that lay with so many dying processes within 72 h is taken for their killer.
const POISON: u64 = 3;

/// Looks for dead processes until the server is quieted.
pub(crate) struct Recovery(pub(crate) Arc<Core>);

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

async fn run(core: &Core) {
    let mut outage = core.outages.part();
    loop {
        // A process that is not steady may not judge others: it leaves the turn to another.
        if core.liveness.is_steady() {
            match recover(core).await {
                Ok(()) => outage.over(),
                Err(error) => outage.note("looking for dead processes failed", &error),
            }
        }
        tokio::select! {
            () = tokio::time::sleep(core.liveness.period().mul_f64(0.9 + rand::random::<f64>() / 5.0)) => {}
            () = core.handle.quieted() => return,
        }
    }
}

async fn recover(core: &Core) -> Result<()> {
    if !core.store.take_lookout(&core.identity, core.liveness.turn()).await? {
        return Ok(());
    }
    for identity in core.store.dead_processes(&core.identity, core.liveness.grace()).await? {
        let (mut recovered, mut convicted) = (0, 0);
        let lists = core.store.private_lists(&identity).await?;
        for (list, queue) in &lists {
            let convicts = Store::convicts(&identity, queue);
            if *list != convicts {
                recovered += put_back(core, &identity, list, queue).await?;
            }
            convicted += bury_convicts(core, &core.store, &identity, &convicts).await?;
        }
        if !lists.is_empty() {
            let looked_at: Vec<String> = lists.into_iter().map(|(list, _)| list).collect();
            core.store.forget_lists(&identity, &looked_at).await?;
        }
        core.telemetry.recovered.add(recovered);
        if recovered + convicted > 0 {
            tracing::warn!(identity, recovered, convicted, "put back the jobs of a process that died");
        }
    }
    Ok(())
}

async fn put_back(core: &Core, identity: &str, list: &str, queue: &str) -> Result<usize> {
    let mut recovered = 0;
    loop {
        let (back, convicted) = core.store.recover(identity, list, queue, BATCH, POISON).await?;
        recovered += back;
        if back + convicted < BATCH {
            return Ok(recovered);
        }
    }
}

/// Moves the convicted jobs of a process to the dead set.
pub(crate) async fn bury_convicts(core: &Core, store: &Store, identity: &str, convicts: &str) -> Result<usize> {
    let mut buried = 0;
    loop {
        let before = buried;
        for job in &store.private_jobs(convicts, BATCH).await? {
            let now = EpochSecs::now();
            let bytes = convicted(job, core, now);
            let moved = store.bury(identity, convicts, job, &bytes, core.dead_limits()).await?;
            buried += usize::from(moved == Moved::Yes);
            core.telemetry.convicted.add(usize::from(moved == Moved::Yes));
        }
        // None is left, or they belong to another process.
        if buried == before {
            return Ok(buried);
        }
    }
}

/// The payload with the reason for its death, where it can be read.
fn convicted(job: &[u8], core: &Core, now: EpochSecs) -> Vec<u8> {
    let Ok(mut payload) = crate::Payload::from_bytes(job.to_vec()) else { return job.to_vec() };
    payload.insert("error_message", format!("the process died {POISON} times while it had this job"));
    payload.insert("error_class", "Ferrokiq::PoisonPill");
    if !payload.contains_key("failed_at") {
        payload.insert_raw("failed_at", payload.stamp_form().unwrap_or(core.dialect.stamps()).stamp(now));
    }
    if !payload.contains_key("retry_count") {
        payload.insert("retry_count", 0);
    }
    payload.into_string().into_bytes()
}

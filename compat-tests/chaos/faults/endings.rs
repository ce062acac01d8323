//! What jobs, middleware and hooks decide, while workers are killed.

use std::time::Duration;

use crate::Failure;
use crate::check::Places;
use crate::ledger::Ledger;
use crate::stage::Stage;
use crate::worker::ENDINGS;

/// Jobs snooze, are requeued, and are delayed when they are due. A hook has to be called for each job that is done or dead, at least once.
pub(crate) async fn endings_sigkill(stage: &mut Stage) -> Result<(), Failure> {
    let (jobs, kills, workers) = stage.scale((1_000, 4, 2), (50_000, 100, 4));
    let hooks = stage.dir.join("hooks");
    std::fs::create_dir_all(&hooks)?;
    stage.orders.environment.push((ENDINGS.to_owned(), "1".to_owned()));
    stage.push(jobs, 2.0, 1).await?;
    stage.push_jobs(jobs / 4, "Work", "[2.0,1]", r#""retry":0,"#).await?;
    stage.start_all(workers).await?;
    stage.kill_at_random(kills, (500, 2.0)).await?;
    stage.settle(Duration::from_secs(stage.scale(60, 600))).await?;
    stage.stop_all().await?;
    let (ran, called, places) = (Ledger::read(&stage.dir)?, Ledger::read(&hooks)?, Places::of(&stage.redis).await?);
    let ended: Vec<_> = stage.accepted.iter().filter(|job| ran.done(job) || places.dead.contains(job)).collect();
    let missed = ended.iter().filter(|job| !called.done(job)).count();
    let (ended, dead) = (ended.len(), places.dead.len());
    stage.expect(missed == 0, || format!("no hook was called for {missed} of {ended} jobs that ended"));
    stage.expect(dead == jobs / 4, || format!("{dead} jobs are dead"));
    Ok(())
}

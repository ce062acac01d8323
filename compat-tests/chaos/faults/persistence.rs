//! What Redis forgets.

use std::time::Duration;

use ferrokiq::{Client, Payload};
use rand::RngExt;

use crate::Failure;
use crate::ledger::jid;
use crate::stage::Stage;

/// Pushes one job after the other as an app does; an error may mean that it is there all the same, so it counts only if it was not
/// refused... which only the ledger knows: those are not counted.
async fn push_through(stage: &mut Stage, client: &Client, jobs: usize) -> usize {
    let mut unsure = 0;
    for _ in 0..jobs {
        match client.push(Payload::new("Work", [1.0.into(), 0.into()])).await {
            Ok(Some(id)) => stage.accepted.push(jid(id.as_ref())),
            Ok(None) => {}
            Err(_) => {
                unsure += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    unsure
}

pub(crate) async fn redis_sigkill(stage: &mut Stage) -> Result<(), Failure> {
    let (kills, each) = stage.scale((8, 500), (200, 1_000));
    let client = Client::open(&stage.redis.producer_url())?;
    stage.start_all(2).await?;
    let mut unsure = 0;
    for _ in 0..kills {
        stage.push(each, 1.0, 0).await?;
        stage.push(each / 20, 1.0, 1).await?;
        unsure += push_through(stage, &client, 50).await;
        let pause = stage.rng.random_range(0..200);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        stage.redis.kill();
        // Acknowledgements that Redis had not written down: what they were for may run again.
        (0..2).for_each(|at| stage.is_broken_again(at));
        unsure += push_through(stage, &client, 2).await;
        stage.redis.revive().await?;
        stage.restarts += 1;
    }
    stage.remark(format!("{unsure} pushes failed and said so"));
    stage.settle(Duration::from_secs(120)).await?;
    stage.stop_all().await
}

/// The file Redis appends to, and how long it is.
fn log_of(stage: &Stage) -> Result<(std::path::PathBuf, u64), Failure> {
    for entry in std::fs::read_dir(stage.redis.dir().join("appendonlydir"))? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(".incr.aof") {
            let length = std::fs::metadata(&path)?.len();
            return Ok((path, length));
        }
    }
    Err("there is no append-only file".into())
}

pub(crate) async fn tail_cut(stage: &mut Stage) -> Result<(), Failure> {
    stage.start_all(2).await?;
    for _ in 0..stage.scale(2, 30) {
        stage.push(2_500, 5.0, 0).await?;
        stage.push(20, 2.0, 1).await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        // What happens from here on will not have happened.
        let (log, length) = log_of(stage)?;
        let safe = stage.accepted.len();
        stage.push(200, 2.0, 0).await?;
        let pause = stage.rng.random_range(50..800);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        stage.redis.kill();
        let cut = std::fs::metadata(&log)?.len().saturating_sub(length);
        std::fs::OpenOptions::new().write(true).open(&log)?.set_len(length)?;
        // Acknowledgements of that time are gone too: a second of work of two workers may run again.
        (0..2).for_each(|at| stage.may_repeat(at, 20_000));
        stage.redis.revive().await?;
        stage.restarts += 1;
        stage.settle(Duration::from_secs(60)).await?;
        let ledger = stage.ledger()?;
        let late = stage.accepted.split_off(safe);
        let (kept, gone): (Vec<_>, Vec<_>) = late.into_iter().partition(|job| ledger.done(job));
        stage.remark(format!(
            "{cut} bytes cut: {} of 200 pushes of that time are gone, {} ran before",
            gone.len(),
            kept.len()
        ));
        stage.accepted.extend(kept);
    }
    stage.stop_all().await
}

pub(crate) async fn forgotten(stage: &mut Stage) -> Result<(), Failure> {
    stage.start_all(2).await?;
    for _ in 0..stage.scale(3, 40) {
        // Twenty run, and fail once each; the others wait.
        stage.push(20, 1_200.0, 1).await?;
        let running = stage.accepted.len();
        stage.wait_runs_of(running - 20, 20).await?;
        stage.push(100, 5.0, 0).await?;
        let _: String = stage.redis.call("FLUSHALL", &[]).await?;
        // What waited is gone with Redis's memory; what runs is not.
        stage.accepted.truncate(running);
        stage.settle_all(Duration::from_secs(30)).await?;
        // A list may have been written anew that was acknowledged a moment before.
        (0..2).for_each(|at| stage.is_broken_again(at));
    }
    stage.stop_all().await
}

pub(crate) async fn old_snapshot(stage: &mut Stage) -> Result<(), Failure> {
    stage.start_all(2).await?;
    for _ in 0..stage.scale(2, 20) {
        stage.push(800, 5.0, 0).await?;
        stage.push(20, 2.0, 1).await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let _: String = stage.redis.call("SAVE", &[]).await?;
        let safe = stage.accepted.len();
        stage.push(400, 5.0, 0).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        stage.redis.kill();
        // Everything since the snapshot happens again.
        (0..2).for_each(|at| stage.may_repeat(at, 20_000));
        stage.redis.revive().await?;
        stage.restarts += 1;
        // Nothing stays in a private list that nobody knows.
        stage.settle(Duration::from_secs(60)).await?;
        let ledger = stage.ledger()?;
        let late = stage.accepted.split_off(safe);
        stage.accepted.extend(late.into_iter().filter(|job| ledger.done(job)));
    }
    stage.stop_all().await
}

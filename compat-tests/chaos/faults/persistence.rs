//! What Redis forgets.

use std::time::{Duration, Instant};

use ferrokiq::{Client, Payload};
use rand::RngExt;

use crate::Failure;
use crate::faults::primary::wait_for_replicas;
use crate::ledger::jid;
use crate::proxy::{Mode, Proxy};
use crate::redis::Redis;
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
        occupy(stage).await?;
        stage.redis.kill();
        let cut = std::fs::metadata(&log)?.len().saturating_sub(length);
        std::fs::OpenOptions::new().write(true).open(&log)?.set_len(length)?;
        let demanded = demand_what_ran(stage, safe)?;
        // Acknowledgements of that time are gone too: a second of work of two workers may run again.
        (0..2).for_each(|at| stage.may_repeat(at, 20_000));
        stage.redis.revive().await?;
        stage.restarts += 1;
        stage.settle_all(Duration::from_secs(60)).await?;
        let gone = safe + 220 - stage.accepted.len();
        stage.remark(format!("{cut} bytes cut: {gone} of 220 pushes are lost; {demanded} ran and were demanded"));
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
    // A job that was pushed after that to an idle worker, which dies with it, is not lost.
    let _: String = stage.redis.call("FLUSHALL", &[]).await?;
    let first = stage.accepted.len();
    stage.push(1, 1_200.0, 0).await?;
    stage.wait_runs_of(first, 1).await?;
    for at in 0..2 {
        stage.kill(at).await?;
        stage.replace(at)?;
    }
    stage.settle(Duration::from_secs(30)).await?;
    stage.stop_all().await
}

/// Pushes jobs that take a while and fail once, one for each slot of two workers, and waits until each runs.
async fn occupy(stage: &mut Stage) -> Result<(), Failure> {
    let first = stage.accepted.len();
    stage.push(20, 1_500.0, 1).await?;
    stage.wait_runs_of(first, 20).await
}

/// Of the jobs accepted from the `first` on, demands those that were done or ran when Redis died; Redis lost the others.
fn demand_what_ran(stage: &mut Stage, first: usize) -> Result<usize, Failure> {
    let ledger = stage.ledger()?;
    let late = stage.accepted.split_off(first);
    let kept: Vec<_> = late.into_iter().filter(|job| ledger.done(job) || ledger.runs_now(job)).collect();
    let demanded = kept.iter().filter(|job| !ledger.done(job)).count();
    stage.accepted.extend(kept);
    Ok(demanded)
}

/// After Redis came back: waits until the jobs that run are in private lists again, and kills a worker. Its jobs must be recovered.
async fn kill_one_that_restored(stage: &mut Stage) -> Result<(), Failure> {
    let deadline = Instant::now() + Duration::from_secs(3);
    while stage.open_jobs().await?[1] < 20 {
        if Instant::now() > deadline {
            stage.complain("the jobs that run are not in private lists again after 3 s".to_owned());
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stage.kill(0).await?;
    stage.replace(0)
}

pub(crate) async fn old_snapshot(stage: &mut Stage) -> Result<(), Failure> {
    stage.start_all(2).await?;
    let mut demanded = 0;
    for round in 0..stage.scale(2, 20) {
        stage.push(400, 5.0, 0).await?;
        stage.push(20, 2.0, 1).await?;
        stage.settle(Duration::from_secs(20)).await?;
        let _: String = stage.redis.call("SAVE", &[]).await?;
        let safe = stage.accepted.len();
        occupy(stage).await?;
        stage.push(100, 5.0, 0).await?;
        stage.redis.kill();
        demanded += demand_what_ran(stage, safe)?;
        // Everything since the snapshot happens again.
        (0..2).for_each(|at| stage.may_repeat(at, 20_000));
        stage.redis.revive().await?;
        stage.restarts += 1;
        if round % 2 == 1 {
            kill_one_that_restored(stage).await?;
        }
        // Nothing stays in a private list that nobody knows.
        stage.settle_all(Duration::from_secs(60)).await?;
    }
    stage.remark(format!("{demanded} jobs ran while Redis lost them"));
    stage.stop_all().await
}

/// A replica becomes the primary before it has received the last jobs.
pub(crate) async fn lagging_replica(stage: &mut Stage) -> Result<(), Failure> {
    let proxy = Proxy::start(stage.redis.port)?;
    stage.orders.url = proxy.url();
    stage.start_all(2).await?;
    let mut demanded = 0;
    for round in 0..stage.scale(2, 20) {
        let link = Proxy::start(stage.redis.port)?;
        let port = link.port.to_string();
        let replica =
            Redis::start(&stage.dir, &["--replicaof", "127.0.0.1", &port, "--repl-diskless-sync-delay", "0"]).await?;
        stage.push(200, 5.0, 0).await?;
        stage.settle(Duration::from_secs(20)).await?;
        wait_for_replicas(&stage.redis, 1).await?;
        let _: i64 = stage.redis.call("WAIT", &["1", "5000"]).await?;
        link.set(Mode::Blackhole);
        let safe = stage.accepted.len();
        occupy(stage).await?;
        stage.push(100, 5.0, 0).await?;
        proxy.set(Mode::Refuse);
        demanded += demand_what_ran(stage, safe)?;
        (0..2).for_each(|at| stage.may_repeat(at, 20_000));
        let _: String = replica.call("REPLICAOF", &["NO", "ONE"]).await?;
        proxy.point_to(replica.port);
        proxy.set(Mode::Pass);
        stage.redis = replica;
        if round % 2 == 1 {
            kill_one_that_restored(stage).await?;
        }
        stage.settle_all(Duration::from_secs(60)).await?;
    }
    stage.remark(format!("{demanded} jobs ran while Redis lost them"));
    stage.stop_all().await
}

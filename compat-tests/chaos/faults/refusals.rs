//! A server that answers, and refuses.

use std::path::Path;
use std::time::{Duration, Instant};

use ferrokiq::{Client, ErrorKind, Payload};

use crate::Failure;
use crate::stage::Stage;

/// Its snapshots fail: it takes no writes until one succeeds.
pub(crate) async fn misconf(stage: &mut Stage) -> Result<(), Failure> {
    let client = Client::open(&stage.redis.producer_url())?;
    stage.start_all(2).await?;
    stage.push(2_000, 5.0, 0).await?;
    stage.push(50, 5.0, 1).await?;
    let _: String = stage.redis.call("CONFIG", &["SET", "save", "3600 1"]).await?;
    let (_, dir): (String, String) = stage.redis.call("CONFIG", &["GET", "dir"]).await?;
    let in_the_way = Path::new(&dir).join("dump.rdb");
    std::fs::create_dir_all(in_the_way.join("not empty"))?;
    snapshot(stage, "err").await?;
    let refused = client.push(Payload::new("Work", [1.0.into(), 0.into()])).await;
    let plainly = refused
        .as_ref()
        .is_err_and(|error| error.kind() == ErrorKind::Redis && format!("{error:?}").contains("MISCONF"));
    stage.expect(plainly, || format!("a push was not refused plainly: {refused:?}"));
    tokio::time::sleep(Duration::from_secs(stage.scale(3, 30))).await;
    std::fs::remove_dir_all(in_the_way)?;
    snapshot(stage, "ok").await?;
    let (mended, runs) = (Instant::now(), stage.runs()?);
    stage.push(100, 1.0, 0).await?;
    stage.wait_runs(runs + 1).await?;
    let took = mended.elapsed();
    stage.expect(took < Duration::from_secs(2), || format!("work went on {took:?} later"));
    stage.settle(Duration::from_secs(60)).await?;
    stage.stop_all().await
}

/// Has Redis write a snapshot, and waits until it ended so.
async fn snapshot(stage: &Stage, end: &str) -> Result<(), Failure> {
    let deadline = Instant::now() + Duration::from_secs(30);
    let ended = format!("rdb_last_bgsave_status:{end}");
    // A connection that does not begin with a PING: that is refused, too.
    let mut redis = redis::Client::open(stage.redis.url())?.get_multiplexed_async_connection().await?;
    while Instant::now() < deadline {
        let _: redis::RedisResult<String> = redis::cmd("BGSAVE").query_async(&mut redis).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let said: String = redis::cmd("INFO").arg("persistence").query_async(&mut redis).await?;
        if said.contains(&ended) {
            return Ok(());
        }
    }
    Err(format!("no snapshot ended with {end}").into())
}

/// It restarts with much to read: for a while it answers everything with LOADING.
pub(crate) async fn loading(stage: &mut Stage) -> Result<(), Failure> {
    let keys = stage.scale(2_000_000, 6_000_000);
    let _: String = stage.redis.call("DEBUG", &["POPULATE", &keys.to_string(), "ballast", "16"]).await?;
    let _: String = stage.redis.call("BGREWRITEAOF", &[]).await?;
    let rewritten = Instant::now() + Duration::from_secs(120);
    while stage.redis.call::<String>("INFO", &["persistence"]).await?.contains("aof_rewrite_in_progress:1")
        || stage.redis.call::<String>("INFO", &["persistence"]).await?.contains("aof_rewrite_scheduled:1")
    {
        if Instant::now() > rewritten {
            return Err("the append-only file is not rewritten within 120 s".into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stage.start_all(2).await?;
    stage.push(2_000, 5.0, 0).await?;
    stage.push(50, 5.0, 1).await?;
    tokio::time::sleep(Duration::from_millis(200)).await;
    stage.redis.kill();
    stage.kills += 1;
    (0..2).for_each(|at| stage.is_broken_again(at));
    let killed = Instant::now();
    stage.redis.revive().await?;
    stage.restarts += 1;
    stage.remark(format!("back after {:.1} s", killed.elapsed().as_secs_f64()));
    let (back, runs) = (Instant::now(), stage.runs()?);
    stage.push(100, 1.0, 0).await?;
    stage.wait_runs(runs + 1).await?;
    let took = back.elapsed();
    stage.expect(took < Duration::from_secs(2), || format!("work went on {took:?} later"));
    for at in 0..2 {
        let said = stage.workers[at].said();
        let errors = said.lines().filter(|line| line.starts_with("ERROR")).count();
        stage.expect(errors <= 5, || format!("{errors} lines of errors"));
        // Whoever missed it first has to find it back.
        stage.wait_said(at, "Redis is online", Duration::from_secs(5)).await?;
    }
    // The ballast is in the way of the accounting; piece by piece, so that nobody waits for Redis.
    for from in (0..keys).step_by(50_000) {
        let _: String = stage.redis.call("EVAL", &[FORGET_BALLAST, "0", &from.to_string()]).await?;
    }
    stage.settle(Duration::from_secs(60)).await?;
    stage.stop_all().await
}

const FORGET_BALLAST: &str = "for at = tonumber(ARGV[1]), tonumber(ARGV[1]) + 49999 do redis.call('UNLINK', 'ballast:' .. at) end return redis.status_reply('OK')";

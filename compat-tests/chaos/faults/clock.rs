//! Clocks that lie. Only what is shown to people may depend on them.

use std::path::PathBuf;
use std::time::Duration;

use rand::RngExt;

use crate::Failure;
use crate::stage::Stage;

/// The library that lies; the command of the same name would stand between us and the process.
pub(crate) fn library() -> Option<PathBuf> {
    let of = |dir: std::fs::DirEntry| Some(dir.path().join("faketime/libfaketimeMT.so.1")).filter(|path| path.exists());
    std::fs::read_dir("/usr/lib").ok()?.flatten().find_map(of)
}

/// Has workers live at another time; durations stay true, as on a machine whose clock is set.
fn lie(stage: &mut Stage, how: &str) {
    let library = library().unwrap_or_default().display().to_string();
    stage.orders.environment =
        [("LD_PRELOAD", library.as_str()), ("FAKETIME", how), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
}

/// Has workers live at a time that can be set: by what is written into the file returned, `+3600s` say. `None` without the library.
pub(crate) fn settable(stage: &mut Stage) -> Option<PathBuf> {
    let (library, file) = (library()?.display().to_string(), stage.dir.join("clock"));
    stage.orders.environment.extend(
        [
            ("LD_PRELOAD", library),
            ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    std::fs::write(&file, "+0").ok()?;
    Some(file)
}

pub(crate) async fn worker_clock(stage: &mut Stage) -> Result<(), Failure> {
    stage.start_all(1).await?;
    let truthful = stage.orders.clone();
    for how in ["+3600s", "-3600s", "+3650d", "-3650d", "+0 x3"] {
        lie(stage, how);
        let liar = stage.start()?;
        stage.wait_registered(liar).await?;
        stage.orders = truthful.clone();
        // Not before time: an hour from now by the clock of Redis, due by that of a worker ahead of it.
        let (_, early) = stage.job("Work", "[1,0]", "");
        let (now, _): (u64, u64) = stage.redis.call("TIME", &[]).await?;
        let _: usize = stage.redis.call("ZADD", &["schedule", &(now + 1_800).to_string(), &early]).await?;
        // And not late: due by that of Redis, not by that of a worker behind it.
        for _ in 0..20 {
            let (id, payload) = stage.job("Work", "[1,0]", "");
            let _: usize = stage.redis.call("ZADD", &["schedule", &now.to_string(), &payload]).await?;
            stage.accepted.push(id);
        }
        stage.push(300, 5.0, 0).await?;
        stage.push(10, 1.0, 1).await?;
        // The dead set is trimmed by the clock of Redis: whoever buries these deletes no other.
        let _: usize = stage.redis.call("ZADD", &["dead", &now.to_string(), "dead job"]).await?;
        // Longer than a process counts as alive.
        for odd in 0..8 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let odd = format!("no payload {odd}");
            let _: usize = stage.redis.call("ZADD", &["schedule", &now.to_string(), &odd]).await?;
        }
        let waiting: usize = stage.redis.call("ZREM", &["schedule", &early]).await?;
        stage.expect(waiting == 1, || format!("with {how} a scheduled job ran half an hour early"));
        stage.settle(Duration::from_secs(30)).await?;
        let dead: Vec<String> = stage.redis.call("ZRANGE", &["dead", "0", "-1"]).await?;
        let odd = dead.iter().filter(|job| job.starts_with("no payload")).count();
        let is_kept = dead.iter().any(|job| job == "dead job");
        stage.expect(is_kept && odd == 8, || format!("with {how} dead jobs were deleted: {dead:?}"));
        let _: usize = stage.redis.call("DEL", &["dead"]).await?;
        stage.workers[liar].signal("TERM")?;
        let status = stage.workers[liar].exit(Duration::from_secs(30)).await;
        stage.expect(status.is_some_and(|status| status.success()), || format!("with {how} it ended as {status:?}"));
    }
    stage.nobody_recovered();
    stage.stop_all().await
}

pub(crate) async fn redis_clock(stage: &mut Stage) -> Result<(), Failure> {
    // What a leap of its clock by an hour does: every sign of life ended an hour ago. (The clock itself cannot be faked for it: jemalloc.)
    let leap = "for _, process in ipairs(redis.call('ZRANGE', 'ferrokiq:alive', 0, -1)) do \
                redis.call('ZINCRBY', 'ferrokiq:alive', -3600000, process) end";
    // Somebody who deletes them all does the same.
    let delete = "redis.call('DEL', 'ferrokiq:alive')";
    stage.start_all(3).await?;
    for round in 0..stage.scale(4, 60) {
        stage.push(1_500, 5.0, 0).await?;
        stage.push(30, 1.0, 1).await?;
        let pause = stage.rng.random_range(200..1_200);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let script = if round % 2 == 0 { leap } else { delete };
        let _: () = stage.redis.call("EVAL", &[script, "0"]).await?;
    }
    stage.settle(Duration::from_secs(60)).await?;
    stage.nobody_recovered();
    stage.stop_all().await
}

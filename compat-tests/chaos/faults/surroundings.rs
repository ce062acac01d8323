//! What the machine refuses a worker.

use std::time::Duration;

use rand::RngExt;

use crate::Failure;
use crate::stage::Stage;

pub(crate) async fn file_limit(stage: &mut Stage) -> Result<(), Failure> {
    stage.orders.wrapper = ["prlimit", "--nofile=32"].map(str::to_owned).to_vec();
    stage.push(2_000, 2.0, 0).await?;
    stage.push(50, 2.0, 1).await?;
    stage.start_all(1).await?;
    for _ in 0..5 {
        let _: usize = stage.redis.call("CLIENT", &["KILL", "TYPE", "normal"]).await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    stage.settle(Duration::from_secs(60)).await?;
    stage.stop_all().await
}

pub(crate) async fn closed_stdout(stage: &mut Stage) -> Result<(), Failure> {
    // The reader ends after one line; from then on every write is an error.
    stage.orders.wrapper =
        ["sh", "-c", r#"{ "$0" "$@"; echo $? > status; } | head -n 1 > /dev/null; exit "$(cat status)""#]
            .map(str::to_owned)
            .to_vec();
    stage.push(2_000, 1.0, 0).await?;
    stage.start()?;
    stage.settle(Duration::from_secs(30)).await?;
    let mut redis = stage.redis.connection().await?;
    let all: Vec<String> = redis::cmd("SMEMBERS").arg("ferrokiq:processes").query_async(&mut redis).await?;
    let pid = all.first().and_then(|identity| identity.split(':').nth(1)?.parse().ok());
    crate::fleet::signal(pid.ok_or("nobody is registered")?, "TERM")?;
    let status = stage.workers[0].exit(Duration::from_secs(20)).await;
    stage.expect(status.is_some_and(|status| status.success()), || format!("it ended as {status:?}"));
    Ok(())
}

pub(crate) async fn thread_limit(stage: &mut Stage) -> Result<(), Failure> {
    // Root has no such limit; nobody else on this machine should be this user.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(&stage.dir, mode)?;
    let user = (60_000 + stage.rng.random_range(0..4_000)).to_string();
    // Its own thread, two of the runtime, heartbeat, signals, and a few more.
    stage.orders.wrapper =
        ["setpriv", "--reuid", &user, "--clear-groups", "prlimit", "--nproc=8"].map(str::to_owned).to_vec();
    stage.orders.environment.push(("TOKIO_WORKER_THREADS".to_owned(), "2".to_owned()));
    stage.push_jobs(60, "Blocks", "[50]", "").await?;
    stage.push(500, 2.0, 0).await?;
    stage.start_all(1).await?;
    stage.settle(Duration::from_secs(60)).await?;
    stage.expect_alive(0);
    stage.stop_all().await
}

pub(crate) async fn full_disk(stage: &mut Stage) -> Result<(), Failure> {
    // Every write to it says that there is no space left.
    stage.orders.log = Some("/dev/full".into());
    stage.push(2_000, 1.0, 0).await?;
    stage.push(50, 1.0, 1).await?;
    stage.start_all(1).await?;
    stage.settle(Duration::from_secs(30)).await?;
    stage.expect_alive(0);
    stage.stop_all().await
}

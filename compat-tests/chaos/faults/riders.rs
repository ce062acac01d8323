//! Effects that take place with the settlement of a job.

use std::collections::HashMap;
use std::time::Duration;

use rand::RngExt;

use crate::Failure;
use crate::stage::Stage;
use crate::worker::{RIDERS, RIDES};

/// Half of the kills come after Redis stood still for some milliseconds: it has then not read, or not answered, what the worker sent last.
pub(crate) async fn riders_sigkill(stage: &mut Stage) -> Result<(), Failure> {
    stage.orders.environment.push((RIDERS.to_owned(), "1".to_owned()));
    let kills = stage.scale(5, 100);
    let mut failing = 0;
    stage.start_all(2).await?;
    while stage.kills < kills {
        // The kills are to meet work.
        if stage.open_jobs().await?[0] < 2_000 {
            stage.push(2_000, 0.0, 0).await?;
            stage.push(200, 0.0, 1).await?;
            failing += 200;
        }
        let pause = stage.rng.random_range(50..300);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let at = stage.rng.random_range(0..2);
        let lags = stage.rng.random_bool(0.5);
        let lag = lags.then(|| Duration::from_millis(stage.rng.random_range(1..60)));
        stage.kill_after(at, lag).await?;
        stage.replace(at)?;
    }
    stage.settle(Duration::from_secs(120)).await?;
    stage.stop_all().await?;
    let counts: HashMap<String, u64> = stage.redis.call("HGETALL", &[RIDES]).await?;
    let of = |ending: &str| counts.keys().filter(|field| field.ends_with(ending)).count();
    let (done, retried, twice) = (of(" Done"), of(" Retried"), counts.values().filter(|count| **count != 1).count());
    let jobs = stage.accepted.len();
    stage.expect(twice == 0, || format!("{twice} endings were counted more than once"));
    stage.expect((done, retried) == (jobs, failing), || {
        format!("of {jobs} jobs {done} were counted as done, of {failing} that failed {retried} as retried")
    });
    stage.remark(format!("{done} jobs and {retried} retries counted once each"));
    Ok(())
}

//! How much memory a worker uses.

use std::time::{Duration, Instant};

use crate::Failure;
use crate::stage::Stage;

/// Bytes of one large payload: 15 MiB, a little less than the largest that a worker takes.
const LARGE: usize = 15 << 20;
/// KB of memory a worker may use beyond an idle one and beyond the payloads that run.
const WINDOWS: usize = 4 * (16 << 10);

/// Pushes jobs that fail, runs them all, and returns the most memory the worker used so far, in KB.
async fn fail(stage: &mut Stage, jobs: usize, class: &str, args: &str) -> Result<usize, Failure> {
    let ballast = format!(r#""ballast":"{}","#, "x".repeat(LARGE));
    let before: usize = stage.redis.call("ZCARD", &["retry"]).await?;
    for _ in 0..jobs {
        stage.push_jobs(1, class, args, &ballast).await?;
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while stage.redis.call::<usize>("ZCARD", &["retry"]).await? < before + jobs {
        if Instant::now() > deadline {
            return Err(format!("{jobs} jobs of class {class} did not fail in 60 s").into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(stage.workers[0].peak_kb())
}

/// Makes the jobs due that failed, waits until all have failed again, and returns the most memory the worker used so far, in KB.
async fn fail_again(stage: &mut Stage) -> Result<usize, Failure> {
    const MAKE_DUE: &str = "redis.call('ZADD', 'retry', 'XX', ARGV[1], redis.call('ZRANGE', 'retry', -1, -1)[1])";
    let jobs: usize = stage.redis.call("ZCARD", &["retry"]).await?;
    for at in 1..=jobs {
        let _: Option<usize> = stage.redis.call("EVAL", &[MAKE_DUE, "0", &at.to_string()]).await?;
    }
    stage.may_repeat(0, jobs);
    let deadline = Instant::now() + Duration::from_secs(60);
    while stage.redis.call::<usize>("ZCOUNT", &["retry", "1000000", "+inf"]).await? < jobs {
        if Instant::now() > deadline {
            return Err(format!("{jobs} due jobs did not fail again in 60 s").into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(stage.workers[0].peak_kb())
}

pub(crate) async fn large_failures(stage: &mut Stage) -> Result<(), Failure> {
    stage.push(500, 1.0, 0).await?;
    stage.push(50, 1.0, 1).await?;
    stage.start_all(1).await?;
    stage.settle(Duration::from_secs(30)).await?;
    let idle = stage.workers[0].peak_kb();
    let bound = |jobs: usize| idle + WINDOWS + jobs * (LARGE >> 10);
    let mut peaks = Vec::new();
    for (what, jobs, class, args) in [
        ("a job of an unknown class", 1, "Unheard", "[]"),
        ("a job that fails", 1, "Harm", r#"["fail",0]"#),
        ("ten jobs in ten slots", 10, "Harm", r#"["fail",2500]"#),
    ] {
        if jobs > 1 {
            // Those that failed so far.
            let peak = fail_again(stage).await?;
            peaks.push(format!("two due jobs {} MB", peak >> 10));
            stage.expect(peak < bound(2), || format!("two due jobs: {peak} KB of memory, {idle} KB before"));
        }
        let peak = fail(stage, jobs, class, args).await?;
        peaks.push(format!("{what} {} MB", peak >> 10));
        // Those that run at a time have their payload.
        let running = if jobs > 1 { jobs } else { 0 };
        stage.expect(peak < bound(running), || format!("{what}: {peak} KB of memory, {idle} KB before"));
    }
    stage.remark(format!("at most: idle {} MB, {}", idle >> 10, peaks.join(", ")));
    stage.stop_all().await
}

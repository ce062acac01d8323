//! How much memory a worker uses.

use std::fs;
use std::path::{Path, PathBuf};
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

/// A control group with a memory limit, of version 1 or 2; removed when it is dropped.
pub(super) struct Group {
    dir: PathBuf,
    is_v2: bool,
}

/// Where groups are made: version 1, and version 2.
const PARENTS: [(&str, bool); 2] = [("/sys/fs/cgroup/memory", false), ("/sys/fs/cgroup", true)];

impl Group {
    /// A directory in which this process may make groups with a memory limit, and whether they are of version 2.
    pub(super) fn parent() -> Option<(&'static Path, bool)> {
        PARENTS.into_iter().map(|(dir, is_v2)| (Path::new(dir), is_v2)).find(|(dir, is_v2)| {
            let probe = dir.join(format!("ferrokiq-probe-{}", std::process::id()));
            let has_limit = fs::create_dir(&probe).is_ok()
                && probe.join(if *is_v2 { "memory.max" } else { "memory.limit_in_bytes" }).exists();
            let _ = fs::remove_dir(&probe);
            has_limit
        })
    }

    fn make(bytes: usize) -> Result<Self, Failure> {
        let (parent, is_v2) = Self::parent().ok_or("no control groups for memory")?;
        let dir = parent.join(format!("ferrokiq-{}", std::process::id()));
        fs::create_dir(&dir)?;
        let group = Self { dir, is_v2 };
        let limit = if is_v2 { "memory.max" } else { "memory.limit_in_bytes" };
        fs::write(group.dir.join(limit), bytes.to_string())?;
        Ok(group)
    }

    /// The words of a command that starts a program in it with `--max-rss auto`.
    fn wrapper(&self) -> Vec<String> {
        let script = format!(r#"echo $$ > "{}/cgroup.procs" && exec "$@" --max-rss auto"#, self.dir.display());
        ["sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
    }

    /// How often the kernel killed a process of it for its memory.
    fn kills(&self) -> Result<usize, Failure> {
        let file = if self.is_v2 { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(self.dir.join(file))?;
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")).ok_or("no count of kills")?;
        Ok(count.trim().parse()?)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.dir);
    }
}

pub(crate) async fn small_container(stage: &mut Stage) -> Result<(), Failure> {
    let group = Group::make(64 << 20)?;
    (stage.orders.wrapper, stage.orders.concurrency) = (group.wrapper(), 25);
    let args = format!(r#"["{}"]"#, "x".repeat(1 << 20));
    for _ in 0..stage.scale(5, 50) {
        stage.push_jobs(10, "Weigh", &args, "").await?;
    }
    stage.start_all(1).await?;
    let (mut peak, mut restarts) = (0, 0);
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        peak = peak.max(stage.workers[0].peak_kb());
        if let Some(status) = stage.workers[0].exited() {
            // As systemd and Kubernetes do.
            stage.expect(status.code() == Some(75), || format!("the worker ended as {status:?}"));
            stage.is_broken(0);
            stage.replace(0)?;
            restarts += 1;
        }
        let left: usize = stage.redis.call("LLEN", &["queue:default"]).await?;
        if left == 0 || restarts > 10 {
            break;
        }
        if Instant::now() > deadline {
            return Err(format!("{left} jobs are left after 60 s").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stage.settle(Duration::from_secs(30)).await?;
    let kills = group.kills()?;
    stage.expect(kills == 0, || format!("the kernel killed the worker {kills} times"));
    stage.expect(restarts == 0, || format!("it ended {restarts} times above its limit"));
    stage.remark(format!("at most {} of 64 MB", peak >> 10));
    stage.stop_all().await?;
    stage.workers.clear();
    Ok(())
}

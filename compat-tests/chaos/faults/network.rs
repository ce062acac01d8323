//! What happens to the wire between a worker and Redis.

use std::time::{Duration, Instant};

use rand::RngExt;

use crate::Failure;
use crate::proxy::{Mode, Proxy};
use crate::stage::Stage;

/// One worker behind a proxy, first of all; another beside it with a wire of its own.
async fn behind_proxy(stage: &mut Stage) -> Result<Proxy, Failure> {
    let proxy = Proxy::start(stage.redis.port)?;
    let direct = std::mem::replace(&mut stage.orders.url, proxy.url());
    stage.start_all(1).await?;
    stage.orders.url = direct;
    Ok(proxy)
}

pub(crate) async fn half_open(stage: &mut Stage) -> Result<(), Failure> {
    let proxy = behind_proxy(stage).await?;
    let mut slowest = Duration::ZERO;
    for _ in 0..stage.scale(3, 50) {
        stage.push(1_000, 1.0, 0).await?;
        tokio::time::sleep(Duration::from_millis(stage.rng.random_range(50..300))).await;
        // What exists swallows everything; what is made later works.
        proxy.set(Mode::Blackhole);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let (since, runs) = (Instant::now(), stage.runs()?);
        proxy.swallow_existing();
        proxy.set(Mode::Pass);
        stage.push(100, 1.0, 0).await?;
        stage.wait_runs(runs + 1).await?;
        let took = since.elapsed();
        slowest = slowest.max(took);
        stage.is_broken_again(0);
    }
    stage.remark(format!("work went on {:.1} s later at the latest", slowest.as_secs_f64()));
    stage.expect(slowest < Duration::from_secs(6), || format!("work went on {slowest:?} later"));
    stage.settle(Duration::from_secs(60)).await?;
    stage.stop_all().await
}

pub(crate) async fn replies_lost(stage: &mut Stage) -> Result<(), Failure> {
    let proxy = behind_proxy(stage).await?;
    for _ in 0..stage.scale(3, 50) {
        stage.push(500, 1.0, 0).await?;
        stage.push(20, 1.0, 1).await?;
        tokio::time::sleep(Duration::from_millis(stage.rng.random_range(20..200))).await;
        proxy.set(Mode::DropReplies);
        tokio::time::sleep(Duration::from_millis(stage.rng.random_range(100..1_000))).await;
        proxy.set(Mode::Pass);
        proxy.cut();
    }
    stage.settle(Duration::from_secs(60)).await?;
    stage.stop_all().await
}

/// Bytes a second of a narrow line.
const NARROW: u64 = 5_000_000;

/// Payloads for whose answers a narrow line needs longer than Redis may be silent.
pub(crate) async fn throttled_link(stage: &mut Stage) -> Result<(), Failure> {
    for (jobs, bytes) in [(300, 1 << 10), (20, 1 << 20), (stage.scale(1, 8), 15 << 20), (20, 1 << 10)] {
        let ballast = format!(r#""ballast":"{}","#, "x".repeat(bytes));
        for _ in 0..jobs {
            stage.push_jobs(1, "Work", "[1,0]", &ballast).await?;
        }
    }
    // Small ones that fail: their retries pass the large answers. A large one that fails crosses the line several times more.
    stage.push(20, 1.0, 1).await?;
    let ballast = format!(r#""ballast":"{}","#, "x".repeat(1 << 20));
    stage.push_jobs(1, "Work", "[1,1]", &ballast).await?;
    let proxy = Proxy::start(stage.redis.port)?;
    proxy.throttle(NARROW);
    stage.orders.url = proxy.url();
    stage.start_all(2).await?;
    stage.settle(Duration::from_secs(60)).await?;
    stage.nobody_recovered();
    for at in 0..2 {
        let peak = stage.workers[at].peak_kb();
        stage.remark(format!("a worker used {} MB at most", peak >> 10));
        stage.expect(peak < 160 << 10, || format!("{peak} KB of memory"));
    }
    stage.stop_all().await
}

pub(crate) async fn cut_anywhere(stage: &mut Stage) -> Result<(), Failure> {
    let proxy = behind_proxy(stage).await?;
    let cuts = stage.scale(120, 3_000);
    for number in 0..cuts {
        if number % 10 == 0 {
            stage.push(150, 1.0, 0).await?;
            stage.push(5, 1.0, 1).await?;
        }
        let bytes = stage.rng.random_range(150..6_000);
        if stage.rng.random() {
            proxy.cut_after(bytes, 0)
        } else {
            proxy.cut_after(0, bytes)
        }
        proxy.cut();
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    proxy.cut_after(0, 0);
    proxy.cut();
    stage.settle(Duration::from_secs(60)).await?;
    stage.stop_all().await
}

pub(crate) async fn slow_network(stage: &mut Stage) -> Result<(), Failure> {
    let proxy = behind_proxy(stage).await?;
    proxy.delay(Duration::from_millis(10));
    stage.push(stage.scale(3_000, 30_000), 5.0, 0).await?;
    stage.push(100, 5.0, 1).await?;
    stage.settle(Duration::from_secs(120)).await?;
    stage.stop_all().await
}

pub(crate) async fn partition(stage: &mut Stage) -> Result<(), Failure> {
    let proxy = behind_proxy(stage).await?;
    stage.start_all(1).await?;
    for _ in 0..stage.scale(1, 20) {
        stage.push(800, 30.0, 0).await?;
        let runs = stage.runs()?;
        stage.wait_runs(runs + 50).await?;
        proxy.set(Mode::Refuse);
        stage.is_broken_again(0);
        // The other one does everything, what the first had begun too.
        stage.settle(Duration::from_secs(40)).await?;
        proxy.set(Mode::Pass);
        let runs = stage.runs()?;
        stage.push(400, 30.0, 0).await?;
        stage.wait_runs(runs + 1).await?;
        stage.settle(Duration::from_secs(40)).await?;
    }
    stage.stop_all().await
}

pub(crate) async fn heartbeat_lost(stage: &mut Stage) -> Result<(), Failure> {
    let proxy = behind_proxy(stage).await?;
    stage.push(200, 5.0, 0).await?;
    stage.settle(Duration::from_secs(20)).await?;
    proxy.swallow(Some("ferrokiq:alive\r\n"));
    // It stops fetching before it can be taken for dead.
    tokio::time::sleep(Duration::from_millis(4_500)).await;
    let before = stage.runs()?;
    stage.push(200, 5.0, 0).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let ran = stage.runs()? - before;
    stage.expect(ran == 0, || format!("{ran} jobs were fetched by a worker nobody hears of"));
    proxy.swallow(None);
    proxy.cut();
    stage.settle(Duration::from_secs(40)).await?;
    stage.stop_all().await
}

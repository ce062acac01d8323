//! Everything at once.

use std::time::{Duration, Instant};

use rand::RngExt;

use crate::Failure;
use crate::fleet::signal;
use crate::proxy::{Mode, Proxy};
use crate::stage::Stage;

const WORKERS: usize = 4;

pub(crate) async fn soak(stage: &mut Stage) -> Result<(), Failure> {
    let proxy = Proxy::start(stage.redis.port)?;
    // Two of them behind a wire that fails, too.
    let direct = std::mem::replace(&mut stage.orders.url, proxy.url());
    stage.start_all(WORKERS / 2).await?;
    let behind = std::mem::replace(&mut stage.orders.url, direct.clone());
    stage.start_all(WORKERS / 2).await?;
    let until = Instant::now() + Duration::from_secs(stage.scale(20, 600));
    let mut played = Vec::new();
    while Instant::now() < until {
        let few = stage.open_jobs().await?[0] < 1_500;
        if few {
            stage.push(1_000, 4.0, 0).await?;
            stage.push(40, 2.0, 1).await?;
            stage.push(3, 900.0, 0).await?;
        }
        let (what, at) = (stage.rng.random_range(0..9), stage.rng.random_range(0..WORKERS));
        played.push(what);
        stage.orders.url = if at < WORKERS / 2 { behind.clone() } else { direct.clone() };
        match what {
            0 => {
                stage.kill(at).await?;
                stage.replace(at)?;
            }
            1 => {
                stage.workers[at].signal("TERM")?;
                let pause = stage.rng.random_range(0..1_500);
                tokio::time::sleep(Duration::from_millis(pause)).await;
                stage.kill(at).await?;
                stage.replace(at)?;
            }
            2 => {
                // Sometimes longer than it counts as alive.
                let pause = stage.rng.random_range(200..5_000);
                stage.is_broken_again(at);
                stage.workers[at].signal("STOP")?;
                tokio::time::sleep(Duration::from_millis(pause)).await;
                stage.workers[at].signal("CONT")?;
            }
            3 => {
                // What was acknowledged and not answered.
                (0..WORKERS).for_each(|at| stage.is_broken_again(at));
                stage.redis.kill();
                stage.redis.revive().await?;
            }
            4 => {
                let pause = stage.rng.random_range(100..2_000);
                signal(stage.redis.pid(), "STOP")?;
                tokio::time::sleep(Duration::from_millis(pause)).await;
                signal(stage.redis.pid(), "CONT")?;
            }
            5 => {
                let _: usize = stage.redis.call("CLIENT", &["KILL", "TYPE", "normal"]).await?;
            }
            6 => {
                let _: String = stage.redis.call("SCRIPT", &["FLUSH"]).await?;
            }
            7 => {
                (0..WORKERS / 2).for_each(|at| stage.is_broken_again(at));
                proxy.set(Mode::DropReplies);
                let pause = stage.rng.random_range(100..2_500);
                tokio::time::sleep(Duration::from_millis(pause)).await;
                proxy.set(Mode::Pass);
                proxy.cut();
            }
            _ => proxy.cut(),
        }
        let pause = stage.rng.random_range(50..500);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    stage.settle(Duration::from_secs(120)).await?;
    stage.remark(format!("{} faults in a row", played.len()));
    stage.stop_all().await
}

//! SIGKILL at exact points: before a command reaches Redis, after Redis ran it and before the answer is known, and after that.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use rand::RngExt;

use crate::Failure;
use crate::proxy::{Moment, Proxy};
use crate::stage::Stage;

/// What brings a worker to a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// It works.
    Work,
    /// It works on jobs of which some fail.
    Fail,
    /// Some jobs of a claim take longer than others.
    Uneven,
    /// Scheduled jobs are due.
    Due,
    /// It is stopped while jobs run that take too long.
    Stop,
    /// Another died with jobs.
    Recover,
}

/// A command by which a job changes its place, or a process its standing.
struct Point {
    name: &'static str,
    /// How its bytes on the wire begin.
    pattern: String,
    way: Way,
    /// It comes at least so often.
    times: u32,
}

fn points() -> Vec<Point> {
    let point = |name, pattern: &str, way, times| Point { name, pattern: pattern.to_owned(), way, times };
    let script = |name, text: &str, way, times| Point {
        name,
        pattern: redis::Script::new(text).get_hash().to_owned(),
        way,
        times,
    };
    vec![
        script("register", include_str!("../../../src/store/lua/register.lua"), Way::Work, 1),
        script("claim", include_str!("../../../src/store/lua/claim.lua"), Way::Work, 4),
        script(
            "settle",
            concat!(
                include_str!("../../../src/store/lua/lib/allow_oom.lua"),
                include_str!("../../../src/store/lua/lib/no_riders.lua"),
                include_str!("../../../src/store/lua/settle.lua")
            ),
            Way::Fail,
            3,
        ),
        point("put back", "first\r\n", Way::Stop, 1),
        // By what it does with a member: the script has several parts.
        point("promote", "\r\npush\r\n", Way::Due, 1),
        point("take the turn to look", "ferrokiq:lookout", Way::Recover, 2),
        script("fence", include_str!("../../../src/store/lua/fence.lua"), Way::Recover, 2),
        script("recover", include_str!("../../../src/store/lua/recover.lua"), Way::Recover, 1),
        script("bye", include_str!("../../../src/store/lua/bye.lua"), Way::Stop, 1),
        point("acknowledge", "UNLINK\r\n", Way::Work, 3),
        point("acknowledge the oldest", "LTRIM\r\n", Way::Uneven, 2),
        point("acknowledge one", "LREM\r\n", Way::Uneven, 1),
        point("read a private list", "LRANGE\r\n", Way::Work, 4),
        point("wait for a job", "BLMOVE\r\n", Way::Work, 1),
        script("stay alive", include_str!("../../../src/store/lua/stay_alive.lua"), Way::Work, 2),
        point("heartbeat", "rtt_us", Way::Work, 1),
    ]
}

pub(crate) async fn abort_points(stage: &mut Stage) -> Result<(), Failure> {
    stage.orders.timeout = 1;
    stage.orders.alive = Duration::from_secs(1);
    let rounds = stage.scale(1, 10);
    let (mut met, mut missed) = (0, Vec::new());
    for _ in 0..rounds {
        for point in points() {
            for moment in [Moment::Before, Moment::After, Moment::Answered] {
                // How often a command comes depends on how fast the machine is at that moment: once more, for those that did not.
                if meet(stage, &point, moment).await? || meet(stage, &point, moment).await? {
                    met += 1;
                } else {
                    missed.push(format!("{} {moment:?}", point.name));
                }
            }
        }
    }
    stage.expect(missed.len() <= rounds, || format!("points that were not met: {}", missed.join(", ")));
    stage.remark(format!("{met} of {} points were met", met + missed.len()));
    stage.orders.timeout = 25;
    let last = stage.start()?;
    stage.workers.swap(0, last);
    stage.workers.truncate(1);
    stage.settle(Duration::from_secs(60)).await?;
    stage.stop_all().await
}

/// Starts a worker and kills it at a point. Whether it came there.
async fn meet(stage: &mut Stage, point: &Point, moment: Moment) -> Result<bool, Failure> {
    prepare(stage, point.way).await?;
    let proxy = Proxy::start(stage.redis.port)?;
    let (tell, told) = mpsc::channel();
    let nth = stage.rng.random_range(1..=point.times);
    proxy.trap(&point.pattern, nth, moment, move || {
        let _ = tell.send(());
    });
    let direct = std::mem::replace(&mut stage.orders.url, proxy.url());
    let at = stage.start()?;
    stage.orders.url = direct;
    let began = Instant::now();
    let mut stopped = point.way != Way::Stop;
    let met = loop {
        if told.try_recv().is_ok() {
            break true;
        }
        if began.elapsed() > Duration::from_secs(15) {
            break false;
        }
        if !stopped && began.elapsed() > Duration::from_millis(300) {
            stage.workers[at].signal("TERM")?;
            stopped = true;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    stage.kill(at).await?;
    proxy.disarm();
    Ok(met)
}

async fn prepare(stage: &mut Stage, way: Way) -> Result<(), Failure> {
    match way {
        Way::Work => stage.push(40, 3.0, 0).await,
        Way::Fail => stage.push(20, 1.0, 1).await,
        Way::Uneven => {
            for _ in 0..20 {
                stage.push(1, 60.0, 0).await?;
                stage.push(4, 1.0, 0).await?;
            }
            Ok(())
        }
        Way::Due => {
            for _ in 0..30 {
                let (id, payload) = stage.job("Work", "[1,0]", "");
                let _: usize = stage.redis.call("ZADD", &["schedule", "1", &payload]).await?;
                stage.accepted.push(id);
            }
            Ok(())
        }
        // More of them than slots: it has some in any case.
        Way::Stop => stage.push(12, 1_300.0, 0).await,
        Way::Recover => {
            stage.push(30, 200.0, 0).await?;
            let runs = stage.runs()?;
            let at = stage.start()?;
            stage.wait_runs(runs + 1).await?;
            stage.kill(at).await
        }
    }
}

//! Jobs that kill the process they run in.

use std::time::{Duration, Instant};

use crate::Failure;
use crate::ledger::jid;
use crate::stage::Stage;

pub(crate) async fn aborts(stage: &mut Stage) -> Result<(), Failure> {
    poison(stage, r#"["abort",0]"#).await
}

pub(crate) async fn overflows(stage: &mut Stage) -> Result<(), Failure> {
    poison(stage, r#"["overflow",0]"#).await
}

pub(crate) async fn allocates(stage: &mut Stage) -> Result<(), Failure> {
    stage.orders.wrapper = ["prlimit", "--as=1500000000"].map(str::to_owned).to_vec();
    poison(stage, r#"["allocate",0]"#).await
}

/// One job that kills among many that take long enough to be there when it does; whoever supervises starts the worker again.
async fn poison(stage: &mut Stage, how: &str) -> Result<(), Failure> {
    stage.push(40, 700.0, 0).await?;
    stage.push_jobs(1, "Harm", how, "").await?;
    let pill = *stage.accepted.last().ok_or("nothing was pushed")?;
    stage.push(40, 700.0, 0).await?;
    // One that lives on and knows who is dead; it works elsewhere.
    let queues = std::mem::replace(&mut stage.orders.queues, vec!["elsewhere".to_owned()]);
    let unlimited = std::mem::take(&mut stage.orders.wrapper);
    stage.start_all(1).await?;
    stage.orders.queues = queues;
    stage.orders.wrapper = unlimited;
    stage.orders.concurrency = 5;
    let at = stage.start()?;
    let mut crashes = 0;
    let deadline = Instant::now() + Duration::from_secs(100);
    loop {
        if stage.workers[at].exited().is_some() {
            crashes += 1;
            stage.is_broken(at);
            stage.replace(at)?;
        }
        let open = stage.open_jobs().await?;
        if open.iter().sum::<usize>() == 0 {
            break;
        }
        if Instant::now() > deadline {
            stage.expect(false, || format!("after {crashes} crashes jobs lie as {open:?}"));
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let dead: Vec<Vec<u8>> = stage.redis.call("ZRANGE", &["dead", "0", "-1"]).await?;
    let dead: Vec<_> = dead.into_iter().filter_map(|raw| ferrokiq::Payload::from_bytes(raw).ok()).collect();
    stage.expect(dead.len() == 1, || format!("{} jobs are dead", dead.len()));
    if let Some(payload) = dead.first() {
        stage.expect(jid(payload.jid()) == pill, || "a neighbour was convicted".to_owned());
        let class: Option<String> = payload.decode("error_class");
        stage.expect(class.as_deref() == Some("Ferrokiq::PoisonPill"), || format!("it died of {class:?}"));
    }
    stage.expect(crashes <= 4, || format!("{crashes} crashes"));
    stage.remark(format!("{crashes} crashes, then dead"));
    stage.stop_all().await
}

/// Two SIGKILLs of a worker while every slot has a job: no job did it, and all of them are suspects.
pub(crate) async fn killed_from_outside(stage: &mut Stage) -> Result<(), Failure> {
    const SLOTS: usize = 40;
    let long = stage.scale(Duration::from_secs(2), Duration::from_secs(20));
    stage.push(SLOTS, long.as_secs_f64() * 1_000.0, 0).await?;
    // Two that live on and know who is dead; they work elsewhere.
    let queues = std::mem::replace(&mut stage.orders.queues, vec!["elsewhere".to_owned()]);
    stage.start_all(2).await?;
    stage.orders.queues = queues;
    stage.orders.concurrency = SLOTS;
    let at = stage.start()?;
    for kill in 1..=2 {
        stage.wait_runs(kill * SLOTS).await?;
        let identity = stage.wait_registered(at).await?;
        stage.kill(at).await?;
        // As if it had been missing for long.
        let _: usize = stage.redis.call("ZADD", &["ferrokiq:alive", "1", &identity]).await?;
        let _: () = stage.redis.call("SET", &[&format!("ferrokiq:suspect:{identity}"), "1 1", "EX", "30"]).await?;
        let deadline = Instant::now() + Duration::from_secs(20);
        while stage.open_jobs().await?[0] < SLOTS && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stage.replace(at)?;
    }
    // On 40 slots they take a second, and may take a third more beside suspects; one by one behind them they took half a minute.
    let (first, ordinary) = (stage.accepted.len(), stage.scale(2_000, 20_000));
    stage.push(ordinary, 20.0, 0).await?;
    let began = Instant::now();
    let mut others = None;
    stage.wait_registered(at).await?;
    let patience = long * 3 + Duration::from_secs(10);
    loop {
        let ledger = stage.ledger()?;
        let done = |jobs: &[crate::ledger::Jid]| jobs.iter().all(|job| ledger.done(job));
        if others.is_none() && done(&stage.accepted[first..]) {
            others = Some(began.elapsed());
        }
        if done(&stage.accepted) || began.elapsed() > 2 * patience {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let took = began.elapsed();
    stage.remark(format!("{SLOTS} suspects of {long:?} took {took:.1?}, {ordinary} jobs beside them {others:.1?}"));
    let alone = Duration::from_secs_f64(ordinary as f64 * 0.02 / SLOTS as f64);
    stage.expect(others.is_some_and(|others| others < alone * 2 + Duration::from_secs(6)), || {
        format!("ordinary jobs took {others:?}, without suspects {alone:?}")
    });
    stage.expect(took < patience, || format!("{took:?}"));
    stage.settle(Duration::from_secs(10)).await?;
    let dead: usize = stage.redis.call("ZCARD", &["dead"]).await?;
    stage.expect(dead == 0, || format!("{dead} jobs were convicted that killed nobody"));
    stage.stop_all().await
}

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

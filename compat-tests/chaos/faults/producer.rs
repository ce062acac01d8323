//! What happens between an app that pushes and Redis.

use std::time::Duration;

use ferrokiq::{Client, Jid, Payload, RedisOptions};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::Failure;
use crate::ledger::jid;
use crate::proxy::{Mode, Proxy};
use crate::stage::Stage;

/// Answers to pushes are dropped at random. Whoever is told that it is uncertain is told of which job; who pushes idempotently pushes
/// until it works, and the job runs once.
pub(crate) async fn push_ambiguity(stage: &mut Stage) -> Result<(), Failure> {
    let proxy = Proxy::start(stage.redis.port)?;
    stage.start_all(1).await?;
    let options: RedisOptions = proxy.url().parse()?;
    let options = options.response_timeout(Duration::from_millis(60)).connect_timeout(Duration::from_millis(100));
    let client = Client::builder().redis(options).build()?;
    let playing = {
        let (proxy, mut luck) = (proxy.clone(), StdRng::seed_from_u64(stage.rng.random()));
        tokio::spawn(async move {
            loop {
                proxy.set(Mode::Pass);
                tokio::time::sleep(Duration::from_millis(luck.random_range(5..40))).await;
                proxy.set(Mode::DropReplies);
                tokio::time::sleep(Duration::from_millis(luck.random_range(5..80))).await;
            }
        })
    };
    let (mut unsure, mut nameless) = (0, 0);
    for _ in 0..stage.scale(150, 5_000) {
        match client.push(Payload::new("Work", [0.0.into(), 0.into()])).await {
            Ok(id) => stage.accepted.extend(id.map(|id| jid(id.as_ref()))),
            Err(error) if error.is_ambiguous() => {
                unsure += 1;
                nameless += usize::from(error.jid().is_none());
            }
            Err(_) => {}
        }
    }
    stage.expect(nameless == 0, || format!("{nameless} uncertain pushes did not name their job"));
    stage.expect(unsure > 0, || "no answer was lost".to_owned());
    let (sure, mut again) = (client.idempotent(), 0);
    for _ in 0..stage.scale(150, 5_000) {
        let mut payload = Payload::new("Work", [0.0.into(), 0.into()]);
        let id = Jid::generate();
        payload.insert("jid", &id);
        while sure.push(payload.clone()).await.is_err() {
            again += 1;
        }
        stage.accepted.push(jid(id.as_ref()));
    }
    playing.abort();
    stage.remark(format!("{unsure} pushes uncertain, each named its job; {again} idempotent ones pushed again"));
    stage.settle(Duration::from_secs(60)).await?;
    stage.stop_all().await
}

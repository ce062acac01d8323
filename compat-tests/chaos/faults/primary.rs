//! What happens to the primary of a group: it is succeeded by another, or does not know that it was.

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ferrokiq::{Client, ErrorKind, Payload};
use redis::FromRedisValue;

use crate::Failure;
use crate::ledger::{Jid, jid};
use crate::proxy::{Mode, Proxy};
use crate::redis::{Redis, free_port};
use crate::stage::Stage;

/// A primary, two replicas and three sentinels. The stage has the one that is the primary.
struct Group {
    /// The place of the primary holds the server the stage came with.
    servers: Vec<Redis>,
    primary: usize,
    sentinels: Vec<Sentinel>,
}

struct Sentinel {
    child: Child,
    port: u16,
}

impl Sentinel {
    fn start(dir: &Path, primary: u16) -> Result<Self, Failure> {
        let port = free_port()?;
        let dir = dir.join(format!("sentinel-{port}"));
        std::fs::create_dir_all(&dir)?;
        let file = dir.join("sentinel.conf");
        let config = format!(
            "sentinel monitor main 127.0.0.1 {primary} 2\nsentinel down-after-milliseconds main 1000\n\
             sentinel failover-timeout main 2000\n"
        );
        std::fs::write(&file, config)?;
        let child = Command::new("redis-server")
            .arg(&file)
            .args(["--sentinel", "--port", &port.to_string(), "--bind", "127.0.0.1"])
            .stdout(File::create(dir.join("log"))?)
            .spawn()?;
        Ok(Self { child, port })
    }

    async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port))?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::cmd("SENTINEL").arg(words).query_async(&mut connection).await
    }

    async fn primary(&self) -> Option<u16> {
        self.ask::<(String, u16)>(&["GET-MASTER-ADDR-BY-NAME", "main"]).await.ok().map(|(_, port)| port)
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is waited for, and until when.
struct Patience(&'static str, Instant);

impl Patience {
    fn for_that(what: &'static str) -> Self {
        Self(what, Instant::now() + Duration::from_secs(30))
    }

    async fn pause(&self) -> Result<(), Failure> {
        if Instant::now() > self.1 {
            return Err(format!("{}: not within 30 s", self.0).into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        Ok(())
    }
}

async fn replicas_in_step(redis: &Redis) -> usize {
    let said: String = redis.call("INFO", &["replication"]).await.unwrap_or_default();
    said.lines().filter(|line| line.starts_with("slave") && line.contains("state=online")).count()
}

/// Whether a server has the replica without which it refuses writes.
async fn takes_writes(redis: &Redis) -> bool {
    let said: String = redis.call("INFO", &["replication"]).await.unwrap_or_default();
    said.lines().any(|line| line.strip_prefix("min_slaves_good_slaves:").is_some_and(|count| count.trim() != "0"))
}

pub(super) async fn wait_for_replicas(redis: &Redis, count: usize) -> Result<(), Failure> {
    let patience = Patience::for_that("the replicas are in step");
    while replicas_in_step(redis).await < count {
        patience.pause().await?;
    }
    Ok(())
}

/// Writes are taken while a replica listens; no replica waits to be told.
const CAUTIOUS: [&str; 6] =
    ["--min-replicas-to-write", "1", "--min-replicas-max-lag", "2", "--repl-diskless-sync-delay", "0"];

impl Group {
    async fn start(stage: &mut Stage) -> Result<Self, Failure> {
        let first = Redis::start(&stage.dir, &CAUTIOUS).await?;
        let port = first.port.to_string();
        let mut arguments = CAUTIOUS.to_vec();
        arguments.extend(["--replicaof", "127.0.0.1", &port]);
        let mut servers = vec![std::mem::replace(&mut stage.redis, first)];
        for _ in 0..2 {
            servers.push(Redis::start(&stage.dir, &arguments).await?);
        }
        wait_for_replicas(&stage.redis, 2).await?;
        let mut group = Self { servers, primary: 0, sentinels: Vec::new() };
        for _ in 0..3 {
            group.sentinels.push(Sentinel::start(&stage.dir, stage.redis.port)?);
        }
        for sentinel in &group.sentinels {
            for whom in ["SENTINELS", "REPLICAS"] {
                let patience = Patience::for_that("the sentinels know each other and the replicas");
                while sentinel.ask::<Vec<redis::Value>>(&[whom, "main"]).await.map_or(0, |known| known.len()) < 2 {
                    patience.pause().await?;
                }
            }
        }
        Ok(group)
    }

    fn url(&self) -> String {
        let nodes: Vec<String> = self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
        format!("redis+sentinel://{}/main", nodes.join(","))
    }

    /// Whom two sentinels name as the primary. One whose own failover was overtaken by the next may name a dead server for long.
    async fn named(&self) -> Option<u16> {
        let mut named = Vec::new();
        for sentinel in &self.sentinels {
            named.extend(sentinel.primary().await);
        }
        named.iter().find(|port| named.iter().filter(|other| other == port).count() >= 2).copied()
    }

    /// Gives the stage the server that is the primary now.
    fn adopt(&mut self, stage: &mut Stage, port: u16) -> Result<(), Failure> {
        if stage.redis.port == port {
            return Ok(());
        }
        std::mem::swap(&mut stage.redis, &mut self.servers[self.primary]);
        self.primary = self.servers.iter().position(|server| server.port == port).ok_or("a primary nobody knows")?;
        std::mem::swap(&mut stage.redis, &mut self.servers[self.primary]);
        Ok(())
    }

    /// Ends the reign of the primary, whoever that is: by its handing over, or its death.
    async fn depose(&mut self, stage: &mut Stage, by_death: bool) -> Result<(), Failure> {
        let patience = Patience::for_that("a failover begins");
        loop {
            if let Some(port) = self.named().await {
                // On a busy machine sentinels find that somebody is dead all by themselves.
                self.adopt(stage, port)?;
                if by_death {
                    stage.redis.kill();
                    stage.kills += 1;
                    return Ok(());
                }
                for sentinel in &self.sentinels {
                    if sentinel.primary().await == Some(port) && sentinel.ask::<()>(&["FAILOVER", "main"]).await.is_ok()
                    {
                        return Ok(());
                    }
                }
            }
            patience.pause().await?;
        }
    }

    /// Waits until the sentinels name another primary, and gives it to the stage.
    async fn succeed(&mut self, stage: &mut Stage) -> Result<Instant, Failure> {
        let old = stage.redis.port;
        let patience = Patience::for_that("the sentinels name another primary");
        loop {
            match self.named().await {
                Some(port) if port != old => {
                    let switched = Instant::now();
                    self.adopt(stage, port)?;
                    return Ok(switched);
                }
                _ => patience.pause().await?,
            }
        }
    }

    /// Has the one that was deposed follow the new primary. The sentinels would do so themselves, in ten seconds.
    async fn reconcile(&mut self, stage: &mut Stage, old: u16) -> Result<(), Failure> {
        let patience = Patience::for_that("both replicas are in step");
        loop {
            if let Some(port) = self.named().await {
                self.adopt(stage, port)?;
                for server in &mut self.servers {
                    if server.port == old && port != old {
                        if server.is_ended() {
                            server.revive().await?;
                            stage.restarts += 1;
                        }
                        let _: String = server.call("REPLICAOF", &["127.0.0.1", &port.to_string()]).await?;
                    }
                }
                if replicas_in_step(&stage.redis).await == 2 {
                    return Ok(());
                }
            }
            patience.pause().await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Jobs pushed one after the other until told to stop: those that were confirmed, and how many were not.
async fn push_until(client: Client, stop: Arc<AtomicBool>) -> (Vec<Jid>, usize) {
    let (mut confirmed, mut others) = (Vec::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        match client.push(Payload::new("Work", [1.0.into(), 0.into()])).await {
            Ok(Some(id)) => confirmed.push(jid(id.as_ref())),
            Ok(None) => {}
            Err(_) => {
                others += 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    (confirmed, others)
}

pub(crate) async fn sentinel_failover(stage: &mut Stage) -> Result<(), Failure> {
    let mut group = Group::start(stage).await?;
    stage.orders.url = group.url();
    stage.start_all(2).await?;
    let client = Client::open(&group.url())?.wait_for_replicas(1, Duration::from_secs(1));
    let stop = Arc::new(AtomicBool::new(false));
    let pushing = tokio::spawn(push_until(client, Arc::clone(&stop)));
    // From the switch until the new primary has a replica and so takes writes; from then until work goes on.
    let (mut longest, mut slowest) = (Duration::ZERO, Duration::ZERO);
    for number in 0..stage.scale(2, 100) {
        let runs = stage.runs()?;
        stage.wait_runs(runs + 200).await?;
        group.depose(stage, number % 2 == 1).await?;
        let old = stage.redis.port;
        let switched = group.succeed(stage).await?;
        let runs = stage.runs()?;
        let patience = Patience::for_that("a replica follows the new primary");
        while !takes_writes(&stage.redis).await {
            patience.pause().await?;
        }
        let ready = Instant::now();
        longest = longest.max(switched.elapsed());
        stage.wait_runs(runs + 1).await?;
        slowest = slowest.max(ready.elapsed());
        // What was acknowledged before the replica heard of it may run again.
        (0..2).for_each(|at| stage.is_broken_again(at));
        group.reconcile(stage, old).await?;
    }
    stop.store(true, Ordering::Relaxed);
    let (confirmed, others) = pushing.await?;
    stage.expect(confirmed.len() > 200, || format!("only {} pushes were confirmed", confirmed.len()));
    stage.accepted.extend(confirmed);
    stage.remark(format!(
        "the new primary took writes {:.1} s after a switch at the latest, work went on {:.1} s later at the latest; \
         {others} pushes were not confirmed and said so",
        longest.as_secs_f64(),
        slowest.as_secs_f64()
    ));
    stage.expect(slowest < Duration::from_secs(3), || {
        format!("work went on {slowest:?} after the new primary took writes")
    });
    stage.settle(Duration::from_secs(60)).await?;
    stage.stop_all().await
}

/// A primary that its replica cannot hear any more goes on for those who can hear it; then the replica succeeds it.
pub(crate) async fn split_brain(stage: &mut Stage) -> Result<(), Failure> {
    let proxy = Proxy::start(stage.redis.port)?;
    let port = proxy.port.to_string();
    let replica =
        Redis::start(&stage.dir, &["--replicaof", "127.0.0.1", &port, "--repl-diskless-sync-delay", "0"]).await?;
    wait_for_replicas(&stage.redis, 1).await?;
    let client = Client::open(&stage.redis.url())?.wait_for_replicas(1, Duration::from_millis(5));
    let jobs = stage.scale(100, 2_000);
    let (mut unconfirmed, mut refused) = (Vec::new(), 0);
    for number in 0..3 * jobs {
        if number == jobs {
            proxy.set(Mode::Blackhole);
        }
        if number == 2 * jobs {
            let caution = ["SET", "min-replicas-to-write", "1", "min-replicas-max-lag", "1"];
            let _: String = stage.redis.call("CONFIG", &caution).await?;
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        match client.push(Payload::new("Work", [0.0.into(), 0.into()])).await {
            Ok(Some(id)) => stage.accepted.push(jid(id.as_ref())),
            Ok(None) => {}
            Err(error) if error.kind() == ErrorKind::Unconfirmed => {
                unconfirmed.extend(error.jid().map(|id| jid(id.as_ref())));
            }
            Err(error) if error.kind() == ErrorKind::Redis => refused += 1,
            Err(error) => return Err(error.into()),
        }
    }
    let before: HashSet<Jid> = queued(&stage.redis).await?;
    let _: String = replica.call("REPLICAOF", &["NO", "ONE"]).await?;
    let after: HashSet<Jid> = queued(&replica).await?;
    // Alone it took what it could not pass on, and said of each of these, and only of these, that nobody confirmed it.
    let lost: HashSet<Jid> = before.difference(&after).copied().collect();
    let told: HashSet<Jid> = unconfirmed.into_iter().collect();
    let silent = lost.difference(&told).count();
    stage.expect(silent == 0, || format!("{silent} jobs were lost, and confirmed"));
    stage.expect(lost.len() >= jobs, || format!("only {} were lost: there was no split", lost.len()));
    stage.expect(refused == jobs, || format!("{refused} of {jobs} were refused for want of replicas"));
    stage.remark(format!(
        "{} lost with the primary, {} told so; with min-replicas-to-write {refused} of {jobs} were refused, 0 lost",
        lost.len(),
        told.len()
    ));
    stage.redis = replica;
    stage.orders.url = crate::redis::worker_url(stage.redis.port);
    stage.start_all(1).await?;
    stage.settle(Duration::from_secs(60)).await?;
    stage.stop_all().await
}

async fn queued(redis: &Redis) -> Result<HashSet<Jid>, Failure> {
    let jobs: Vec<Vec<u8>> = redis.call("LRANGE", &["queue:default", "0", "-1"]).await?;
    Ok(jobs.into_iter().filter_map(|raw| Payload::from_bytes(raw).ok()).map(|job| jid(job.jid())).collect())
}

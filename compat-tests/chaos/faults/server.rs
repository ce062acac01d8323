//! What happens to Redis.

use std::time::{Duration, Instant};

use ferrokiq::{Client, ErrorKind, Payload};

use crate::Failure;
use crate::fleet::signal;
use crate::ledger::jid;
use crate::stage::Stage;

pub(crate) async fn redis_stalls(stage: &mut Stage) -> Result<(), Failure> {
    stage.start_all(3).await?;
    let stalls = stage.scale(vec![600, 3_000, 10_000], vec![600, 3_000, 10_000, 90_000]);
    for stall in stalls {
        stage.push(2_000, 10.0, 0).await?;
        signal(stage.redis.pid(), "STOP")?;
        tokio::time::sleep(Duration::from_millis(stall)).await;
        signal(stage.redis.pid(), "CONT")?;
        let resumed = Instant::now();
        let runs = stage.runs()?;
        stage.wait_runs(runs + 1).await?;
        let took = resumed.elapsed();
        stage.expect(took < Duration::from_secs(5), || format!("after {stall} ms work went on {took:?} later"));
    }
    stage.settle(Duration::from_secs(60)).await?;
    stage.nobody_recovered();
    stage.stop_all().await
}

pub(crate) async fn busy_script(stage: &mut Stage) -> Result<(), Failure> {
    let millis = stage.scale(6_000, 20_000);
    stage.start_all(2).await?;
    stage.push(1_000, 10.0, 0).await?;
    let spin = format!(
        "local function now() local t = redis.call('TIME') return t[1] * 1000 + t[2] / 1000 end \
         redis.setresp(2) local till = now() + {millis} \
         for _ = 1, 1e12 do if now() > till then break end end return 1"
    );
    // TIME stands still within a script: the loop is ended from outside.
    let url = stage.redis.url();
    let spinning = tokio::spawn(async move {
        let client = redis::Client::open(url)?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::cmd("EVAL").arg(spin).arg(0).query_async::<i64>(&mut connection).await
    });
    tokio::time::sleep(Duration::from_millis(millis)).await;
    let mut killer = redis::Client::open(stage.redis.url())?.get_multiplexed_async_connection().await?;
    let _: redis::RedisResult<String> = redis::cmd("SCRIPT").arg("KILL").query_async(&mut killer).await;
    let _ = spinning.await;
    stage.settle(Duration::from_secs(60)).await?;
    stage.nobody_recovered();
    stage.stop_all().await
}

pub(crate) async fn client_kill(stage: &mut Stage) -> Result<(), Failure> {
    let (rounds, mut connections) = (stage.scale(100, 2_500), 0);
    stage.start_all(2).await?;
    let mut redis = stage.redis.connection().await?;
    for _ in 0..rounds {
        if stage.open_jobs().await?[0] < 1_000 {
            stage.push(2_000, 1.0, 0).await?;
            stage.push(20, 1.0, 1).await?;
        }
        let mut kill = redis::cmd("CLIENT");
        kill.arg("KILL").arg("TYPE").arg("normal").arg("SKIPME").arg("yes");
        connections += kill.query_async::<usize>(&mut redis).await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stage.settle(Duration::from_secs(60)).await?;
    stage.remark(format!("{connections} connections ended"));
    stage.nobody_recovered();
    stage.stop_all().await
}

pub(crate) async fn client_pause(stage: &mut Stage) -> Result<(), Failure> {
    stage.start_all(2).await?;
    for (kind, millis) in
        stage.scale(vec![("WRITE", 5_000), ("ALL", 5_000)], vec![("WRITE", 5_000), ("ALL", 5_000), ("ALL", 20_000)])
    {
        stage.push(2_000, 5.0, 0).await?;
        stage.push(100, 1.0, 1).await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let _: String = stage.redis.call("CLIENT", &["PAUSE", &millis.to_string(), kind]).await?;
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
    stage.settle(Duration::from_secs(60)).await?;
    stage.nobody_recovered();
    stage.stop_all().await
}

pub(crate) async fn script_flush(stage: &mut Stage) -> Result<(), Failure> {
    stage.push(stage.scale(8_000, 100_000), 1.0, 0).await?;
    stage.push(100, 1.0, 1).await?;
    stage.start_all(2).await?;
    let until = Instant::now() + Duration::from_secs(stage.scale(4, 30));
    while Instant::now() < until {
        let _: String = stage.redis.call("SCRIPT", &["FLUSH"]).await?;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stage.settle(Duration::from_secs(60)).await?;
    let said: String = stage.workers.iter().map(|worker| worker.said()).collect();
    let lines = said.lines().filter(|line| line.starts_with("ERROR") || line.contains("NOSCRIPT")).count();
    stage.expect(lines <= 1, || format!("{lines} lines about scripts that Redis forgot"));
    stage.stop_all().await
}

pub(crate) async fn memory_full(stage: &mut Stage) -> Result<(), Failure> {
    let _: String = stage.redis.call("CONFIG", &["SET", "maxmemory", "24mb", "maxmemory-policy", "noeviction"]).await?;
    let client = Client::open(&stage.redis.producer_url())?;
    // So that some 20,000 jobs fill it.
    let ballast = format!(r#""ballast":"{}","#, "0".repeat(900));
    let mut refused = 0;
    while refused < 3 {
        let some: Vec<_> = (0..500).map(|_| stage.job("Work", "[0.5,0]", &ballast)).collect();
        let mut lpush = redis::cmd("LPUSH");
        lpush.arg("queue:default");
        some.iter().for_each(|(_, payload)| {
            lpush.arg(payload);
        });
        match stage.redis.run::<usize>(&lpush).await {
            Ok(_) => stage.accepted.extend(some.into_iter().map(|(id, _)| id)),
            Err(_) => refused += 1,
        }
    }
    // There may be room for some small ones yet.
    let error = loop {
        match client.push(Payload::new("Work", [1.0.into(), 0.into()])).await {
            Ok(id) => stage.accepted.extend(id.map(|id| jid(id.as_ref()))),
            Err(error) => break error,
        }
    };
    stage.expect(error.kind() == ErrorKind::Redis, || format!("a push was not refused plainly: {error:?}"));
    stage.remark(format!("full with {} jobs", stage.accepted.len()));
    stage.start_all(1).await?;
    stage.settle(Duration::from_secs(90)).await?;
    stage.stop_all().await
}

/// How many commands Redis answered, refused ones too.
async fn commands(stage: &Stage) -> Result<u64, Failure> {
    let said: String = stage.redis.call("INFO", &["stats"]).await?;
    let count = said.lines().find_map(|line| line.strip_prefix("total_commands_processed:")?.trim().parse().ok());
    Ok(count.ok_or("Redis counts no commands")?)
}

pub(crate) async fn no_replicas(stage: &mut Stage) -> Result<(), Failure> {
    stage.start_all(2).await?;
    stage.push(3_000, 5.0, 0).await?;
    stage.push(100, 5.0, 1).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let _: String = stage.redis.call("CONFIG", &["SET", "min-replicas-to-write", "1"]).await?;
    let (before, asked) = (commands(stage).await?, Instant::now());
    tokio::time::sleep(Duration::from_secs(stage.scale(4, 30))).await;
    let rate = (commands(stage).await? - before) as f64 / asked.elapsed().as_secs_f64();
    let _: String = stage.redis.call("CONFIG", &["SET", "min-replicas-to-write", "0"]).await?;
    stage.expect(rate < 200.0, || format!("{rate:.0} commands a second while Redis refused"));
    stage.remark(format!("{rate:.0} commands a second from two workers while Redis refused"));
    stage.settle(Duration::from_secs(60)).await?;
    stage.nobody_recovered();
    stage.stop_all().await
}

pub(crate) async fn read_only(stage: &mut Stage) -> Result<(), Failure> {
    stage.start_all(2).await?;
    for _ in 0..stage.scale(3, 50) {
        stage.push(2_000, 2.0, 0).await?;
        stage.push(50, 2.0, 1).await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
        // A primary that never answers: data stay.
        let _: String = stage.redis.call("REPLICAOF", &["127.0.0.1", "1"]).await?;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let _: String = stage.redis.call("REPLICAOF", &["NO", "ONE"]).await?;
        let resumed = Instant::now();
        let runs = stage.runs()?;
        stage.wait_runs(runs + 1).await?;
        let took = resumed.elapsed();
        stage.expect(took < Duration::from_secs(3), || format!("work went on {took:?} later"));
    }
    stage.settle(Duration::from_secs(60)).await?;
    stage.stop_all().await
}

pub(crate) async fn wrong_types(stage: &mut Stage) -> Result<(), Failure> {
    stage.orders.queues = ["broken", "default"].map(str::to_owned).to_vec();
    stage.push(500, 1.0, 0).await?;
    stage.push(20, 1.0, 1).await?;
    // To be buried, and to be promoted.
    let give_up = r#""retry":0,"#;
    stage.push_jobs(10, "Harm", r#"["panic",0]"#, give_up).await?;
    for _ in 0..10 {
        let (id, payload) = stage.job("Work", "[1,0]", "");
        let _: usize = stage.redis.call("ZADD", &["schedule", "1", &payload]).await?;
        stage.accepted.push(id);
    }
    let keys = ["queue:broken", "retry", "dead", "queues"];
    for key in keys {
        let _: String = stage.redis.call("SET", &[key, "neither list nor set"]).await?;
    }
    stage.start_all(1).await?;
    let runs = 540;
    stage.wait_runs(runs).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let open = stage.open_jobs().await?;
    stage.expect(open == [0, 30, 0, 0], || {
        format!("what cannot be retried or buried lies as {open:?}, not in private lists")
    });
    let said = stage.workers[0].said();
    stage.expect(said.contains("queue:broken"), || "the log does not name the queue".to_owned());
    let lines = |said: &str, key: &str, text: &str| {
        said.lines().filter(|line| line.contains(&format!("key={key} ")) && line.contains(text)).count()
    };
    for key in ["retry", "dead"] {
        let lines = lines(&said, key, "this key has another type");
        stage.expect(lines == 1, || format!("{lines} lines about {key}"));
    }
    for key in keys {
        let _: usize = stage.redis.call("DEL", &[key]).await?;
    }
    // What waited for a key is stored once the key is mended, by the process that holds it.
    stage.settle(Duration::from_secs(30)).await?;
    let said = stage.workers[0].said();
    for key in ["retry", "dead"] {
        let lines = lines(&said, key, "Redis takes this key again");
        stage.expect(lines == 1, || format!("{lines} lines about {key} when it was mended"));
    }
    stage.nobody_recovered();
    stage.stop_all().await
}

pub(crate) async fn rights_lost(stage: &mut Stage) -> Result<(), Failure> {
    let port = stage.redis.port;
    let _: String = stage.redis.call("ACL", &["SETUSER", "ferrokiq-worker", "resetpass", ">s3cr3t-one"]).await?;
    stage.orders.url = format!("redis://ferrokiq-worker:s3cr3t-one@127.0.0.1:{port}/0");
    stage.start_all(1).await?;
    stage.push(2_000, 5.0, 0).await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let _: String = stage.redis.call("ACL", &["SETUSER", "ferrokiq-worker", "resetpass", ">s3cr3t-two"]).await?;
    let _: usize = stage.redis.call("CLIENT", &["KILL", "USER", "ferrokiq-worker"]).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let _: String = stage.redis.call("ACL", &["SETUSER", "ferrokiq-worker", "resetpass", ">s3cr3t-one"]).await?;
    stage.settle(Duration::from_secs(60)).await?;
    let said = stage.workers[0].said();
    stage.expect(!said.contains("s3cr3t"), || "a password was logged".to_owned());
    stage.expect(said.contains("WRONGPASS") || said.contains("password"), || "nobody was told".to_owned());
    stage.stop_all().await
}

pub(crate) async fn eviction(stage: &mut Stage) -> Result<(), Failure> {
    let policy = |name: &'static str| ["SET", "maxmemory-policy", name];
    let _: String = stage.redis.call("CONFIG", &policy("allkeys-lru")).await?;
    stage.start_all(1).await?;
    stage.wait_said(0, "maxmemory-policy", Duration::from_secs(5)).await?;
    let _: String = stage.redis.call("CONFIG", &policy("noeviction")).await?;
    let at = stage.start()?;
    stage.wait_registered(at).await?;
    stage.push(200, 1.0, 0).await?;
    stage.settle(Duration::from_secs(20)).await?;
    let said = stage.workers[at].said();
    stage.expect(!said.contains("maxmemory-policy"), || "there was nothing to say yet".to_owned());
    let _: String = stage.redis.call("CONFIG", &policy("volatile-lru")).await?;
    stage.wait_said(at, "maxmemory-policy", Duration::from_secs(60)).await?;
    stage.stop_all().await?;
    // This is the only client of Redis now.
    let queued = stage.accepted.len();
    stage.push(2_000, 1.0, 0).await?;
    let full = ["SET", "maxmemory", "1"];
    let write = redis::cmd("SET").arg("filler").arg("x").take();
    let _: String = stage.redis.call("CONFIG", &policy("noeviction")).await?;
    let _: String = stage.redis.call("CONFIG", &full).await?;
    let refused = stage.redis.run::<String>(&write).await.is_err();
    let left: usize = stage.redis.call("LLEN", &["queue:default"]).await?;
    stage.expect(refused && left == 2_000, || format!("with noeviction {left} of 2,000 jobs are left"));
    let _: String = stage.redis.call("CONFIG", &policy("allkeys-lru")).await?;
    let _ = stage.redis.run::<String>(&write).await;
    let left: usize = stage.redis.call("LLEN", &["queue:default"]).await?;
    stage.expect(left == 0, || format!("{left} of 2,000 jobs are left although Redis may evict them"));
    stage.remark(format!("{} jobs evicted, silently", 2_000 - left));
    // They are gone, as that row of promises.md states.
    stage.accepted.truncate(queued);
    let _: String = stage.redis.call("CONFIG", &["SET", "maxmemory", "0"]).await?;
    Ok(())
}

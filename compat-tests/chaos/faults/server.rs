//! What happens to Redis.

use std::time::{Duration, Instant};

use ferrokiq::{Client, Payload};
use rand::RngExt;

use crate::Failure;
use crate::fleet::signal;
use crate::ledger::jid;
use crate::stage::Stage;

/// Pushes one job after the other as an app does; an error may mean that it is there all the same, so it counts only if it was not
/// refused... which only the ledger knows: those are not counted.
async fn push_through(stage: &mut Stage, client: &Client, jobs: usize) -> usize {
    let mut unsure = 0;
    for _ in 0..jobs {
        match client.push(Payload::new("Work", [1.0.into(), 0.into()])).await {
            Ok(Some(id)) => stage.accepted.push(jid(id.as_ref())),
            Ok(None) => {}
            Err(_) => {
                unsure += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    unsure
}

pub(crate) async fn redis_sigkill(stage: &mut Stage) -> Result<(), Failure> {
    let (kills, each) = stage.scale((8, 500), (200, 1_000));
    let client = Client::open(&stage.redis.url())?;
    stage.start_all(2).await?;
    let mut unsure = 0;
    for _ in 0..kills {
        stage.push(each, 1.0, 0).await?;
        stage.push(each / 20, 1.0, 1).await?;
        unsure += push_through(stage, &client, 50).await;
        let pause = stage.rng.random_range(0..200);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        stage.redis.kill();
        stage.kills += 1;
        // Acknowledgements that Redis had not written down: what they were for may run again.
        (0..2).for_each(|at| stage.is_broken_again(at));
        unsure += push_through(stage, &client, 2).await;
        stage.redis.revive().await?;
        stage.restarts += 1;
    }
    stage.remark(format!("{unsure} pushes failed and said so"));
    stage.settle(Duration::from_secs(120)).await?;
    stage.stop_all().await
}

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
    nobody_recovered(stage);
    stage.stop_all().await
}

fn nobody_recovered(stage: &mut Stage) {
    let said: String = stage.workers.iter().map(|worker| worker.said()).collect();
    stage.expect(!said.contains("put back the jobs"), || "a process that lives was taken for dead".to_owned());
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
    nobody_recovered(stage);
    stage.stop_all().await
}

pub(crate) async fn client_kill(stage: &mut Stage) -> Result<(), Failure> {
    let rounds = stage.scale(100, 2_500);
    stage.start_all(2).await?;
    let mut redis = stage.redis.connection().await?;
    for _ in 0..rounds {
        if stage.open_jobs().await?[0] < 1_000 {
            stage.push(2_000, 1.0, 0).await?;
            stage.push(20, 1.0, 1).await?;
        }
        let mut kill = redis::cmd("CLIENT");
        kill.arg("KILL").arg("TYPE").arg("normal").arg("SKIPME").arg("yes");
        let killed: usize = kill.query_async(&mut redis).await?;
        stage.kills += killed;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stage.settle(Duration::from_secs(60)).await?;
    nobody_recovered(stage);
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
    nobody_recovered(stage);
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
    stage.stop_all().await
}

pub(crate) async fn memory_full(stage: &mut Stage) -> Result<(), Failure> {
    let _: String = stage.redis.call("CONFIG", &["SET", "maxmemory", "24mb", "maxmemory-policy", "noeviction"]).await?;
    let client = Client::open(&stage.redis.url())?;
    let mut refused = 0;
    while refused < 3 {
        let some: Vec<_> = (0..500)
            .map(|_| stage.job("Work", "[0.5,0]", r#""ballast":"00000000000000000000000000000000000000000000000000","#))
            .collect();
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
    let error = client.push(Payload::new("Work", [1.0.into(), 0.into()])).await;
    stage.expect(error.is_err(), || "a full Redis took a push".to_owned());
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
    nobody_recovered(stage);
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
    for key in ["queue:broken", "retry"] {
        let _: String = stage.redis.call("SET", &[key, "no list"]).await?;
    }
    stage.push(500, 1.0, 0).await?;
    stage.push(20, 1.0, 1).await?;
    stage.start_all(1).await?;
    let runs = 520;
    stage.wait_runs(runs).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let open = stage.open_jobs().await?;
    stage.expect(open == [0, 20, 0, 0], || format!("what cannot be retried lies as {open:?}, not in private lists"));
    let said = stage.workers[0].said();
    stage.expect(said.contains("queue:broken") && said.contains("another type"), || "nobody was told".to_owned());
    for key in ["queue:broken", "retry"] {
        let _: usize = stage.redis.call("DEL", &[key]).await?;
    }
    // What waits for a key to be mended is settled when its process is gone.
    stage.kill(0).await?;
    stage.replace(0)?;
    stage.settle(Duration::from_secs(60)).await?;
    stage.stop_all().await
}

pub(crate) async fn rights_lost(stage: &mut Stage) -> Result<(), Failure> {
    let port = stage.redis.port;
    let _: String = stage.redis.call("ACL", &["SETUSER", "worker", "on", ">s3cr3t-one", "~*", "&*", "+@all"]).await?;
    stage.orders.url = format!("redis://worker:s3cr3t-one@127.0.0.1:{port}/0");
    stage.start_all(1).await?;
    stage.push(2_000, 5.0, 0).await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let _: String = stage.redis.call("ACL", &["SETUSER", "worker", "resetpass", ">s3cr3t-two"]).await?;
    let _: usize = stage.redis.call("CLIENT", &["KILL", "USER", "worker"]).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let _: String = stage.redis.call("ACL", &["SETUSER", "worker", "resetpass", ">s3cr3t-one"]).await?;
    stage.settle(Duration::from_secs(60)).await?;
    let said = stage.workers[0].said();
    stage.expect(!said.contains("s3cr3t"), || "a password was logged".to_owned());
    stage.expect(said.contains("WRONGPASS") || said.contains("password"), || "nobody was told".to_owned());
    stage.stop_all().await
}

pub(crate) async fn many_due(stage: &mut Stage) -> Result<(), Failure> {
    let jobs = stage.scale(20_000, 1_000_000);
    let mut redis = stage.redis.connection().await?;
    for _ in 0..jobs / 1_000 {
        let some: Vec<_> = (0..1_000).map(|_| stage.job("Work", "[0,0]", "")).collect();
        let mut zadd = redis::cmd("ZADD");
        zadd.arg("schedule");
        for (_, payload) in &some {
            zadd.arg("1795408228.5").arg(payload);
        }
        let _: usize = zadd.query_async(&mut redis).await?;
        stage.accepted.extend(some.into_iter().map(|(id, _)| id));
    }
    let _: String = stage.redis.call("CONFIG", &["SET", "slowlog-log-slower-than", "20000"]).await?;
    let script =
        "for _, job in ipairs(redis.call('ZRANGE', 'schedule', 0, -1)) do redis.call('ZADD', 'schedule', 1, job) end";
    let _: () = stage.redis.call("EVAL", &[script, "0"]).await?;
    let _: String = stage.redis.call("SLOWLOG", &["RESET"]).await?;
    stage.start_all(4).await?;
    stage.settle(Duration::from_secs(stage.scale(60, 600))).await?;
    stage.stop_all().await
}

pub(crate) async fn twice_the_same(stage: &mut Stage) -> Result<(), Failure> {
    for _ in 0..500 {
        let (id, payload) = stage.job("Work", "[3,0]", "");
        let _: usize = stage.redis.call("LPUSH", &["queue:default", &payload, &payload]).await?;
        stage.accepted.push(id);
    }
    stage.start_all(2).await?;
    stage.settle(Duration::from_secs(30)).await?;
    let ledger = stage.ledger()?;
    let wrong = stage.accepted.iter().filter(|id| ledger.0.get(*id).map_or(0, Vec::len) != 2).count();
    stage.expect(wrong == 0, || format!("{wrong} of 500 jobs that were pushed twice did not run twice"));
    // They were meant to.
    (0..2).for_each(|at| stage.may_repeat(at, 500));
    stage.stop_all().await
}

pub(crate) async fn many_queues(stage: &mut Stage) -> Result<(), Failure> {
    let queues = stage.scale(1_000, 10_000);
    stage.orders.queues = (0..queues).map(|number| format!("q{number}")).collect();
    let mut redis = stage.redis.connection().await?;
    for number in 0..queues {
        let (id, payload) = stage.job("Work", "[0,0]", "");
        let _: usize = redis::cmd("LPUSH").arg(format!("queue:q{number}")).arg(payload).query_async(&mut redis).await?;
        stage.accepted.push(id);
    }
    stage.start_all(1).await?;
    stage.settle(Duration::from_secs(60)).await?;
    stage.stop_all().await
}

pub(crate) async fn odd_signals(stage: &mut Stage) -> Result<(), Failure> {
    stage.start_all(1).await?;
    let identity = stage.wait_registered(0).await?;
    let key = format!("{identity}-signals");
    let huge = "T".repeat(1 << 20);
    for odd in ["KILL", "; rm -rf /", "term", "USR1", "\u{1b}[2J", &huge] {
        let _: usize = stage.redis.call("LPUSH", &[&key, odd]).await?;
    }
    stage.push(500, 5.0, 0).await?;
    stage.settle(Duration::from_secs(30)).await?;
    let ended = stage.workers[0].exited();
    stage.expect(ended.is_none(), || format!("it ended: {ended:?}"));
    let said = stage.workers[0].said();
    stage.expect(said.len() < 1 << 19 && !said.contains('\u{1b}'), || "what was sent was logged as it is".to_owned());
    stage.stop_all().await
}

pub(crate) async fn large_payloads(stage: &mut Stage) -> Result<(), Failure> {
    let jobs = stage.scale(150, 2_000);
    let ballast = format!(r#""ballast":"{}","#, "x".repeat(1 << 20));
    for _ in 0..jobs {
        stage.push_jobs(1, "Work", "[1,0]", &ballast).await?;
    }
    stage.start_all(1).await?;
    let mut peak = 0;
    let deadline = Instant::now() + Duration::from_secs(120);
    while stage.open_jobs().await?.iter().sum::<usize>() > 0 && Instant::now() < deadline {
        let status = std::fs::read_to_string(format!("/proc/{}/status", stage.workers[0].pid())).unwrap_or_default();
        let rss: usize = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok())
            .unwrap_or(0);
        peak = peak.max(rss);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stage.settle(Duration::from_secs(30)).await?;
    stage.expect(peak < 512 << 10, || format!("{peak} KB of memory"));
    stage.remark(format!("{} MB of memory at most", peak >> 10));
    stage.stop_all().await
}

//! What lies in Redis.

use std::time::{Duration, Instant};

use rand::RngExt;

use crate::Failure;
use crate::ledger::Phase;
use crate::stage::Stage;

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
    let script =
        "for _, job in ipairs(redis.call('ZRANGE', 'schedule', 0, -1)) do redis.call('ZADD', 'schedule', 1, job) end";
    let _: () = stage.redis.call("EVAL", &[script, "0"]).await?;
    let _: String = stage.redis.call("CONFIG", &["RESETSTAT"]).await?;
    stage.start_all(4).await?;
    stage.settle(Duration::from_secs(stage.scale(60, 600))).await?;
    // Nobody else waits long for Redis meanwhile.
    let said: String = stage.redis.call("INFO", &["commandstats"]).await?;
    let average = |line: &str| line.split("usec_per_call=").nth(1)?.split(',').next()?.parse::<f64>().ok();
    let average = said.lines().find(|line| line.starts_with("cmdstat_evalsha:")).and_then(average);
    stage.expect(average.is_some_and(|us| us < 2_000.0), || format!("a script holds Redis for {average:?} us"));
    stage.stop_all().await
}

/// How often the same bytes are in the queue.
const COPIES: usize = 3;

pub(crate) async fn twice_the_same(stage: &mut Stage) -> Result<(), Failure> {
    for _ in 0..300 {
        let (id, payload) = stage.job("Work", "[20,0]", "");
        let _: usize = stage.redis.call("LPUSH", &["queue:default", &payload, &payload, &payload]).await?;
        stage.accepted.push(id);
    }
    stage.start_all(2).await?;
    // A process dies with several of the same: they count as one payload that one process died with, and each runs again.
    for kill in 1..=stage.scale(3, 10) {
        stage.wait_runs(kill * 120).await?;
        stage.kill(kill % 2).await?;
        stage.may_repeat(kill % 2, COPIES * 300);
        stage.replace(kill % 2)?;
    }
    stage.settle(Duration::from_secs(60)).await?;
    let ledger = stage.ledger()?;
    let done = |id| ledger.0.get(id).map_or(0, |runs| runs.iter().filter(|run| run.end == Some(Phase::Done)).count());
    let wrong = stage.accepted.iter().filter(|id| done(*id) < COPIES).count();
    stage.expect(wrong == 0, || format!("{wrong} of 300 jobs that were pushed {COPIES} times were done less often"));
    let dead: usize = stage.redis.call("ZCARD", &["dead"]).await?;
    stage.expect(dead == 0, || format!("{dead} jobs were convicted that killed nobody"));
    // They were meant to.
    (0..2).for_each(|at| stage.may_repeat(at, COPIES * 300));
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
    // While it is idle: one that looks at its queues now and then takes 250 ms for each of these.
    let (began, jobs) = (Instant::now(), 20);
    for number in (queues - jobs)..queues {
        let (id, payload) = stage.job("Work", "[0,0]", "");
        let _: usize = redis::cmd("LPUSH").arg(format!("queue:q{number}")).arg(payload).query_async(&mut redis).await?;
        stage.accepted.push(id);
        stage.wait_runs_of(stage.accepted.len() - 1, 1).await?;
    }
    let took = began.elapsed();
    stage.expect(took < Duration::from_millis(2_500), || format!("{jobs} jobs, one after the other, took {took:?}"));
    stage.remark(format!("{jobs} jobs, one after the other, took {took:?}"));
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

pub(crate) async fn odd_queues(stage: &mut Stage) -> Result<(), Failure> {
    let names = ["a_b", "a:b", "a|b|c", "with space", "äöü", "queue:x", "{tag}", "ferrokiq:batch:x|1|y", "%2f", "."];
    stage.orders.queues = names.map(str::to_owned).to_vec();
    for name in names {
        for _ in 0..10 {
            let (id, payload) = stage.job("Work", "[150,0]", "");
            let payload = payload.replace(r#""queue":"default""#, &format!(r#""queue":"{name}""#));
            let _: usize = stage.redis.call("LPUSH", &[&format!("queue:{name}"), &payload]).await?;
            stage.accepted.push(id);
        }
    }
    stage.orders.concurrency = 50;
    let at = stage.start()?;
    stage.wait_runs(40).await?;
    stage.kill(at).await?;
    // Whoever puts them back serves none of them: each is in its own queue again.
    let queues = std::mem::replace(&mut stage.orders.queues, vec!["elsewhere".to_owned()]);
    let other = stage.start()?;
    let deadline = Instant::now() + Duration::from_secs(20);
    while stage.open_jobs().await?[1] > 0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for name in names {
        let jobs: Vec<String> = stage.redis.call("LRANGE", &[&format!("queue:{name}"), "0", "-1"]).await?;
        let strange = jobs.iter().filter(|job| !job.contains(&format!(r#""queue":"{name}""#))).count();
        stage.expect(strange == 0, || format!("{strange} jobs of other queues are in {name}"));
    }
    stage.orders.queues = queues;
    stage.replace(at)?;
    stage.settle(Duration::from_secs(30)).await?;
    stage.expect(stage.workers.len() == other + 1, || "one worker too many".to_owned());
    stage.stop_all().await
}

pub(crate) async fn no_payloads(stage: &mut Stage) -> Result<(), Failure> {
    let deep = format!(r#"{{"class":"Work","args":{}1{},"jid":"x"}}"#, "[".repeat(200), "]".repeat(200));
    let mut odd: Vec<Vec<u8>> =
        ["", "[]", "null", "{", "\"x\"", "17", "{}}", "{\"class\":\"Work\"", "\u{feff}{}", &deep]
            .iter()
            .map(|text| text.as_bytes().to_vec())
            .collect();
    odd.push(b"\xff\xfe{}".to_vec());
    odd.push(vec![0; 64]);
    for _ in 0..stage.scale(300, 20_000) {
        // A good one with one byte that is another.
        let (_, payload) = stage.job("Nothing", "[1,0]", r#""retry":0,"#);
        let mut bytes = payload.into_bytes();
        let at = stage.rng.random_range(0..bytes.len());
        bytes[at] = stage.rng.random();
        odd.push(bytes);
    }
    let mut redis = stage.redis.connection().await?;
    for bytes in &odd {
        let _: usize = redis::cmd("LPUSH").arg("queue:default").arg(bytes).query_async(&mut redis).await?;
    }
    stage.push(300, 1.0, 0).await?;
    stage.start_all(1).await?;
    stage.settle(Duration::from_secs(60)).await?;
    let dead: Vec<Vec<u8>> = stage.redis.call("ZRANGE", &["dead", "0", "-1"]).await?;
    let dead: std::collections::HashSet<Vec<u8>> = dead.into_iter().collect();
    // What Redis would have run is not counted: it is still a payload.
    let unreadable: Vec<_> =
        odd.iter().filter(|bytes| ferrokiq::Payload::from_bytes((*bytes).clone()).is_err()).collect();
    // Ruby's Web UI raises on JSON that is no object, so that has a remark.
    let remarked = |bytes: &[u8]| [bytes, b" (not a job)"].concat();
    let gone = unreadable.iter().filter(|bytes| !dead.contains(**bytes) && !dead.contains(&remarked(bytes))).count();
    stage.expect(gone == 0, || {
        format!("{gone} of {} that are no payloads are not in the dead set as they were", unreadable.len())
    });
    stage.expect(unreadable.len() > 12, || "there was nothing odd about them".to_owned());
    stage.remark(format!("{} of {} were no payloads", unreadable.len(), odd.len()));
    stage.stop_all().await
}

//! Leaders that are killed, held, or live at another time; and a Redis that is held. Each leader writes until Redis refuses it, whatever it
//! knows by itself, so that only the fence keeps an old one from writing.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::faults::clock;
use crate::fleet::signal;
use crate::stage::Stage;
use crate::worker::{LEADER, LEADER_LOG};

const LEASE: &str = "ferrokiq:leader:default";

/// How long a lease lasts that is not renewed.
fn lease(stage: &Stage) -> Duration {
    stage.orders.alive / 2
}

async fn token(stage: &Stage) -> Result<u64, Failure> {
    Ok(stage.redis.call::<Option<u64>>("HGET", &[LEASE, "token"]).await?.unwrap_or(0))
}

/// Waits until a leader has written under a token greater than this one. Returns the token and the place of the leader.
async fn next_leader(stage: &Stage, after: u64) -> Result<(u64, usize), Failure> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        let line: Option<String> = stage.redis.call("LINDEX", &[LEADER_LOG, "-1"]).await?;
        let last = line.as_deref().and_then(read);
        if let Some((token, life)) = last.filter(|(token, _)| *token > after)
            && let Some(at) = stage.workers.iter().position(|worker| worker.life == life)
        {
            return Ok((token, at));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Err(format!("nobody leads under a token greater than {after}").into())
}

/// A line of the log: the token and the life of its writer.
fn read(line: &str) -> Option<(u64, u32)> {
    let (token, life) = line.split_once(' ')?;
    Some((token.parse().ok()?, life.parse().ok()?))
}

pub(crate) async fn leaders(stage: &mut Stage) -> Result<(), Failure> {
    stage.orders.environment.push((LEADER.to_owned(), "1".to_owned()));
    let clock = clock::settable(stage);
    stage.start_all(3).await?;
    stage.push(300, 5.0, 0).await?;
    let (mut leaders, mut refused) = (BTreeSet::new(), 0);
    let (mut now, mut at) = next_leader(stage, 0).await?;
    leaders.insert(now);
    for _ in 0..stage.scale(1, 20) {
        // A clock that is set. On a machine that stands still for a lease the leader changes for that reason; hardly three times.
        if let Some(clock) = &clock {
            let mut kept = false;
            for _ in 0..3 {
                let before = token(stage).await?;
                for step in ["+3600s", "-3650d"] {
                    std::fs::write(clock, step)?;
                    tokio::time::sleep(lease(stage)).await;
                }
                kept = token(stage).await? == before;
                if kept {
                    break;
                }
            }
            stage.expect(kept, || "the leader changes when clocks are set".to_owned());
            (now, at) = next_leader(stage, now - 1).await?;
            leaders.insert(now);
        }

        // SIGKILL.
        let killed = Instant::now();
        stage.kill(at).await?;
        stage.replace(at)?;
        (now, at) = next_leader(stage, now).await?;
        leaders.insert(now);
        let (took, bound) = (killed.elapsed(), lease(stage) * 4 / 3 + Duration::from_secs(3));
        stage.expect(took < bound, || format!("{took:?} without a leader after SIGKILL"));

        // SIGSTOP for longer than the lease.
        stage.is_broken_again(at);
        let (sleeper, slept) = (at, now);
        stage.workers[sleeper].signal("STOP")?;
        now = next_leader(stage, now).await?.0;
        leaders.insert(now);
        stage.workers[sleeper].signal("CONT")?;
        stage.wait_said(sleeper, &format!("a write under token {slept} was refused"), Duration::from_secs(10)).await?;
        refused += 1;

        // Redis is held for longer than the lease. Candidates' commands wait in its sockets beside the leader's.
        signal(stage.redis.pid(), "STOP")?;
        tokio::time::sleep(lease(stage) * 4 / 3).await;
        signal(stage.redis.pid(), "CONT")?;
        let lines: usize = stage.redis.call("LLEN", &[LEADER_LOG]).await?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while stage.redis.call::<usize>("LLEN", &[LEADER_LOG]).await? <= lines + 2 {
            if Instant::now() > deadline {
                return Err("nobody leads since Redis was held".into());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        (now, at) = next_leader(stage, now - 1).await?;
        leaders.insert(now);
    }
    stage.settle(Duration::from_secs(30)).await?;
    stage.stop_all().await?;

    let lines: Vec<String> = stage.redis.call("LRANGE", &[LEADER_LOG, "0", "-1"]).await?;
    let tokens: Vec<u64> = lines.iter().filter_map(|line| read(line)).map(|(token, _)| token).collect();
    let old = tokens.windows(2).filter(|pair| pair[0] > pair[1]).count();
    stage.expect(old == 0, || format!("an old leader wrote {old} times after a newer one"));
    let wrote: BTreeSet<u64> = tokens.iter().copied().collect();
    stage.expect(leaders.is_subset(&wrote), || "a leader did not write".to_owned());
    stage.remark(format!("{} writes of {} leaders, {refused} woke up and were refused", tokens.len(), wrote.len()));
    Ok(())
}

//! The accounting: every job that was accepted has run to its end or lies in Redis, in one place.

use std::collections::{HashMap, HashSet};

use crate::Failure;
use crate::fleet::Broken;
use crate::ledger::{Jid, Ledger, Phase, jid};
use crate::redis::Redis;

/// Where jobs are.
#[derive(Debug, Default)]
pub(crate) struct Places {
    pub(crate) queued: Vec<Jid>,
    /// In private lists.
    pub(crate) held: Vec<Jid>,
    pub(crate) retrying: Vec<Jid>,
    pub(crate) scheduled: Vec<Jid>,
    pub(crate) dead: Vec<Jid>,
}

impl Places {
    pub(crate) async fn of(redis: &Redis) -> Result<Self, Failure> {
        let mut places = Self::default();
        let keys: Vec<String> = redis.call("KEYS", &["*"]).await?;
        for key in keys {
            let place = if key.starts_with("queue:") {
                &mut places.queued
            } else if key.starts_with("ferrokiq:batch:") {
                &mut places.held
            } else {
                continue;
            };
            if redis.call::<String>("TYPE", &[&key]).await? == "list" {
                place.extend(jids(redis.call("LRANGE", &[&key, "0", "-1"]).await?));
            }
        }
        for (set, place) in
            [("retry", &mut places.retrying), ("schedule", &mut places.scheduled), ("dead", &mut places.dead)]
        {
            if redis.call::<String>("TYPE", &[set]).await? == "zset" {
                place.extend(jids(redis.call("ZRANGE", &[set, "0", "-1"]).await?));
            }
        }
        Ok(places)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Jid> {
        [&self.queued, &self.held, &self.retrying, &self.scheduled, &self.dead].into_iter().flatten()
    }
}

fn jids(payloads: Vec<Vec<u8>>) -> Vec<Jid> {
    payloads
        .iter()
        .map(|raw| ferrokiq::Payload::from_bytes(raw.clone()).map_or(Jid::default(), |payload| jid(payload.jid())))
        .collect()
}

/// What the accounting came to.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) jobs: usize,
    pub(crate) done: usize,
    pub(crate) dead: usize,
    /// Neither done nor anywhere.
    pub(crate) lost: usize,
    /// In two places of Redis at once.
    pub(crate) doubled: usize,
    /// Jobs that were done or begun, and begun again.
    pub(crate) duplicates: usize,
    /// Those whose earlier run was in no process that a fault ended or held, or beyond what such a process may cause.
    pub(crate) unexplained: usize,
    /// Duplicates of the process that caused most.
    pub(crate) worst: usize,
}

impl Verdict {
    pub(crate) fn new(accepted: &[Jid], places: &Places, ledger: &Ledger, broken: &HashMap<u32, Broken>) -> Self {
        let (mut seen, mut doubled) = (HashSet::new(), 0);
        for job in places.all() {
            // What has no jid is nobody's to count.
            doubled += usize::from(!seen.insert(*job) && *job != Jid::default());
        }
        let done = accepted.iter().filter(|job| ledger.done(job)).count();
        let lost = accepted.iter().filter(|job| !ledger.done(job) && !seen.contains(*job)).count();
        let mut by_life: HashMap<u32, usize> = HashMap::new();
        let mut unexplained = 0;
        for runs in ledger.0.values() {
            for run in runs.split_last().map_or(&runs[..], |(_, earlier)| earlier) {
                // A failed run is followed by another: that is a retry.
                if run.end == Some(Phase::Failed) {
                    continue;
                }
                if broken.contains_key(&run.life) {
                    *by_life.entry(run.life).or_default() += 1;
                } else {
                    unexplained += 1;
                }
            }
        }
        let duplicates = unexplained + by_life.values().sum::<usize>();
        for (life, count) in &by_life {
            unexplained += count.saturating_sub(broken[life].allowed());
        }
        Self {
            jobs: accepted.len(),
            done,
            dead: places.dead.len(),
            lost,
            doubled,
            duplicates,
            unexplained,
            worst: by_life.into_values().max().unwrap_or(0),
        }
    }
}

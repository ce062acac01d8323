//! What each Lua script leaves in Redis: keys, their order, scores and TTLs; what a refused command leaves; what a second call changes.
//! `bin/mutate` changes the scripts in one place at a time and runs these first.

mod convictions;
mod just_due;
mod leases;
mod lifetimes;
mod lists;
mod moves;
mod permits;
mod producers;
mod registry;
mod riders;
mod settlements;
mod waiting;

use std::ops::RangeInclusive;

use redis::FromRedisValue;

use super::Store;
use super::claims::Claimed;
use crate::testing::Redis;

/// A Redis of the test's own, and a store on it.
struct Base {
    store: Store,
    _redis: Redis,
}

impl Base {
    async fn start() -> Self {
        let redis = Redis::start().unwrap();
        let base = Self { store: Store::new(redis.options().unwrap()), _redis: redis };
        // The connection is there before a test takes a right away.
        base.run(&["PING"]).await;
        base
    }

    /// Runs a command; its words are separated by spaces.
    async fn get<T: FromRedisValue>(&self, command: &str) -> T {
        let mut words = command.split(' ');
        let mut call = redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            call.arg(word);
        });
        self.store.link.query("test", &call).await.unwrap()
    }

    async fn run(&self, commands: &[&str]) {
        for command in commands {
            self.get::<redis::Value>(command).await;
        }
    }

    async fn has(&self, key: &str) -> bool {
        self.get(&format!("EXISTS {key}")).await
    }

    /// The jobs of a list, the newest first.
    async fn list(&self, key: &str) -> Vec<String> {
        self.get(&format!("LRANGE {key} 0 -1")).await
    }

    async fn set(&self, key: &str) -> Vec<String> {
        let mut members: Vec<String> = self.get(&format!("SMEMBERS {key}")).await;
        members.sort_unstable();
        members
    }

    /// Members and scores of a sorted set.
    async fn scores(&self, key: &str) -> Vec<(String, f64)> {
        self.get(&format!("ZRANGE {key} 0 -1 WITHSCORES")).await
    }

    async fn members(&self, key: &str) -> Vec<String> {
        self.get(&format!("ZRANGE {key} 0 -1")).await
    }

    /// Adds jobs to a list of any length, the first one first.
    async fn push(&self, key: &str, jobs: impl IntoIterator<Item = Vec<u8>>) {
        let jobs: Vec<Vec<u8>> = jobs.into_iter().collect();
        for some in jobs.chunks(20_000) {
            self.store.link.query::<()>("test", redis::cmd("LPUSH").arg(key).arg(some)).await.unwrap();
        }
    }

    /// Fails unless the key expires within these seconds.
    async fn expires(&self, key: &str, within: RangeInclusive<i64>) {
        let ttl: i64 = self.get(&format!("TTL {key}")).await;
        assert!(within.contains(&ttl), "{key} expires in {ttl} s");
    }

    /// Forbids some commands from now on, in scripts, too.
    async fn forbid(&self, commands: &[&str]) {
        for command in commands {
            self.run(&[&format!("ACL SETUSER default -{command}")]).await;
        }
    }

    async fn allow_all(&self) {
        self.run(&["ACL SETUSER default +@all"]).await;
    }

    /// Milliseconds by the clock of Redis.
    async fn now(&self) -> u64 {
        let (seconds, micros): (u64, u64) = self.get("TIME").await;
        seconds * 1_000 + micros / 1_000
    }

    /// How often a command was called since the last `CONFIG RESETSTAT`, in scripts, too.
    async fn calls(&self, command: &str) -> usize {
        let stats: String = self.get("INFO commandstats").await;
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.and_then(|rest| rest.split(',').next()?.parse().ok()).unwrap_or(0)
    }
}

/// The error of Redis or of a script.
fn refusal<T: std::fmt::Debug>(answer: crate::error::Result<T>) -> String {
    let error = answer.expect_err("it is refused");
    std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default()
}

/// The keys on which Redis refused LLEN.
fn refused(claimed: &Claimed) -> Vec<String> {
    claimed.refused.iter().map(|(key, _)| key.clone()).collect()
}

fn owned(jobs: &[&str]) -> Vec<String> {
    jobs.iter().map(|job| (*job).to_owned()).collect()
}

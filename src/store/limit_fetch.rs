//! The gem sidekiq-limit_fetch: which queues it pauses and limits, and the lists in which it counts their jobs. Jobs of Rust workers count in
//! those, too: a worker has an entry in both lists of a queue, its *permit*, for each job of a limited queue that it holds.

use std::collections::HashSet;

use redis::{Pipeline, RedisResult, Value, cmd};

use super::claims::{Claimed, Private};
use super::keys::limit_fetch::{HEARTBEAT_TTL, PROCESSES, busy, heartbeat, limit, pause, probed, process_limit};
use super::{Store, keys, scripts};
use crate::error::Result;

/// Queues whose keys are read with one request.
const AT_ONCE: usize = 1_000;
/// Processes that are checked with one script.
const CHECKED: usize = 500;
/// Jobs that one claim from limited queues moves at most: each costs Redis six commands.
const MOST: usize = 100;

impl Store {
    /// Returns which of some queues sidekiq-limit_fetch paused, which it does by a key for each; `None` where the keys may not be read, as under
    /// access lists that are older than this.
    pub(crate) async fn paused_by_limit_fetch(&self, queues: &[String]) -> Result<Option<HashSet<String>>> {
        self.queues_with_keys("look for paused queues", queues, |queue| vec![pause(queue)]).await
    }

    /// Returns which of some queues have a limit of sidekiq-limit_fetch, of all processes together or of each; `None` where the keys may not be
    /// read.
    pub(crate) async fn limited_by_limit_fetch(&self, queues: &[String]) -> Result<Option<HashSet<String>>> {
        let keys = |queue: &str| vec![limit(queue), process_limit(queue)];
        self.queues_with_keys("look for limited queues", queues, keys).await
    }

    /// Returns the queues of which one of the keys exists; `None` where they may not be read.
    async fn queues_with_keys(
        &self,
        doing: &str,
        queues: &[String],
        keys_of: impl Fn(&str) -> Vec<String> + Send + Sync,
    ) -> Result<Option<HashSet<String>>> {
        let mut found = HashSet::new();
        for queues in queues.chunks(AT_ONCE) {
            let keys: Vec<(&String, String)> =
                queues.iter().flat_map(|queue| keys_of(queue).into_iter().map(move |key| (queue, key))).collect();
            let mut pipeline = Pipeline::with_capacity(keys.len());
            for (_, key) in &keys {
                pipeline.cmd("GET").arg(key);
            }
            pipeline.ignore_errors();
            let answers: Vec<RedisResult<Option<Vec<u8>>>> = self.link.read(doing, &pipeline).await?;
            for ((queue, _), answer) in keys.into_iter().zip(answers) {
                match answer {
                    Ok(Some(_)) => drop(found.insert(queue.clone())),
                    Err(error) if error.code() == Some("NOPERM") => return Ok(None),
                    _ => {}
                }
            }
        }
        Ok(Some(found))
    }

    /// Moves up to `n` jobs of limited queues, in this order, into private lists, each with a permit: so many as the limits leave room for, and
    /// 100 at most. `None` if this process is not registered.
    ///
    /// After an error the jobs may have been moved all the same: [claim again](Self::claim) with the same number.
    pub(crate) async fn claim_limited(
        &self,
        private: &Private,
        number: u64,
        n: usize,
        queues: &[(&str, &str)],
    ) -> Result<Option<Claimed>> {
        let (prefix, n) = (private.claim_prefix(number), n.min(MOST));
        let mut claim = scripts::CLAIM_LIMITED.key(keys::REGISTRY);
        claim.key(private.index()).key(PROCESSES).key(heartbeat(private.beats()));
        claim.arg(private.beats()).arg(n).arg(self.window.bytes()).arg(HEARTBEAT_TTL);
        for (name, key) in queues {
            claim.key(*key).key(format!("{prefix}{name}"));
            claim.key(pause(name)).key(limit(name)).key(process_limit(name)).key(probed(name)).key(busy(name));
        }
        let suspects = cmd("EXISTS").arg(keys::SUSPECTS).take();
        let (answer, suspects) = tokio::join!(
            self.link.eval::<Value>("claim from limited queues", &claim),
            self.link.query::<bool>("look for suspects", &suspects),
        );
        let Value::Array(answer) = answer? else { return Ok(None) };
        self.read_claimed(answer, queues, &prefix, (n, false), None, suspects?).await.map(Some)
    }

    /// Gives a process as many permits of a queue as it holds jobs of it: `jobs`, and what `lists` hold, private lists whose jobs may be on
    /// their way to it. Returns whether it had more before.
    pub(crate) async fn hold_permits(
        &self,
        identity: &str,
        queue: &str,
        jobs: usize,
        lists: &[String],
    ) -> Result<bool> {
        let mut hold = scripts::HOLD_PERMITS.key(probed(queue));
        hold.key(busy(queue)).key(PROCESSES).key(heartbeat(identity)).key(lists);
        self.eval("correct permits", hold.arg(identity).arg(jobs).arg(HEARTBEAT_TTL)).await
    }

    /// Gives the processes of the gem a sign of life, which lasts for 20 s. Without it they remove the permits of this process.
    pub(crate) async fn show_to_limit_fetch(&self, identity: &str) -> Result<()> {
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.cmd("SET").arg(heartbeat(identity)).arg(1).arg("EX").arg(HEARTBEAT_TTL).ignore();
        pipeline.cmd("SADD").arg(PROCESSES).arg(identity).ignore();
        self.link.pipe_repeatable("give a sign of life to sidekiq-limit_fetch", &pipeline).await
    }

    /// Takes a process off those that the gem knows. Its permits must be returned before.
    pub(crate) async fn leave_limit_fetch(&self, identity: &str) -> Result<()> {
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.cmd("SREM").arg(PROCESSES).arg(identity).ignore();
        pipeline.cmd("UNLINK").arg(heartbeat(identity)).ignore();
        self.link.pipe_repeatable("leave the processes of sidekiq-limit_fetch", &pipeline).await
    }

    /// Removes the permits of dead processes, Ruby's and ours, from the lists of these queues, by the gem's own rule. Returns how many.
    pub(crate) async fn free_permits(&self, queues: &[String]) -> Result<usize> {
        let processes: Vec<String> =
            self.link.query("list the processes of sidekiq-limit_fetch", cmd("SMEMBERS").arg(PROCESSES)).await?;
        let mut parts: Vec<&[String]> = processes.chunks(CHECKED).collect();
        // The lists are looked at once every process was; without a process, too.
        let last = parts.pop().unwrap_or_default();
        for part in parts {
            self.free_permits_of(part, &[]).await?;
        }
        self.free_permits_of(last, queues).await
    }

    async fn free_permits_of(&self, processes: &[String], queues: &[String]) -> Result<usize> {
        let mut free = scripts::FREE_PERMITS.key(PROCESSES);
        for process in processes {
            free.key(heartbeat(process)).arg(process);
        }
        for queue in queues {
            free.key(probed(queue)).key(busy(queue));
        }
        self.eval("free permits of dead processes", &free).await
    }
}

#[cfg(test)]
#[cfg(all(unix, feature = "testing"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pauses_and_limits_are_read_where_that_is_allowed() {
        let redis = crate::testing::Redis::start().unwrap();
        let store = Store::new(redis.options().unwrap());
        let queues: Vec<String> = (0..2_500).map(|n| format!("q{n}")).collect();
        for key in [
            pause("q0"),
            pause("q2499"),
            pause("other"),
            limit("q1"),
            process_limit("q1"),
            process_limit("q2498"),
            limit("other"),
        ] {
            store.link.query::<()>("test", cmd("SET").arg(key).arg(1)).await.unwrap();
        }
        let both = async |store: &Store| {
            let paused = store.paused_by_limit_fetch(&queues).await.unwrap();
            (paused, store.limited_by_limit_fetch(&queues).await.unwrap())
        };
        let names = |names: [&str; 2]| Some(HashSet::from(names.map(ToOwned::to_owned)));
        assert_eq!(both(&store).await, (names(["q0", "q2499"]), names(["q1", "q2498"])));
        for (rights, expected) in
            [("~queue:*", (None, None)), ("%R~limit_fetch:pause:*", (names(["q0", "q2499"]), None))]
        {
            let rights = ["SETUSER", "old", "reset", "on", ">x", rights, "+@all"];
            store.link.query::<()>("test", cmd("ACL").arg(&rights)).await.unwrap();
            let old = Store::new(format!("{}?user=old&pass=x", redis.url()).parse().unwrap());
            assert_eq!(both(&old).await, expected);
        }
    }
}

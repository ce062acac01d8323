//! What an administrator looks at and takes away. Reads in pages; takes away by exact bytes.

use std::collections::HashMap;

use redis::{Pipeline, cmd};

use super::sets::WaitingSet;
use super::{Store, keys, scripts};
use crate::error::Result;

/// A queue as it stands.
#[derive(Clone, Debug)]
pub(crate) struct QueueState {
    pub(crate) name: String,
    pub(crate) size: usize,
    /// The job that is next.
    pub(crate) oldest: Option<Vec<u8>>,
    pub(crate) paused: bool,
}

/// Sizes and counters of everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Totals {
    pub(crate) processed: u64,
    pub(crate) failed: u64,
    pub(crate) scheduled: usize,
    pub(crate) retry: usize,
    pub(crate) dead: usize,
    pub(crate) processes: usize,
}

/// Members Redis looks at in one go: a fraction of a millisecond.
const SCANNED: usize = 500;

impl Store {
    /// Every queue ever pushed to.
    pub(crate) async fn queues(&self) -> Result<Vec<QueueState>> {
        let names: Vec<String> = self.link.query("list queues", cmd("SMEMBERS").arg(keys::QUEUES)).await?;
        self.queue_states(names).await
    }

    /// How queues stand.
    pub(crate) async fn queue_states(&self, names: Vec<String>) -> Result<Vec<QueueState>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = Pipeline::with_capacity(names.len() * 3);
        for name in &names {
            pipeline.cmd("LLEN").arg(keys::queue(name));
            pipeline.cmd("LINDEX").arg(keys::queue(name)).arg(-1);
            pipeline.cmd("SISMEMBER").arg(keys::PAUSED).arg(name);
        }
        let answers: Vec<redis::Value> = self.link.pipe("look at queues", &pipeline).await?;
        names
            .into_iter()
            .zip(answers.chunks_exact(3))
            .map(|(name, answers)| {
                let read = || -> redis::RedisResult<QueueState> {
                    Ok(QueueState {
                        size: redis::from_redis_value_ref(&answers[0])?,
                        oldest: redis::from_redis_value_ref(&answers[1])?,
                        paused: redis::from_redis_value_ref(&answers[2])?,
                        name: name.clone(),
                    })
                };
                read().map_err(|error| super::error::failed("look at queues", error))
            })
            .collect()
    }

    /// Up to `n` jobs of a queue, passing over the `skip` newest; newest first, as Sidekiq shows them.
    pub(crate) async fn queue_page(&self, name: &str, skip: usize, n: usize) -> Result<Vec<Vec<u8>>> {
        let mut lrange = cmd("LRANGE");
        lrange.arg(keys::queue(name)).arg(skip).arg(skip + n - 1);
        self.link.query("read a queue", &lrange).await
    }

    /// Takes one job with these bytes out of a queue; whether it was there.
    pub(crate) async fn delete_from_queue(&self, name: &str, job: &[u8]) -> Result<bool> {
        self.link.query("delete a job", cmd("LREM").arg(keys::queue(name)).arg(1).arg(job)).await
    }

    /// Puts a queue on the list of those that are left alone; whether it was not there.
    pub(crate) async fn pause_queue(&self, name: &str) -> Result<bool> {
        self.link.query("pause a queue", cmd("SADD").arg(keys::PAUSED).arg(name)).await
    }

    /// Takes it off again; whether it was there.
    pub(crate) async fn unpause_queue(&self, name: &str) -> Result<bool> {
        self.link.query("unpause a queue", cmd("SREM").arg(keys::PAUSED).arg(name)).await
    }

    /// Deletes a queue, name and all.
    pub(crate) async fn clear_queue(&self, name: &str) -> Result<()> {
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.atomic();
        pipeline.cmd("UNLINK").arg(keys::queue(name)).ignore();
        pipeline.cmd("SREM").arg(keys::QUEUES).arg(name).ignore();
        self.link.pipe("clear a queue", &pipeline).await
    }

    /// Sizes and counters.
    pub(crate) async fn totals(&self) -> Result<Totals> {
        let mut pipeline = Pipeline::with_capacity(6);
        pipeline.cmd("GET").arg("stat:processed").cmd("GET").arg("stat:failed");
        pipeline.cmd("ZCARD").arg(keys::SCHEDULE).cmd("ZCARD").arg(keys::RETRY).cmd("ZCARD").arg(keys::DEAD);
        pipeline.cmd("SCARD").arg(keys::PROCESSES);
        let (processed, failed, scheduled, retry, dead, processes): (Option<u64>, Option<u64>, _, _, _, _) =
            self.link.pipe("read statistics", &pipeline).await?;
        let (processed, failed) = (processed.unwrap_or(0), failed.unwrap_or(0));
        Ok(Totals { processed, failed, scheduled, retry, dead, processes })
    }

    /// Sets a counter of all time to 0.
    pub(crate) async fn reset_total(&self, name: &str) -> Result<()> {
        self.link.query("reset statistics", cmd("SET").arg(format!("stat:{name}")).arg(0)).await
    }

    /// Who leads, where Sidekiq Enterprise elects one.
    pub(crate) async fn leader(&self) -> Result<Option<String>> {
        self.link.query("ask for the leader", cmd("GET").arg("dear-leader")).await
    }

    /// Processed and failed of days, each `YYYY-MM-DD`.
    pub(crate) async fn history(&self, days: &[String]) -> Result<Vec<(u64, u64)>> {
        if days.is_empty() {
            return Ok(Vec::new());
        }
        let mut mget = cmd("MGET");
        for day in days {
            mget.arg(format!("stat:processed:{day}")).arg(format!("stat:failed:{day}"));
        }
        let counts: Vec<Option<u64>> = self.link.query("read the history", &mget).await?;
        Ok(counts.chunks_exact(2).map(|pair| (pair[0].unwrap_or(0), pair[1].unwrap_or(0))).collect())
    }

    pub(crate) async fn set_size(&self, set: WaitingSet) -> Result<usize> {
        self.link.query("measure a set", cmd("ZCARD").arg(set.key())).await
    }

    /// Up to `n` members after passing over `skip`, highest score first.
    pub(crate) async fn set_page(&self, set: WaitingSet, skip: usize, n: usize) -> Result<Vec<(Vec<u8>, f64)>> {
        let mut zrange = cmd("ZRANGE");
        zrange.arg(set.key()).arg(skip).arg(skip + n - 1).arg("REV").arg("WITHSCORES");
        self.link.query("read a set", &zrange).await
    }

    /// Up to `n` members after passing over `skip`, lowest score first.
    pub(crate) async fn set_page_from_lowest(
        &self,
        set: WaitingSet,
        skip: usize,
        n: usize,
    ) -> Result<Vec<(Vec<u8>, f64)>> {
        let mut zrange = cmd("ZRANGE");
        zrange.arg(set.key()).arg(skip).arg(skip + n - 1).arg("WITHSCORES");
        self.link.query("read a set", &zrange).await
    }

    /// Members whose score is in a range, lowest first.
    pub(crate) async fn set_range(&self, set: WaitingSet, from: &str, to: &str) -> Result<Vec<(Vec<u8>, f64)>> {
        let mut zrange = cmd("ZRANGE");
        zrange.arg(set.key()).arg(from).arg(to).arg("BYSCORE").arg("WITHSCORES");
        self.link.query("read a set", &zrange).await
    }

    /// Some members, of those whose bytes match a glob, and where to go on; 0 when there are no more.
    pub(crate) async fn set_scan(
        &self,
        set: WaitingSet,
        cursor: u64,
        glob: Option<&str>,
    ) -> Result<(u64, Vec<(Vec<u8>, f64)>)> {
        let mut zscan = cmd("ZSCAN");
        zscan.arg(set.key()).arg(cursor).arg("COUNT").arg(SCANNED);
        if let Some(glob) = glob {
            zscan.arg("MATCH").arg(glob);
        }
        self.link.query("search a set", &zscan).await
    }

    /// Takes a member out of a set; whether it was there.
    pub(crate) async fn delete_from_set(&self, set: WaitingSet, member: &[u8]) -> Result<bool> {
        self.link.query("delete a job", cmd("ZREM").arg(set.key()).arg(member)).await
    }

    /// Takes members out of a set; how many were there.
    pub(crate) async fn delete_many_from_set(&self, set: WaitingSet, members: &[&[u8]]) -> Result<usize> {
        self.link.query("delete jobs", cmd("ZREM").arg(set.key()).arg(members)).await
    }

    /// Moves jobs from their queues back into a set, each as `(queue, its bytes there, score, its bytes in the set)`. Of each: 1 if it is
    /// back, 2 if it is in the set already, 0 if it is nowhere.
    pub(crate) async fn put_back(&self, set: WaitingSet, jobs: &[(&str, &[u8], &str, &[u8])]) -> Result<Vec<u8>> {
        let mut put_back = scripts::PUT_BACK.key(set.key());
        for (queue, pushed, score, bytes) in jobs {
            put_back.key(keys::queue(queue)).arg(*pushed).arg(*score).arg(*bytes);
        }
        self.link.eval("put jobs back", &put_back).await
    }

    /// Gives a member another score; whether it was there.
    pub(crate) async fn reschedule(&self, set: WaitingSet, member: &[u8], score: &str) -> Result<bool> {
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.atomic();
        pipeline.cmd("ZADD").arg(set.key()).arg("XX").arg(score).arg(member).ignore();
        pipeline.cmd("ZSCORE").arg(set.key()).arg(member);
        let (score,): (Option<f64>,) = self.link.pipe("reschedule a job", &pipeline).await?;
        Ok(score.is_some())
    }

    pub(crate) async fn clear_set(&self, set: WaitingSet) -> Result<()> {
        self.link.query("clear a set", cmd("UNLINK").arg(set.key())).await
    }

    /// The hash of a process; empty if it expired.
    pub(crate) async fn process_hashes(&self, identities: &[String]) -> Result<Vec<HashMap<String, String>>> {
        if identities.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = Pipeline::with_capacity(identities.len());
        for identity in identities {
            pipeline.cmd("HGETALL").arg(identity);
        }
        self.link.pipe("look at processes", &pipeline).await
    }

    /// Busy jobs of processes: tid to JSON.
    pub(crate) async fn work(&self, identities: &[String]) -> Result<Vec<HashMap<String, String>>> {
        if identities.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = Pipeline::with_capacity(identities.len());
        for identity in identities {
            pipeline.cmd("HGETALL").arg(keys::work(identity));
        }
        self.link.pipe("look at work", &pipeline).await
    }

    /// Leaves a signal for a process, taken with its next beat.
    pub(crate) async fn signal(&self, identity: &str, signal: &str) -> Result<()> {
        let key = keys::signals(identity);
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.atomic();
        pipeline.cmd("LPUSH").arg(&key).arg(signal).ignore();
        pipeline.cmd("EXPIRE").arg(&key).arg(60).ignore();
        self.link.pipe("signal a process", &pipeline).await
    }
}

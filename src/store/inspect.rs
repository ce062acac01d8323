//! What an administrator looks at and takes away. Reads in pages; takes away by exact bytes.

use std::collections::HashMap;

use redis::{Pipeline, RedisResult, cmd};

use super::pages::Page;
use super::sets::{BUDGET, WaitingSet};
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

/// Queues that are looked at with one request.
const NAMES: usize = 1_000;

impl Store {
    /// Every queue ever pushed to.
    pub(crate) async fn queues(&self) -> Result<Vec<QueueState>> {
        let names: Vec<String> = self.link.query("list queues", cmd("SMEMBERS").arg(keys::QUEUES)).await?;
        self.queue_states(names).await
    }

    /// How queues stand.
    pub(crate) async fn queue_states(&self, names: Vec<String>) -> Result<Vec<QueueState>> {
        self.states(names, None).await
    }

    /// The same for the heartbeat, which must not wait for large answers. In the place of a job over 4 KiB comes JSON that holds at most when
    /// it was enqueued.
    pub(crate) async fn queue_states_in_short(&self, names: Vec<String>) -> Result<Vec<QueueState>> {
        self.states(names, Some(4_096)).await
    }

    async fn states(&self, names: Vec<String>, largest: Option<usize>) -> Result<Vec<QueueState>> {
        let mut states = Vec::with_capacity(names.len());
        for names in names.chunks(NAMES) {
            let mut pipeline = Pipeline::with_capacity(names.len() * 2);
            for name in names {
                pipeline.cmd("LLEN").arg(keys::queue(name)).cmd("SISMEMBER").arg(keys::PAUSED).arg(name);
            }
            let answers: Vec<usize> = self.link.read("look at queues", &pipeline).await?;
            let oldest = match largest {
                Some(largest) => self.next_jobs_in_short(names, largest).await?,
                None => self.next_jobs(names).await?,
            };
            states.extend(names.iter().zip(answers.chunks_exact(2)).zip(oldest).map(|((name, answers), oldest)| {
                QueueState { name: name.clone(), size: answers[0], oldest, paused: answers[1] != 0 }
            }));
        }
        Ok(states)
    }

    /// The job that is next of each queue. Needs no right to run scripts.
    async fn next_jobs(&self, queues: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        let mut jobs = Vec::with_capacity(queues.len());
        while jobs.len() < queues.len() {
            let mut page = Page::of(queues.len() - jobs.len());
            while let Some(count) = page.window() {
                let from = jobs.len() + page.entries.len();
                let mut pipeline = Pipeline::with_capacity(count);
                for name in &queues[from..from + count] {
                    pipeline.cmd("LINDEX").arg(keys::queue(name)).arg(-1);
                }
                let read: Vec<Option<Vec<u8>>> = self.link.read("look at queues", &pipeline).await?;
                page.add(read, count, |job| job.as_ref().map_or(0, Vec::len));
            }
            jobs.extend(page.entries);
        }
        Ok(jobs)
    }

    /// The same, with JSON of the time alone in the place of a job that has more than `largest` bytes.
    async fn next_jobs_in_short(&self, queues: &[String], largest: usize) -> Result<Vec<Option<Vec<u8>>>> {
        let mut jobs = Vec::with_capacity(queues.len());
        while jobs.len() < queues.len() {
            let mut next = scripts::NEXT_JOBS.arg(BUDGET);
            next.arg(largest);
            for name in &queues[jobs.len()..] {
                next.key(keys::queue(name));
            }
            let read: Vec<Option<Vec<u8>>> = self.link.eval("look at queues", &next).await?;
            // A script that answers nothing would be asked for ever.
            if read.is_empty() {
                jobs.resize(queues.len(), None);
            }
            jobs.extend(read);
        }
        Ok(jobs)
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
            self.link.read("read statistics", &pipeline).await?;
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

    /// Some members, about `count` of those that are looked at, whose bytes match a glob, and where to go on; 0 when there are no more.
    pub(crate) async fn set_scan(
        &self,
        set: WaitingSet,
        cursor: u64,
        count: usize,
        glob: Option<&str>,
    ) -> Result<(u64, Vec<(Vec<u8>, f64)>)> {
        let mut zscan = cmd("ZSCAN");
        zscan.arg(set.key()).arg(cursor).arg("COUNT").arg(count);
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

    /// Gives a member another score; whether it was there.
    pub(crate) async fn reschedule(&self, set: WaitingSet, member: &[u8], score: &str) -> Result<bool> {
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.atomic();
        pipeline.cmd("ZADD").arg(set.key()).arg("XX").arg(score).arg(member).ignore();
        pipeline.cmd("ZSCORE").arg(set.key()).arg(member);
        let (score,): (Option<f64>,) = self.link.pipe("reschedule a job", &pipeline).await?;
        Ok(score.is_some())
    }

    /// Deletes a set; how many members it had.
    pub(crate) async fn clear_set(&self, set: WaitingSet) -> Result<usize> {
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.atomic();
        pipeline.cmd("ZCARD").arg(set.key()).cmd("UNLINK").arg(set.key()).ignore();
        let (size,): (usize,) = self.link.pipe("clear a set", &pipeline).await?;
        Ok(size)
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
        self.link.read("look at processes", &pipeline).await
    }

    /// Busy jobs of processes: tid to JSON. Sidekiq 6.4 writes them under a key of its own, which is read where the usual one is missing.
    pub(crate) async fn work(&self, identities: &[String]) -> Result<Vec<HashMap<String, String>>> {
        if identities.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = Pipeline::with_capacity(identities.len());
        for identity in identities {
            pipeline.cmd("HGETALL").arg(keys::work(identity));
        }
        let mut work: Vec<HashMap<String, String>> = self.link.read("look at work", &pipeline).await?;
        let idle: Vec<usize> = (0..work.len()).filter(|at| work[*at].is_empty()).collect();
        if idle.is_empty() {
            return Ok(work);
        }
        let mut pipeline = Pipeline::with_capacity(idle.len());
        for at in &idle {
            pipeline.cmd("HGETALL").arg(keys::work_of_6(&identities[*at]));
        }
        // Access lists that were made before this was read do not allow it.
        pipeline.ignore_errors();
        let of_6: Vec<RedisResult<HashMap<String, String>>> = self.link.read("look at work", &pipeline).await?;
        for (at, of_6) in idle.into_iter().zip(of_6) {
            work[at] = of_6.unwrap_or_default();
        }
        Ok(work)
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

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_large_job_is_not_read_to_learn_how_long_it_waits() {
        let redis = crate::testing::Redis::start().unwrap();
        let store = Store::new(redis.options().unwrap());
        let large = format!(r#"{{"args":["{}"],"jid":"j","enqueued_at":1795408228294}}"#, "x".repeat(1 << 20));
        let jobs = [("small", r#"{"enqueued_at":1}"#), ("large", &large), ("none", &"x".repeat(5_000))];
        for (queue, job) in jobs {
            store.link.query::<()>("test", cmd("LPUSH").arg(keys::queue(queue)).arg(job)).await.unwrap();
        }
        let names = ["small", "large", "none", "empty"].map(str::to_owned).to_vec();
        let states = store.queue_states_in_short(names.clone()).await.unwrap();
        let oldest = states.iter().map(|state| state.oldest.as_deref().map(|job| std::str::from_utf8(job).unwrap()));
        assert!(oldest.eq([Some(r#"{"enqueued_at":1}"#), Some(r#"{"enqueued_at":1795408228294}"#), Some("{}"), None]));
        let whole = store.queue_states(names).await.unwrap();
        assert_eq!(whole[1].oldest.as_deref(), Some(large.as_bytes()));
    }
}

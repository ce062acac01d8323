//! What tells whether a Redis is healthy: the server's own words, keys by name and kind, processes, private lists; and the repairs,
//! each one script that acts only if things still are as they were seen.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use redis::{Pipeline, RedisResult, cmd};

use super::sets::WaitingSet;
use super::{Store, keys, scripts};
use crate::error::Result;

/// Names one step of a scan asks for.
const SCAN: usize = 1_000;

/// What a key is, as `TYPE` says; `None` where it may not be asked for.
pub(crate) type Kind = Option<String>;

/// A process as `processes` names it, with its hash; `None` where that is none or may not be read.
pub(crate) type Member = (String, Option<HashMap<String, String>>);

impl Store {
    /// All the server says of itself.
    pub(crate) async fn info(&self) -> Result<HashMap<String, String>> {
        let info: String = self.link.query("read server info", &cmd("INFO")).await?;
        let pairs = info.lines().filter_map(|line| line.split_once(':'));
        Ok(pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
    }

    /// When the server writes snapshots, as `CONFIG GET save` says: empty for never, `None` where it may not be asked.
    pub(crate) async fn snapshot_rule(&self) -> Option<String> {
        let pair: HashMap<String, String> =
            self.link.query("ask for settings", cmd("CONFIG").arg("GET").arg("save")).await.ok()?;
        pair.into_values().next()
    }

    /// How long a round trip takes, and the server's time in epoch seconds half of it ago.
    pub(crate) async fn server_time(&self) -> Result<(Duration, f64)> {
        let asked = Instant::now();
        let (secs, micros): (f64, f64) = self.link.query("ask for the time", &cmd("TIME")).await?;
        Ok((asked.elapsed(), secs + micros / 1e6))
    }

    /// Every member of `processes`, whatever it is.
    pub(crate) async fn members(&self) -> Result<Vec<Member>> {
        let mut identities = self.processes().await?;
        identities.sort_unstable();
        if identities.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = Pipeline::with_capacity(identities.len());
        for identity in &identities {
            pipeline.cmd("HGETALL").arg(identity);
        }
        pipeline.ignore_errors();
        let hashes: Vec<RedisResult<HashMap<String, String>>> = self.link.read("look at processes", &pipeline).await?;
        Ok(identities.into_iter().zip(hashes.into_iter().map(RedisResult::ok)).collect())
    }

    /// Takes a process without a hash off `processes`; whether it was one.
    pub(crate) async fn forget_ghost(&self, identity: &str) -> Result<bool> {
        let is_gone = async || -> Result<bool> {
            let kind: String = self.link.query("look at a process", cmd("TYPE").arg(identity)).await?;
            Ok(kind == "none")
        };
        if !is_gone().await? {
            return Ok(false);
        }
        let mut srem = cmd("SREM");
        let was_listed = self.link.query("forget a process", srem.arg(keys::PROCESSES).arg(identity)).await?;
        if was_listed && !is_gone().await? {
            // It beat meanwhile.
            let mut sadd = cmd("SADD");
            self.link.query::<()>("list a process again", sadd.arg(keys::PROCESSES).arg(identity)).await?;
            return Ok(false);
        }
        Ok(was_listed)
    }

    /// What keys are.
    pub(crate) async fn kinds(&self, keys: &[String]) -> Result<Vec<Kind>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = Pipeline::with_capacity(keys.len());
        for key in keys {
            pipeline.cmd("TYPE").arg(key);
        }
        pipeline.ignore_errors();
        let kinds: Vec<RedisResult<String>> = self.link.read("look at keys", &pipeline).await?;
        Ok(kinds.into_iter().map(RedisResult::ok).collect())
    }

    /// Some names of keys, and where to go on; 0 when there are no more.
    pub(crate) async fn scan(&self, cursor: u64) -> Result<(u64, Vec<String>)> {
        let (next, names): (u64, Vec<Vec<u8>>) =
            self.link.query("look through the keys", cmd("SCAN").arg(cursor).arg("COUNT").arg(SCAN)).await?;
        Ok((next, names.into_iter().map(|name| String::from_utf8_lossy(&name).into_owned()).collect()))
    }

    /// Names of queues, as they are in `queues`.
    pub(crate) async fn queue_names(&self) -> Result<Vec<String>> {
        self.link.query("list queues", cmd("SMEMBERS").arg(keys::QUEUES)).await
    }

    /// Adds a queue that holds jobs to `queues`; whether it was missing there.
    pub(crate) async fn announce_queue(&self, name: &str) -> Result<bool> {
        let mut announce = scripts::ANNOUNCE.key(keys::queue(name));
        self.eval("name a queue", announce.key(keys::QUEUES).arg(name)).await
    }

    /// Puts other bytes in the place of a job in a set; whether it was there.
    pub(crate) async fn replace_in_set(&self, set: WaitingSet, job: &[u8], other: &[u8]) -> Result<bool> {
        self.eval("rewrite a job", scripts::REPLACE_IN_SET.key(set.key()).arg(job).arg(other)).await
    }

    /// Processes that may claim, and those that were fenced within a day.
    pub(crate) async fn registered_and_fenced(&self) -> Result<(HashSet<String>, HashSet<String>)> {
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.cmd("SMEMBERS").arg(keys::REGISTRY).cmd("ZRANGE").arg(keys::FENCED).arg(0).arg(-1);
        self.link.read("list workers", &pipeline).await
    }

    /// Which processes count as alive, by the clock of Redis.
    pub(crate) async fn are_alive(&self, identities: &[String]) -> Result<Vec<bool>> {
        if identities.is_empty() {
            return Ok(Vec::new());
        }
        let (_, now) = self.server_time().await?;
        let mut pipeline = Pipeline::with_capacity(identities.len());
        for identity in identities {
            pipeline.cmd("ZSCORE").arg(keys::ALIVE).arg(identity);
        }
        let until: Vec<Option<f64>> = self.link.read("look for processes", &pipeline).await?;
        Ok(until.into_iter().map(|until| until.is_some_and(|until| until > now * 1e3)).collect())
    }

    /// Private lists of these names that hold jobs and are not on the index of their process: the process, the list, and how many jobs.
    pub(crate) async fn unindexed(&self, lists: &[String]) -> Result<Vec<(String, String, usize)>> {
        let lists: Vec<(&str, &String)> =
            lists.iter().filter_map(|list| keys::identity_of_batch(list).map(|identity| (identity, list))).collect();
        if lists.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = Pipeline::with_capacity(lists.len() * 2);
        for (identity, list) in &lists {
            // In this order: a list is indexed before it exists, and taken away before it leaves the index.
            pipeline.cmd("SISMEMBER").arg(keys::batches(identity)).arg(list).cmd("LLEN").arg(list);
        }
        pipeline.ignore_errors();
        let answers: Vec<RedisResult<usize>> = self.link.read("look for private lists", &pipeline).await?;
        let found =
            lists.into_iter().zip(answers.chunks_exact(2)).filter_map(|((identity, list), answers)| match answers {
                [Ok(0), Ok(jobs)] if *jobs > 0 => Some((identity.to_owned(), list.clone(), *jobs)),
                _ => None,
            });
        Ok(found.collect())
    }

    /// Jobs in lists of any name.
    pub(crate) async fn lengths(&self, lists: &[String]) -> Result<Vec<usize>> {
        if lists.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = Pipeline::with_capacity(lists.len());
        for list in lists {
            pipeline.cmd("LLEN").arg(list);
        }
        pipeline.ignore_errors();
        let lengths: Vec<RedisResult<usize>> = self.link.read("measure lists", &pipeline).await?;
        Ok(lengths.into_iter().map(RedisResult::unwrap_or_default).collect())
    }
}

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::Api;
use crate::error::{Error, Result};
use crate::store::Store;

/// A worker process of ferrokiq, alive or not, that holds jobs in private lists or may do so.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// `HOST:PID:NONCE`.
    pub identity: String,
    /// Whether it counts as alive: its last sign of life is not older than its span, 30 s unless set.
    pub is_alive: bool,
    /// Whether any worker that is alive takes care of its jobs, should it be dead: it is registered, or was fenced within a day.
    pub is_known: bool,
    /// Jobs in its private lists.
    pub jobs: usize,
}

/// A private list that is not on the index of its worker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unindexed {
    /// The worker, `HOST:PID:NONCE`.
    pub identity: String,
    /// The key of the list.
    pub list: String,
    /// Jobs in it.
    pub jobs: usize,
}

/// How long a process stays marked as missing before its jobs may be put back; as workers wait.
const GRACE: Duration = Duration::from_secs(10);
/// How long a fence may take.
const PATIENCE: Duration = Duration::from_secs(30);

impl Api {
    /// The registered workers, those that were fenced within a day, and those named, each with the jobs it holds.
    ///
    /// # Errors
    ///
    /// As [`stats`](Self::stats).
    pub async fn holders(&self, named: &[String]) -> Result<Vec<Holder>> {
        let (registered, fenced) = self.store.registered_and_fenced().await?;
        let known: BTreeSet<String> = registered.into_iter().chain(fenced).collect();
        let identities: Vec<String> = known.iter().chain(named).cloned().collect::<BTreeSet<_>>().into_iter().collect();
        let alive = self.store.are_alive(&identities).await?;
        let mut holders = Vec::with_capacity(identities.len());
        for (identity, is_alive) in identities.into_iter().zip(alive) {
            let lists: Vec<String> =
                self.store.private_lists(&identity).await?.into_iter().map(|(list, _queue)| list).collect();
            let jobs = self.store.lengths(&lists).await?.into_iter().sum();
            holders.push(Holder { is_known: known.contains(&identity), identity, is_alive, jobs });
        }
        Ok(holders)
    }

    /// Those of some private lists, keys that begin with `ferrokiq:batch:`, that hold jobs and are not on the index of their worker: no other
    /// worker finds them. Keys of other names are passed over.
    ///
    /// # Errors
    ///
    /// As [`stats`](Self::stats).
    pub async fn unindexed(&self, lists: &[String]) -> Result<Vec<Unindexed>> {
        let found = self.store.unindexed(lists).await?.into_iter();
        Ok(found.map(|(identity, list, jobs)| Unindexed { identity, list, jobs }).collect())
    }

    /// Adds a private list to the index of its worker, so that its jobs can be [put back](Self::put_back). Needs the rights of a worker.
    ///
    /// # Errors
    ///
    /// As [`stats`](Self::stats).
    pub async fn index(&self, unindexed: &Unindexed) -> Result<()> {
        self.store.index_lists(&unindexed.identity, &[&unindexed.list]).await
    }

    /// Puts the jobs of a worker that is dead back to their queues, the oldest to run first; returns how many. One that is still
    /// registered is marked and waited for first, for ten seconds, as workers do with each other. Needs the rights of a worker.
    ///
    /// Jobs that three processes died with stay for a worker, which moves them to the dead set.
    ///
    /// # Errors
    ///
    /// As [`stats`](Self::stats); [`ErrorKind::Config`](crate::ErrorKind::Config) if the worker turns out to be alive.
    pub async fn put_back(&self, identity: &str) -> Result<usize> {
        self.see_dead(identity).await?;
        let (mut moved, lists) = (0, self.store.private_lists(identity).await?);
        for (list, queue) in &lists {
            if *list == Store::convicts(identity, queue) {
                continue;
            }
            loop {
                let step = self.store.recover(identity, (list, queue), u64::MAX).await?;
                moved += step.back;
                if step.left == 0 || step.back == 0 {
                    break;
                }
            }
        }
        let lists: Vec<String> = lists.into_iter().map(|(list, _queue)| list).collect();
        if !lists.is_empty() {
            self.store.forget_lists(identity, &lists).await?;
        }
        Ok(moved)
    }

    /// Until the process is registered no more.
    async fn see_dead(&self, identity: &str) -> Result<()> {
        let began = Instant::now();
        while self.store.registered_and_fenced().await?.0.contains(identity) {
            if self.store.fence(identity, GRACE).await? {
                break;
            }
            if began.elapsed() > PATIENCE {
                return Err(Error::config(format!("{identity} gives signs of life; its jobs stay with it")));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Ok(())
    }
}

//! What Sidekiq's Data API shows and does: statistics, queues, the sorted sets, processes and their work. For tools; no worker
//! needs it.
//!
//! This is the feature `api`, one of the defaults. A dashboard takes it without a worker: `default-features = false, features = ["api"]`.
//!
//! Nothing is read whole: lists come in pages, of about 1 MB at most. What is taken away is taken by its exact bytes, and a job that is moved from one
//! place to another is never out of Redis in between.
//!
//! ```no_run
//! # async fn example() -> ferrokiq::Result<()> {
//! use ferrokiq::{Client, api::Api};
//!
//! let api = Api::new(&Client::from_env()?);
//! println!("{} jobs wait", api.stats().await?.enqueued);
//! let mut pages = api.retries().pages();
//! while let Some(page) = pages.next().await? {
//!     for entry in page.iter().filter(|entry| entry.record.class() == "ReportJob") {
//!         api.retries().retry(entry).await?;
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod checkup;
mod holders;
mod iteration;
mod metrics;
mod moves;
mod neighbour;
mod process;
mod queue;
mod record;
mod running;
mod snapshot;
mod sorted_pages;
mod sorted_set;
mod stats;

use std::fmt;
use std::time::Duration;

pub use checkup::{KeyNames, ServerClock, ServerInfo};
pub use holders::{Holder, Unindexed};
pub use iteration::IterableState;
pub use metrics::{JobMetrics, Mark, Metrics, Span, Totals};
pub use moves::{Departure, Moved, Return};
pub use neighbour::Neighbour;
pub use process::{Member, Process, Work};
pub use queue::{Cleared, Queue, QueueCount, QueuePages};
pub use record::JobRecord;
pub use running::ListPages;
pub use snapshot::Snapshot;
pub use sorted_pages::{SortedPages, SortedScan};
pub use sorted_set::{SortedEntry, SortedSet};
pub use stats::{Day, QueueSummary, Stats};

use crate::client::Client;
use crate::error::Result;
use crate::late::Wait;
use crate::store::Store;
use crate::store::sets::WaitingSet;

/// Entries of one page.
const PAGE: usize = 50;

/// A Sidekiq's Redis, looked at from outside. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    store: Store,
    client: Client,
}

impl Api {
    /// Over the connection of a client, whose middleware sees what is pushed.
    ///
    /// # Panics
    ///
    /// If the client is one of `ferrokiq::testing`, which has no Redis.
    pub fn new(client: &Client) -> Self {
        let store = client.store().expect("a client of tests has no Redis to look at").clone();
        Self { store, client: client.clone() }
    }

    /// Waits until Redis answers, for `timeout` at most, as a worker does at its start: while Redis is unreachable, or loads its data, or refuses
    /// commands for another reason that may end. Calls `on_wait` with the cause when the wait begins, and every ten seconds.
    ///
    /// # Errors
    ///
    /// That of the last attempt. A wrong password is an error at once.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any point.
    pub async fn wait_for_redis(&self, timeout: Duration, mut on_wait: impl FnMut(&str)) -> Result<()> {
        let mut wait = Wait::new(timeout);
        loop {
            let Err(error) = self.store.ping().await else { return Ok(()) };
            let Some(next) = wait.after(&error) else { return Err(error) };
            if next.remark {
                on_wait(&next.cause);
            }
            tokio::time::sleep(next.pause).await;
        }
    }

    /// Counters and sizes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Redis`](crate::ErrorKind::Redis), as every call here.
    pub async fn stats(&self) -> Result<Stats> {
        stats::read(&self.store).await
    }

    /// Jobs processed and failed on each of the last `days` days, today first.
    ///
    /// # Errors
    ///
    /// As [`stats`](Self::stats).
    pub async fn history(&self, days: u32) -> Result<Vec<Day>> {
        stats::history(&self.store, days).await
    }

    /// All queues, the longest first.
    ///
    /// # Errors
    ///
    /// As [`stats`](Self::stats).
    pub async fn queues(&self) -> Result<Vec<QueueSummary>> {
        stats::queues(&self.store).await
    }

    /// One queue, whether it exists or not.
    pub fn queue(&self, name: &str) -> Queue {
        Queue::new(self.store.clone(), name)
    }

    /// Jobs to be run at a time.
    pub fn scheduled(&self) -> SortedSet {
        SortedSet::new(self.clone(), WaitingSet::Schedule)
    }

    /// Failed jobs that are tried again.
    pub fn retries(&self) -> SortedSet {
        SortedSet::new(self.clone(), WaitingSet::Retry)
    }

    /// Jobs that were given up.
    pub fn dead(&self) -> SortedSet {
        SortedSet::new(self.clone(), WaitingSet::Dead)
    }

    /// Jobs that GitLab's fetcher (gitlab-sidekiq-fetcher) gave up after they were interrupted too often; empty where it is not in use.
    pub fn interrupted(&self) -> SortedSet {
        SortedSet::new(self.clone(), WaitingSet::Interrupted)
    }

    /// Live processes, Ruby's and ours.
    ///
    /// # Errors
    ///
    /// As [`stats`](Self::stats).
    pub async fn processes(&self) -> Result<Vec<Process>> {
        process::read(&self.store).await
    }

    /// What they are working on.
    ///
    /// # Errors
    ///
    /// As [`stats`](Self::stats).
    pub async fn work(&self) -> Result<Vec<Work>> {
        process::work(&self.store).await
    }

    /// What works on a job; looks at all that runs.
    ///
    /// # Errors
    ///
    /// As [`stats`](Self::stats).
    pub async fn find_work(&self, jid: &str) -> Result<Option<Work>> {
        Ok(self.work().await?.into_iter().find(|work| work.record.jid() == jid))
    }

    /// The identity of the leader, which Sidekiq Enterprise elects; `None` elsewhere.
    ///
    /// # Errors
    ///
    /// As [`stats`](Self::stats).
    pub async fn leader(&self) -> Result<Option<String>> {
        self.store.leader().await
    }

    /// Sets the counter of jobs processed since ever to 0.
    ///
    /// # Errors
    ///
    /// As [`stats`](Self::stats).
    pub async fn reset_processed(&self) -> Result<()> {
        self.store.reset_total("processed").await
    }

    /// Sets the counter of jobs failed since ever to 0.
    ///
    /// # Errors
    ///
    /// As [`stats`](Self::stats).
    pub async fn reset_failed(&self) -> Result<()> {
        self.store.reset_total("failed").await
    }

    /// What the jobs of every class took.
    ///
    /// ```no_run
    /// # async fn example(api: &ferrokiq::api::Api) -> ferrokiq::Result<()> {
    /// use ferrokiq::api::Span;
    ///
    /// for (class, job) in api.top_jobs(Span::Minutes(60)).await?.jobs {
    ///     println!("{class}: {} jobs of {:?}", job.totals.processed, job.totals.average());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`stats`](Self::stats).
    pub async fn top_jobs(&self, span: Span) -> Result<Metrics> {
        metrics::top_jobs(&self.store, span).await
    }

    /// What the jobs of one class took, with histograms.
    ///
    /// # Errors
    ///
    /// As [`stats`](Self::stats).
    pub async fn job_metrics(&self, class: &str, span: Span) -> Result<Metrics> {
        metrics::of_job(&self.store, class, span).await
    }

    /// Where iterable jobs stand, in one round trip; `None` for one that has not begun, is through, or is not iterable.
    ///
    /// # Errors
    ///
    /// As [`stats`](Self::stats).
    pub async fn iterable_states(&self, jids: &[&str]) -> Result<Vec<Option<IterableState>>> {
        iteration::read(&self.store, jids).await
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("client", &self.client).finish_non_exhaustive()
    }
}

use std::time::Duration;

use crate::error::Result;
use crate::store::Store;
use crate::store::iteration::Iteration;
use crate::time::EpochSecs;

/// Where an [iterable job](crate::job::IterableJob), Ruby's or ours, stands; as `JobRecord#iterable_state` of Sidekiq 8.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct IterableState {
    /// The job.
    pub jid: String,
    /// Runs that were begun.
    pub executions: u64,
    /// What all runs took, but for the one that runs since the state was written.
    pub runtime: Duration,
    /// The item that is next, as JSON.
    pub cursor: String,
    /// When it was asked to end.
    pub cancelled: Option<EpochSecs>,
}

pub(super) async fn read(store: &Store, jids: &[&str]) -> Result<Vec<Option<IterableState>>> {
    let found = store.iterations(jids).await?;
    Ok(jids.iter().zip(found).map(|(jid, found)| found.map(|iteration| state(jid, iteration))).collect())
}

fn state(jid: &str, Iteration { executions, cursor, runtime, cancelled }: Iteration) -> IterableState {
    IterableState {
        jid: jid.to_owned(),
        executions,
        runtime: Duration::try_from_secs_f64(runtime).unwrap_or_default(),
        cursor,
        cancelled: cancelled.map(|at| EpochSecs(at as f64)),
    }
}

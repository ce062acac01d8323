//! Where an iterable job stands: the hash `it-JID`, as Sidekiq 7.3 and 8 keep it.

#[cfg(any(feature = "api", feature = "server"))]
use std::collections::HashMap;

use redis::Pipeline;
#[cfg(any(feature = "api", feature = "server"))]
use redis::cmd;

use super::{Store, keys};
use crate::error::Result;
#[cfg(any(feature = "api", feature = "server"))]
use crate::time::EpochSecs;

/// The state of an iterable job.
#[cfg(any(feature = "api", feature = "server"))]
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Iteration {
    /// Runs that were begun.
    pub(crate) executions: u64,
    /// The item about to be worked on, as JSON; `null` before the first.
    pub(crate) cursor: String,
    /// Seconds all runs took.
    pub(crate) runtime: f64,
    /// When it was asked to end.
    pub(crate) cancelled: Option<i64>,
}

#[cfg(any(feature = "api", feature = "server"))]
impl Default for Iteration {
    fn default() -> Self {
        Self { executions: 0, cursor: "null".to_owned(), runtime: 0.0, cancelled: None }
    }
}

#[cfg(any(feature = "api", feature = "server"))]
impl Iteration {
    fn read(fields: &HashMap<String, String>) -> Self {
        let field = |name: &str| fields.get(name).map(String::as_str);
        Self {
            executions: field("ex").and_then(|count| count.parse().ok()).unwrap_or(0),
            cursor: field("c").unwrap_or("null").to_owned(),
            runtime: field("rt").and_then(|secs| secs.parse().ok()).unwrap_or(0.0),
            cancelled: field("cancelled").map(|at| at.parse().unwrap_or(0)),
        }
    }
}

impl Store {
    /// Asks a job to end; returns when it was asked first, in epoch seconds.
    pub(crate) async fn cancel_iteration(&self, jid: &str, now: i64) -> Result<i64> {
        let key = keys::iteration(jid);
        let mut pipeline = Pipeline::with_capacity(6);
        pipeline.cmd("HSETNX").arg(&key).arg("cancelled").arg(now).ignore();
        // Without these Ruby chokes on the state of a job that never began.
        for (field, value) in [("ex", "0"), ("c", "null"), ("rt", "0")] {
            pipeline.cmd("HSETNX").arg(&key).arg(field).arg(value).ignore();
        }
        pipeline.cmd("HGET").arg(&key).arg("cancelled");
        pipeline.cmd("EXPIRE").arg(&key).arg(keys::ITERATION_TTL).arg("NX").ignore();
        let (at,): (i64,) = self.link.pipe_repeatable("cancel an iteration", &pipeline).await?;
        Ok(at)
    }
}

#[cfg(any(feature = "api", feature = "server"))]
impl Store {
    /// What is known of a job; the beginning if nothing is.
    pub(crate) async fn iteration(&self, jid: &str) -> Result<Iteration> {
        let fields: HashMap<String, String> =
            self.link.query("read an iteration", cmd("HGETALL").arg(keys::iteration(jid))).await?;
        Ok(Iteration::read(&fields))
    }

    /// What is known of jobs; `None` where nothing is.
    pub(crate) async fn iterations(&self, jids: &[&str]) -> Result<Vec<Option<Iteration>>> {
        if jids.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = Pipeline::with_capacity(jids.len());
        for jid in jids {
            pipeline.cmd("HGETALL").arg(keys::iteration(jid));
        }
        let found: Vec<HashMap<String, String>> = self.link.read("read iterations", &pipeline).await?;
        Ok(found.iter().map(|fields| (!fields.is_empty()).then(|| Iteration::read(fields))).collect())
    }

    /// Writes where a job stands; returns whether it was cancelled.
    pub(crate) async fn keep_iteration(&self, jid: &str, state: &Iteration) -> Result<bool> {
        let key = keys::iteration(jid);
        let mut pipeline = Pipeline::with_capacity(3);
        pipeline.atomic();
        let hset = pipeline.cmd("HSET").arg(&key).arg("ex").arg(state.executions).arg("c").arg(&state.cursor);
        hset.arg("rt").arg(EpochSecs(state.runtime).to_string()).ignore();
        pipeline.cmd("EXPIRE").arg(&key).arg(keys::ITERATION_TTL).arg("NX").ignore();
        pipeline.cmd("HEXISTS").arg(&key).arg("cancelled");
        let (cancelled,): (bool,) = self.link.pipe("keep an iteration", &pipeline).await?;
        Ok(cancelled)
    }

    /// Forgets a job that is through.
    pub(crate) async fn forget_iteration(&self, jid: &str) -> Result<()> {
        self.link.query("forget an iteration", cmd("UNLINK").arg(keys::iteration(jid))).await
    }
}

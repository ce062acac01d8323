//! Marks of deploys on the graphs of the Metrics page.

use redis::{Pipeline, cmd};

use super::{Store, keys};
use crate::error::Result;

/// Seconds a mark is kept: 90 days.
const MARK_TTL: u64 = 7_776_000;

impl Store {
    /// Marks a minute, `2026-11-23T04:07:00Z`, of a day, `20261123`, unless the same label was marked within a minute.
    pub(crate) async fn mark_deploy(&self, day: &str, minute: &str, label: &str) -> Result<bool> {
        let lock = format!("deploylock-{label}");
        let mut set = cmd("SET");
        set.arg(lock).arg(minute).arg("NX").arg("EX").arg(60);
        if self.link.query::<Option<String>>("mark a deploy", &set).await?.is_none() {
            return Ok(false);
        }
        let key = keys::marks(day);
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.atomic();
        pipeline.cmd("HSETNX").arg(&key).arg(minute).arg(label);
        pipeline.cmd("EXPIRE").arg(&key).arg(MARK_TTL).ignore();
        let (marked,): (bool,) = self.link.pipe("mark a deploy", &pipeline).await?;
        Ok(marked)
    }
}

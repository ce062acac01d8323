//! Marks of deploys on the graphs of the Metrics page.

use super::wire::Request;
use super::{Store, keys, scripts};
use crate::error::Result;

/// Seconds a mark is kept: 90 days.
const MARK_TTL: u64 = 7_776_000;
/// Seconds within which the same label is marked once.
const LOCK_TTL: u64 = 60;

impl Store {
    /// Marks a minute, `2026-11-23T04:07:00Z`, of a day, `20261123`, unless the same label was marked within a minute.
    pub(crate) async fn mark_deploy(&self, day: &str, minute: &str, label: &str) -> Result<bool> {
        let mut mark = scripts::MARK_DEPLOY.key(format!("deploylock-{label}"));
        mark.key(keys::marks(day)).arg(minute).arg(label).arg(LOCK_TTL).arg(MARK_TTL);
        self.link.run("mark a deploy", Request::Script(&mark)).await
    }
}

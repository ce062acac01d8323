//! Marks of deploys on the graphs of the Metrics page.

use once_cell::sync::Lazy;

use super::script::{Script, ScriptCall};
use super::{Store, keys, scripts};
use crate::error::Result;

/// Seconds a mark is kept: 90 days.
const MARK_TTL: u64 = 7_776_000;
/// Seconds within which the same label is marked once.
const LOCK_TTL: u64 = 60;

static MARK_DEPLOY: Lazy<Script> = Lazy::new(|| Script::of(scripts::MARK_DEPLOY.clone()));

impl Store {
    /// Marks a minute, `2026-11-23T04:07:00Z`, of a day, `20261123`, unless the same label was marked within a minute.
    pub(crate) async fn mark_deploy(&self, day: &str, minute: &str, label: &str) -> Result<bool> {
        let mark = ScriptCall::new(Some(self), &MARK_DEPLOY).doing("mark a deploy");
        let mark = mark.key(format!("deploylock-{label}")).key(keys::marks(day)).arg(minute).arg(label);
        let marked = mark.arg(LOCK_TTL.to_string()).arg(MARK_TTL.to_string()).run().await?;
        Ok(marked.int() == Some(1))
    }
}

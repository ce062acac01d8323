//! Stores withheld jobs once their keys are mended.

use std::sync::Arc;

use crate::server::control::supervisor::Part;
use crate::server::settle::riding::is_rider;
use crate::server::settle::settlement::{Settlement, note_settled};
use crate::store::{backoff, is_wrong_type};

/// Tries to store what is withheld: one job of each key at a time, and all of them once one was stored.
pub(crate) struct Storing(pub(crate) Arc<Settlement>);

impl Storing {
    /// Stores what waits for one key. Returns whether all of it is stored.
    async fn store(&self, key: &str) -> bool {
        let Self(settle) = self;
        while let Some(job) = settle.withheld.first(key) {
            if settle.withheld.is_closed() {
                return false;
            }
            match settle.settler.settle(&job.unit, &job.to, &job.riders).await {
                Ok(settled) => {
                    settle.withheld.left(key);
                    note_settled(&job.unit, settled);
                }
                Err(error) => {
                    if is_wrong_type(&error) || is_rider(&error, &job.riders) {
                        settle.withheld.log(key, &job, &error);
                    }
                    return false;
                }
            }
        }
        true
    }
}

impl Part for Storing {
    fn name(&self) -> &'static str {
        "storing of withheld jobs"
    }

    async fn run(&mut self) {
        let withheld = &self.0.withheld;
        let mut failures = 0;
        while !withheld.is_closed() {
            let keys: Vec<String> = withheld.keys().keys().cloned().collect();
            if keys.is_empty() {
                failures = 0;
                withheld.changed.notified().await;
                continue;
            }
            // Each job was tried before it came here.
            failures += 1;
            tokio::time::sleep(backoff(failures)).await;
            for key in keys {
                self.store(&key).await;
            }
        }
    }

    fn may_end(&self) -> bool {
        self.0.withheld.is_closed()
    }
}

//! Brings the jobs of a capsule's queues, by one of two ways.

use std::sync::Arc;

use crate::error::Result;
use crate::server::fetch::basic::Basic;
use crate::server::fetch::reliable::Reliable;
use crate::server::fetch::source::Source;
use crate::server::settings::config::FetchMode;
use crate::server::unit::Batch;

/// Brings jobs of a capsule's queues.
#[derive(Debug)]
pub(crate) enum Fetcher {
    Reliable(Reliable),
    Basic(Basic),
}

impl Fetcher {
    pub(crate) fn new(mode: FetchMode, source: Source) -> Self {
        match mode {
            FetchMode::Reliable => Self::Reliable(Reliable::new(source)),
            FetchMode::Basic => Self::Basic(Basic::new(source)),
        }
    }

    /// Returns up to `want` jobs, or `None` if there was nothing to ask Redis for: then it is unknown whether Redis works. Without jobs, call
    /// [`wait`](Self::wait).
    ///
    /// # Cancel safety
    ///
    /// None: always await it to the end, or jobs are stranded.
    pub(crate) async fn retrieve_work(&mut self, want: usize) -> Result<Option<Vec<Arc<Batch>>>> {
        match self {
            Self::Reliable(fetcher) => fetcher.retrieve_work(want).await,
            Self::Basic(fetcher) => fetcher.retrieve_work(want).await,
        }
    }

    /// Waits a few seconds for jobs: until there may be some, jobs went into the intake by another way, or the server was quieted. Returns at
    /// once from the basic fetcher, whose [`retrieve_work`](Self::retrieve_work) waits.
    pub(crate) async fn wait(&mut self) {
        match self {
            Self::Reliable(fetcher) => fetcher.wait().await,
            Self::Basic(_) => {}
        }
    }

    /// Waits for commands that are still with Redis, so that nothing arrives afterwards.
    pub(crate) async fn close(self) {
        match self {
            Self::Reliable(fetcher) => fetcher.close().await,
            Self::Basic(_) => {}
        }
    }
}

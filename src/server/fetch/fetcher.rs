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

    /// Up to `want` jobs, waiting a few seconds for the first of them. Comes back with none when there are none, when
    /// jobs went into the intake by another way, and when the server was quieted.
    ///
    /// # Cancel safety
    ///
    /// None: always await it to the end, or jobs are stranded.
    pub(crate) async fn retrieve_work(&mut self, want: usize) -> Result<Vec<Arc<Batch>>> {
        match self {
            Self::Reliable(fetcher) => fetcher.retrieve_work(want).await,
            Self::Basic(fetcher) => fetcher.retrieve_work(want).await,
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

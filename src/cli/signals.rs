use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Error, Result};
use crate::server::Handle;

/// The signals Sidekiq takes.
pub(super) struct Signals {
    term: Signal,
    int: Signal,
    tstp: Signal,
    ttin: Signal,
}

/// `SIGTSTP` and `SIGTTIN`, which the runtime has no names for: the same numbers on Linux and macOS but for these two.
#[cfg(any(target_os = "linux", target_os = "android"))]
const TSTP_TTIN: (i32, i32) = (20, 21);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const TSTP_TTIN: (i32, i32) = (18, 21);

impl Signals {
    pub(super) fn install() -> Result<Self> {
        let install =
            |kind| signal(kind).map_err(|error| Error::config("signal handlers cannot be installed").because(error));
        Ok(Self {
            term: install(SignalKind::terminate())?,
            int: install(SignalKind::interrupt())?,
            tstp: install(SignalKind::from_raw(TSTP_TTIN.0))?,
            ttin: install(SignalKind::from_raw(TSTP_TTIN.1))?,
        })
    }

    /// Does what they say, for ever.
    pub(super) async fn obey(mut self, handle: Handle) {
        loop {
            tokio::select! {
                _ = self.term.recv() => stop(&handle),
                _ = self.int.recv() => stop(&handle),
                _ = self.tstp.recv() => {
                    tracing::info!("Received TSTP, no longer accepting new work");
                    handle.quiet();
                }
                _ = self.ttin.recv() => tracing::warn!("{}", handle.dump()),
            }
        }
    }
}

fn stop(handle: &Handle) {
    if handle.is_stopping() {
        tracing::warn!("Told to stop again: not waiting for running jobs");
        handle.stop_now();
    } else {
        tracing::info!("Shutting down");
        handle.stop();
    }
}

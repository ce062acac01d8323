#[cfg(windows)]
mod windows;

use std::time::Duration;

use tokio::runtime::Builder;
#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

#[cfg(windows)]
use windows::{Signal, SignalKind, signal};

use crate::contain::contained;
use crate::error::{Error, Result};
use crate::server::{Handle, Server};

/// The signals Sidekiq takes; on Windows, events of the console stand for INT and TERM.
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

/// After a panic of the thread for signals.
const PAUSE: Duration = Duration::from_secs(1);

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

    /// Does what they say on a thread of its own, which no job can block, and ends the process if the server does not stop in time.
    #[expect(clippy::disallowed_methods, reason = "panics are contained, and it obeys again")]
    pub(super) fn obey(mut self, server: &Server, flush_log: impl Fn() + Send + 'static) -> Result<()> {
        let (handle, last_resort) = (server.handle(), server.last_resort());
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::config("the thread for signals has no runtime").because(error))?;
        let listen = move || {
            loop {
                let end = contained(|| {
                    runtime.block_on(async {
                        tokio::select! {
                            // What runs stays in the private lists; another process puts it back.
                            () = self.listen(&handle) => {
                                tracing::warn!("Told to stop a third time: gone");
                                130
                            }
                            stopped = last_resort.due() => {
                                tracing::error!("the stop takes too long, as when jobs block every thread; the process ends");
                                super::exit_code(&stopped).into()
                            }
                        }
                    })
                });
                match end {
                    Ok(code) => {
                        flush_log();
                        std::process::exit(code);
                    }
                    Err(panic) => {
                        tracing::error!(panic, "the thread for signals panicked; it goes on");
                        std::thread::sleep(PAUSE);
                    }
                }
            }
        };
        std::thread::Builder::new()
            .name("ferrokiq-signals".to_owned())
            .spawn(listen)
            .map(|_: std::thread::JoinHandle<()>| ())
            .map_err(|error| Error::config("the thread for signals cannot be started").because(error))
    }

    /// Until it is told to stop a third time.
    async fn listen(&mut self, handle: &Handle) {
        loop {
            let told_to_stop = tokio::select! {
                _ = self.term.recv() => true,
                _ = self.int.recv() => true,
                _ = self.tstp.recv() => {
                    tracing::info!("Received TSTP, no longer accepting new work");
                    handle.quiet();
                    false
                }
                _ = self.ttin.recv() => {
                    tracing::warn!("{}", handle.dump());
                    false
                }
            };
            if told_to_stop && handle.is_stopping_now() {
                return;
            }
            if told_to_stop {
                stop(handle);
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

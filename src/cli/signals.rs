#[cfg(windows)]
mod windows;

use std::time::Duration;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

#[cfg(windows)]
use windows::{Signal, SignalKind, signal};

use crate::contain::contained;
use crate::error::Result;
use crate::limits::{refused, start_thread};
use crate::server::{Handle, Server};

/// The signals of a worker: those of Sidekiq, and four whose default action would kill the process. On Windows, events of the console stand
/// for INT and TERM.
pub(super) struct Signals {
    term: Signal,
    int: Signal,
    /// Stops, as TERM. `None` if the parent process had it ignored, as `nohup` does.
    hup: Option<Signal>,
    /// Stops, as TERM.
    quit: Signal,
    tstp: Signal,
    ttin: Signal,
    usr1: Signal,
    usr2: Signal,
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
        let install = |kind| signal(kind).map_err(|error| refused("signal handlers cannot be installed", error));
        Ok(Self {
            term: install(SignalKind::terminate())?,
            int: install(SignalKind::interrupt())?,
            hup: (!is_ignored(SignalKind::hangup())).then(|| install(SignalKind::hangup())).transpose()?,
            quit: install(SignalKind::quit())?,
            tstp: install(SignalKind::from_raw(TSTP_TTIN.0))?,
            ttin: install(SignalKind::from_raw(TSTP_TTIN.1))?,
            usr1: install(SignalKind::user_defined1())?,
            usr2: install(SignalKind::user_defined2())?,
        })
    }

    /// Does what they say on a thread of its own, which no job can block, and ends the process if the server does not stop in time.
    pub(super) fn obey(mut self, server: &Server, flush_log: impl Fn() + Send + 'static) -> Result<()> {
        let (handle, last_resort) = (server.handle(), server.last_resort());
        start_thread("ferrokiq-signals", move |runtime| {
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
        })
    }

    /// Until it is told to stop a third time.
    async fn listen(&mut self, handle: &Handle) {
        loop {
            let told_to_stop = tokio::select! {
                _ = self.term.recv() => true,
                _ = self.int.recv() => true,
                () = received(&mut self.hup) => true,
                _ = self.quit.recv() => true,
                _ = self.tstp.recv() => {
                    tracing::info!("Received TSTP, no longer accepting new work");
                    handle.quiet();
                    false
                }
                _ = self.ttin.recv() => {
                    tracing::warn!("{}", handle.dump());
                    false
                }
                _ = self.usr1.recv() => ignored("USR1"),
                _ = self.usr2.recv() => ignored("USR2"),
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

/// Resolves when the signal arrives; never if it is not handled.
async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Logs a signal that has no meaning here. Returns `false`: it does not stop the worker.
fn ignored(signal: &str) -> bool {
    tracing::warn!(
        "Received {signal}, ignored: TERM, INT, HUP and QUIT stop, TSTP stops fetching, TTIN logs what runs"
    );
    false
}

/// Whether the parent process had this signal ignored. `false` where there is no `/proc`.
fn is_ignored(signal: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask & (1 << (signal.as_raw_value() - 1)) != 0
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

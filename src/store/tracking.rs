//! A connection on which Redis reports that keys changed: server-assisted client-side caching.

use std::time::Duration;

use redis::{Pipeline, cmd};
use tokio::time::Instant;

use super::claims::Private;
use super::invalidations::Changed;
use super::wire::Wire;
use super::{Store, keys};
use crate::error::{Error, ErrorKind, Result};

/// A connection with `CLIENT TRACKING ON`. Redis remembers every key that is read on it and reports the next change of each, once.
/// It reports that a key which did not exist was created, too.
///
/// It checks itself: it also reads the hash of the process, which every beat writes, so Redis must report that one regularly.
pub(crate) struct TrackingWire {
    wire: Wire,
    beats: String,
    /// Whether Redis remembers the hash of the process.
    beats_are_read: bool,
    /// Longest time between two reports.
    patience: Duration,
    /// When the next report must have arrived.
    due: Instant,
    proven: bool,
    processes: usize,
}

/// Commands that [`TrackingWire::filled`] splits its keys over: few keys are told apart exactly.
const COMMANDS: usize = 16;
/// Keys of one such command at most.
const MAX_KEYS: usize = 1_000;

impl Store {
    /// Opens a tracking connection for a process that beats more often than every `patience`.
    ///
    /// Fails with a [refusal](super::is_refusal) where the server does not know `CLIENT TRACKING` or the user may not use it.
    pub(crate) async fn tracking(&self, private: &Private, patience: Duration) -> Result<TrackingWire> {
        let mut wire = self.link.dedicated(self.options().response_timeout).await?;
        wire.query::<()>("turn on tracking", cmd("CLIENT").arg("TRACKING").arg("ON")).await?;
        let due = Instant::now() + patience;
        let beats = private.beats().to_owned();
        Ok(TrackingWire { wire, beats, beats_are_read: false, patience, due, proven: false, processes: 1 })
    }
}

impl TrackingWire {
    /// Whether a report has arrived on this connection.
    pub(crate) fn is_proven(&self) -> bool {
        self.proven
    }

    /// Whether the connection is open, and no report arrived on it in time.
    pub(crate) fn is_silent(&self) -> bool {
        !self.proven && !self.wire.has_ended() && self.due <= Instant::now()
    }

    /// Registered processes of ferrokiq, this one included, when the hash was last read.
    pub(crate) fn processes(&self) -> usize {
        self.processes
    }

    /// Waits for reports and returns the keys they name. Keys of this type's own are among them.
    ///
    /// Fails when the connection ended, and when Redis reported nothing for too long: something between swallows the reports, or
    /// this server is no longer the one that the rest of the process writes to.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a report stays until it is returned.
    pub(crate) async fn changed(&mut self) -> Result<Changed> {
        loop {
            if self.wire.has_ended() {
                return Err(Error::new(ErrorKind::Redis, "the tracking connection ended"));
            }
            if let Some(changed) = self.wire.invalidations.take() {
                self.proven = true;
                self.due = Instant::now() + self.patience;
                self.beats_are_read &= !changed.all && !changed.keys.contains(&self.beats);
                return Ok(changed);
            }
            if !self.beats_are_read {
                let mut pipeline = Pipeline::with_capacity(2);
                pipeline.cmd("EXISTS").arg(&self.beats).ignore();
                pipeline.cmd("SCARD").arg(keys::REGISTRY);
                [self.processes] = self.wire.pipe("read the process", &pipeline).await?;
                self.beats_are_read = true;
            }
            let lost = async {
                match &self.wire.primary {
                    Some(post) => post.lost().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.wire.invalidations.arrived() => {}
                () = lost => {}
                () = tokio::time::sleep_until(self.due) => {
                    return Err(Error::new(ErrorKind::Redis, "Redis did not report a beat"));
                }
            }
        }
    }

    /// Reads keys: whether each may exist, in their order. A key among more than 16 counts as existing if one of its neighbours
    /// does. From then on Redis reports the next change of each key.
    pub(crate) async fn filled(&mut self, read: &[&str]) -> Result<Vec<bool>> {
        let some = read.len().div_ceil(COMMANDS).clamp(1, MAX_KEYS);
        let mut pipeline = Pipeline::with_capacity(read.len().div_ceil(some));
        for keys in read.chunks(some) {
            pipeline.cmd("EXISTS").arg(keys);
        }
        let counts: Vec<usize> = self.wire.pipe("look at queues", &pipeline).await?;
        let filled = read.chunks(some).zip(counts).flat_map(|(keys, count)| std::iter::repeat_n(count > 0, keys.len()));
        Ok(filled.collect())
    }
}

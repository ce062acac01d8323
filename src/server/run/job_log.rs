use std::time::Instant;

use tracing::Level;

use crate::job::{Disposition, JobResult};
use crate::payload::Payload;

/// The `start` and `done` or `fail` lines of one job, as Sidekiq writes them; `snooze` for one that runs again later. Costs nothing while INFO is off.
pub(crate) struct JobLog<'a>(Option<Line<'a>>);

struct Line<'a> {
    started: Instant,
    tid: &'a str,
    jid: String,
    class: String,
    bid: Option<String>,
    /// A JSON array.
    tags: Option<String>,
}

impl<'a> JobLog<'a> {
    pub(crate) fn start(payload: &Payload, tid: &'a str) -> Self {
        if !tracing::enabled!(Level::INFO) {
            return Self(None);
        }
        let line = Line {
            started: Instant::now(),
            tid,
            jid: payload.jid().to_owned(),
            class: payload.display_class().to_owned(),
            bid: payload.bid().map(str::to_owned),
            tags: payload.get("tags").map(str::to_owned),
        };
        tracing::info!(tid, jid = line.jid, class = line.class, bid = line.bid, tags = line.tags, "start");
        Self(Some(line))
    }

    pub(crate) fn finish(self, outcome: &JobResult) {
        let Some(Line { started, tid, jid, class, bid, tags }) = self.0 else { return };
        // Rounded to milliseconds, as Ruby does.
        let elapsed = (started.elapsed().as_secs_f64() * 1_000.0).round() / 1_000.0;
        match outcome {
            Ok(()) => tracing::info!(tid, jid, class, bid, tags, elapsed, "done"),
            Err(error) => match error.disposition() {
                Disposition::Snooze(delay) => tracing::info!(tid, jid, class, bid, tags, elapsed, ?delay, "snooze"),
                _ => tracing::info!(tid, jid, class, bid, tags, elapsed, "fail"),
            },
        }
    }
}

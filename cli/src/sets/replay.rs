use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use ferrokiq::api::{SortedEntry, SortedSet};

use super::act::{departures, dry_run};
use super::journal::Journal;
use super::tally::Tally;
use super::{Chosen, Kind};
use crate::frame::{Done, Failure, Progress, Tool};

/// Run jobs now as `retry` does, at a rate, with a journal that can undo it
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ferrokiq SET replay --where 'error=Net::OpenTimeout,age<1d' --dry-run\n  \
                  ferrokiq SET replay --where 'error=Net::OpenTimeout' --rate 50/s --journal replay.jsonl\n  ferrokiq SET undo replay.jsonl\n\n\
                  The journal has a line of JSON for each job, written before the job is moved; it holds the payloads.")]
pub(super) struct Replay {
    #[command(flatten)]
    chosen: Chosen,

    /// No more than so many: 50/s, 600/m, 1000/h
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    rate: Option<f64>,

    /// Write what is moved to a new file, for `undo`
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,

    /// Only show which jobs they are
    #[arg(long)]
    dry_run: bool,
}

/// Jobs that are moved together.
const BATCH: usize = 100;
/// Ctrl-C is looked for so often.
const BREATH: Duration = Duration::from_millis(100);

/// Jobs per second.
fn parse_rate(text: &str) -> Result<f64, String> {
    let units = [("/s", 1.0), ("/m", 60.0), ("/h", 3_600.0), ("", 1.0)];
    units
        .iter()
        .find_map(|(unit, secs)| Some((text.strip_suffix(unit)?, secs)))
        .and_then(|(number, secs)| Some(number.parse::<f64>().ok()? / secs))
        .filter(|rate| rate.is_finite() && *rate > 0.0)
        .ok_or_else(|| format!("{text:?} is no rate; expected such as 50/s, 600/m or 1000/h"))
}

impl Replay {
    pub(super) async fn run(self, tool: &mut Tool, kind: Kind, set: &SortedSet) -> Done {
        if self.dry_run {
            return dry_run(tool, kind, set, &self.chosen, "replayed").await;
        }
        let mut choosing = self.chosen.confirmed(tool, set, kind, Some("Replay")).await?;
        let journal = self.journal.as_ref().map(|path| Journal::create(path, kind)).transpose()?;
        tool.interrupt.watch();
        let mut pace = Pace { rate: self.rate, began: Instant::now(), moved: 0 };
        let mut replaying = Replaying { set, kind, journal, tally: Tally::new("replayed") };
        let mut progress = Progress::new("replaying", Some(set.size().await? as u64));
        while let Some((seen, page)) = choosing.next().await.map_err(|error| replaying.tally.stopped(error.into()))? {
            for batch in page.chunks(pace.batch()) {
                pace.wait(tool).await;
                if tool.interrupt.is_noted() {
                    drop(progress);
                    return Err(replaying.tally.interrupted());
                }
                replaying.step(batch).await.map_err(|failure| replaying.tally.stopped(failure))?;
                pace.moved += batch.len();
            }
            progress.add(seen);
        }
        drop(progress);
        replaying.tally.end(tool, choosing.later(), choosing.found_all())
    }
}

struct Replaying<'a> {
    set: &'a SortedSet,
    kind: Kind,
    journal: Option<Journal>,
    tally: Tally,
}

impl Replaying<'_> {
    async fn step(&mut self, batch: &[SortedEntry]) -> Result<(), Failure> {
        let departures = departures(self.set, self.kind, batch).await?;
        self.tally.stuck(batch.len() - departures.len());
        if let Some(journal) = &mut self.journal {
            journal.add(&departures)?;
        }
        self.tally.add(self.set.depart(&departures).await?);
        Ok(())
    }
}

/// Keeps to a rate, in small steps.
struct Pace {
    rate: Option<f64>,
    began: Instant,
    moved: usize,
}

impl Pace {
    /// Jobs of one step: ten steps a second.
    fn batch(&self) -> usize {
        self.rate.map_or(BATCH, |rate| ((rate / 10.0) as usize).clamp(1, BATCH))
    }

    /// How long the next step has to wait when so much time has gone by since the beginning.
    fn left(&self, rate: f64, gone: Duration) -> Duration {
        let due = Duration::try_from_secs_f64(self.moved as f64 / rate).unwrap_or(Duration::MAX);
        due.saturating_sub(gone)
    }

    /// Until the next step is due, or Ctrl-C.
    async fn wait(&self, tool: &Tool) {
        let Some(rate) = self.rate else { return };
        while !tool.interrupt.is_noted() {
            let left = self.left(rate, self.began.elapsed());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(BREATH)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_any_rate() {
        let pace = Pace { rate: None, began: Instant::now(), moved: 100 };
        assert_eq!(pace.left(50.0, Duration::from_secs(1)), Duration::from_secs(1));
        assert_eq!(pace.left(50.0, Duration::from_secs(3)), Duration::ZERO);
        assert_eq!(pace.left(1e-19, Duration::ZERO), Duration::MAX);
        assert_eq!(pace.left(f64::MIN_POSITIVE, Duration::from_secs(1)), Duration::MAX - Duration::from_secs(1));
        assert_eq!(pace.left(f64::MAX, Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn reads_rates() {
        for (text, rate) in [("50/s", 50.0), ("600/m", 10.0), ("36/h", 0.01), ("7", 7.0), ("0.5/s", 0.5)] {
            assert_eq!(parse_rate(text), Ok(rate), "{text}");
        }
        for text in ["", "0/s", "-1/s", "fast", "5/d", "inf", "/s", "nan/s"] {
            assert!(parse_rate(text).unwrap_err().contains("expected"), "{text}");
        }
    }
}

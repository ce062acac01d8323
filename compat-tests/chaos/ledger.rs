//! What really ran: one line of fixed length for each start and each end of a job, appended by the worker to a file of its own. It
//! lies outside the Redis under test, and a line that was written survives the writer's SIGKILL.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Error, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// The 24 hexadecimal digits of a job.
pub(crate) type Jid = [u8; 24];

/// A jid as bytes; shorter ones end in zeroes.
pub(crate) fn jid(text: &str) -> Jid {
    let mut jid = [0; 24];
    let length = text.len().min(24);
    jid[..length].copy_from_slice(&text.as_bytes()[..length]);
    jid
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Start,
    Done,
    Failed,
}

const LENGTH: usize = 48;

/// Where a worker writes.
pub(crate) struct Pen {
    file: File,
    /// Microseconds since the machine started, when this was opened: no clock that is set, or lies, goes into the order of runs.
    since_boot: u128,
    opened: Instant,
}

impl Pen {
    /// `life` numbers the process, among all the driver ever started.
    pub(crate) fn open(dir: &Path, life: u32) -> Result<Self, Error> {
        let path = dir.join(format!("{life}.ledger"));
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let (since_boot, opened) = tick()?;
        Ok(Self { file, since_boot, opened })
    }

    pub(crate) fn write(&self, job: &str, phase: Phase) {
        let mut line = [b'.'; LENGTH];
        line[..24].copy_from_slice(&jid(job));
        line[24] = match phase {
            Phase::Start => b's',
            Phase::Done => b'd',
            Phase::Failed => b'f',
        };
        line[25..LENGTH - 1]
            .copy_from_slice(format!("{:022}", self.since_boot + self.opened.elapsed().as_micros()).as_bytes());
        line[LENGTH - 1] = b'\n';
        // One write: two of them, of two threads, never mix in a file that is appended to.
        (&self.file).write_all(&line).expect("the ledger can be written");
    }
}

/// A moment: microseconds since the machine started, and the same by this process's clock. The file counts hundredths of a second, so this waits
/// for the next one: what two processes write is to be in order.
fn tick() -> Result<(u128, Instant), Error> {
    let read = || -> Result<f64, Error> {
        let uptime = std::fs::read_to_string("/proc/uptime")?;
        Ok(uptime.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or_default())
    };
    let (mut asked_before, mut before) = (Instant::now(), read()?);
    for _ in 0..20_000 {
        let (asked, now, answered) = (Instant::now(), read()?, Instant::now());
        // If this process stood still meanwhile, it is not known when the next one began.
        if now > before && answered.duration_since(asked_before) < Duration::from_micros(200) {
            return Ok((Duration::from_secs_f64(now).as_micros(), answered));
        }
        (asked_before, before) = (asked, now);
    }
    // On a machine that is that busy, or where the process's clock lies: to a hundredth of a second.
    Ok((Duration::from_secs_f64(before).as_micros(), asked_before))
}

/// One run of a job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) life: u32,
    pub(crate) started: u64,
    /// How it ended, if it did.
    pub(crate) end: Option<Phase>,
    /// When it ended; never before it does.
    pub(crate) ended: Option<u64>,
}

/// Everything that ran, by job, in the order of the starts.
#[derive(Debug, Default)]
pub(crate) struct Ledger(pub(crate) HashMap<Jid, Vec<Run>>);

impl Ledger {
    pub(crate) fn read(dir: &Path) -> Result<Self, Error> {
        let mut runs: HashMap<Jid, Vec<Run>> = HashMap::new();
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            let Some(life) = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok()) else { continue };
            if path.extension().is_none_or(|extension| extension != "ledger") {
                continue;
            }
            for line in std::fs::read(&path)?.chunks_exact(LENGTH) {
                let mut job = Jid::default();
                job.copy_from_slice(&line[..24]);
                let at = std::str::from_utf8(&line[25..LENGTH - 1]).ok().and_then(|digits| digits.parse().ok());
                let at: u64 = at.ok_or_else(|| Error::other(format!("{} is torn", path.display())))?;
                let of_job = runs.entry(job).or_default();
                let end = match line[24] {
                    b's' => {
                        of_job.push(Run { life, started: at, end: None, ended: None });
                        continue;
                    }
                    b'd' => Phase::Done,
                    _ => Phase::Failed,
                };
                if let Some(run) = of_job.iter_mut().rev().find(|run| run.life == life && run.end.is_none()) {
                    (run.end, run.ended) = (Some(end), Some(at));
                }
            }
        }
        runs.values_mut().for_each(|of_job| of_job.sort_by_key(|run| run.started));
        Ok(Self(runs))
    }

    /// Jobs that came to a good end at least once.
    pub(crate) fn done(&self, job: &Jid) -> bool {
        self.0.get(job).is_some_and(|runs| runs.iter().any(|run| run.end == Some(Phase::Done)))
    }

    /// Whether a run of it began that has not ended.
    pub(crate) fn runs_now(&self, job: &Jid) -> bool {
        self.0.get(job).is_some_and(|runs| runs.iter().any(|run| run.end.is_none()))
    }

    /// How many runs that came to an end went on at the same time, at most.
    pub(crate) fn most_at_once(&self) -> i32 {
        let ended = self.0.values().flatten().filter_map(|run| Some((run.started, run.ended?)));
        // Of an end and a start in the same microsecond the end comes first.
        let mut turns: Vec<(u64, i32)> = ended.flat_map(|(started, ended)| [(started, 1), (ended, -1)]).collect();
        turns.sort_unstable();
        let (mut running, mut most) = (0, 0);
        for (_, turn) in turns {
            running += turn;
            most = most.max(running);
        }
        most
    }

    /// Runs that began.
    pub(crate) fn runs(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }
}

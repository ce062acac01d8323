//! `bin/chaos`: faults, one after the other or several at a time, each on a Redis and worker processes of its own, with a ledger outside
//! Redis and an accounting at the end: no job lost, none run twice without a reason.

#![expect(clippy::print_stdout, reason = "its report is its purpose")]
#![expect(clippy::disallowed_methods, reason = "it awaits what it spawns")]

mod check;
mod faults;
mod fleet;
mod ledger;
mod proxy;
mod recoveries;
mod redis;
mod stage;
#[path = "../sweep.rs"]
mod sweep;
mod waits;
mod worker;

use std::error::Error;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use faults::{FAULTS, Fault};
use stage::{Outcome, Stage};

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// Break ferrokiq in every way we know and count its jobs. Ends with 1 if one was lost or ran twice without a reason.
#[derive(Clone, Debug, Parser)]
#[command(name = "bin/chaos")]
struct Arguments {
    /// The large counts: a million jobs, hundreds of kills (about an hour). Without it a few minutes
    #[arg(long)]
    full: bool,
    /// The small counts; the default
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Plays the same plan again: what is hit, after which pause, the ids of the jobs. How many jobs run meanwhile depends on the machine. A new
    /// one each time unless given, and always printed
    #[arg(long)]
    seed: Option<u64>,
    /// Only this fault; may be given several times
    #[arg(long, value_name = "NAME")]
    fault: Vec<String>,
    /// Faults played at the same time
    #[arg(long, default_value_t = 4)]
    jobs: usize,
    /// Print one JSON line instead of the table
    #[arg(long)]
    json: bool,
    /// Name the faults and what each does
    #[arg(long)]
    list: bool,
    /// Keep logs and ledgers of faults that went well, too
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    if let Ok(life) = std::env::var(worker::LIFE) {
        return worker::main(&life).await;
    }
    let arguments = Arguments::parse();
    if arguments.list {
        for fault in FAULTS {
            println!("{:<24} {}", fault.name, fault.about);
        }
        return ExitCode::SUCCESS;
    }
    if let Some(unknown) = arguments.fault.iter().find(|name| !FAULTS.iter().any(|fault| fault.name == **name)) {
        eprintln!("error: no fault is called {unknown}; --list names them");
        return ExitCode::FAILURE;
    }
    let played = tokio::select! {
        played = play(arguments) => played,
        // What it started ends with it.
        signal = interrupted() => Err(format!("{signal}: not played to the end").into()),
    };
    match played {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Until somebody wants it to end.
async fn interrupted() -> &'static str {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => "interrupted",
        _ = terminate.recv() => "terminated",
    }
}

/// A fault that was played.
struct Played {
    fault: &'static Fault,
    outcome: Result<Outcome, Failure>,
    took: Duration,
    dir: PathBuf,
}

async fn play(arguments: Arguments) -> Result<bool, Failure> {
    let seed = arguments.seed.unwrap_or_else(rand::random);
    let mut chosen: Vec<&'static Fault> = FAULTS
        .iter()
        .filter(|fault| arguments.fault.is_empty() || arguments.fault.iter().any(|name| name == fault.name))
        .collect();
    chosen.retain(|fault| match fault.needs.missing() {
        None => true,
        Some(what) => {
            eprintln!("SKIPPED {}: it needs {what}", fault.name);
            false
        }
    });
    let root = std::env::temp_dir().join(format!("ferrokiq-chaos-{}", std::process::id()));
    eprintln!("seed {seed}, {} faults, logs under {}", chosen.len(), root.display());
    let slots = Arc::new(Semaphore::new(arguments.jobs.max(1)));
    let mut tasks = JoinSet::new();
    for fault in &chosen {
        let (fault, slots, dir, full) = (*fault, Arc::clone(&slots), root.join(fault.name), arguments.full);
        tasks.spawn(async move {
            let _slot = slots.acquire_owned().await;
            let began = Instant::now();
            let outcome = play_one(fault, &dir, seed, full).await;
            Played { fault, outcome, took: began.elapsed(), dir }
        });
    }
    let mut sum = Sum { seed, ..Sum::default() };
    while let Some(played) = tasks.join_next().await {
        let played = played?;
        let line = sum.add(&played);
        if std::io::stderr().is_terminal() && !arguments.json {
            eprint!("\r\x1b[K");
        }
        if arguments.json {
            eprintln!("{line}")
        } else {
            println!("{line}")
        }
        if std::io::stderr().is_terminal() && !tasks.is_empty() {
            eprint!("{} of {}", chosen.len() - tasks.len(), chosen.len());
        }
        if played.outcome.is_ok_and(|outcome| outcome.complaints.is_empty()) && !arguments.keep {
            let _ = std::fs::remove_dir_all(&played.dir);
        }
    }
    let _ = std::fs::remove_dir(&root);
    println!("{}", if arguments.json { sum.json() } else { sum.text() });
    Ok(sum.failed.is_empty())
}

async fn play_one(fault: &Fault, dir: &Path, seed: u64, full: bool) -> Result<Outcome, Failure> {
    // Each fault has luck of its own, whatever else is played.
    let mut hasher = DefaultHasher::new();
    (seed, fault.name).hash(&mut hasher);
    let mut stage = Stage::new(dir.to_owned(), hasher.finish(), full, fault.redis).await?;
    if let Err(error) = (fault.play)(&mut stage).await {
        // What became of the jobs is counted all the same, once nothing moves any more.
        stage.expect(false, || error.to_string());
        stage.workers.clear();
    }
    stage.close().await
}

/// All faults together.
#[derive(Default)]
struct Sum {
    jobs: usize,
    kills: usize,
    restarts: usize,
    faults: usize,
    lost: usize,
    duplicates: usize,
    unexplained: usize,
    max_recovery: Duration,
    seed: u64,
    failed: Vec<&'static str>,
}

impl Sum {
    /// Adds one up and says how it went.
    fn add(&mut self, played: &Played) -> String {
        self.faults += 1;
        let (name, took) = (played.fault.name, played.took.as_secs_f64());
        let outcome = match &played.outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                self.failed.push(name);
                return format!("FAILED {name:<24} {error}; replay with --seed {} --fault {name}", self.seed);
            }
        };
        let verdict = &outcome.verdict;
        self.jobs += verdict.jobs;
        self.kills += outcome.kills;
        self.restarts += outcome.restarts;
        self.lost += verdict.lost;
        self.duplicates += verdict.duplicates;
        self.unexplained += verdict.unexplained;
        self.max_recovery = self.max_recovery.max(outcome.max_recovery);
        let mut line = format!(
            "{} {name:<24} {:>9} jobs {:>9} done {:>6} dead {:>4} kills {:>4} restarts {:>3} lost {:>5} twice",
            if outcome.complaints.is_empty() { "ok    " } else { "FAILED" },
            verdict.jobs,
            verdict.done,
            verdict.dead,
            outcome.kills,
            outcome.restarts,
            verdict.lost,
            verdict.duplicates,
        );
        if verdict.worst > 0 {
            line.push_str(&format!(" ({} by one process)", verdict.worst));
        }
        if !outcome.max_recovery.is_zero() {
            line.push_str(&format!("  back after {:.1} s", outcome.max_recovery.as_secs_f64()));
        }
        line.push_str(&format!("  {took:.1} s"));
        for remark in &outcome.remarks {
            line.push_str(&format!("\n         {remark}"));
        }
        if !outcome.complaints.is_empty() {
            self.failed.push(name);
            for complaint in &outcome.complaints {
                line.push_str(&format!("\n         {complaint}"));
            }
            line.push_str(&format!(
                "\n         replay with --seed {} --fault {name}; see {}",
                self.seed,
                played.dir.display()
            ));
        }
        line
    }

    fn json(&self) -> String {
        let Self { jobs, kills, restarts, faults, lost, unexplained, seed, .. } = self;
        let max_recovery = (self.max_recovery.as_secs_f64() * 10.0).round() / 10.0;
        format!(
            r#"{{"jobs":{jobs},"kills":{kills},"restarts":{restarts},"faults_run":{faults},"lost":{lost},"unexplained_duplicates":{unexplained},"max_recovery_s":{max_recovery:?},"seed":{seed}}}"#
        )
    }

    fn text(&self) -> String {
        format!(
            "{} faults, {} jobs, {} kills, {} restarts: {} lost, {} ran twice, {} of them unexplained; jobs of the dead back after {:.1} s at most; seed {}{}",
            self.faults,
            self.jobs,
            self.kills,
            self.restarts,
            self.lost,
            self.duplicates,
            self.unexplained,
            self.max_recovery.as_secs_f64(),
            self.seed,
            if self.failed.is_empty() { String::new() } else { format!("; FAILED: {}", self.failed.join(", ")) },
        )
    }
}

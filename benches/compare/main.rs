//! `bin/bench`: the same work for ferrokiq and real Sidekiq, interleaved in one run, each on a Redis of its own.

#![expect(clippy::print_stdout, reason = "its report is its purpose")]

mod redis_server;
mod report;

use std::collections::BTreeMap;
use std::error::Error;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser;

use redis_server::RedisServer;
use report::Report;

/// Measure ferrokiq beside real Sidekiq. Prints a table and writes benches/RESULTS.md.
#[derive(Debug, Parser)]
#[command(name = "bin/bench")]
struct Arguments {
    /// Print one JSON line instead, and write nothing
    #[arg(long)]
    json: bool,
    /// Fewer jobs and rounds: an idea in three minutes
    #[arg(long)]
    quick: bool,
    /// Rounds, of which the median counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// Something that drains a queue.
struct System {
    name: &'static str,
    setting: usize,
    jobs: u64,
    how: How,
}

enum How {
    Ferrokiq { fetch: &'static str },
    Sidekiq,
}

fn systems(quick: bool) -> Vec<System> {
    let (ours, theirs) = if quick { (200_000, 20_000) } else { (500_000, 100_000) };
    let ferrokiq = |fetch, name, setting| System { name, setting, jobs: ours, how: How::Ferrokiq { fetch } };
    vec![
        ferrokiq("reliable", "ferrokiq_reliable", 10),
        System { name: "sidekiq", setting: 10, jobs: theirs, how: How::Sidekiq },
        ferrokiq("reliable", "ferrokiq_reliable", 50),
        ferrokiq("basic", "ferrokiq_basic", 10),
        ferrokiq("basic", "ferrokiq_basic", 50),
        System { name: "sidekiq", setting: 5, jobs: theirs, how: How::Sidekiq },
    ]
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rounds = if arguments.quick { 3 } else { arguments.rounds };
    let mut figures: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let systems = systems(arguments.quick);
    for round in 1..=rounds {
        for system in &systems {
            let key = format!("drain_noop.{}.{}", system.name, system.setting);
            if std::io::stderr().is_terminal() {
                eprint!("\r\x1b[Kround {round} of {rounds}: {key}");
            } else {
                eprintln!("round {round} of {rounds}: {key}");
            }
            figures.entry(key).or_default().push(drain(root, system)?);
        }
    }
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
    let report = Report::new(figures);
    if arguments.json {
        println!("{}", report.json());
        return Ok(());
    }
    let table = report.table(root);
    println!("{table}");
    std::fs::write(root.join("benches/RESULTS.md"), table)?;
    Ok(())
}

/// Jobs per second of one drain.
fn drain(root: &Path, system: &System) -> Result<f64, Box<dyn Error>> {
    let redis = RedisServer::start()?;
    let mut command = match system.how {
        How::Ferrokiq { fetch } => {
            let mut command = Command::new(load_program()?);
            command.args(["--fetch", fetch]);
            command
        }
        How::Sidekiq => {
            let mut command = Command::new(root.join("bin/lib/in-ruby"));
            command.args(["--sidekiq", "8", "--", "ruby"]).arg(root.join("benches/load.rb"));
            command
        }
    };
    let output = command
        .args(["--jobs", &system.jobs.to_string(), "--concurrency", &system.setting.to_string()])
        .env("REDIS_URL", redis.url())
        .current_dir(root)
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let rate = said.lines().find_map(|line| line.strip_suffix(" jobs/sec")?.rsplit(' ').next()?.parse().ok());
    rate.ok_or_else(|| format!("{} said: {said}{}", system.name, String::from_utf8_lossy(&output.stderr)).into())
}

/// `bin/bench` has built it and says where.
fn load_program() -> Result<PathBuf, Box<dyn Error>> {
    std::env::var_os("LOAD").map(PathBuf::from).ok_or_else(|| "LOAD is not set: run bin/bench".into())
}

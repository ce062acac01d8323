//! `bin/bench`: the same work for ferrokiq, real Sidekiq, rusty-sidekiq and bare Redis, interleaved in one run, each time on a
//! Redis of its own.

#![expect(clippy::print_stdout, reason = "its report is its purpose")]
#![expect(clippy::disallowed_methods, reason = "it awaits what it spawns")]

mod goals;
mod measurements;
mod programs;
mod proxy;
mod redis_server;
mod report;

use std::collections::BTreeMap;
use std::error::Error;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Parser;

use measurements::measurements;
use programs::Programs;
use report::Report;

/// Measure ferrokiq beside real Sidekiq, rusty-sidekiq and bare Redis. Prints a table and writes benches/RESULTS.md.
#[derive(Debug, Parser)]
#[command(name = "bin/bench")]
struct Arguments {
    /// Print one JSON line instead, and write nothing
    #[arg(long)]
    json: bool,
    /// Fewer workloads, jobs and rounds: an idea in three minutes
    #[arg(long)]
    quick: bool,
    /// Rounds, of which the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Only what has this in its name, `drain_noop` or `.sidekiq.` say; writes nothing
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// A Ruby to run Sidekiq with, one with YJIT say; it must find the gem
    #[arg(long, value_name = "PATH")]
    ruby: Option<PathBuf>,
    /// Print ratios to a run that was saved with --json
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rounds = if arguments.quick { 2 } else { arguments.rounds };
    let base = arguments.compare.as_deref().map(report::read).transpose()?;
    let programs = Programs::new(root, arguments.ruby.clone())?;
    let mut figures: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let chosen: Vec<_> = measurements(arguments.quick)
        .into_iter()
        .filter(|one| arguments.only.as_ref().is_none_or(|text| one.title().contains(text)))
        .collect();
    for round in 1..=rounds {
        for (number, one) in chosen.iter().filter(|one| round == 1 || !one.once).enumerate() {
            let progress = format!("round {round} of {rounds}, {} of {}: {}", number + 1, chosen.len(), one.title());
            if std::io::stderr().is_terminal() {
                eprint!("\r\x1b[K{progress}");
            } else {
                eprintln!("{progress}");
            }
            for (key, value) in programs.measure(one)? {
                figures.entry(key).or_default().push(value);
            }
        }
    }
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
    let report = Report::new(figures);
    if let Some(base) = base {
        println!("{}", report.ratios(&base));
    } else if arguments.json {
        println!("{}", report.json());
    } else {
        let text = report.text(&programs.machine(), rounds);
        println!("{text}");
        if !arguments.quick && arguments.only.is_none() {
            std::fs::write(root.join("benches/RESULTS.md"), text)?;
        }
    }
    Ok(())
}

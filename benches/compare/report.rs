use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

/// Figures of every round, by `workload.system.setting`.
pub(crate) struct Report(BTreeMap<String, Vec<f64>>);

/// What others are measured against.
const YARDSTICK: &str = "drain_noop.sidekiq.10";

impl Report {
    pub(crate) fn new(mut figures: BTreeMap<String, Vec<f64>>) -> Self {
        for rounds in figures.values_mut() {
            rounds.sort_by(f64::total_cmp);
        }
        Self(figures)
    }

    /// One flat object of medians.
    pub(crate) fn json(&self) -> String {
        let medians: BTreeMap<&str, f64> =
            self.0.iter().map(|(key, rounds)| (key.as_str(), median(rounds).round())).collect();
        serde_json::to_string(&medians).unwrap_or_default()
    }

    /// What was measured, where, with what.
    pub(crate) fn table(&self, root: &Path) -> String {
        let yardstick = self.0.get(YARDSTICK).map_or(f64::NAN, |rounds| median(rounds));
        let mut text = format!(
            "# Measured\n\n{}\n\nNo-op jobs per second, median of {} rounds (least to most), systems interleaved in one run.\n\n\
             | workload.system.slots | jobs/s | least – most | times Sidekiq at 10 threads |\n|---|---:|---:|---:|\n",
            machine(root),
            self.0.values().next().map_or(0, Vec::len),
        );
        for (key, rounds) in &self.0 {
            let (least, most) = (rounds.first().copied().unwrap_or(0.0), rounds.last().copied().unwrap_or(0.0));
            let middle = median(rounds);
            let _ = writeln!(text, "| {key} | {middle:.0} | {least:.0} – {most:.0} | {:.1} |", middle / yardstick);
        }
        text
    }
}

fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Cores, versions, date.
fn machine(root: &Path) -> String {
    let said = |program: &Path, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(root).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let redis = said(Path::new("redis-server"), &["--version"]);
    let redis = redis.split_whitespace().find_map(|word| word.strip_prefix("v=")).unwrap_or("?").to_owned();
    let ruby = said(
        &root.join("bin/lib/in-ruby"),
        &[
            "--",
            "ruby",
            "-e",
            "require 'sidekiq'; print \"Sidekiq #{Sidekiq::VERSION}, Ruby #{RUBY_VERSION}\"; print(defined?(RubyVM::YJIT) ? ' with YJIT at hand' : ' without YJIT')",
        ],
    );
    let date = said(Path::new("date"), &["-u", "+%Y-%m-%d"]);
    format!("{date}, {cores} cores, Redis {redis}, {ruby}, ferrokiq {}.", env!("CARGO_PKG_VERSION"))
}

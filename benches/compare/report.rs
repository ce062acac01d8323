use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::path::Path;

use crate::goals::{ALONE, Bound, GOALS, Goal};

/// Figures of every round, by `workload.system.setting`.
pub(crate) struct Report(BTreeMap<String, Vec<f64>>);

/// Medians of a run that was saved.
pub(crate) fn read(path: &Path) -> Result<BTreeMap<String, f64>, Box<dyn Error>> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(serde_json::from_str(&text).map_err(|error| format!("{}: {error}; save a run with --json", path.display()))?)
}

impl Report {
    pub(crate) fn new(mut figures: BTreeMap<String, Vec<f64>>) -> Self {
        for rounds in figures.values_mut() {
            rounds.sort_by(f64::total_cmp);
        }
        Self(figures)
    }

    fn medians(&self) -> BTreeMap<&str, f64> {
        self.0.iter().map(|(key, rounds)| (key.as_str(), rounded(median(rounds)))).collect()
    }

    /// One flat object of medians.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(&self.medians()).unwrap_or_default()
    }

    /// This run to another.
    pub(crate) fn ratios(&self, base: &BTreeMap<String, f64>) -> String {
        let mut text = String::from("| figure | then | now | now to then |\n|---|---:|---:|---:|\n");
        for (key, now) in self.medians() {
            if let Some(then) = base.get(key) {
                let _ = writeln!(text, "| {key} | {then} | {now} | {:.2} |", now / then);
            }
        }
        text
    }

    /// What was measured, where, with what, and what was to be reached.
    pub(crate) fn text(&self, machine: &str, rounds: usize) -> String {
        let mut text = format!(
            "# Measured\n\n`bin/bench`: {machine}\n\nMedians of {rounds} rounds, systems interleaved in one run on the same machine; only ratios count. \
             ferrokiq is measured with the reliable fetcher, which is the default, unless a line says basic.\n\n\
             ## Goals\n\n| what | goal | reached | |\n|---|---:|---:|---|\n"
        );
        for goal in &GOALS {
            if let Some(reached) = self.reached(goal) {
                let (sign, bound, held) = match goal.bound {
                    Bound::AtLeast(least) => ('≥', least, reached >= least),
                    Bound::AtMost(most) => ('≤', most, reached <= most),
                };
                let unit = if goal.over == ALONE { "" } else { " ×" };
                let verdict = if held { "" } else { "**missed**: [why](NOTES.md)" };
                let _ =
                    writeln!(text, "| {} | {sign} {bound}{unit} | {}{unit} | {verdict} |", goal.what, rounded(reached));
            }
        }
        text.push_str("\n## Figures\n\nJobs or pushes per second, unless the name ends in µs, KB, MB, s, commands or percent.\n\n| workload.system.setting | median | least – most |\n|---|---:|---:|\n");
        for (key, rounds) in &self.0 {
            let (least, most) = (rounds.first().copied().unwrap_or(0.0), rounds.last().copied().unwrap_or(0.0));
            let _ = writeln!(text, "| {key} | {} | {} – {} |", rounded(median(rounds)), rounded(least), rounded(most));
        }
        text
    }

    fn reached(&self, goal: &Goal) -> Option<f64> {
        let figure = self.figure(goal.figure)?;
        Some(if goal.over == ALONE { figure } else { figure / self.figure(goal.over)? })
    }

    /// A figure by its key; `.best` is the best of all settings, `ideal.` is followed by a number.
    fn figure(&self, key: &str) -> Option<f64> {
        if let Some(number) = key.strip_prefix("ideal.") {
            return number.parse().ok();
        }
        let Some(all) = key.strip_suffix("best") else { return self.0.get(key).map(|rounds| median(rounds)) };
        self.0.iter().filter(|(key, _)| key.starts_with(all)).map(|(_, rounds)| median(rounds)).max_by(f64::total_cmp)
    }
}

/// The middle one; of an even number, the mean of the two in the middle.
fn median(sorted: &[f64]) -> f64 {
    let middle = &sorted[sorted.len().saturating_sub(1) / 2..(sorted.len() / 2 + 1).min(sorted.len())];
    middle.iter().sum::<f64>() / middle.len() as f64
}

/// As many digits as mean something.
fn rounded(value: f64) -> f64 {
    if value.abs() >= 100.0 { value.round() } else { (value * 100.0).round() / 100.0 }
}

//! `ferrokiq doctor`: what is wrong with a Redis that Sidekiq uses, and what can be mended without destroying a job.

mod finding;
mod fleet;
mod gems;
mod jobs;
mod keyspace;
mod limit_fetch;
mod payload;
mod server;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use clap::Args;
use ferrokiq::api::Api;
use ferrokiq::time::EpochSecs;
use serde_json::json;

use super::frame::{Code, Done, Failure, Style, Tool};
use finding::{CHECKS, Finding, Fix, Place, Severity, many};
use jobs::Reading;
use keyspace::Names;

/// Jobs of each queue and set that are read unless all are asked for.
const SAMPLE: usize = 10_000;
/// Names of keys that are looked at unless all are asked for.
const NAMES: usize = 200_000;

const EXAMPLES: &str =
    "Examples:\n  ferrokiq doctor\n  ferrokiq doctor --full --json | jq -r .check\n  ferrokiq doctor --fix";

/// What is wrong with this Redis, one line each: settings, processes, queues, damaged jobs, what other ports left behind
///
/// Prints "healthy" and exits with 0 where nothing is; else with 1. Notes, such as jobs of Ruby gems, change neither. Reads only, and no more than 10,000 jobs of each queue and set and
/// 200,000 names of keys, unless --full is said.
#[derive(Debug, Args)]
#[command(
    after_help = EXAMPLES,
    after_long_help = checks()
)]
pub(crate) struct Doctor {
    /// Read every job and the name of every key
    #[arg(long)]
    full: bool,

    /// Say what can be mended, ask, and mend it. No job is deleted
    #[arg(long)]
    fix: bool,
}

/// Examples, and what is looked for.
fn checks() -> String {
    let lines: Vec<String> = CHECKS.iter().map(|(name, what)| format!("  {name:<16} {what}")).collect();
    format!("{EXAMPLES}\n\nChecks:\n{}", lines.join("\n"))
}

/// What an examination gave.
#[derive(Debug)]
struct Report {
    findings: Vec<Finding>,
    /// What was not read: one line each.
    left_out: Vec<String>,
}

impl Report {
    /// What is wrong: every finding but the notes.
    fn faults(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity != Severity::Note)
    }
}

impl Doctor {
    pub(crate) async fn run(self, tool: &mut Tool) -> Done {
        let api = tool.api()?;
        let report = examine(&api, self.full).await?;
        tell(tool, &report)?;
        if report.faults().next().is_none() {
            return Ok(Code::Fine);
        }
        if !self.fix {
            return Ok(Code::Failed);
        }
        let fixes: Vec<&Fix> =
            report.findings.iter().filter_map(|finding| finding.fix.as_ref()).fold(Vec::new(), distinct);
        if fixes.is_empty() {
            return Err(Failure::failed("nothing of this can be mended without you"));
        }
        for fix in &fixes {
            say(tool, "would", &fix.plan())?;
        }
        tool.screen.flush()?;
        tool.confirm("Do it?")?;
        for fix in fixes {
            let done = mend(&api, fix).await?;
            say(tool, "done", &done)?;
            tool.screen.flush()?;
        }
        let left = report.faults().filter(|finding| finding.fix.is_none()).count();
        Ok(if left == 0 { Code::Fine } else { Code::Failed })
    }
}

/// A place is rewritten once, whatever is damaged there.
fn distinct<'a>(mut fixes: Vec<&'a Fix>, fix: &'a Fix) -> Vec<&'a Fix> {
    if !fixes.contains(&fix) {
        fixes.push(fix);
    }
    fixes
}

/// All checks; whatever a broken one hides is left out of the others.
async fn examine(api: &Api, full: bool) -> ferrokiq::Result<Report> {
    let (most, names) = if full { (usize::MAX, usize::MAX) } else { (SAMPLE, NAMES) };
    let mut found = Vec::new();
    let mut left_out = Vec::new();
    let server::Server { clock, is_cluster } = server::check(api, &mut found, &mut left_out).await?;
    if is_cluster {
        return Ok(Report { findings: found, left_out });
    }
    let now = EpochSecs::now().0 + clock.ahead;
    let sound = keyspace::kinds(api, &mut found).await?;
    let names = Names::read(api, names).await;
    match &names {
        Ok(names) if names.more => {
            left_out.push(format!("the names of {} keys were looked at; --full looks at all", names.seen))
        }
        Ok(_) => {}
        Err(error) => left_out.push(format!("the names of keys were not looked at: {error}")),
    }
    let names = names.unwrap_or_default();
    let mut only_rust = BTreeSet::new();
    if sound.lists {
        let processes = fleet::check(api, now, &mut found).await?;
        names.check(api, &processes, &mut found).await?;
        only_rust = fleet::only_rust(&processes);
        found.extend(names.limit_fetch.findings(&fleet::of_rust(&processes), &only_rust));
        found.extend(fleet::of_queues(&processes, &api.queues_named(&sound.queues).await?));
    }
    fleet::holders(api, &names, &mut found).await?;
    found.extend(gems::of_keys(&names.gems));
    let mut reading = Reading { most, only_rust, sampled: Vec::new() };
    for name in &sound.queues {
        jobs::check(api, &Place::Queue(name.clone()), &mut reading, &mut found).await?;
    }
    for place in &sound.sets {
        jobs::times(api, place, now, &mut found).await?;
        jobs::check(api, place, &mut reading, &mut found).await?;
    }
    left_out.extend(
        reading
            .sampled
            .into_iter()
            .map(|(key, read, size)| format!("{read} of {size} jobs in {key} were read; --full reads all")),
    );
    found.sort_by_key(|finding| finding.severity);
    Ok(Report { findings: found, left_out })
}

fn tell(tool: &mut Tool, report: &Report) -> std::io::Result<()> {
    let screen = &mut tool.screen;
    if screen.is_json() {
        return report.findings.iter().try_for_each(|finding| screen.json(&finding.json()));
    }
    for finding in &report.findings {
        let style = match finding.severity {
            Severity::Error => Style::Red,
            Severity::Warning => Style::Yellow,
            Severity::Note => Style::Plain,
        };
        screen.styled(style, &finding.line())?;
    }
    for line in &report.left_out {
        screen.styled(Style::Dim, line)?;
    }
    let errors = report.findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    match report.faults().count() {
        0 => screen.styled(Style::Green, "healthy"),
        all => screen.line(&format!("{}, {}", many(errors, "error"), many(all - errors, "warning"))),
    }
}

fn say(tool: &mut Tool, word: &'static str, what: &str) -> std::io::Result<()> {
    if tool.screen.is_json() {
        return tool.screen.json(&json!({ word: what }));
    }
    tool.screen.line(&format!("{word:<8} {what}"))
}

/// Mends one thing; returns what was done.
async fn mend(api: &Api, fix: &Fix) -> ferrokiq::Result<String> {
    Ok(match fix {
        Fix::ForgetGhosts(ghosts) => {
            let mut gone = 0;
            for ghost in ghosts {
                gone += usize::from(api.forget_ghost(ghost).await?);
            }
            format!("{} taken off the list", many(gone, "process"))
        }
        Fix::Announce(queues) => {
            let mut named = 0;
            for queue in queues {
                named += usize::from(api.queue(queue).announce().await?);
            }
            format!("{} named", many(named, "queue"))
        }
        Fix::PutBack { workers, unindexed } => {
            for list in unindexed {
                api.index(list).await?;
            }
            let mut jobs = 0;
            for worker in workers {
                jobs += api.put_back(worker).await?;
            }
            format!("{} put back", many(jobs, "job"))
        }
        Fix::Rewrite(place) => {
            format!("{} in {} rewritten", many(jobs::rewrite(api, place).await?, "job"), place.key())
        }
    })
}

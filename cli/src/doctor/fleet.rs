//! The processes: who is listed and lives, who serves which queue, and what dead workers left behind.

use std::collections::BTreeSet;
use std::time::Duration;

use ferrokiq::Result;
use ferrokiq::api::{Api, Member, Process, QueueSummary};

use super::finding::{Finding, Fix, many, some_of};
use super::keyspace::Names;

/// Seconds after which Sidekiq takes a process for dead.
const SILENT: f64 = 60.0;
/// A queue that stays paused for so long with jobs in it was forgotten.
const FORGOTTEN: Duration = Duration::from_secs(3_600);

/// Returns the processes; `now` is Redis's.
pub(super) async fn check(api: &Api, now: f64, found: &mut Vec<Finding>) -> Result<Vec<Process>> {
    let (mut processes, mut ghosts, mut unreadable) = (Vec::new(), Vec::new(), Vec::new());
    for member in api.members().await? {
        match member {
            Member::Process(process) => processes.push(process),
            Member::Ghost(identity) => ghosts.push(identity),
            Member::Unreadable(identity) => unreadable.push(identity),
            _ => {}
        }
    }
    found.extend(of_processes(&processes, now));
    if !ghosts.is_empty() {
        let what = format!("listed without a heartbeat: {}", some_of(&ghosts));
        let finding = Finding::warning("ghost-process", what, "take them off the list").times(ghosts.len());
        found.push(finding.fixed_by(Fix::ForgetGhosts(ghosts)));
    }
    if !unreadable.is_empty() {
        let what = format!("listed as processes, but not readable as such: {}", some_of(&unreadable));
        found.push(
            Finding::error("bad-process", what, "pages of the Web UI break: find who wrote them")
                .times(unreadable.len()),
        );
    }
    Ok(processes)
}

fn of_processes(processes: &[Process], now: f64) -> Vec<Finding> {
    let mut found = Vec::new();
    let silent: Vec<String> = processes
        .iter()
        .filter(|process| now - process.beat.0 > SILENT)
        .map(|process| process.identity.clone())
        .collect();
    if !silent.is_empty() {
        let what = format!("no beat for a minute or more: {}", some_of(&silent));
        found.push(
            Finding::error("silent-process", what, "is it stopped, or its clock behind? Its log and host tell")
                .times(silent.len()),
        );
    }
    let majors: BTreeSet<u32> = processes.iter().filter_map(major).collect();
    if majors.first().is_some_and(|oldest| *oldest < 8) && majors.last().is_some_and(|newest| *newest >= 8) {
        let list: Vec<String> = majors.iter().map(u32::to_string).collect();
        found.push(Finding::warning(
            "mixed-sidekiqs",
            format!("processes of Sidekiq {} share this Redis", list.join(" and ")),
            "7 and older misread the times that 8 writes: upgrade all",
        ));
    }
    found
}

/// Of the Sidekiq a process runs; `None` for ours. 6.4 does not say.
fn major(process: &Process) -> Option<u32> {
    match process.info.get("version").and_then(|version| version.as_str()) {
        None => Some(6),
        Some(version) => version.split('.').next()?.parse().ok(),
    }
}

fn is_ours(process: &Process) -> bool {
    process.info.get("version").and_then(|version| version.as_str()).is_some_and(|name| name.starts_with("ferrokiq-"))
}

/// Queues that processes of ferrokiq serve.
pub(super) fn of_rust(processes: &[Process]) -> BTreeSet<String> {
    processes.iter().filter(|process| is_ours(process)).flat_map(queues_of).collect()
}

/// Queues that processes of ferrokiq serve and no Ruby process does.
pub(super) fn only_rust(processes: &[Process]) -> BTreeSet<String> {
    let (ours, others): (Vec<&Process>, Vec<&Process>) = processes.iter().partition(|process| is_ours(process));
    let of_others: BTreeSet<String> = others.into_iter().flat_map(queues_of).collect();
    ours.into_iter().flat_map(queues_of).filter(|name| !of_others.contains(name)).collect()
}

/// Queues in which jobs wait for nobody.
pub(super) fn of_queues(processes: &[Process], queues: &[QueueSummary]) -> Vec<Finding> {
    let mut found = Vec::new();
    let waiting: Vec<&QueueSummary> = queues.iter().filter(|queue| queue.size > 0).collect();
    for queue in waiting.iter().filter(|queue| queue.paused && queue.latency > FORGOTTEN) {
        let hours = queue.latency.as_secs() / 3_600;
        let what = format!("{} is paused for {hours} h or more, with {} waiting", queue.name, many(queue.size, "job"));
        found.push(Finding::warning("paused-queue", what, "unpause it, or clear it").times(queue.size));
    }
    if processes.is_empty() {
        let jobs: usize = waiting.iter().map(|queue| queue.size).sum();
        if jobs > 0 {
            let what = format!("{} waiting in queues, and no process is alive", many(jobs, "job"));
            found.push(Finding::error("no-process", what, "start a worker").times(jobs));
        }
        return found;
    }
    let served: BTreeSet<String> = processes.iter().flat_map(queues_of).collect();
    for queue in waiting.iter().filter(|queue| !served.contains(&queue.name) && !queue.paused) {
        let what = format!("{} waiting in {}, which no process serves", many(queue.size, "job"), queue.name);
        found.push(Finding::error("unserved-queue", what, "start a worker with -q, or delete it").times(queue.size));
    }
    found
}

/// Older versions name queues, newer ones capsules besides.
fn queues_of(process: &Process) -> Vec<String> {
    let named = process.info.get("queues").and_then(|queues| queues.as_array()).into_iter().flatten();
    let capsules = process.info.get("capsules").and_then(|capsules| capsules.as_object()).into_iter().flatten();
    let weighted =
        capsules.filter_map(|(_, capsule)| capsule.get("weights")?.as_object()).flat_map(|weights| weights.keys());
    named.filter_map(|name| name.as_str().map(str::to_owned)).chain(weighted.cloned()).collect()
}

/// Jobs in private lists of workers that are dead, and that nobody will put back.
pub(super) async fn holders(api: &Api, names: &Names, found: &mut Vec<Finding>) -> Result<()> {
    let mut unindexed = api.unindexed(&names.private.iter().cloned().collect::<Vec<_>>()).await?;
    let of_unindexed = unindexed.iter().map(|list| &list.identity);
    let named: Vec<String> = names.holders.iter().chain(of_unindexed).cloned().collect();
    let mut holders = api.holders(&named).await?;
    let is_anybody_alive = holders.iter().any(|holder| holder.is_alive);
    // A live worker indexes its lists itself. No recovery finds the lists of a dead one that are not on the index.
    unindexed.retain(|list| !holders.iter().any(|holder| holder.is_alive && holder.identity == list.identity));
    for list in &unindexed {
        for holder in holders.iter_mut().filter(|holder| holder.identity == list.identity) {
            holder.jobs += list.jobs;
            holder.is_known = false;
        }
    }
    let orphaned: Vec<_> = holders
        .into_iter()
        .filter(|holder| holder.jobs > 0 && !holder.is_alive && !(is_anybody_alive && holder.is_known))
        .collect();
    if orphaned.is_empty() {
        return Ok(());
    }
    let jobs: usize = orphaned.iter().map(|holder| holder.jobs).sum();
    let workers: Vec<String> = orphaned.into_iter().map(|holder| holder.identity).collect();
    let what = format!(
        "{} left with workers that are dead, and nobody to put them back: {}",
        many(jobs, "job"),
        some_of(&workers)
    );
    let advice = "start a ferrokiq worker, or put them back";
    found.push(Finding::error("orphaned-jobs", what, advice).times(jobs).fixed_by(Fix::PutBack { workers, unindexed }));
    Ok(())
}

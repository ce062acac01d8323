//! Reads what a tab shows, a page at most, and does what a key said.

use std::time::Instant;

use ferrokiq::api::{Api, QueueCount, SortedEntry, SortedSet, Span};
use ferrokiq::{Error, Result};

use super::model::Verb;
use super::model::{Command, PAGE, Request, Row, Snapshot, Tab};
use crate::frame::Failure;

/// Pages of a search that are read at most, so that a huge set does not hold up the screen; some hundred jobs each.
const STEPS: usize = 60;
/// About what one of them looks at.
const LOOKED_AT: usize = 500;
/// Hits of a search that are shown at most.
const HITS: usize = 200;

pub(super) async fn load(api: Api, of: Request) -> Result<Snapshot, String> {
    read(&api, of).await.map_err(told)
}

fn told(error: Error) -> String {
    Failure::from(error).line()
}

async fn read(api: &Api, of: Request) -> Result<Snapshot> {
    let stats = api.stats().await?;
    let mut snapshot = Snapshot {
        of: of.clone(),
        at: Instant::now(),
        stats,
        rows: Vec::new(),
        total: 0,
        searched: None,
        server: None,
        work: Vec::new(),
        metrics: None,
    };
    match of.tab {
        Tab::Home => snapshot.server = api.server_info().await.ok(),
        Tab::Busy => {
            snapshot.rows = api.processes().await?.into_iter().map(Row::Process).collect();
            snapshot.work = api.work().await?;
        }
        Tab::Queues => {
            let mut queues = api.queues().await?;
            queues.sort_by(|one, other| one.name.cmp(&other.name));
            snapshot.rows = queues.into_iter().map(Row::Queue).collect();
        }
        Tab::Scheduled | Tab::Retries | Tab::Dead => jobs(api, &of, &mut snapshot).await?,
        Tab::Metrics => snapshot.metrics = Some(api.top_jobs(Span::Minutes(60)).await?),
    }
    if !of.tab.is_paged() {
        snapshot.total = snapshot.rows.len();
    }
    Ok(snapshot)
}

fn set(api: &Api, tab: Tab) -> SortedSet {
    match tab {
        Tab::Retries => api.retries(),
        Tab::Dead => api.dead(),
        _ => api.scheduled(),
    }
}

async fn jobs(api: &Api, of: &Request, snapshot: &mut Snapshot) -> Result<()> {
    let set = set(api, of.tab);
    snapshot.total = set.size().await?;
    let entries = match &of.filter {
        Some(text) => search(&set, text, snapshot).await?,
        None => page(&set, of).await?,
    };
    snapshot.rows = entries.into_iter().map(Row::Job).collect();
    Ok(())
}

/// A page of jobs, which comes in several answers where they are large: what is next first; of the dead, what died last.
async fn page(set: &SortedSet, of: &Request) -> Result<Vec<SortedEntry>> {
    let (first, mut entries) = (of.page.saturating_mul(PAGE), Vec::new());
    while entries.len() < PAGE {
        let (skip, left) = (first.saturating_add(entries.len()), PAGE - entries.len());
        let more = match of.tab {
            Tab::Dead => set.from_highest(skip, left).await?,
            _ => set.from_lowest(skip, left).await?,
        };
        if more.is_empty() {
            break;
        }
        entries.extend(more);
    }
    Ok(entries)
}

async fn search(set: &SortedSet, text: &str, snapshot: &mut Snapshot) -> Result<Vec<SortedEntry>> {
    let (mut hits, mut steps) = (Vec::new(), 0);
    let mut scan = set.scanner(Some(&glob(text)));
    while let Some(page) = scan.next().await? {
        hits.extend(page);
        steps += 1;
        if hits.len() >= HITS || steps == STEPS {
            snapshot.searched = Some(steps * LOOKED_AT);
            break;
        }
    }
    hits.truncate(HITS);
    hits.sort_by(|one, other| one.score.0.total_cmp(&other.score.0));
    Ok(hits)
}

/// What holds a text, whatever it means to a glob.
fn glob(text: &str) -> String {
    let mut glob = "*".to_owned();
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\') {
            glob.push('\\');
        }
        glob.push(c);
    }
    glob + "*"
}

/// Does it to one row after the other; what came of it, in a line.
pub(super) async fn act(api: Api, Command { verb, tab, rows }: Command) -> String {
    let (all, mut done) = (rows.len(), 0);
    for row in rows {
        match one(&api, verb, tab, &row).await {
            Ok(true) => done += 1,
            Ok(false) => {}
            Err(error) => return format!("{}: {done} of {all} done, then {}", verb.name(), told(error)),
        }
    }
    let gone = if done < all { "; the others were gone" } else { "" };
    format!("{}: {done} of {all} done{gone}", verb.name())
}

async fn one(api: &Api, verb: Verb, tab: Tab, row: &Row) -> Result<bool> {
    match (verb, row) {
        (Verb::Quiet, Row::Process(process)) => process.quiet().await.map(|()| true),
        (Verb::Terminate, Row::Process(process)) => process.stop().await.map(|()| true),
        (Verb::Pause, Row::Queue(queue)) => {
            let handle = api.queue(&queue.name);
            if queue.paused { handle.unpause().await } else { handle.pause().await }
        }
        // The jobs that were shown, no more.
        (Verb::Clear, Row::Queue(queue)) => {
            api.queue(&queue.name).clear_counted(&QueueCount::oldest(queue.size)).await.map(|_| true)
        }
        (Verb::Retry, Row::Job(entry)) => set(api, tab).retry(entry).await,
        (Verb::Enqueue, Row::Job(entry)) => set(api, tab).add_to_queue(entry).await,
        (Verb::Kill, Row::Job(entry)) => set(api, tab).kill(entry).await,
        (Verb::Delete, Row::Job(entry)) => set(api, tab).delete(entry).await,
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn searches_for_a_text_as_it_is() {
        assert_eq!(super::glob("a*b[c]?\\"), "*a\\*b\\[c\\]\\?\\\\*");
    }
}

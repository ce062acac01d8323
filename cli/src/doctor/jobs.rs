//! Looks through the jobs of every queue and set, and at the times they are due.

use std::collections::{BTreeMap, BTreeSet};

use ferrokiq::Result;
use ferrokiq::api::{Api, JobRecord, SortedSet};

use super::finding::{Finding, Fix, Place, many, some_of};
use super::gems::GemJobs;
use super::payload::{Damage, damages, repaired};

/// Jobs that are read in one go.
const PAGE: usize = 100;
/// Seconds a job may wait for a poller.
const OVERDUE: f64 = 120.0;
/// Ten years.
const FAR: f64 = 10.0 * 365.25 * 86_400.0;
/// Before this, 2001, nobody used Sidekiq; numbers beyond the other, in the year 5138, are milliseconds.
const PAST: f64 = 1e9;
const MILLIS: f64 = 1e11;
/// What Sidekiq keeps of the dead unless told otherwise.
const DEAD_JOBS: usize = 10_000;

/// How much to read, and what could not be.
#[derive(Debug)]
pub(super) struct Reading {
    /// Jobs of each place at most.
    pub(super) most: usize,
    /// Queues that no Ruby process serves.
    pub(super) only_rust: BTreeSet<String>,
    /// Places of which only the first were read: key, read, size.
    pub(super) sampled: Vec<(String, usize, usize)>,
}

pub(super) fn set(api: &Api, place: &Place) -> SortedSet {
    match place {
        Place::Retry => api.retries(),
        Place::Dead => api.dead(),
        Place::Schedule | Place::Queue(_) => api.scheduled(),
    }
}

/// The jobs of a place.
pub(super) async fn check(api: &Api, place: &Place, reading: &mut Reading, found: &mut Vec<Finding>) -> Result<()> {
    let (mut tally, mut unknown, mut gems) = (BTreeMap::new(), BTreeMap::new(), GemJobs::default());
    let (mut read, size) = (
        0,
        match place {
            Place::Queue(name) => api.queue(name).size().await?,
            of_set => set(api, of_set).size().await?,
        },
    );
    let mut pages = Pages::of(api, place);
    while read < reading.most
        && let Some(page) = pages.next().await?
    {
        read += page.len();
        for record in &page {
            note(&mut tally, record, place);
            gems.note(record, place, &reading.only_rust);
        }
        if *place == Place::Retry {
            for class in page.iter().filter_map(unknown_class) {
                *unknown.entry(class).or_insert(0) += 1;
            }
        }
    }
    if size > read && read >= reading.most {
        reading.sampled.push((place.key(), read, size));
    }
    found.extend(gems.findings(place));
    found.extend(tally.into_iter().map(|(damage, tally)| finding(damage, &tally, place)));
    found.extend(of_unknown_classes(&unknown));
    Ok(())
}

/// The class of a job that failed since the process that ran it does not have that class. Other constants that are missing are faults of the
/// job's code.
pub(super) fn unknown_class(record: &JobRecord) -> Option<String> {
    let payload = record.payload()?;
    let text = |key: &str| serde_json::from_str::<String>(payload.get(key)?).ok();
    let message = text("error_message").filter(|_| text("error_class").as_deref() == Some("NameError"))?;
    let named = message.strip_prefix("uninitialized constant ")?.split_whitespace().next()?.to_owned();
    let class = record.display_class();
    let is_of = class == named || class.strip_prefix(&named).is_some_and(|rest| rest.starts_with("::"));
    is_of.then_some(class)
}

/// `unknown` counts the jobs of each class.
fn of_unknown_classes(unknown: &BTreeMap<String, usize>) -> Option<Finding> {
    let (jobs, classes) = (unknown.values().sum(), unknown.keys().cloned().collect::<Vec<_>>());
    (jobs > 0).then(|| {
        Finding::warning(
            "unknown-class",
            format!("{} in retry whose class the process did not have: {}", many(jobs, "job"), some_of(&classes)),
            "register the class in a worker of that queue, or deploy the code to all; else they die",
        )
        .times(jobs)
    })
}

#[derive(Debug)]
struct Tally {
    count: usize,
    example: String,
}

fn note(tally: &mut BTreeMap<Damage, Tally>, record: &JobRecord, place: &Place) {
    for damage in damages(record, place) {
        tally.entry(damage).or_insert_with(|| Tally { count: 0, example: name(record) }).count += 1;
    }
}

/// What to call a job; never its arguments.
fn name(record: &JobRecord) -> String {
    match (record.class(), record.jid()) {
        ("", "") => format!("one of {} bytes", record.bytes().len()),
        (class, "") => class.to_owned(),
        ("", jid) => jid.to_owned(),
        (class, jid) => format!("{class} {jid}"),
    }
}

fn finding(damage: Damage, tally: &Tally, place: &Place) -> Finding {
    let (check, severity, what, advice) = damage.words();
    let what = format!("{} in {} with {what}, e.g. {}", many(tally.count, "job"), place.key(), tally.example);
    let finding = Finding { severity, ..Finding::error(check, what, advice) }.times(tally.count);
    if damage.is_repairable() { finding.fixed_by(Fix::Rewrite(place.clone())) } else { finding }
}

/// Mends the jobs of a place, each by its exact bytes; returns how many.
pub(super) async fn rewrite(api: &Api, place: &Place) -> Result<usize> {
    let mut mended = 0;
    if let Place::Queue(name) = place {
        let queue = api.queue(name);
        let mut pages = queue.pages().of(PAGE);
        while let Some(page) = pages.next().await? {
            for record in page {
                if let Some(payload) = repaired(&record) {
                    mended += usize::from(queue.replace(&record, payload).await?);
                }
            }
        }
        return Ok(mended);
    }
    let set = set(api, place);
    let mut pages = set.pages().of(PAGE);
    while let Some(page) = pages.next().await? {
        for entry in page {
            if let Some(payload) = repaired(&entry.record) {
                mended += usize::from(set.replace(&entry, payload).await?);
            }
        }
    }
    Ok(mended)
}

/// The times of a set, by its two ends; `now` is Redis's.
pub(super) async fn times(api: &Api, place: &Place, now: f64, found: &mut Vec<Finding>) -> Result<()> {
    let set = set(api, place);
    let (lowest, highest) = (set.from_lowest(0, 1).await?, set.from_highest(0, 1).await?);
    let (Some(lowest), Some(highest)) = (lowest.first(), highest.first()) else { return Ok(()) };
    found.extend(of_times(place, lowest.score.0, highest.score.0, now));
    let size = set.size().await?;
    if *place == Place::Dead && size > DEAD_JOBS {
        found.push(
            Finding::warning(
                "dead-set",
                format!("the dead set holds {size} jobs, more than the {DEAD_JOBS} that Sidekiq keeps"),
                "retry or delete them: ferrokiq dead",
            )
            .times(size),
        );
    }
    Ok(())
}

fn of_times(place: &Place, lowest: f64, highest: f64, now: f64) -> Vec<Finding> {
    let (mut found, key) = (Vec::new(), place.key());
    if lowest < PAST {
        let what = format!("a job in {key} has the time {lowest}, which is no time of day");
        found.push(Finding::error("score", what, "find who wrote it; retry or delete the job"));
    } else if *place != Place::Dead && now - lowest > OVERDUE {
        let late = now - lowest;
        let what = format!("the next job in {key} is {late:.0} s overdue: no process polls, or it cannot keep up");
        found.push(Finding::error("overdue", what, "start a worker, or look at its log"));
    }
    if highest > MILLIS {
        let what = format!("a job in {key} has the time {highest}: milliseconds, where seconds belong");
        found.push(Finding::error("score", what, "it never runs: mend the producer, reschedule or retry the job"));
    } else if highest - now > FAR || (*place == Place::Dead && highest - now > 86_400.0) {
        let days = (highest - now) / 86_400.0;
        found.push(Finding::warning("score", format!("a job in {key} is {days:.0} days ahead"), "is it meant?"));
    }
    found
}

/// The jobs of any place, page by page.
enum Pages {
    Queue(ferrokiq::api::QueuePages),
    Set(ferrokiq::api::SortedPages),
}

impl Pages {
    fn of(api: &Api, place: &Place) -> Self {
        match place {
            Place::Queue(name) => Self::Queue(api.queue(name).pages().of(PAGE)),
            of_set => Self::Set(set(api, of_set).pages().of(PAGE)),
        }
    }

    async fn next(&mut self) -> Result<Option<Vec<JobRecord>>> {
        match self {
            Self::Queue(pages) => pages.next().await,
            Self::Set(pages) => {
                Ok(pages.next().await?.map(|page| page.into_iter().map(|entry| entry.record).collect()))
            }
        }
    }
}
